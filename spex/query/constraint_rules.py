"""Constraints in a query by fixed rules: sizes, counts, parts, index values, exclusions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spex.evidence.class_words import mentioned_classes
from spex.evidence.indices import OFFERED_INDICES
from spex.query.constraints import IndexCondition
from spex.query.numbers import PLAIN_NUMBER

_Match = re.Match[str]
_Change = dict[str, Any]

_UNITS = {
    "ha": r"ha|hect(?:are)?s?",
    "km2": r"km2|km²|km\^2|sq(?:uare)?\.? ?(?:km|kilomet(?:er|re)s?)",
    "m2": r"m2|m²|m\^2|sqm|sq(?:uare)?\.? ?(?:m\b|met(?:er|re)s?)",
    "px": r"px|pixels?",
}
_UNIT = "|".join(_UNITS.values())
_NUMBER_WORDS = {
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
_COUNT = rf"\d+|{'|'.join(_NUMBER_WORDS)}"
_SIZE = rf"(?:\d+(?:[.,]\d+)*|{'|'.join(_NUMBER_WORDS)})"
_AREA = rf"(?P<value>{_SIZE}) ?(?P<unit>{_UNIT})(?!\w)"
_ABOVE = (
    "(?:covering )?(?:larger|bigger|greater|higher|more) than"
    "|(?:of )?at least|(?:no|not) (?:smaller|less|lower) than"
    "|above|over|beyond|exceed(?:s|ing)?|in excess of|upwards of|starting at|wider than"
    "|min(?:imum)?(?: size| of)?|>=?|≥"
)
_BELOW = (
    "(?:no|not) (?:larger|bigger|greater|higher|more) than"
    "|(?<!no )(?<!not )(?:smaller|less|lower) than|at most|below"
    "|under|up to|max(?:imum)?(?: size| of)?|<=?|≤"
)
_INDEX = "|".join(sorted(OFFERED_INDICES, key=len, reverse=True))
_EXCEPT = (
    "except(?: for)?|but (?:not|no)|and (?:not|no)|(?:that|which) (?:is|are) not|not including"
    "|without|excluding|other than|apart from|minus|w/o|excl|leav(?:e|ing) out|ignoring"
    "|skip(?:ping)?|drop(?:ping)?|remov(?:e|ing)|not counting"
)

_NORTH = "north(?:ern)?"
_SOUTH = "south(?:ern)?"
_WEST = "west(?:ern)?"
_EAST = "east(?:ern)?"
_UP = f"{_NORTH}|top|upper"
_DOWN = f"{_SOUTH}|bottom|lower"
_LEFT = f"{_WEST}|left"
_RIGHT = f"{_EAST}|right"
_COMPASS = rf"(?:{_NORTH}|{_SOUTH})(?:[ -]?(?:{_WEST}|{_EAST}))?|{_WEST}|{_EAST}"
_CORNER = rf"(?:{_UP}|{_DOWN})[ -](?:{_LEFT}|{_RIGHT})"
_SIDE = rf"{_UP}|{_DOWN}|{_LEFT}|{_RIGHT}|cent(?:er|re|ral)|middle"
_LEAD = r"(?:only |just )?(?:in|on|at|to|towards?|within|of) (?:the )?"
_OF_SCENE = "(?: of (?:the |this )?(?:image|scene|picture|map|tile))?"
_PART = " (?:half|part|third|quarter|side|corner|edge|area|region|section|quadrant|end)" + _OF_SCENE
_OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}


@dataclass(frozen=True)
class QueryConstraint:
    """A constraint as a query states it.

    Attributes:
        position: where it begins in the query, characters.
        change: fields of ``Constraints`` with their values, or ``refuse`` with the reason why it
            cannot be met.
    """

    position: int
    change: _Change


def find_constraints(query: str) -> tuple[list[QueryConstraint], str]:
    """The constraints of a query in order, and the query with blanks in their place."""
    constraints: list[QueryConstraint] = []
    remaining = query
    for pattern, read in _RULES:
        for match in pattern.finditer(remaining):
            change = read(match)
            if change:
                constraints.append(QueryConstraint(match.start(), change))
                blanks = " " * len(match[0])
                remaining = remaining[: match.start()] + blanks + remaining[match.end() :]
    return sorted(constraints, key=lambda constraint: constraint.position), remaining


def _number(text: str) -> float:
    if text.lower() in _NUMBER_WORDS:
        return float(_NUMBER_WORDS[text.lower()])
    without_grouping = re.sub(r",(?=\d{3}(?:\D|$))", "", text)
    return float(without_grouping.replace(",", "."))


def _unit(text: str) -> str:
    units = (unit for unit, pattern in _UNITS.items() if re.fullmatch(pattern, text, re.IGNORECASE))
    return next(units)


def _area(match: _Match) -> tuple[float, str]:
    return _number(match["value"]), _unit(match["unit"])


def _at_least(match: _Match) -> _Change:
    return {"min_area": _area(match)}


def _at_most(match: _Match) -> _Change:
    return {"max_area": _area(match)}


def _between(match: _Match) -> _Change:
    unit = _unit(match["low_unit"] or match["unit"])
    return {"min_area": (_number(match["low"]), unit), "max_area": _area(match)}


def _index(match: _Match) -> _Change:
    names = (name for name in OFFERED_INDICES if name.lower() == match["name"].lower())
    is_above = re.fullmatch(_ABOVE, match["side"], re.IGNORECASE)
    condition = IndexCondition(next(names), "above" if is_above else "below", float(match["value"]))
    return {"index": (condition,)}


def _largest(match: _Match) -> _Change:
    count = (match["n"] or match["m"] or "1").lower()
    return {"top": _NUMBER_WORDS.get(count) or int(count)} if count != "0" else {}


def _excluded(match: _Match) -> _Change:
    names = tuple(mentioned_classes(match["what"]))
    return {"exclude": names} if names else {}


def _part(match: _Match) -> _Change:
    words = (match["place"] or match["side"]).lower()
    if re.search("cent|middle", words):
        return {"where": ("center",)}
    vertical = ""
    if re.match(_UP, words):
        vertical = "north"
    elif re.match(_DOWN, words):
        vertical = "south"
    horizontal = ""
    if re.search(f"(?:{_LEFT})$", words):
        horizontal = "west"
    elif re.search(f"(?:{_RIGHT})$", words):
        horizontal = "east"
    return {"where": (vertical + horizontal,)}


def _other_part(match: _Match) -> _Change:
    opposite = _OPPOSITE.get(_part(match)["where"][0])
    if opposite:
        return {"where": (opposite,)}
    return {"refuse": f"“{match[0].strip()}”: only a whole half can be left out"}


_Rule = tuple[re.Pattern[str], Callable[[_Match], _Change]]


def _rule(pattern: str, read: Callable[[_Match], _Change]) -> _Rule:
    return re.compile(pattern, re.IGNORECASE), read


# The order matters: index values before sizes ("above 0.6"), "no larger than" before "larger
# than", corners before sides.
_RULES = (
    _rule(
        r"(?:\b(?:with|where|whose|having) )?(?:an? |the )?"
        rf"\b(?P<name>{_INDEX})\b(?: values?| index)?"
        rf"(?: is| of| lies)? ?(?P<side>{_ABOVE}|{_BELOW}) ?(?P<value>-?{PLAIN_NUMBER})",
        _index,
    ),
    _rule(
        rf"\b(?:between|from|of|with) (?P<low>{_SIZE}) ?(?P<low_unit>{_UNIT})?"
        rf" ?(?:and|to|-) ?{_AREA}",
        _between,
    ),
    _rule(
        rf"(?:\b(?:of|with|from) )?\b{_AREA}"
        r" (?:or (?:more|larger)|upwards|and (?:more|larger|up))\b",
        _at_least,
    ),
    _rule(
        rf"(?:\b(?:of|with) )?\b{_AREA} (?:or (?:less|smaller)|and (?:less|smaller))\b", _at_most
    ),
    _rule(rf"(?<!\w)(?:{_BELOW}) ?{_AREA}", _at_most),
    _rule(rf"(?<!\w)(?:{_ABOVE}) ?{_AREA}", _at_least),
    _rule(
        rf"\b(?:(?:the|only) )*(?:(?P<n>{_COUNT}) )?(?:largest|biggest)\b(?: (?P<m>{_COUNT})\b)?",
        _largest,
    ),
    _rule(rf"\btop (?P<n>{_COUNT})\b(?P<m>(?!))?", _largest),
    _rule(
        rf"\b(?:{_EXCEPT}|not|outside)(?: {_LEAD}| the )"
        rf"(?P<place>{_COMPASS}|{_CORNER}|{_SIDE})\b(?:{_PART}|{_OF_SCENE})",
        _other_part,
    ),
    _rule(
        rf"\b(?:{_EXCEPT})\b(?P<what>(?:(?!,|;|\. |\bplus\b|\bthen\b|\bas well as\b).)*)",
        _excluded,
    ),
    _rule(rf"(?:\b{_LEAD})?\b(?P<place>{_COMPASS}|{_CORNER})\b(?:{_PART}|{_OF_SCENE})", _part),
    _rule(
        rf"\b{_LEAD}(?P<place>{_SIDE})\b(?:{_PART}|{_OF_SCENE})"
        rf"|\b(?:the )?(?P<side>{_SIDE})\b{_PART}",
        _part,
    ),
)
