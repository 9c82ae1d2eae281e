"""Reading a query by fixed rules: the understanding of method ``rules``.

Constraints are found first and blanked out. The rest is split into clauses at commas and "and".
The classes of a clause get the constraints that stand in it. A constraint in a clause of its own
belongs to every class if it leads or names a part of the scene, else to the class before it.
"both" and "all" share the constraints of the last clause with every class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from spex.evidence.class_words import mentioned_classes
from spex.evidence.classes import classes
from spex.evidence.indices import OFFERED_INDICES
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.answer_markup import Answer, format_span, parse_answer
from spex.query.constraint_rules import QueryConstraint, find_constraints
from spex.query.constraints import Constraints
from spex.query.followups import WHY, RequestedClass, follow_up, with_changes
from spex.query.prompt import Exchange
from spex.query.wording import constraints_text

EXAMPLES = (
    '"open water larger than 1 ha", "forest in the northern half", "the three largest lakes", '
    '"vegetation but not cropland"'
)
_OUT_OF_SCOPE = {
    "single objects, not land cover": (
        "cars?|vehicles?|trucks?|people|persons?|animals?|cows?|cattle"
        "|ships?|boats?|vessels?|air(?:craft|planes?)|planes?"
    ),
    "what one image cannot tell": (
        r"chang(?:e|ed|es)|since (?:19|20)\d\d|forecast|tomorrow|next (?:week|month|year)|prices?"
        "|value of|population|owners?|who|names? of|temperatures?|depth|height"
        r"|how (?:deep|tall|hot|cold)"
        rf"|how high(?! is the (?:{'|'.join(OFFERED_INDICES)})\b)"
    ),
    "something else than land cover": "write|poem|story|joke|code|pretend|talk about|ignore",
}
_OPEN_QUESTION = (
    r"land ?cover|describe|what (?:can|do) (?:you|i|we) see"
    r"|what(?:'s| is| are)? (?:there |shown |visible )?(?:in|on|here)\b"
    r"|looking at|whole (?:image|scene)|classify|everything|overview"
)
_CLAUSE = re.compile(r"(?:(?!,|;|\band\b|\bas well as\b|\bplus\b|\bthen\b|\bvs\b|&|\. ).)+")
_COUNTING = re.compile(r"\bhow many\b|\bcount\b|\bnumber of\b", re.IGNORECASE)
_SHARING = re.compile(r"\b(?:both|all)\b", re.IGNORECASE)

_Clause = tuple[int, int]  # start and end, characters


class _Mention(NamedTuple):
    """A class that stands in a clause of the query."""

    clause: int
    name: str
    phrase: str


def read_query(query: str, evidence: SceneEvidence, history: Sequence[Exchange] = ()) -> Answer:
    """The answer that a query asks for, or a refusal with the reason.

    Args:
        query: as ``clean_query`` returns it.
        evidence: of the scene.
        history: the exchanges before.
    """
    for subject, pattern in _OUT_OF_SCOPE.items():
        match = re.search(rf"\b(?:{pattern})\b", query, re.IGNORECASE)
        if match:
            return _refuse(
                f"“{match[0]}” asks for {subject}; ask for land cover, for example {EXAMPLES}"
            )
    constraints, remaining = find_constraints(query)
    for constraint in constraints:
        if "refuse" in constraint.change:
            return _refuse(constraint.change["refuse"])
    requested = _requested(query, constraints, remaining, evidence, history)
    if not requested:
        return _refuse(f"no land cover was recognised in the query; ask for example {EXAMPLES}")
    explaining = bool(WHY.search(query))
    counting = bool(_COUNTING.search(query))
    sentences = [
        _sentence(item, evidence, counting=counting, explaining=explaining) for item in requested
    ]
    return parse_answer(" ".join(sentences))


def _refuse(reason: str) -> Answer:
    text = reason.replace("<", "‹").replace(">", "›")
    return parse_answer(f"<refuse>{text}</refuse>")


def _requested(
    query: str,
    constraints: list[QueryConstraint],
    remaining: str,
    evidence: SceneEvidence,
    history: Sequence[Exchange],
) -> list[RequestedClass]:
    """The classes that the query asks for, each with its constraints."""
    clauses = [match.span() for match in _CLAUSE.finditer(remaining)]
    shared = bool(_SHARING.search(query))
    mentions = _mentions(remaining, clauses)
    requested = _assign(constraints, clauses, mentions, shared=shared)
    earlier = parse_answer(history[-1].answer).spans if history else ()
    if earlier:
        requested = follow_up(query, requested, constraints, earlier)
    if requested:
        return requested
    mentions = _from_indices(constraints, evidence) or _from_open_question(remaining, evidence)
    return _assign(constraints, clauses, mentions, shared=shared)


def _mentions(text: str, clauses: list[_Clause]) -> list[_Mention]:
    """The classes that a text names, each where it first stands."""
    mentions: dict[str, _Mention] = {}
    for number, (start, end) in enumerate(clauses):
        clause = text[start:end]
        for name in mentioned_classes(clause):
            if name not in mentions:
                mentions[name] = _Mention(number, name, _phrase(clause, name))
    return list(mentions.values())


def _phrase(clause: str, name: str) -> str:
    """The person's own words for a class, where they are one of its synonyms."""
    land_class = classes()[name]
    for words in sorted((*land_class.synonyms, land_class.title), key=len, reverse=True):
        match = re.search(rf"\b{re.escape(words)}(?:s|es)?\b", clause, re.IGNORECASE)
        if match:
            return match[0].lower()
    return land_class.title.lower()


