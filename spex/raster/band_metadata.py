"""What one source says about a raster's bands, how statements complete each other, and what no band can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spex.errors import BandError
from spex.sensors import Band, Level, Sensor

SHORTEST_NM, LONGEST_NM = 200.0, 20_000.0
HOW_TO_SAY = 'say it with --sensor NAME, --bands "B02=490/65,B03=560/35" (centre/width in nm) or a file <scene>.bands.json'


@dataclass(frozen=True)
class BandMetadata:
    """What one source says; None where it says nothing. ``scale`` and ``offset`` per band; ``bad`` are positions."""

    origin: str
    bands: tuple[Band, ...] | None = None
    sensor: Sensor | None = None
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    level: Level | None = None
    gsd_m: float | None = None
    bad: frozenset[int] = field(default_factory=frozenset)
    note: str | None = None

    def fill(self, other: BandMetadata) -> BandMetadata:
        """This statement, completed by a later source; scale and offset come together."""
        scaled = self if self.scale or self.offset else other
        return replace(
            self,
            origin=self.origin if self.bands or not other.bands else other.origin,
            bands=self.bands or other.bands,
            sensor=self.sensor if self.bands else other.sensor,
            scale=scaled.scale,
            offset=scaled.offset,
            level=self.level or other.level,
            gsd_m=self.gsd_m or other.gsd_m,
            bad=self.bad | other.bad,
            note=self.note if self.bands or not other.bands else other.note,
        )

    def only(self, positions: Sequence[int]) -> BandMetadata:
        """The statement about some of the bands."""

        def pick(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
            return values and tuple(values[i] for i in positions)

        return replace(
            self,
            bands=pick(self.bands),
            scale=pick(self.scale),
            offset=pick(self.offset),
            bad=frozenset(),
        )


def check_bands(bands: Sequence[Band], path: str) -> None:
    """Refuse bands that cannot be.

    Raises:
        BandError: a name given twice, two bands of the same centre and width, or impossible numbers.
    """
    names: set[str] = set()
    places: dict[tuple[float, float | None], str] = {}
    for band in bands:
        if band.name in names:
            raise BandError(f"{path}: two bands are called {band.name!r}; name each band once")
        names.add(band.name)
        centre, width = band.wavelength_nm, band.fwhm_nm
        if centre is None:
            continue
        if not SHORTEST_NM <= centre <= LONGEST_NM:
            raise BandError(
                f"{path}: band {band.name!r} at {centre:g} nm; centres lie within {SHORTEST_NM:g}-{LONGEST_NM:g} nm"
            )
        if width is not None and not 0 < width < 2 * centre:
            raise BandError(
                f"{path}: band {band.name!r} at {centre:g} nm cannot be {width:g} nm wide"
            )
        twin = places.setdefault((centre, width), band.name)
        if twin != band.name:
            raise BandError(
                f"{path}: bands {twin!r} and {band.name!r} have the same centre ({centre:g} nm) and width"
            )


def number(value: Any, what: str, origin: str) -> float | None:
    """A finite number of a JSON, None where it is absent.

    Raises:
        BandError: anything else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BandError(f"{origin}: {what} is {value!r}; it must be a number")
    return float(value)
