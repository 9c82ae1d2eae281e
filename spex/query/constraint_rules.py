"""Constraints in a query, found by fixed rules: sizes, numbers, parts of the scene, index values, exclusions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spex.evidence.class_words import mentioned_classes
from spex.evidence.indices import OFFERED_INDICES
from spex.query.constraints import IndexCondition
from spex.query.numbers import PLAIN_NUMBER

Match = re.Match[str]

_UNITS = {
    "ha": r"ha|hect(?:are)?s?",
    "km2": r"km2|km²|km\^2|sq(?:uare)?\.? ?(?:km|kilomet(?:er|re)s?)",
    "m2": r"m2|m²|m\^2|sqm|sq(?:uare)?\.? ?(?:m\b|met(?:er|re)s?)",
    "px": r"px|pixels?",
}
_UNIT = "|".join(_UNITS.values())
_NUMBERS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "a dozen": 12,
}
_COUNT = rf"\d+|{'|'.join(_NUMBERS)}"
_SIZE = rf"(?:\d+(?:[.,]\d+)*|{'|'.join(_NUMBERS)})"
_AREA = rf"(?P<value>{_SIZE}) ?(?P<unit>{_UNIT})(?!\w)"
_ABOVE = (
    "(?:covering )?(?:larger|bigger|greater|higher|more) than|(?:of )?at least|(?:no|not) (?:smaller|less|lower) than"
    "|above|over|beyond|exceed(?:s|ing)?|in excess of|upwards of|starting at|wider than"
    "|min(?:imum)?(?: size| of)?|>=?|≥"
)
_BELOW = (
    "(?:no|not) (?:larger|bigger|greater|higher|more) than|(?<!no )(?<!not )(?:smaller|less|lower) than|at most|below"
    "|under|up to|max(?:imum)?(?: size| of)?|<=?|≤"
)
_INDEX = "|".join(sorted(OFFERED_INDICES, key=len, reverse=True))
_EXCEPT = (
    "except(?: for)?|but (?:not|no)|and (?:not|no)|(?:that|which) (?:is|are) not|not including|without|excluding"
    "|other than|apart from|minus|w/o|excl|leav(?:e|ing) out|ignoring|skip(?:ping)?|drop(?:ping)?|remov(?:e|ing)"
    "|not counting"
)

_NORTH, _SOUTH, _WEST, _EAST = "north(?:ern)?", "south(?:ern)?", "west(?:ern)?", "east(?:ern)?"
_UP, _DOWN, _LEFT, _RIGHT = (
    f"{_NORTH}|top|upper",
    f"{_SOUTH}|bottom|lower",
    f"{_WEST}|left",
    f"{_EAST}|right",
)
_LEAD = r"(?:only |just )?(?:in|on|at|to|towards?|within|of) (?:the )?"
_OF_SCENE = "(?: of (?:the |this )?(?:image|scene|picture|map|tile))?"
_PART = f" (?:half|part|third|quarter|side|corner|edge|area|region|section|quadrant|end){_OF_SCENE}"


@dataclass(frozen=True)
class Limit:
    """A constraint and its place in the query: fields of ``Constraints``, or ``refuse`` with what cannot be done."""

    at: int
    change: dict[str, Any]


def find_limits(query: str) -> tuple[list[Limit], str]:
    """The constraints of a query, in order, and the query with blanks in their place."""
    found: list[Limit] = []
    rest = query
    for pattern, read in _RULES:
        for match in pattern.finditer(rest):
            change = read(match)
            if change:
                found.append(Limit(match.start(), change))
                rest = rest[: match.start()] + " " * len(match[0]) + rest[match.end() :]
    return sorted(found, key=lambda limit: limit.at), rest


def _number(text: str) -> float:
    if text.lower() in _NUMBERS:
        return float(_NUMBERS[text.lower()])
    return float(re.sub(r",(?=\d{3}(?:\D|$))", "", text).replace(",", "."))


def _unit(text: str) -> str:
    return next(
        name for name, pattern in _UNITS.items() if re.fullmatch(pattern, text, re.IGNORECASE)
    )


def _area(match: Match) -> tuple[float, str]:
    return _number(match["value"]), _unit(match["unit"])


def _at_least(match: Match) -> dict[str, Any]:
    return {"min_area": _area(match)}


def _at_most(match: Match) -> dict[str, Any]:
    return {"max_area": _area(match)}


def _index(match: Match) -> dict[str, Any]:
    name = next(name for name in OFFERED_INDICES if name.lower() == match["name"].lower())
    above = re.fullmatch(_ABOVE, match["side"], re.IGNORECASE)
    return {"index": (IndexCondition(name, "above" if above else "below", float(match["value"])),)}


def _between(match: Match) -> dict[str, Any]:
    low = (_number(match["low"]), _unit(match["low_unit"] or match["unit"]))
    return {"min_area": low, "max_area": _area(match)}


def _top(match: Match) -> dict[str, Any]:
    text = (match["n"] or match["m"] or "1").lower()
    return {"top": _NUMBERS.get(text) or int(text)} if text != "0" else {}


def _away(match: Match) -> dict[str, Any]:
    names = tuple(mentioned_classes(match["what"]))
    return {"exclude": names} if names else {}


def _place(match: Match) -> dict[str, Any]:
    words = next(text for text in (match["place"], match.groupdict().get("side")) if text).lower()
    if re.search("cent|middle", words):
        return {"where": "center"}
    down = "north" if re.match(_UP, words) else "south" if re.match(_DOWN, words) else ""
    across = (
        "west"
        if re.search(f"(?:{_LEFT})$", words)
        else "east"
        if re.search(f"(?:{_RIGHT})$", words)
        else ""
    )
    return {"where": down + across}


def _elsewhere(match: Match) -> dict[str, Any]:
    opposite = {"north": "south", "south": "north", "east": "west", "west": "east"}.get(
        _place(match)["where"]
    )
    return (
        {"where": opposite}
        if opposite
        else {"refuse": f"“{match[0].strip()}”: only a whole half can be left out"}
    )


def _rule(
    pattern: str, read: Callable[[Match], dict[str, Any]]
) -> tuple[re.Pattern[str], Callable[[Match], Any]]:
    return re.compile(pattern, re.IGNORECASE), read


_COMPASS = rf"(?:{_NORTH}|{_SOUTH})(?:[ -]?(?:{_WEST}|{_EAST}))?|{_WEST}|{_EAST}"
_CORNER = rf"(?:{_UP}|{_DOWN})[ -](?:{_LEFT}|{_RIGHT})"
_EVERYDAY = rf"{_UP}|{_DOWN}|{_LEFT}|{_RIGHT}|cent(?:er|re|ral)|middle"

# In this order: index values before sizes ("above 0.6"), "no larger than" before "larger than", corners before sides.
_RULES = (
    _rule(
        rf"(?:\b(?:with|where|whose|having) )?(?:an? |the )?\b(?P<name>{_INDEX})\b(?: values?| index)?"
        rf"(?: is| of| lies)? ?(?P<side>{_ABOVE}|{_BELOW}) ?(?P<value>-?{PLAIN_NUMBER})",
        _index,
    ),
    _rule(
        rf"\b(?:between|from|of|with) (?P<low>{_SIZE}) ?(?P<low_unit>{_UNIT})? ?(?:and|to|-) ?{_AREA}",
        _between,
    ),
    _rule(
        rf"(?:\b(?:of|with|from) )?\b{_AREA} (?:or (?:more|larger)|upwards|and (?:more|larger|up))\b",
        _at_least,
    ),
    _rule(
        rf"(?:\b(?:of|with) )?\b{_AREA} (?:or (?:less|smaller)|and (?:less|smaller))\b", _at_most
    ),
    _rule(rf"(?<!\w)(?:{_BELOW}) ?{_AREA}", _at_most),
    _rule(rf"(?<!\w)(?:{_ABOVE}) ?{_AREA}", _at_least),
    _rule(
        rf"\b(?:(?:the|only) )*(?:(?P<n>{_COUNT}) )?(?:largest|biggest)\b(?: (?P<m>{_COUNT})\b)?",
        _top,
    ),
    _rule(rf"\btop (?P<n>{_COUNT})\b(?P<m>(?!))?", _top),
    _rule(
        rf"\b(?:{_EXCEPT}|not|outside)(?: {_LEAD}| the )(?P<place>{_COMPASS}|{_CORNER}|{_EVERYDAY})\b"
        rf"(?:{_PART}|{_OF_SCENE})",
        _elsewhere,
    ),
    _rule(rf"\b(?:{_EXCEPT})\b(?P<what>(?:(?!,|;|\. |\bplus\b|\bthen\b|\bas well as\b).)*)", _away),
    _rule(rf"(?:\b{_LEAD})?\b(?P<place>{_COMPASS}|{_CORNER})\b(?:{_PART}|{_OF_SCENE})", _place),
    _rule(
        rf"\b{_LEAD}(?P<place>{_EVERYDAY})\b(?:{_PART}|{_OF_SCENE})|\b(?:the )?(?P<side>{_EVERYDAY})\b{_PART}",
        _place,
    ),
)
