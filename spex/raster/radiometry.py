"""From stored numbers to reflectance: scale, offset and processing level of a raster.

What the file states comes first, then what its sensor usually delivers, then this rule for files
that state nothing:

- 8-bit numbers are display values: divided by 255, level *uncalibrated*.
- Floats are reflectance, above 100 reflectance x 10 000.
- Larger integers are judged by the 99th percentile of their brightest band. 256-20 000: reflectance
  x 10 000, the usual convention. Up to 255: display values. Above 20 000: reflectance over the
  whole range of their type, even where the sensor's usual scale is 1e-4.

Every guess is a warning of the scene, and so is a scale that makes pixels brighter than any
surface.
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

_SAMPLE_SIDE = 64
_CONVENTION_BELOW = 20_000
_BRIGHTEST = 1.6  # reflectance of sunlit snow and cloud with some slope
_VISIBLE_BELOW_NM = 700
_HOW_TO_STATE_SCALE = (
    "if that is wrong, state scale, offset and level with --bands '{\"scale\": ...}' "
    "or in <scene>.bands.json"
)


@dataclass(frozen=True)
class PixelSample:
    """Some thousand pixels from all over a raster.

    Attributes:
        values: stored numbers (C, n).
        valid: where they are valid (C, n).
    """

    values: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]

    def of_bands(self, positions: Sequence[int]) -> PixelSample:
        """The sample of the bands at some positions."""
        return PixelSample(self.values[list(positions)], self.valid[list(positions)])

    def high(self) -> float | None:
        """The 99th percentile of the brightest band, None where nothing is valid."""
        return self._percentile(99, max)

    def low(self) -> float | None:
        """The first percentile of the darkest band, None where nothing is valid."""
        return self._percentile(1, min)

    def _percentile(self, share: float, choose: Callable[[list[float]], float]) -> float | None:
        percentiles = []
        for band, valid in zip(self.values, self.valid, strict=True):
            if valid.any():
                percentiles.append(float(np.percentile(band[valid], share)))
        return choose(percentiles) if percentiles else None


def sample_pixels(dataset: Any) -> PixelSample:
    """Read a bounded number of pixels of every band of an open raster.

    They come from an overview, or from windows in the middle, in the middles of the quarters and in
    the last corner.
    """
    indexes = list(dataset.indexes)
    height, width = dataset.height, dataset.width
    if dataset.overviews(1) or height * width <= (4 * _SAMPLE_SIDE) ** 2:
        factor = max(1.0, max(height, width) / (4 * _SAMPLE_SIDE))
        shape = (max(1, int(height / factor)), max(1, int(width / factor)))
        reads: list[dict[str, Any]] = [{"out_shape": shape, "resampling": Resampling.nearest}]
    else:
        centres = [(0.5, 0.5), (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75), (1.0, 1.0)]
        rows, cols = min(_SAMPLE_SIDE, height), min(_SAMPLE_SIDE, width)
        reads = []
        for y, x in centres:
            window = Window(int((width - cols) * x), int((height - rows) * y), cols, rows)
            reads.append({"window": window})
    parts = [dataset.read(indexes, **options).reshape(len(indexes), -1) for options in reads]
    stored = np.concatenate(parts, axis=1)
    valid = np.isfinite(stored)
    for band, band_valid, nodata in zip(stored, valid, dataset.nodatavals, strict=True):
        if nodata is not None:
            band_valid &= band != np.asarray(nodata).astype(band.dtype)
    return PixelSample(np.nan_to_num(stored.astype(np.float64)), valid)


@dataclass(frozen=True)
class Radiometry:
    """Reflectance = stored number x scale + offset.

    Attributes:
        scale: per band (C,).
        offset: per band (C,).
        level: processing level of the result.
        notes: warnings for the user about what was guessed.
    """

    scale: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    level: Level
    notes: tuple[str, ...] = ()


def decide_radiometry(metadata: BandMetadata, dtype: str, sample: PixelSample) -> Radiometry:
    """Decide scale, offset and level of a raster's bands.

    Args:
        metadata: what is stated about the bands.
        dtype: data type of the raster.
        sample: of the same bands in the same order.
    """
    sensor = metadata.sensor
    high = sample.high()
    if metadata.scale is not None or metadata.offset is not None:
        radiometry = _stated(metadata, len(sample.values))
    elif dtype == "uint8":
        radiometry = _uniform(metadata, sample, 1 / 255, "uncalibrated")
    elif dtype.startswith("float"):
        radiometry = _floats(metadata, sample, high)
    elif sensor is not None and dtype in sensor.dtypes and not _full_range(sensor, high):
        radiometry = _usual(metadata, sensor, sample)
    else:
        radiometry = _guess(metadata, dtype, sample, high)
    notes = (*radiometry.notes, *_too_bright(radiometry, sample))
    return Radiometry(radiometry.scale, radiometry.offset, radiometry.level, notes)


def _usual_level(metadata: BandMetadata) -> Level:
    if metadata.level:
        return metadata.level
    return metadata.sensor.level if metadata.sensor else "surface"


def _uniform(
    metadata: BandMetadata,
    sample: PixelSample,
    scale: float,
    level: Level,
    offset: float = 0.0,
    notes: tuple[str, ...] = (),
) -> Radiometry:
    """The same scale and offset for all bands; a stated level comes before ``level``."""
    count = len(sample.values)
    return Radiometry(
        np.ones(count) * scale, np.zeros(count) + offset, metadata.level or level, notes
    )


def _stated(metadata: BandMetadata, count: int) -> Radiometry:
    scale = np.array(metadata.scale or np.ones(count))
    offset = np.array(metadata.offset or np.zeros(count))
    return Radiometry(scale, offset, _usual_level(metadata))


def _floats(metadata: BandMetadata, sample: PixelSample, high: float | None) -> Radiometry:
    level = _usual_level(metadata)
    if high is None or high <= 100 or level == "radiance":
        return _uniform(metadata, sample, 1.0, level)
    note = (
        f"floating-point values up to {high:g} taken as reflectance x 10 000; {_HOW_TO_STATE_SCALE}"
    )
    return _uniform(metadata, sample, 1 / 1e4, level, notes=(note,))


def _usual(metadata: BandMetadata, sensor: Sensor, sample: PixelSample) -> Radiometry:
    """The scale at which the sensor's products are usually delivered."""
    bands = metadata.bands or ()
    notes = []
    visible = [
        position
        for position, band in enumerate(bands)
        if (band.wavelength_nm or 0) < _VISIBLE_BELOW_NM
    ]
    dark = sample.of_bands(visible).low()
    if sensor.family == "sentinel-2" and dark is not None and 950 <= dark < 2500:
        notes.append(
            f"no value is below {dark:g}: this may be Sentinel-2 of processing baseline 04.00 or "
            "later, with reflectance = value x 0.0001 - 0.1; if so, state "
            '--bands \'{"scale": 0.0001, "offset": -0.1}\''
        )
    if sensor.toa and any(band.name == sensor.toa[0] for band in bands):
        _, scale, offset = sensor.toa
        return _uniform(metadata, sample, scale, "toa", offset, tuple(notes))
    level = _usual_level(metadata)
    return _uniform(metadata, sample, sensor.scale, level, sensor.offset, tuple(notes))


