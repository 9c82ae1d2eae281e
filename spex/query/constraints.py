"""What a query asks of a mask beyond its class: sizes, parts, index values, other classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from spex.evidence.classes import ANY_CLASS

ANY = ANY_CLASS.name
"""In place of a class: every valid pixel."""

SIDES = ("north", "south", "east", "west")
HALVES_AND_QUARTERS = (*SIDES, "northeast", "northwest", "southeast", "southwest", "center")
"""Halves, quarters, and the middle half in both directions."""
SCENE_PARTS = (*HALVES_AND_QUARTERS, *(f"{side}_third" for side in SIDES), "edge")
"""Also the outer thirds, and all but the center."""

AREA_UNITS: Mapping[str, float | None] = {"ha": 1e4, "m2": 1.0, "km2": 1e6, "px": None, "%": None}
"""Square metres of each unit of area; None for pixels and percent of the valid scene."""


@dataclass(frozen=True)
class IndexCondition:
    """Only pixels whose spectral index ``name`` lies ``side`` of ``value``."""

    name: str
    side: Literal["above", "below"]
    value: float

    def __str__(self) -> str:
        return f"{self.name}:{self.side}:{without_exponent(self.value)}"


@dataclass(frozen=True)
class Distance:
    """How far pixels lie from the nearest pixel of another class.

    Attributes:
        class_name: the other class.
        metres: from its mask.
    """

    class_name: str
    metres: float

    def __str__(self) -> str:
        return f"{self.class_name}:{without_exponent(self.metres)}"


@dataclass(frozen=True)
class Constraints:
    """What a span asks of its mask beyond the class.

    Attributes:
        min_area: smallest region kept, as value and unit of ``AREA_UNITS``.
        max_area: largest region kept, likewise.
        where: parts of ``SCENE_PARTS`` whose union is kept; one with a ``-`` before is taken away,
            from the whole scene if no part is kept.
        top: number of regions kept, the largest first; negative: all but so many. Of those that
            the limits leave.
        bottom: number of regions kept, the smallest first; negative: all but so many. Of those that
            ``top`` leaves.
        index: conditions that every pixel meets.
        exclude: names of classes whose pixels are taken away.
        near: every pixel lies within these distances.
        far: every pixel lies beyond these distances.
    """

    min_area: tuple[float, str] | None = None
    max_area: tuple[float, str] | None = None
    where: tuple[str, ...] = ()
    top: int | None = None
    bottom: int | None = None
    index: tuple[IndexCondition, ...] = ()
    exclude: tuple[str, ...] = ()
    near: tuple[Distance, ...] = ()
    far: tuple[Distance, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The constraints that are set, as in a span and in ``extraction.json``."""
        values = {
            "min_area": self.min_area and _area_text(*self.min_area),
            "max_area": self.max_area and _area_text(*self.max_area),
            "where": "+".join(self.where),
            "top": self.top,
            "bottom": self.bottom,
            "index": ",".join(map(str, self.index)),
            "not": ",".join(self.exclude),
            "near": ",".join(map(str, self.near)),
            "far": ",".join(map(str, self.far)),
        }
        return {name: value for name, value in values.items() if value}

    def other_classes(self) -> tuple[str, ...]:
        """Classes whose masks these constraints need, each once."""
        distances = (*self.near, *self.far)
        return tuple(dict.fromkeys((*self.exclude, *(item.class_name for item in distances))))


def _area_text(value: float, unit: str) -> str:
    return without_exponent(value) + unit


def without_exponent(value: float) -> str:
    """A number as the markup takes it: no exponent, and every digit needed to read it back."""
    return f"{Decimal(repr(float(value))).normalize():f}"
