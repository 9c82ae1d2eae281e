"""Follow-up questions by fixed rules: what a query without a subject of its own does to the answer before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from spex.query.answer_markup import Span
from spex.query.constraint_rules import Limit
from spex.query.constraints import Constraints

WHY = re.compile(
    r"\bwhy\b|\bexplain\b|\bhow (?:do|can|did) you (?:know|tell)\b|\bhow (?:sure|certain)\b|\bare you sure\b"
    r"|\bwhat (?:makes|speaks)\b|\breasons?\b|\bevidence\b|\bjustify\b|\bcould (?:it|that|this) be\b",
    re.IGNORECASE,
)
_ALSO = re.compile(
    r"\b(?:also|too|add|additionally|in addition|don't forget)\b|\bas well\b(?! as)|^\s*(?:and|plus)\b",
    re.IGNORECASE,
)
_INSTEAD = re.compile(
    r"\b(?:instead|rather|same for|what about|how about|i meant?)\b", re.IGNORECASE
)
_ABOUT = re.compile(
    r"\b(?:it|its|them|they|those|these|their|area|share|count|size|part)\b|\bhow (?:many|much|large|big|small)\b"
    r"|^\W*(?:and )?where\W*$",
    re.IGNORECASE,
)

Wanted = tuple[str, str, Constraints]  # class, phrase, constraints


def narrowed(constraints: Constraints, change: dict[str, Any]) -> Constraints:
    """Constraints with some fields set anew; index conditions and exclusions are added to those there."""
    fields: dict[str, Any] = {
        key: tuple(dict.fromkeys((*getattr(constraints, key), *value)))
        if key in ("index", "exclude")
        else value
        for key, value in change.items()
    }
    return replace(constraints, **fields)


def followed_up(
    query: str, fresh: list[Wanted], limits: Sequence[Limit], earlier: Sequence[Span]
) -> list[Wanted]:
    """What a query asks for after an answer with the spans ``earlier``.

    Args:
        fresh: what the query names by itself, with its constraints; a subject of its own is a new question unless it
            says "also", "instead" or "why".
        limits: the query's constraints.

    Returns:
        Nothing where the query does not speak of the answer before it, or takes all of it away.
    """
    before: list[Wanted] = [(span.class_name, span.phrase, span.constraints) for span in earlier]
    names = {name for name, _, _ in fresh}
    if fresh:
        if _INSTEAD.search(query):
            kept = before[0][2]
            return [
                (
                    name,
                    phrase,
                    narrowed(kept, {key: value for key, value in vars(own).items() if value}),
                )
                for name, phrase, own in fresh
            ]
        if _ALSO.search(query):
            return [one for one in before if one[0] not in names] + fresh
        if WHY.search(query):
            return [one for one in before if one[0] in names] or fresh
        return fresh
    for limit in limits:
        change = dict(limit.change)
        if "exclude" in change:
            asked = {name for name, _, _ in before}
            before = [one for one in before if one[0] not in change["exclude"]]
            change["exclude"] = tuple(name for name in change["exclude"] if name not in asked)
        before = [
            (name, phrase, narrowed(constraints, change)) for name, phrase, constraints in before
        ]
    return before if limits or WHY.search(query) or _ABOUT.search(query) else []