def _full_range(sensor: Sensor, high: float | None) -> bool:
    """Whether numbers use the whole range of their type instead of the sensor's scale."""
    return high is not None and high > _CONVENTION_BELOW and sensor.scale == 1e-4


def _guess(
    metadata: BandMetadata, dtype: str, sample: PixelSample, high: float | None
) -> Radiometry:
    level = _usual_level(metadata)
    if high is None or 255 < high <= _CONVENTION_BELOW:
        scale, meaning = 1e-4, "reflectance x 10 000"
    elif high <= 255:
        scale, meaning = 1 / 255, "display values of 8 bits"
        level = "uncalibrated"
    else:
        scale, meaning = 1 / np.iinfo(dtype).max, "reflectance 0-1 over the whole range of the type"
    note = (
        f"no scale stated: {dtype} values up to {high or 0:g} taken as {meaning}; "
        f"{_HOW_TO_STATE_SCALE}"
    )
    return _uniform(metadata, sample, scale, level, notes=(note,))


def _too_bright(radiometry: Radiometry, sample: PixelSample) -> list[str]:
    if radiometry.level not in ("toa", "surface"):
        return []
    reflectance = sample.values * radiometry.scale[:, None] + radiometry.offset[:, None]
    high = PixelSample(reflectance, sample.valid).high()
    if high is None or high <= _BRIGHTEST:
        return []
    return [
        f"the brightest 1 % of the pixels has reflectance {high:.3g} or more, above any surface; "
        f"{_HOW_TO_STATE_SCALE}"
    ]
