"""Reading a query by fixed rules: the index-only method's understanding, and an independent check on the language model.

Constraints are found first and blanked out; the rest is split into clauses at commas and "and"; the classes of a clause get
the constraints that stand in it. A constraint in a clause of its own belongs to every class (leading, or a place at the end) or
to the class before it; one at the end of a list of bare classes belongs to the whole list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from spex.engine.wording import constraints_text
from spex.evidence.classes import classes, mentioned
from spex.evidence.indices import OFFERED_INDICES
from spex.evidence.scene import SceneEvidence
from spex.prompts import Answer, Constraints, IndexCondition, format_span, parse_answer

EXAMPLES = '"open water larger than 1 ha", "forest in the northern half", "the three largest lakes", "vegetation but not cropland"'

_UNITS = {
    "ha": r"ha|hectares?",
    "km2": r"km2|km²|km\^2|sq(?:uare)?\.? ?(?:km|kilomet(?:er|re)s?)",
    "m2": r"m2|m²|m\^2|sqm|sq(?:uare)?\.? ?(?:m\b|met(?:er|re)s?)",
    "px": r"px|pixels?",
}
_AREA = r"(?P<value>\d+(?:[.,]\d+)*) ?(?P<unit>" + "|".join(_UNITS.values()) + r")(?!\w)"
_MORE = r"larger than|bigger than|greater than|more than|at least|no smaller than|no less than|not smaller than|above|over|exceeding|minimum(?: of)?|>=?|≥"
_LESS = r"smaller than|less than|no larger than|no bigger than|no more than|not larger than|at most|below|under|up to|maximum(?: of)?|<=?|≤"
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_SIDE = {"above": r"north(?:ern)?|top|upper", "below": r"south(?:ern)?|bottom|lower"}
_ACROSS = {"west": r"west(?:ern)?|left", "east": r"east(?:ern)?|right"}
_PART = r"(?: (?:half|part|third|quarter|side|corner|edge|area|region|section|quadrant|end))?"
_INDEX_NAMES = "|".join(sorted(OFFERED_INDICES, key=len, reverse=True))
_BEYOND = {
    "single objects smaller than land cover": r"cars?|vehicles?|trucks?|people|persons?|animals?|cows?|cattle|ships?|boats?|vessels?|air(?:craft|planes?)|planes?",
    "what a single image cannot tell": r"chang(?:e|ed|es)|since (?:19|20)\d\d|forecast|tomorrow|next (?:week|month|year)|prices?|owners?|owns?|population|temperatures?|how (?:deep|high|tall|hot|cold)|depth|height",
}  # fmt: skip
_DESCRIBE = r"land ?cover|describe|what (?:can|do) (?:you|i|we) see|what(?:'s| is| are)? (?:there |shown |visible )?(?:in|on|here)\b|classify|everything|overview"


@dataclass(frozen=True)
class _Found:
    """A constraint and where it stood in the query."""

    at: int
    change: dict[str, Any]


def read_query(query: str, evidence: SceneEvidence) -> Answer:
    """The answer that a query asks for, or a refusal that says why not.

    Raises nothing: a query that is not understood is refused with examples.
    """
    for reason, words in _BEYOND.items():
        hit = re.search(rf"\b(?:{words})\b", query, re.IGNORECASE)
        if hit:
            return _refuse(f"“{hit[0]}” asks for {reason}; land cover can be asked for, for example {EXAMPLES}")
    found: list[_Found] = []
    rest = _take(query, found)
    clauses = [
        (match.start(), match.end())
        for match in re.finditer(r"(?:(?!,|;|\band\b|\bas well as\b|\bplus\b|&|\. ).)+", rest)
    ]
    asked: list[tuple[int, str, str]] = []  # clause, class, phrase
    for number, (start, end) in enumerate(clauses):
        for name in mentioned(rest[start:end]):
            if name not in [known for _, known, _ in asked]:
                asked.append((number, name, _phrase(rest[start:end], name)))
    if not asked:
        asked = _from_indices(found, evidence) or _description(rest, evidence)
    if not asked:
        return _refuse(f"no land cover was recognised in the query; ask for example {EXAMPLES}")
    wanted = _assign(found, clauses, asked)
    spans = [(name, phrase, constraints) for (_, name, phrase), constraints in zip(asked, wanted, strict=True)]
    return parse_answer(" ".join(_sentence(*span, query, evidence) for span in spans))


def _refuse(reason: str) -> Answer:
    text = reason.replace("<", "‹").replace(">", "›")
    return parse_answer(f"<refuse>{text}</refuse>")


def _take(query: str, found: list[_Found]) -> str:
    """Collect the constraints of a query; what is left has blanks in their place."""
    rest = query

    def blank(pattern: str, change: Any) -> None:
        nonlocal rest
        for match in re.finditer(pattern, rest, re.IGNORECASE):
            value = change(match)
            if value:
                found.append(_Found(match.start(), value))
                rest = rest[: match.start()] + " " * len(match[0]) + rest[match.end() :]

    def condition(match: re.Match[str]) -> dict[str, Any]:
        name = next(name for name in OFFERED_INDICES if name.lower() == match["name"].lower())
        above = re.fullmatch(rf"{_MORE}|higher than", match["side"], re.IGNORECASE)
        return {"index": (IndexCondition(name, "above" if above else "below", float(match["value"])),)}

    def away(match: re.Match[str]) -> dict[str, Any]:
        names = tuple(mentioned(match["what"]))
        return {"exclude": names} if names else {}

    blank(
        rf"(?:\b(?:with|where|whose|having) )?(?:an? |the )?\b(?P<name>{_INDEX_NAMES})\b(?: value| index)?(?: is| of| lies)? ?"
        rf"(?P<side>{_MORE}|{_LESS}|higher than|lower than) ?(?P<value>-?\d+(?:\.\d+)?)",
        condition,
    )
    blank(
        rf"\bbetween (?P<low>\d+(?:\.\d+)?) ?(?:{'|'.join(_UNITS.values())})? ?(?:and|to|-) ?{_AREA}",
        lambda match: {"min_area": (float(match["low"]), _unit(match["unit"])), "max_area": _area(match)},
    )
    # "no larger than" holds "larger than": the longer wording must be tried first.
    blank(rf"(?<!\w)(?:{_LESS}) {_AREA}|(?<!\w)[<≤]=? ?{_AREA.replace('value', 'v2').replace('unit', 'u2')}",
          lambda match: {"max_area": _area(match) if match["value"] else (_number(match["v2"]), _unit(match["u2"]))})  # fmt: skip
    blank(rf"(?<!\w)(?:{_MORE}) ?{_AREA}", lambda match: {"min_area": _area(match)})
    blank(
        r"(?:\b(?:the|only) )*\b(?:(?P<n>\d+|"
        + "|".join(_NUMBERS)
        + r") )?(?:largest|biggest)\b(?: (?P<m>\d+|"
        + "|".join(_NUMBERS)
        + r")\b)?",
        lambda match: {"top": _count(match["n"] or match["m"])},
    )
    blank(
        r"\b(?:except(?: for)?|but not|and not|without|excluding|other than|apart from|minus|not including)\b(?P<what>[^,;.]*)",
        away,
    )
    down, across = "|".join(_SIDE.values()), "|".join(_ACROSS.values())
    lead = r"(?:\b(?:only |just )?(?:in|on|at|to|towards?|within|of) )?(?:\bthe )?"
    blank(
        rf"{lead}\b(?P<down>{down})(?:[ -]?(?P<across>{across}))?\b{_PART}(?: of (?:the |this )?(?:image|scene|picture|map))?",
        _place,
    )
    blank(
        rf"{lead}\b(?P<across>{across})(?P<down>(?!))?\b{_PART}(?: of (?:the |this )?(?:image|scene|picture|map))?",
        _place,
    )
    blank(
        rf"{lead}\b(?:cent(?:er|re)|central|middle)\b{_PART}(?: of (?:the |this )?(?:image|scene|picture|map))?",
        lambda _: {"where": "center"},
    )
    return rest


def _place(match: re.Match[str]) -> dict[str, str]:
    down, across = match["down"] or "", match["across"] or ""
    north = "north" if re.fullmatch(_SIDE["above"], down, re.IGNORECASE) else "south" if down else ""
    west = "west" if re.fullmatch(_ACROSS["west"], across, re.IGNORECASE) else "east" if across else ""
    return {"where": north + west}


def _number(text: str) -> float:
    return float(re.sub(r",(?=\d{3}(?:\D|$))", "", text).replace(",", "."))


def _unit(text: str) -> str:
    return next(name for name, pattern in _UNITS.items() if re.fullmatch(pattern, text, re.IGNORECASE))


def _area(match: re.Match[str]) -> tuple[float, str]:
    return _number(match["value"]), _unit(match["unit"])


def _count(text: str | None) -> int:
    return 1 if not text else int(text) if text.isdigit() else _NUMBERS[text.lower()]


def _phrase(clause: str, name: str) -> str:
    """The person's own words for a class, where they are one of its synonyms."""
    for words in sorted((*classes()[name].synonyms, classes()[name].title), key=len, reverse=True):
        match = re.search(rf"\b{re.escape(words)}(?:s|es)?\b", clause, re.IGNORECASE)
        if match:
            return match[0].lower()
    return classes()[name].title.lower()


