"""Readings as they are compared: constraints as plain values, whatever wrote them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from instruction_data.requests.corpus import REFUSED, WHOLE_SCENE, RequestedSpan
from spex.query.changes import reversed_change
from spex.query.constraints import Constraints
from spex.query.elements import Element
from spex.query.interpretation import USUAL_DISTANCE
from spex.query.reading import Reading

Fact = tuple[str | float | int | None, ...]
"""A constraint, its kind first: ``("min", "m2", 10000.0)``, ``("near", "water", 100.0)``."""
Spans = list[tuple[str, frozenset[Fact]]]
"""Classes, each with its constraints."""

_SQUARE_METRES = {"ha": 1e4, "m2": 1.0, "km2": 1e6}
_TOLERANCE = 0.03  # units are rounded in the readings
_AREA = re.compile(r"([\d.]+)(ha|m2|km2|px|%)")
_INDEX = re.compile(r"([A-Z]+)([<>])(-?[\d.]+)")


def expected_spans(reading: str | Sequence[RequestedSpan]) -> str | Spans:
    """A reading of the corpus; ``REFUSED`` and ``WHOLE_SCENE`` stay as they are."""
    if isinstance(reading, str):
        return reading
    return [(span.class_name, frozenset(map(_fact, span.constraints))) for span in reading]


def read_spans(reading: Reading) -> str | Spans:
    """What ``read_request`` returned, in the same form."""
    if reading.reply or reading.refusal:
        return REFUSED
    if reading.whole_scene:
        return WHOLE_SCENE
    return [(mask.class_name, frozenset(facts_of(mask.constraints))) for mask in reading.masks]


def _fact(text: str) -> Fact:
    kind, _, value = text.partition("=")
    if kind in ("min", "max"):
        match = _AREA.fullmatch(value)
        assert match is not None, text  # the corpus is in its notation
        return _area(kind, float(match[1]), match[2])
    if kind == "where":
        return ("where", *sorted(value.split("+")))
    if kind in ("top", "bottom"):
        return (kind, int(value))
    if kind == "idx":
        match = _INDEX.fullmatch(value)
        assert match is not None, text
        return ("index", match[1], match[2], float(match[3]))
    if kind == "not":
        return ("not", value)
    name, _, metres = value.partition(":")
    return (kind, name, float(metres[:-1]) if metres else None)


def _area(kind: str, value: float, unit: str) -> Fact:
    if unit in _SQUARE_METRES:
        return (kind, "m2", value * _SQUARE_METRES[unit])
    return (kind, unit, value)


def facts_of(constraints: Constraints) -> list[Fact]:
    """The constraints of a mask."""
    facts: list[Fact] = []
    if constraints.min_area:
        facts.append(_area("min", *constraints.min_area))
    if constraints.max_area:
        facts.append(_area("max", *constraints.max_area))
    if constraints.where:
        facts.append(("where", *sorted(constraints.where)))
    for kind in ("top", "bottom"):
        if getattr(constraints, kind):
            facts.append((kind, getattr(constraints, kind)))
    for condition in constraints.index:
        side = ">" if condition.side == "above" else "<"
        facts.append(("index", condition.name, side, condition.value))
    facts += [("not", name) for name in constraints.exclude]
    for kind in ("near", "far"):
        for distance in getattr(constraints, kind):
            facts.append((kind, distance.class_name, distance.metres))
    return facts


def facts_of_element(element: Element, *, reversed_: bool = False) -> list[Fact]:
    """What a constraint found in a request states.

    Args:
        element: of a kind in ``CONSTRAINTS``.
        reversed_: whether it is meant the other way round.
    """
    change = reversed_change(element) if reversed_ else {element.kind: element.value}
    return facts_of(Constraints(**change))


def is_same(first: Fact, second: Fact) -> bool:
    """Whether two constraints are the same but for rounding; no distance means 100 m."""
    if len(first) != len(second) or first[0] != second[0]:
        return False
    for own, other in zip(first[1:], second[1:], strict=True):
        own_value = USUAL_DISTANCE if own is None else own
        other_value = USUAL_DISTANCE if other is None else other
        if isinstance(own_value, float) and isinstance(other_value, float):
            if abs(own_value - other_value) > _TOLERANCE * max(abs(own_value), abs(other_value)):
                return False
        elif own_value != other_value:
            return False
    return True


def holds(fact: Fact, facts: Collection[Fact]) -> bool:
    """Whether a constraint is among others; of parts of the scene some suffice."""
    for other in facts:
        if fact[0] == other[0] == "where" and set(fact[1:]) <= set(other[1:]):
            return True
        if is_same(fact, other):
            return True
    return False


def same_spans(first: str | Spans, second: str | Spans) -> bool:
    """Whether two readings ask for the same masks, in any order."""
    if isinstance(first, str) or isinstance(second, str):
        return first == second
    if len(first) != len(second):
        return False
    left = list(second)
    for name, facts in first:
        for number, (other_name, other_facts) in enumerate(left):
            if name == other_name and _same_facts(facts, other_facts):
                del left[number]
                break
        else:
            return False
    return True


def _same_facts(first: Collection[Fact], second: Collection[Fact]) -> bool:
    return (
        len(first) == len(second)
        and all(any(is_same(fact, other) for other in second) for fact in first)
        and all(any(is_same(fact, other) for other in first) for fact in second)
    )