def _from_indices(constraints: list[QueryConstraint], evidence: SceneEvidence) -> list[_Mention]:
    """A bare index condition asks for the class that the index shows."""
    index_names = set[str]()
    for constraint in constraints:
        index_names |= {condition.name for condition in constraint.change.get("index", ())}
    for name in _top_classes(evidence):
        if evidence.classes[name].index in index_names:
            return [_titled(name)]
    return []


def _from_open_question(text: str, evidence: SceneEvidence) -> list[_Mention]:
    """An open question asks for the top classes that the scene shows."""
    if not re.search(_OPEN_QUESTION, text, re.IGNORECASE):
        return []
    return [_titled(name) for name in _top_classes(evidence) if evidence.present(name)]


def _top_classes(evidence: SceneEvidence) -> list[str]:
    return [name for name in evidence.classes if classes()[name].parent is None]


def _titled(name: str) -> _Mention:
    return _Mention(0, name, classes()[name].title.lower())


def _assign(
    constraints: list[QueryConstraint],
    clauses: list[_Clause],
    mentions: list[_Mention],
    *,
    shared: bool,
) -> list[RequestedClass]:
    """Give each constraint to the classes that it belongs to."""
    assigned = [Constraints() for _ in mentions]
    for constraint in constraints:
        clause = _clause_at(constraint.position, clauses)
        for number in _owners(constraint, clause, mentions, shared=shared):
            assigned[number] = with_changes(assigned[number], constraint.change)
    return [
        RequestedClass(mention.name, mention.phrase, own_constraints)
        for mention, own_constraints in zip(mentions, assigned, strict=True)
    ]


def _clause_at(position: int, clauses: list[_Clause]) -> int:
    """Number of the clause at a position; behind the last one if it is in none."""
    for number, (start, end) in enumerate(clauses):
        if start <= position < end:
            return number
    return len(clauses)


def _owners(
    constraint: QueryConstraint, clause: int, mentions: list[_Mention], *, shared: bool
) -> list[int]:
    """Numbers of the mentions that a constraint in a clause belongs to."""
    every = list(range(len(mentions)))
    inside = [number for number in every if mentions[number].clause == clause]
    before = [number for number in every if mentions[number].clause < clause]
    if inside:
        return every if shared and clause == mentions[-1].clause else inside
    if before and "where" not in constraint.change:
        return before[-1:]
    return every


def _sentence(
    item: RequestedClass, evidence: SceneEvidence, *, counting: bool, explaining: bool
) -> str:
    """What the answer says of a class."""
    index_name = evidence.classes[item.name].index
    words = constraints_text(item.constraints)
    head = format_span(item.name, item.phrase, item.constraints) + (f" ({words})" if words else "")
    if counting:
        text = (
            f"{head}: <fact:count> regions, <fact:area> together, <fact:share> of the scene. "
            "Largest: <fact:largest>."
        )
    else:
        text = (
            f"{head}: <fact:area>, <fact:share> of the scene. "
            "Regions: <fact:count>, the largest <fact:largest>."
        )
    is_offered = index_name in OFFERED_INDICES
    if is_offered and explaining:
        text += (
            f" {index_name} is <fact:contrast:{index_name}>"
            f" (<fact:index:{index_name}> against <fact:outside:{index_name}>);"
            f" its threshold is <fact:threshold:{index_name}>."
        )
    elif is_offered:
        text += (
            f" Mean {index_name}: <fact:index:{index_name}> inside,"
            f" <fact:outside:{index_name}> outside, threshold <fact:threshold:{index_name}>."
        )
    return f"{text} <fact:left_out>; <fact:confusion>." if explaining else text
