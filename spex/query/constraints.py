"""What a query asks of a mask beyond its class: sizes, parts, index values, exclusions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

SCENE_PARTS = (
    "north",
    "south",
    "east",
    "west",
    "northeast",
    "northwest",
    "southeast",
    "southwest",
    "center",
)
AREA_UNITS: Mapping[str, float | None] = {"ha": 1e4, "m2": 1.0, "km2": 1e6, "px": None}
"""Square metres of each unit of area; None for pixels, whose area is the scene's."""


@dataclass(frozen=True)
class IndexCondition:
    """Only pixels whose spectral index ``name`` lies ``side`` of ``value``."""

    name: str
    side: Literal["above", "below"]
    value: float

    def __str__(self) -> str:
        return f"{self.name}:{self.side}:{_without_exponent(self.value)}"


@dataclass(frozen=True)
class Constraints:
    """What a span asks of its mask beyond the class.

    Attributes:
        min_area: smallest region kept, as value and unit of ``AREA_UNITS``.
        max_area: largest region kept, likewise.
        where: one of ``SCENE_PARTS``.
        top: number of regions kept, the largest first.
        index: conditions that every pixel meets.
        exclude: names of classes whose pixels are taken away.
    """

    min_area: tuple[float, str] | None = None
    max_area: tuple[float, str] | None = None
    where: str | None = None
    top: int | None = None
    index: tuple[IndexCondition, ...] = ()
    exclude: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The constraints that are set, as in a span and in ``extraction.json``."""
        values = {
            "min_area": self.min_area and _area_text(*self.min_area),
            "max_area": self.max_area and _area_text(*self.max_area),
            "where": self.where,
            "top": self.top,
            "index": ",".join(map(str, self.index)),
            "not": ",".join(self.exclude),
        }
        return {name: value for name, value in values.items() if value}


def _area_text(value: float, unit: str) -> str:
    return _without_exponent(value) + unit


def _without_exponent(value: float) -> str:
    """A number as the grammar takes it: no exponent, and every digit needed to read it back."""
    return f"{Decimal(repr(float(value))).normalize():f}"
