"""``BandMetadata``: what a source states about a raster's bands; sources complete each other.

A band's wavelength comes from the first source that states it; ``spex.raster.band_sources`` holds
their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spex.errors import BandError
from spex.sensors import Band, Level, Sensor

SHORTEST_NM = 200.0
LONGEST_NM = 20_000.0
THERMAL_FROM_NM = 3000.0  # from here on a surface emits more light than it reflects
HOW_TO_STATE_BANDS = (
    'state the bands with --sensor NAME, with --bands "B02=490/65,B03=560/35" (centre/width in nm) '
    "or in a file <scene>.bands.json"
)


@dataclass(frozen=True)
class BandMetadata:
    """What one source states about the bands of a raster; None where it states nothing.

    Attributes:
        origin: name of the source, for messages.
        bands: all bands in file order.
        sensor: the sensor that recorded them.
        scale: per band, reflectance = stored number x scale + offset.
        offset: per band.
        level: processing level.
        gsd_m: size of a pixel in metres.
        bad: positions of the bands that carry no signal, from 0.
        note: warning for the user about how the bands were recognised.
    """

    origin: str
    bands: tuple[Band, ...] | None = None
    sensor: Sensor | None = None
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    level: Level | None = None
    gsd_m: float | None = None
    bad: frozenset[int] = field(default_factory=frozenset)
    note: str | None = None

    def completed_by(self, later: BandMetadata) -> BandMetadata:
        """This metadata, with gaps filled from a later source.

        Scale and offset are taken together, and so are bands, sensor and note.
        """
        radiometry = self if self.scale or self.offset else later
        spectral = self if self.bands or not later.bands else later
        return replace(
            self,
            origin=spectral.origin,
            bands=spectral.bands,
            sensor=self.sensor if self.bands else later.sensor,
            scale=radiometry.scale,
            offset=radiometry.offset,
            level=self.level or later.level,
            gsd_m=self.gsd_m or later.gsd_m,
            bad=self.bad | later.bad,
            note=spectral.note,
        )

    def of_bands(self, positions: Sequence[int]) -> BandMetadata:
        """The metadata of the bands at some positions, in that order; none of them is bad."""

        def pick(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
            return values and tuple(values[position] for position in positions)

        return replace(
            self,
            bands=pick(self.bands),
            scale=pick(self.scale),
            offset=pick(self.offset),
            bad=frozenset(),
        )


def check_bands(bands: Sequence[Band], path: str) -> None:
    """Refuse impossible bands.

    Args:
        bands: of the raster; unknown wavelengths are allowed.
        path: of the raster, for messages.

    Raises:
        BandError: two bands have the same name, or the same centre and width, or a number is
            impossible.
    """
    names: set[str] = set()
    name_by_response: dict[tuple[float, float | None], str] = {}
    for band in bands:
        if band.name in names:
            raise BandError(
                f"{path}: two bands are called {band.name!r}; give each band its own name"
            )
        names.add(band.name)
        centre = band.wavelength_nm
        width = band.fwhm_nm
        if centre is None:
            continue
        if not SHORTEST_NM <= centre <= LONGEST_NM:
            raise BandError(
                f"{path}: the centre of band {band.name!r} is {centre:g} nm; "
                f"it must lie within {SHORTEST_NM:g}-{LONGEST_NM:g} nm"
            )
        if width is not None and not 0 < width < 2 * centre:
            raise BandError(
                f"{path}: the width of band {band.name!r} is {width:g} nm; "
                f"it must be above 0 and below {2 * centre:g} nm, twice its centre"
            )
        same_response = name_by_response.setdefault((centre, width), band.name)
        if same_response != band.name:
            raise BandError(
                f"{path}: bands {same_response!r} and {band.name!r} have the same centre "
                f"({centre:g} nm) and width; correct one of them"
            )


def finite_number(value: Any, key: str, origin: str) -> float | None:
    """A number of a JSON document, or None where it is absent.

    Args:
        value: what the document holds.
        key: its name there, for messages.
        origin: name of the document, for messages.

    Raises:
        BandError: the value is anything but a finite number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BandError(f"{origin}: {key} is {value!r}; it must be a number")
    return float(value)
