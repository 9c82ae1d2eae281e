"""From stored numbers to reflectance: what the file states, else what its sensor does, else a rule that is said aloud.

The rule where nothing is stated. 8-bit numbers are display values: divided by 255, level *uncalibrated*. Floats are
taken as they are, above 100 as reflectance x 10 000. Larger integers whose brightest percentile lies in 256-20 000 are
reflectance x 10 000, the usual convention; up to 255 they are display values; above 20 000 they are reflectance over
the whole range of their type, even where the sensor's usual scale is 1e-4. Every guess is a warning of the scene, and
so is a scale that makes pixels brighter than any surface.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rasterio.windows import Window

from spex.raster.band_metadata import BandMetadata
from spex.sensors import Level, Sensor

_SIDE = 64
_CONVENTION_BELOW = 20_000
_BRIGHTEST = 1.6  # reflectance of sunlit snow and cloud with some slope
_SAY_SCALE = "state scale, offset and level with --bands '{\"scale\": ...}' or in <scene>.bands.json if that is wrong"


@dataclass(frozen=True)
class PixelSample:
    """Some thousand pixels from all over a raster: stored numbers (C, n) and where they are valid (C, n)."""

    values: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]

    def rows(self, positions: Sequence[int]) -> PixelSample:
        """The sample of some of the bands."""
        return PixelSample(self.values[list(positions)], self.valid[list(positions)])

    def high(self) -> float | None:
        """The 99th percentile of the brightest band, None where nothing is valid."""
        return self._percentile(99, max)

    def low(self) -> float | None:
        """The first percentile of the darkest band, None where nothing is valid."""
        return self._percentile(1, min)

    def _percentile(self, share: float, choose: Callable[[list[float]], float]) -> float | None:
        found = [
            float(np.percentile(v[m], share))
            for v, m in zip(self.values, self.valid, strict=True)
            if m.any()
        ]
        return choose(found) if found else None


def take_sample(dataset: Any) -> PixelSample:
    """Read a bounded number of pixels of every band: an overview, or windows in the middle, quarters, last corner."""
    indexes = list(dataset.indexes)
    height, width = dataset.height, dataset.width
    if dataset.overviews(1) or height * width <= (4 * _SIDE) ** 2:
        factor = max(1.0, max(height, width) / (4 * _SIDE))
        shape = (max(1, int(height / factor)), max(1, int(width / factor)))
        options: list[dict[str, Any]] = [{"out_shape": shape, "resampling": Resampling.nearest}]
    else:
        places = [(0.5, 0.5), (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75), (1.0, 1.0)]
        rows, cols = min(_SIDE, height), min(_SIDE, width)
        options = [
            {"window": Window(int((width - cols) * x), int((height - rows) * y), cols, rows)}
            for y, x in places
        ]
    parts = [dataset.read(indexes, **option).reshape(len(indexes), -1) for option in options]
    stored = np.concatenate(parts, axis=1)
    valid = np.isfinite(stored)
    for plane, mask, nodata in zip(stored, valid, dataset.nodatavals, strict=True):
        if nodata is not None:
            mask &= plane != np.asarray(nodata).astype(plane.dtype)
    return PixelSample(np.nan_to_num(stored.astype(np.float64)), valid)


@dataclass(frozen=True)
class Radiometry:
    """Reflectance = stored number x ``scale`` (C,) + ``offset`` (C,); ``notes`` say what was guessed."""

    scale: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    level: Level
    notes: tuple[str, ...] = ()


def calibrate(said: BandMetadata, dtype: str, sample: PixelSample) -> Radiometry:
    """Decide scale, offset and level of the bands of ``said``; ``sample`` has the same bands in the same order."""
    count = len(sample.values)
    sensor = said.sensor
    scale, offset = np.ones(count), np.zeros(count)
    level: Level = said.level or (sensor.level if sensor else "surface")
    notes = []
    high = sample.high()
    stated = said.scale is not None or said.offset is not None
    if stated:
        scale, offset = np.array(said.scale or scale), np.array(said.offset or offset)
    elif dtype == "uint8":
        scale /= 255
        level = said.level or "uncalibrated"
    elif dtype.startswith("float"):
        if high is not None and high > 100 and level != "radiance":
            scale /= 1e4
            notes.append(f"floats up to {high:g} taken as reflectance x 10 000; {_SAY_SCALE}")
    elif sensor is not None and dtype in sensor.dtypes and not _full_range(sensor, high):
        top = (
            sensor.toa
            if sensor.toa and any(band.name == sensor.toa[0] for band in said.bands or ())
            else None
        )
        scale, offset = (
            (scale * top[1], offset + top[2])
            if top
            else (scale * sensor.scale, offset + sensor.offset)
        )
        level = said.level or ("toa" if top else level)
        dark = sample.rows(
            [i for i, band in enumerate(said.bands or ()) if (band.wavelength_nm or 0) < 700]
        ).low()
        if sensor.family == "sentinel-2" and dark is not None and 950 <= dark < 2500:
            notes.append(
                f"no value below {dark:g}: baseline 04.00 or later? then its offset is -0.1; {_SAY_SCALE}"
            )
    else:
        factor, level, meaning = _guess(high, dtype, level)
        scale *= factor
        level = said.level or level
        notes.append(
            f"no scale stated: {dtype} up to {high or 0:g} taken as {meaning}; {_SAY_SCALE}"
        )
    if high is not None and level in ("toa", "surface"):
        calibrated = PixelSample(
            sample.values * scale[:, None] + offset[:, None], sample.valid
        ).high()
        if calibrated is not None and calibrated > _BRIGHTEST:
            notes.append(
                f"the brightest percentile has reflectance {calibrated:.3g}, above any surface; {_SAY_SCALE}"
            )
    return Radiometry(scale, offset, level, tuple(notes))


def _full_range(sensor: Sensor, high: float | None) -> bool:
    """Whether numbers are too large for the sensor's scale, as in exports of reflectance over the whole type."""
    return high is not None and high > _CONVENTION_BELOW and sensor.scale == 1e-4


def _guess(high: float | None, dtype: str, level: Level) -> tuple[float, Level, str]:
    if high is None or 255 < high <= _CONVENTION_BELOW:
        return 1e-4, level, "reflectance x 10 000"
    if high <= 255:
        return 1 / 255, "uncalibrated", "display values of 8 bits"
    return 1 / np.iinfo(dtype).max, level, "reflectance 0-1 over the whole range of the type"
