"""Follow-up questions by fixed rules: what a query does to the answer before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from spex.query.answer_markup import Span
from spex.query.constraint_rules import QueryConstraint
from spex.query.constraints import Constraints

WHY = re.compile(
    r"\bwhy\b|\bexplain\b|\bhow (?:do|can|did) you (?:know|tell)\b|\bhow (?:sure|certain)\b"
    r"|\bare you sure\b|\bwhat (?:makes|speaks)\b|\breasons?\b|\bevidence\b|\bjustify\b"
    r"|\bcould (?:it|that|this) be\b",
    re.IGNORECASE,
)
_ALSO = re.compile(
    r"\b(?:also|too|add|additionally|in addition|don't forget)\b|\bas well\b(?! as)"
    r"|^\s*(?:and|plus)\b",
    re.IGNORECASE,
)
_INSTEAD = re.compile(
    r"\b(?:instead|rather|same for|what about|how about|i meant?)\b", re.IGNORECASE
)
_ABOUT = re.compile(
    r"\b(?:it|its|them|they|those|these|their|area|share|count|size|part)\b"
    r"|\bhow (?:many|much|large|big|small)\b|^\W*(?:and )?where\W*$",
    re.IGNORECASE,
)


class RequestedClass(NamedTuple):
    """A class that a query asks for, with the words for it and its constraints."""

    name: str
    phrase: str
    constraints: Constraints


def with_changes(constraints: Constraints, change: dict[str, Any]) -> Constraints:
    """Constraints with some fields set anew; index conditions and exclusions are added instead."""
    fields = dict(change)
    for name in ("index", "exclude"):
        if name in change:
            values = (*getattr(constraints, name), *change[name])
            fields[name] = tuple(dict.fromkeys(values))
    return replace(constraints, **fields)


def follow_up(
    query: str,
    requested: list[RequestedClass],
    constraints: Sequence[QueryConstraint],
    earlier: Sequence[Span],
) -> list[RequestedClass]:
    """What a query asks for after an answer.

    Args:
        query: the follow-up.
        requested: the classes that the query names, with their constraints. They are a new
            question unless the query says "also", "instead" or "why".
        constraints: those that the query states.
        earlier: spans of the answer before it.

    Returns:
        Nothing where the query does not refer to the answer before it, or takes all of it away.
    """
    before = [RequestedClass(span.class_name, span.phrase, span.constraints) for span in earlier]
    if requested:
        return _with_subject(query, requested, before)
    if not (constraints or WHY.search(query) or _ABOUT.search(query)):
        return []
    for constraint in constraints:
        before = _narrowed(before, constraint.change)
    return before


def _with_subject(
    query: str, requested: list[RequestedClass], before: list[RequestedClass]
) -> list[RequestedClass]:
    """What a follow-up asks for that names a class itself."""
    names = {item.name for item in requested}
    if _INSTEAD.search(query):
        return [_in_place_of(before[0], item) for item in requested]
    if _ALSO.search(query):
        return [item for item in before if item.name not in names] + requested
    if WHY.search(query):
        return [item for item in before if item.name in names] or requested
    return requested


def _in_place_of(earlier: RequestedClass, item: RequestedClass) -> RequestedClass:
    """A class under the constraints of an earlier one, unless it has its own."""
    changes = {name: value for name, value in vars(item.constraints).items() if value}
    return item._replace(constraints=with_changes(earlier.constraints, changes))


def _narrowed(before: list[RequestedClass], change: dict[str, Any]) -> list[RequestedClass]:
    """Classes under one more constraint; an exclusion of one of them drops it."""
    remaining = before
    change = dict(change)
    if "exclude" in change:
        names = {item.name for item in before}
        remaining = [item for item in before if item.name not in change["exclude"]]
        change["exclude"] = tuple(name for name in change["exclude"] if name not in names)
    return [item._replace(constraints=with_changes(item.constraints, change)) for item in remaining]
