"""Simulated scenes with exact truth: one landscape, cut into chips of several sensors.

What is not placed in a landscape is known to be absent. A share of the scenes has display values,
as aerial and very fine satellite images usually have; another has values above the atmosphere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.land.landscape import Landscape, draw_landscape
from instruction_data.simulate.land.noise import Mask, Plane
from instruction_data.simulate.materials.spectra import Spectra
from instruction_data.simulate.sensor.atmosphere import draw_atmosphere, solar_irradiance
from instruction_data.simulate.sensor.detector import (
    DigitalNumbers,
    add_detector_effects,
    draw_gaps,
    to_digital_numbers,
    to_display_values,
)
from instruction_data.simulate.sensor.instruments import (
    ProductLevel,
    draw_bands,
    draw_nested_widths,
    draw_product_level,
    draw_sensor,
    simulated_sensor,
    spectral_responses,
)
from instruction_data.simulate.sensor.observe import (
    MaterialSpectra,
    draw_materials,
    draw_texture,
    measured_reflectance,
    pixel_cover,
)
from instruction_data.simulate.truth import scene_truth
from instruction_data.sources.chips import Chip, SceneItem, Split, Truth
from spex.records import BandRef
from spex.sensors import Level, Sensor, get_sensor

CHIP_SIZE = 128
_LAND_SIZE = 4 * CHIP_SIZE


@dataclass(frozen=True)
class _ChipFrame:
    """What one chip shows of the land.

    Attributes:
        sensor: key of the sensor.
        corner: row and column of the upper left corner, in pixels of the land.
        side: width in pixels of the land.
        factor: pixels of the land per pixel of the chip, a side.
    """

    sensor: str
    corner: tuple[int, int]
    side: int
    factor: int

    @classmethod
    def whole(cls, sensor: str, factor: int) -> _ChipFrame:
        """A chip of the whole land."""
        return cls(sensor, (0, 0), _LAND_SIZE // factor * factor, factor)

    @property
    def land_window(self) -> tuple[slice, slice]:
        """Rows and columns of the land."""
        row, col = self.corner
        return slice(row, row + self.side), slice(col, col + self.side)

    @property
    def truth_window(self) -> tuple[slice, slice]:
        """Rows and columns of the truth at the chip's pixel width."""
        row, col = (corner // self.factor for corner in self.corner)
        side = self.side // self.factor
        return slice(row, row + side), slice(col, col + side)


@dataclass(frozen=True)
class _SimulatedScene:
    """What the chips of one landscape share.

    Attributes:
        name: of the landscape.
        land: the landscape.
        texture: (size, size) how much the land shows the second spectrum of its materials.
        truth: truth of the whole land by the factor of a chip.
        spectra: source of material spectra and sensor responses.
    """

    name: str
    land: Landscape
    texture: Plane
    truth: dict[int, Truth]
    spectra: Spectra


def simulate(
    rng: Generator,
    spectra: Spectra,
    name: str,
    *,
    sensors: Sequence[str] | None = None,
    count: int = 4,
) -> list[Chip]:
    """Simulate chips of one new landscape.

    Args:
        rng: random generator.
        spectra: the materials' spectra.
        name: name of the landscape; chip n is called ``<name>_<n>``.
        sensors: one chip of the same ground per sensor, each at its own pixel width (that of the
            finest times a whole number); None: ``count`` windows of 128 x 128 pixels, each by a
            sensor of about the same pixel width.
        count: number of chips without ``sensors``.

    Raises:
        BandError: an unknown sensor.
        RecordError: a sensor that cannot be simulated.
        MissingExtraError: the package ``prosail`` is not installed.
    """
    if sensors is None:
        key, gsd_m = draw_sensor(rng)
        frames = _draw_frames(rng, key, gsd_m, count)
    else:
        widths = draw_nested_widths(rng, [simulated_sensor(sensor) for sensor in sensors])
        gsd_m = min(width_m for _, width_m in widths)
        frames = [
            _ChipFrame.whole(key, 2 * max(1, round(width_m / gsd_m))) for key, width_m in widths
        ]
    land = draw_landscape(rng, gsd_m / 2, _LAND_SIZE)
    factors = {frame.factor for frame in frames}
    scene = _SimulatedScene(
        name=name,
        land=land,
        texture=draw_texture(rng, _LAND_SIZE, gsd_m / 2),
        truth={factor: scene_truth(land, factor) for factor in factors},
        spectra=spectra,
    )
    materials = draw_materials(rng, spectra, tuple(land.materials))
    chips = []
    for number, frame in enumerate(frames):
        if sensors is None and number:
            materials = draw_materials(rng, spectra, tuple(land.materials))
        chips.append(_simulate_chip(rng, scene, frame, materials, number))
    return chips


def simulated_items(
    library: Path | None, count: int, seed: int, per_landscape: int = 4
) -> Iterator[SceneItem]:
    """``count`` chips, those of one landscape as an item; each depends on its number and the seed.

    Args:
        library: measured spectra (see ``Spectra``), or None.
        count: number of chips.
        seed: seed of everything drawn.
        per_landscape: number of chips of one landscape.
    """
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
    del split  # simulated scenes are only used for training
    rng = np.random.default_rng([seed, number])
    yield from simulate(rng, _spectra(library), f"simulated_{number:06d}", count=chips)


def _draw_frames(rng: Generator, sensor: str, gsd_m: float, count: int) -> list[_ChipFrame]:
    """Frames of 128 x 128 pixels: the four quarters of the land, then random places."""
    side = 2 * CHIP_SIZE
    corners = [(row, col) for row in (0, side) for col in (0, side)]
    for _ in range(count - len(corners)):
        row, col = 2 * rng.integers(0, CHIP_SIZE, 2)
        corners.append((row, col))
    frames = []
    for number, corner in enumerate(corners[:count]):
        key = sensor if number == 0 else draw_sensor(rng, gsd_m=gsd_m)[0]
        frame = _ChipFrame(key, corner, side, 2)
        if number and rng.random() < 0.12:
            frame = _twice_as_coarse(rng, gsd_m) or frame
        frames.append(frame)
    return frames


def _twice_as_coarse(rng: Generator, gsd_m: float) -> _ChipFrame | None:
    """The whole land at twice the pixel width; None where no sensor has such pixels."""
    try:
        key, _ = draw_sensor(rng, gsd_m=2 * gsd_m)
    except KeyError:
        return None
    return _ChipFrame.whole(key, 4)


def _simulate_chip(
    rng: Generator,
    scene: _SimulatedScene,
    frame: _ChipFrame,
    materials: MaterialSpectra,
    number: int,
) -> Chip:
    land = scene.land
    sensor = get_sensor(frame.sensor)
    product = draw_product_level(rng, frame.sensor)
    bands = draw_bands(rng, sensor)
    gsd_m = land.gsd_m * frame.factor
    response = spectral_responses(frame.sensor, bands, scene.spectra.responses)
    atmosphere = draw_atmosphere(rng, land.sun.zenith_deg)
    at_sensor = product != "surface" and not (product == "display" and rng.random() < 0.3)
    cover = pixel_cover(land, frame.land_window, frame.factor, scene.texture)
    values = measured_reflectance(
        rng, cover, materials, response, atmosphere, at_sensor=at_sensor, gsd_m=gsd_m
    )
    values = add_detector_effects(rng, values, bands, gsd_m)
    missing = draw_gaps(rng, frame.sensor, values.shape[1:])
    stored, level = _store(rng, sensor, product, values, response, missing, land.sun.zenith_deg)
    truth = {
        name: (mask[frame.truth_window] & ~missing, unknown[frame.truth_window] | missing)
        for name, (mask, unknown) in scene.truth[frame.factor].items()
    }
    y_m, x_m = (land.gsd_m * corner for corner in frame.corner)
    return Chip(
        id=f"{scene.name}_{number}",
        sensor=frame.sensor,
        values=stored.values,
        bands=tuple(
            BandRef(name=band.name, wavelength_nm=band.wavelength_nm, fwhm_nm=band.fwhm_nm)
            for band in bands
        ),
        level=level,
        truth=truth,
        labels="simulated, exact",
        gsd_m=gsd_m,
        scale=stored.scale,
        offset=stored.offset,
        nodata=stored.nodata,
        extra={
            "scene": f"simulated landscape {scene.name}, upper left corner at {x_m} {y_m} m",
            "look": product,
            "spectra": scene.spectra.origin,
        },
    )


def _store(
    rng: Generator,
    sensor: Sensor,
    product: ProductLevel,
    values: Plane,
    response: NDArray[np.float32],
    missing: Mask,
    sun_zenith_deg: float,
) -> tuple[DigitalNumbers, Level]:
    """Pixels as the product stores them, and the level that a record states.

    Args:
        rng: random generator.
        sensor: the sensor.
        product: what the product stores.
        values: (C, h, w) reflectance.
        response: (C, n_wavelengths) spectral responses of the bands.
        missing: (h, w) pixels without a measurement.
        sun_zenith_deg: zenith angle of the sun.
    """
    if product == "display":
        colour_only = sensor.key == "naip"
        return to_display_values(rng, values, missing, colour_only=colour_only), "uncalibrated"
    sun_cosine = np.float32(np.cos(np.radians(sun_zenith_deg)))
    if product == "radiance":
        irradiance = (response @ solar_irradiance())[:, None, None]
        radiance = values * irradiance * sun_cosine / np.float32(np.pi)
        return to_digital_numbers(radiance, missing, 0.01, 0.0, "uint16"), product
    dtype = sensor.dtypes[0] if sensor.dtypes else "uint16"
    scale = sensor.scale
    offset = sensor.offset
    if product == "toa" and sensor.family.startswith("landsat"):
        scale, offset = 2e-5, -0.1
        # As in the files, without the correction for the sun's height, or corrected.
        values = values * (sun_cosine if rng.random() < 0.5 else 1)
    elif sensor.family == "sentinel-2" and dtype == "uint16" and rng.random() < 0.5:
        offset = -0.1  # since processing baseline 04.00
    return to_digital_numbers(values, missing, scale, offset, dtype), product
