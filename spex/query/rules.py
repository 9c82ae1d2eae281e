"""Reading a query by fixed rules: how the index-only method understands, and a check on the language model.

Constraints are found first and blanked out; the rest is split into clauses at commas and "and"; the classes of a clause
get the constraints that stand in it. One in a clause of its own belongs to every class (a leading one, or a place) or
to the class before it; "both" and "all" share the last one with every class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from spex.evidence.class_words import mentioned_classes
from spex.evidence.classes import classes
from spex.evidence.indices import OFFERED_INDICES
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.answer_markup import Answer, format_span, parse_answer
from spex.query.constraint_rules import Limit, find_limits
from spex.query.constraints import Constraints
from spex.query.followups import WHY, Wanted, followed_up, narrowed
from spex.query.prompt import Exchange
from spex.query.wording import constraints_text

EXAMPLES = (
    '"open water larger than 1 ha", "forest in the northern half", "the three largest lakes", '
    '"vegetation but not cropland"'
)
_BEYOND = {
    "single objects, not land cover": (
        "cars?|vehicles?|trucks?|people|persons?|animals?|cows?|cattle|ships?|boats?|vessels?|air(?:craft|planes?)|planes?"
    ),
    "what one image cannot tell": (
        r"chang(?:e|ed|es)|since (?:19|20)\d\d|forecast|tomorrow|next (?:week|month|year)|prices?|value of|population"
        "|owners?|who|names? of|temperatures?|depth|height|how (?:deep|tall|hot|cold)"
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

Asked = tuple[int, str, str]  # clause, class, phrase


def read_query(query: str, evidence: SceneEvidence, history: Sequence[Exchange] = ()) -> Answer:
    """The answer that a query asks for, or a refusal that says why not; ``history``: the exchanges before it."""
    for reason, words in _BEYOND.items():
        hit = re.search(rf"\b(?:{words})\b", query, re.IGNORECASE)
        if hit:
            return _refuse(
                f"“{hit[0]}” asks for {reason}; ask for land cover, for example {EXAMPLES}"
            )
    limits, rest = find_limits(query)
    for limit in limits:
        if "refuse" in limit.change:
            return _refuse(limit.change["refuse"])
    clauses = [match.span() for match in _CLAUSE.finditer(rest)]
    asked: list[Asked] = []
    for number, (start, end) in enumerate(clauses):
        for name in mentioned_classes(rest[start:end]):
            if name not in [known for _, known, _ in asked]:
                asked.append((number, name, _phrase(rest[start:end], name)))
    shared = bool(re.search(r"\b(?:both|all)\b", query, re.IGNORECASE))
    wanted = _assign(limits, clauses, asked, shared=shared)
    earlier = parse_answer(history[-1].answer).spans if history else ()
    if earlier:
        wanted = followed_up(query, wanted, limits, earlier)
    if not wanted:
        wanted = _assign(
            limits,
            clauses,
            _from_indices(limits, evidence) or _description(rest, evidence),
            shared=shared,
        )
    if not wanted:
        return _refuse(f"no land cover was recognised in the query; ask for example {EXAMPLES}")
    explaining, counting = bool(WHY.search(query)), bool(_COUNTING.search(query))
    sentences = (
        _sentence(*one, evidence, counting=counting, explaining=explaining) for one in wanted
    )
    return parse_answer(" ".join(sentences))


def _refuse(reason: str) -> Answer:
    text = reason.replace("<", "‹").replace(">", "›")
    return parse_answer(f"<refuse>{text}</refuse>")


def _phrase(clause: str, name: str) -> str:
    """The person's own words for a class, where they are one of its synonyms."""
    for words in sorted((*classes()[name].synonyms, classes()[name].title), key=len, reverse=True):
        match = re.search(rf"\b{re.escape(words)}(?:s|es)?\b", clause, re.IGNORECASE)
        if match:
            return match[0].lower()
    return classes()[name].title.lower()


def _from_indices(limits: list[Limit], evidence: SceneEvidence) -> list[Asked]:
    """A bare index condition asks for the class that the index shows."""
    named = [condition.name for limit in limits for condition in limit.change.get("index", ())]
    tops = [name for name in evidence.classes if classes()[name].parent is None]
    shown = [name for name in tops if evidence.classes[name].index in named]
    return [(0, name, classes()[name].title.lower()) for name in shown[:1]]


def _description(text: str, evidence: SceneEvidence) -> list[Asked]:
    """An open question asks for the top classes that the scene shows."""
    if not re.search(_OPEN_QUESTION, text, re.IGNORECASE):
        return []
    shown = [
        name
        for name in evidence.classes
        if evidence.present(name) and classes()[name].parent is None
    ]
    return [(0, name, classes()[name].title.lower()) for name in shown]


def _assign(
    limits: list[Limit], clauses: list[tuple[int, int]], asked: list[Asked], *, shared: bool
) -> list[Wanted]:
    """Give each constraint to the classes it speaks of."""
    wanted = [Constraints() for _ in asked]
    everyone = list(range(len(asked)))
    for limit in limits:
        clause = next(
            (i for i, (start, end) in enumerate(clauses) if start <= limit.at < end), len(clauses)
        )
        here = [i for i, (number, _, _) in enumerate(asked) if number == clause]
        before = [i for i, (number, _, _) in enumerate(asked) if number < clause]
        if not here:
            here = before[-1:] if before and "where" not in limit.change else everyone
        elif shared and clause == asked[-1][0]:
            here = everyone
        for i in here:
            wanted[i] = narrowed(wanted[i], limit.change)
    return [
        (name, phrase, constraints)
        for (_, name, phrase), constraints in zip(asked, wanted, strict=True)
    ]


def _sentence(
    name: str,
    phrase: str,
    constraints: Constraints,
    evidence: SceneEvidence,
    *,
    counting: bool,
    explaining: bool,
) -> str:
    index_name = evidence.classes[name].index
    asked = constraints_text(constraints)
    head = format_span(name, phrase, constraints) + (f" ({asked})" if asked else "")
    if counting:
        text = f"{head}: <fact:count> regions, <fact:area> together, <fact:share> of the scene. Largest: <fact:largest>."
    else:
        text = f"{head}: <fact:area>, <fact:share> of the scene. Regions: <fact:count>, the largest <fact:largest>."
    offered = index_name in OFFERED_INDICES
    if offered and explaining:
        text += (
            f" {index_name} is <fact:contrast:{index_name}> (<fact:index:{index_name}> against"
            f" <fact:outside:{index_name}>); its threshold is <fact:threshold:{index_name}>."
        )
    elif offered:
        text += (
            f" Mean {index_name}: <fact:index:{index_name}> inside, <fact:outside:{index_name}> outside,"
            f" threshold <fact:threshold:{index_name}>."
        )
    return f"{text} <fact:left_out>; <fact:confusion>." if explaining else text
