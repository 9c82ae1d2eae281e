"""Changes of constraints: put together, turned round, taken over from an earlier turn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

from spex.query.constraints import Constraints, Distance, IndexCondition
from spex.query.elements import Element
from spex.query.lexicon import fold, listed_words
from spex.query.reading import RequestedMask, Understood

_OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
_SIZES = ("min_area", "max_area")
_RANKS = ("top", "bottom")
_NAMED = {
    "max_area": ("max_area",),
    "min_area": ("min_area",),
    "size": _SIZES,
    "distance": ("near", "far"),
    "index": ("index",),
    "where": ("where",),
}
"""Fields of ``Constraints`` by what they are called in the lexicon (``named ...``)."""


def _restated(mask: RequestedMask, constraints: Constraints, words: str = "") -> RequestedMask:
    """A mask with other constraints; what is new came from ``words``."""
    earlier = {item.what: item for item in mask.understood}
    understood = [item for item in mask.understood if item.what.startswith("class=")]
    for name, value in constraints.to_dict().items():
        what = f"{name}={value}"
        understood.append(earlier.get(what, Understood(what, words)))
    return replace(mask, constraints=constraints, understood=tuple(understood))


def narrowed(mask: RequestedMask, constraints: Constraints) -> RequestedMask:
    """A mask under more constraints; of one kind the new ones count."""
    change: dict[str, Any] = {name: value for name, value in vars(constraints).items() if value}
    base = mask.constraints
    if constraints.where:
        base = replace(base, where=())
    if constraints.top or constraints.bottom:
        base = replace(base, top=None, bottom=None)
    if constraints.min_area and constraints.min_area == base.max_area:
        base = replace(base, max_area=None)
    if constraints.max_area and constraints.max_area == base.min_area:
        base = replace(base, min_area=None)
    for condition in constraints.index:
        conditions = tuple(c for c in base.index if not _replaces(condition, c))
        base = replace(base, index=conditions)
    renewed = {distance.class_name for distance in (*constraints.near, *constraints.far)}
    for side in ("near", "far"):
        distances = tuple(d for d in getattr(base, side) if d.class_name not in renewed)
        fields: dict[str, Any] = {side: distances}
        base = replace(base, **fields)
    return _restated(mask, merged(base, change))


def _replaces(condition: IndexCondition, earlier: IndexCondition) -> bool:
    same_side = condition.side == earlier.side
    return condition.name == earlier.name and (same_side or condition.value == earlier.value)


def widened(mask: RequestedMask, constraints: Constraints) -> RequestedMask:
    """A mask in more parts of the scene: "the south third too"."""
    parts = tuple(dict.fromkeys((*mask.constraints.where, *constraints.where)))
    return _restated(mask, replace(mask.constraints, where=parts))


def without_other(mask: RequestedMask, names: Collection[str]) -> RequestedMask:
    """A mask without the exclusions of, and distances to, some classes."""
    held = mask.constraints
    changed = replace(
        held,
        exclude=tuple(name for name in held.exclude if name not in names),
        near=tuple(item for item in held.near if item.class_name not in names),
        far=tuple(item for item in held.far if item.class_name not in names),
    )
    return _restated(mask, changed)


def _fields_named(words: str, language: str) -> set[str]:
    """Fields that words call by name; a bound rather than both where one is named."""
    folded = fold(words).text
    fields: set[str] = set()
    for name, own_fields in _NAMED.items():
        if name == "size" and fields:
            continue
        if any(stem in folded for stem in listed_words(language, f"named {name}")):
            fields.update(own_fields)
    return fields


def without_fields(mask: RequestedMask, words: str, language: str) -> RequestedMask:
    """A mask without the constraints that words call by name; without all if they name none."""
    fields = _fields_named(words, language)
    dropped = {
        name: getattr(Constraints(), name)
        for name in vars(mask.constraints)
        if not fields or name in fields
    }
    return _restated(mask, replace(mask.constraints, **dropped))


def with_distance(
    mask: RequestedMask, side: Literal["near", "far"], metres: float, words: str
) -> RequestedMask:
    """A mask at another distance from the same class; as it is where it has none."""
    held = mask.constraints
    distances = (*held.near, *held.far)
    if len(distances) != 1:
        return mask
    changed: dict[str, Any] = {"near": (), "far": ()}
    changed[side] = (Distance(distances[0].class_name, metres),)
    return _restated(mask, replace(held, **changed), words)


def with_number(mask: RequestedMask, number: float, words: str, language: str) -> RequestedMask:
    """A mask whose only number is another one; as it is where it has none or several."""
    held = mask.constraints
    change: dict[str, Any] = {}
    for name in _SIZES:
        area = getattr(held, name)
        if area:
            change[name] = (number, area[1])
    if len(change) == 2:  # of a range, the bound that is called by name
        fields = _fields_named(words, language)
        change = {name: value for name, value in change.items() if name in fields}
    if len(held.index) == 1:
        only = held.index[0]
        change["index"] = (IndexCondition(only.name, only.side, number),)
    for side in ("near", "far"):
        distances = getattr(held, side)
        if len(distances) == 1:
            change[side] = (replace(distances[0], metres=number),)
    for name in _RANKS:
        if getattr(held, name):
            change[name] = int(number)
    return _restated(mask, replace(held, **change), words) if len(change) == 1 else mask


def reversed_mask(masks: Sequence[RequestedMask]) -> list[RequestedMask] | None:
    """Masks the other way round; None where that has no one meaning.

    Two masks swap their parts of the scene. One mask swaps with the class that it is near to or
    far from, else its only constraint is turned into its opposite.
    """
    if len(masks) == 2:
        first_mask, second_mask = masks
        first = replace(first_mask.constraints, where=second_mask.constraints.where)
        second = replace(second_mask.constraints, where=first_mask.constraints.where)
        return [_restated(first_mask, first), _restated(second_mask, second)]
    if len(masks) != 1:
        return None
    (mask,) = masks
    held = mask.constraints
    for side in ("near", "far"):
        distances = getattr(held, side)
        if len(distances) == 1:
            swapped: dict[str, Any] = {side: (replace(distances[0], class_name=mask.class_name),)}
            name = distances[0].class_name
            return [_restated(RequestedMask(name, name), replace(held, **swapped))]
    if held.where:
        parts = tuple(other_part(part) for part in held.where)
        return [_restated(mask, replace(held, where=parts))]
    if held.index:
        turned = tuple(_turned(condition) for condition in held.index)
        return [_restated(mask, replace(held, index=turned))]
    if held.min_area or held.max_area:
        sizes = replace(held, min_area=held.max_area, max_area=held.min_area)
        return [_restated(mask, sizes)]
    return None


def _turned(condition: IndexCondition) -> IndexCondition:
    side: Literal["above", "below"] = "below" if condition.side == "above" else "above"
    return replace(condition, side=side)


def reversed_change(element: Element) -> dict[str, Any]:
    """Fields of ``Constraints`` of a constraint that is meant the other way round."""
    value = element.value
    if element.kind in ("min_area", "max_area"):
        return {"max_area" if element.kind == "min_area" else "min_area": value}
    if element.kind == "where":
        return {"where": tuple(other_part(part) for part in value)}
    if element.kind == "index":
        turned = []
        for condition in value:
            side: Literal["above", "below"] = "below" if condition.side == "above" else "above"
            turned.append(IndexCondition(condition.name, side, condition.value))
        return {"index": tuple(turned)}
    return {element.kind: -value}


def other_part(part: str) -> str:
    """What a part of the scene leaves: the other half, or all but the part."""
    if part.startswith("-"):
        return part[1:]
    return _OPPOSITE.get(part, f"-{part}")


def merged(constraints: Constraints, change: dict[str, Any]) -> Constraints:
    """Constraints with a change: single values are set, lists grow."""
    fields = dict(change)
    for name in ("where", "index", "exclude", "near", "far"):
        if name in change:
            values = (*getattr(constraints, name), *change[name])
            fields[name] = tuple(dict.fromkeys(values))
    return replace(constraints, **fields)