def _from_indices(found: list[_Found], evidence: SceneEvidence) -> list[tuple[int, str, str]]:
    """A bare index condition asks for the class that the index shows."""
    named = [condition.name for one in found for condition in one.change.get("index", ())]
    shown = [
        name for name, state in evidence.classes.items() if state.index in named and classes()[name].parent is None
    ]
    return [(0, name, classes()[name].title.lower()) for name in shown[:1]]


def _description(text: str, evidence: SceneEvidence) -> list[tuple[int, str, str]]:
    """An open question asks for the top classes that the scene shows."""
    if not re.search(_DESCRIBE, text, re.IGNORECASE):
        return []
    shown = [name for name in evidence.classes if evidence.present(name) and classes()[name].parent is None]
    return [(0, name, classes()[name].title.lower()) for name in shown]


def _assign(
    found: list[_Found], clauses: list[tuple[int, int]], asked: list[tuple[int, str, str]]
) -> list[Constraints]:
    """Give each constraint to the classes it speaks of."""
    wanted = [Constraints() for _ in asked]
    for one in sorted(found, key=lambda item: item.at):
        clause = next((i for i, (start, end) in enumerate(clauses) if start <= one.at < end), len(clauses))
        here = [i for i, (number, _, _) in enumerate(asked) if number == clause]
        before = [i for i, (number, _, _) in enumerate(asked) if number < clause]
        last = max(number for number, _, _ in asked)
        if not here:
            here = before[-1:] if before and "where" not in one.change else list(range(len(asked)))
        elif clause == last and all(wanted[i] == Constraints() for i in before) and not one.change.get("top"):
            trailing = clauses[clause][0] + len("and ") < one.at and not _opens(one, clauses[clause])
            here = before + here if trailing else here
        for i in here:
            merged = {key: value + getattr(wanted[i], key) if isinstance(value, tuple) and key in ("index", "exclude") else value
                      for key, value in one.change.items()}  # fmt: skip
            wanted[i] = replace(wanted[i], **merged)
    return wanted


def _opens(one: _Found, clause: tuple[int, int]) -> bool:
    return one.at <= clause[0] + 1


def _sentence(name: str, phrase: str, constraints: Constraints, query: str, evidence: SceneEvidence) -> str:
    tagged = format_span(name, phrase, constraints)
    index_name = evidence.classes[name].index
    asked = constraints_text(constraints)
    head = tagged + (f" ({asked})" if asked else "")
    if re.search(r"\bhow many\b|\bcount\b|\bnumber of\b", query, re.IGNORECASE):
        text = f"{head}: <fact:count> regions, together <fact:area>, <fact:share> of the scene; the largest has <fact:largest>."
    else:
        text = f"{head}: <fact:area>, <fact:share> of the scene. Regions: <fact:count>, the largest <fact:largest>."
    if index_name in OFFERED_INDICES:
        text += (
            f" Mean {index_name}: <fact:index:{index_name}> inside, <fact:outside:{index_name}> outside,"
            f" threshold <fact:threshold:{index_name}>."
        )
    return text
