"""Simulated scenes with exact truth: one landscape, cut into chips as several sensors show it.

What is not placed in a landscape is known to be absent. A share of the scenes is left in display values, as aerial and
very fine satellite images usually reach people, another above the atmosphere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.land.landscape import Landscape, Plane, landscape
from instruction_data.simulate.materials.spectra import Spectra
from instruction_data.simulate.sensor import detector as radiometry
from instruction_data.simulate.sensor.atmosphere import air, sun_irradiance
from instruction_data.simulate.sensor.instruments import (
    Look,
    choose_bands,
    draw_look,
    draw_sensor,
    draw_together,
    known_sensor,
    responses,
)
from instruction_data.simulate.sensor.observe import (
    Materials,
    draw_materials,
    reflectance,
    variation,
    view,
)
from instruction_data.simulate.truth import truth
from instruction_data.sources.chips import Chip, SceneItem, Split, Truth
from spex.records import BandRef
from spex.sensors import Level, Sensor, get_sensor

SIZE = 128
_FINE = 4 * SIZE


@dataclass(frozen=True)
class _Frame:
    """What one chip shows: a square of the fine ground, how many of its pixels make one, and which sensor looks."""

    sensor: str
    corner: tuple[int, int]
    side: int
    factor: int

    @property
    def window(self) -> tuple[slice, slice]:
        row, col = self.corner
        return slice(row, row + self.side), slice(col, col + self.side)

    @property
    def coarse(self) -> tuple[slice, slice]:
        row, col, side = (
            self.corner[0] // self.factor,
            self.corner[1] // self.factor,
            self.side // self.factor,
        )
        return slice(row, row + side), slice(col, col + side)


def _whole(sensor: str, factor: int) -> _Frame:
    return _Frame(sensor, (0, 0), _FINE // factor * factor, factor)


def simulate(
    rng: Generator,
    spectra: Spectra,
    name: str,
    *,
    sensors: Sequence[str] | None = None,
    count: int = 4,
) -> list[Chip]:
    """Chips of one new landscape.

    Args:
        rng: source of everything drawn.
        spectra: the materials' spectra.
        name: of the landscape; chip n is called ``<name>_<n>``.
        sensors: one chip of the same ground per sensor, each at its own pixel width (that of the finest times a whole
            number); None: ``count`` windows of 128 x 128 pixels, each by a sensor of about that pixel width.
        count: how many chips without ``sensors``.

    Raises:
        BandError: a sensor that nobody knows.
        RecordError: a sensor that cannot be simulated.
        MissingExtraError: the package ``prosail`` is not installed.
    """
    if sensors is None:
        key, gsd_m = draw_sensor(rng)
        frames = _windows(rng, key, gsd_m, count)
    else:
        drawn = draw_together(rng, [known_sensor(sensor) for sensor in sensors])
        gsd_m = min(width for _, width in drawn)
        frames = [_whole(key, 2 * max(1, round(width / gsd_m))) for key, width in drawn]
    land = landscape(rng, gsd_m / 2, _FINE)
    texture, found = (
        variation(rng, _FINE, gsd_m / 2),
        {f.factor: truth(land, f.factor) for f in frames},
    )
    of = draw_materials(rng, spectra, tuple(land.materials))
    chips = []
    for number, frame in enumerate(frames):
        if sensors is None and number:
            of = draw_materials(rng, spectra, tuple(land.materials))
        chips.append(
            _chip(rng, land, texture, of, frame, found[frame.factor], name, number, spectra)
        )
    return chips


def simulated_items(
    library: Path | None, count: int, seed: int, per_landscape: int = 4
) -> Iterator[SceneItem]:
    """``count`` chips, those of one landscape as an item; each is a function of ``seed`` and its number alone."""
    for number, first in enumerate(range(0, count, per_landscape)):
        name = f"simulated_{number:06d}"
        chips = min(per_landscape, count - first)
        yield SceneItem(
            name, partial(_read, library, seed, number, chips), place=name, split="train"
        )


@cache
def _spectra(library: Path | None) -> Spectra:
    return Spectra(library)


def _read(library: Path | None, seed: int, number: int, chips: int, split: Split) -> Iterator[Chip]:
    del split  # a simulated scene only ever trains
    yield from simulate(
        np.random.default_rng([seed, number]),
        _spectra(library),
        f"simulated_{number:06d}",
        count=chips,
    )


def _windows(rng: Generator, key: str, gsd_m: float, count: int) -> list[_Frame]:
    side = 2 * SIZE
    corners = [(row, col) for row in (0, side) for col in (0, side)]
    corners += [tuple(2 * rng.integers(0, SIZE, 2)) for _ in range(count - len(corners))]
    frames = []
    for number, corner in enumerate(corners[:count]):
        sensor = key if number == 0 else draw_sensor(rng, gsd_m=gsd_m)[0]
        frames.append(_Frame(sensor, corner, side, 2))
        if number and rng.random() < 0.12:
            try:
                frames[-1] = _whole(draw_sensor(rng, gsd_m=2 * gsd_m)[0], 4)
            except KeyError:  # no sensor has pixels twice as wide
                continue
    return frames


def _chip(
    rng: Generator, land: Landscape, texture: Plane, of: Materials, frame: _Frame, known: Truth, name: str, number: int,
    spectra: Spectra,
) -> Chip:  # fmt: skip
    sensor, look = get_sensor(frame.sensor), draw_look(rng, frame.sensor)
    bands, gsd_m = choose_bands(rng, sensor), land.gsd_m * frame.factor
    response, over = responses(frame.sensor, bands, spectra.responses), air(rng, land.sun[0])
    top = look != "surface" and not (look == "display" and rng.random() < 0.3)
    seen = view(land, frame.window, frame.factor, texture)
    values = reflectance(rng, seen, of, response, over, top=top, gsd_m=gsd_m)
    values = radiometry.detect(rng, values, bands, gsd_m)
    missing = radiometry.gaps(rng, frame.sensor, values.shape[1:])
    product, level = _product(rng, sensor, look, values, response, missing, land.sun[0])
    corner = "{} {}".format(*(land.gsd_m * c for c in reversed(frame.corner)))
    return Chip(
        id=f"{name}_{number}",
        sensor=frame.sensor,
        values=product.values,
        bands=tuple(
            BandRef(name=b.name, wavelength_nm=b.wavelength_nm, fwhm_nm=b.fwhm_nm) for b in bands
        ),
        level=level,
        truth={
            k: (m[frame.coarse] & ~missing, u[frame.coarse] | missing)
            for k, (m, u) in known.items()
        },
        labels="simulated, exact",
        gsd_m=gsd_m,
        scale=product.scale,
        offset=product.offset,
        nodata=product.nodata,
        extra={
            "scene": f"simulated landscape {name}, upper left corner at {corner} m",
            "look": look,
            "spectra": spectra.origin,
        },
    )


def _product(
    rng: Generator,
    sensor: Sensor,
    look: Look,
    values: Plane,
    response: NDArray[np.float32],
    missing: NDArray[np.bool_],
    sun_zenith: float,
) -> tuple[radiometry.Stored, Level]:
    if look == "display":
        return radiometry.display(
            rng, values, missing, colour_only=sensor.key == "naip"
        ), "uncalibrated"
    slant = np.float32(np.cos(np.radians(sun_zenith)))
    if look == "radiance":
        irradiance = (response @ sun_irradiance())[:, None, None]
        return radiometry.stored(
            values * irradiance * slant / np.float32(np.pi), missing, 0.01, 0.0, "uint16"
        ), look
    dtype = sensor.dtypes[0] if sensor.dtypes else "uint16"
    scale, offset = sensor.scale, sensor.offset
    if look == "toa" and sensor.family.startswith("landsat"):
        scale, offset = 2e-5, -0.1
        values = values * (slant if rng.random() < 0.5 else 1)  # as the files hold it, or put right
    elif sensor.family == "sentinel-2" and dtype == "uint16" and rng.random() < 0.5:
        offset = -0.1  # since processing baseline 04.00
    return radiometry.stored(values, missing, scale, offset, dtype), look
