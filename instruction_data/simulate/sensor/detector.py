"""What sensors and products do to reflectance: blur, noise, gaps, integers, display values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter, shift

from instruction_data.simulate.land.noise import Mask, Plane
from spex.sensors import Band


@dataclass(frozen=True)
class DigitalNumbers:
    """Pixels as a product stores them: value = digital number x ``scale`` + ``offset``.

    Attributes:
        values: (C, h, w) digital numbers.
        scale: see above.
        offset: see above.
        nodata: the digital number where nothing was measured; None: all pixels are measured.
    """

    values: NDArray[Any]
    scale: float
    offset: float
    nodata: float | None


def add_detector_effects(
    rng: Generator, values: Plane, bands: Sequence[Band], gsd_m: float
) -> Plane:
    """Add blur, misregistration, gain errors, noise and stripes.

    Args:
        rng: random generator.
        values: (C, h, w) reflectance.
        bands: the C bands; those with wider native pixels are blurred more.
        gsd_m: pixel width in metres.
    """
    count, _, width = values.shape
    blur_px = rng.uniform(0.2, 0.6)  # standard deviation of the point spread function
    # A sharpened image is finer than all of its bands.
    finest_m = max(gsd_m, min(band.gsd_m or gsd_m for band in bands))
    blurred = []
    for plane, band in zip(values, bands, strict=True):
        native_px = max((band.gsd_m or gsd_m) / finest_m, 1)
        blurred.append(gaussian_filter(plane, min(blur_px * native_px, 2.5), truncate=3))
    values = np.stack(blurred)
    if rng.random() < 0.15:
        shifted = [
            shift(plane, rng.normal(0, 0.25, 2), order=1, mode="nearest") for plane in values
        ]
        values = np.stack(shifted)
    per_band = (count, 1, 1)
    values *= (rng.normal(1, 0.02, per_band) * rng.normal(1, 0.03)).astype(np.float32)
    dark_noise = np.exp(rng.uniform(np.log(2e-4), np.log(3e-3), per_band)).astype(np.float32)
    shot_noise = np.exp(rng.uniform(np.log(1e-3), np.log(6e-3))) ** 2 / 0.3
    noise = rng.standard_normal(values.shape, np.float32)
    values += noise * np.sqrt(dark_noise**2 + shot_noise * np.maximum(values, 0))
    if rng.random() < 0.08:
        stripes = rng.normal(0, rng.uniform(0.002, 0.012), (count, 1, width))
        values *= 1 + stripes.astype(np.float32)
    return values.astype(np.float32)


def draw_gaps(rng: Generator, sensor: str, shape: tuple[int, int]) -> Mask:
    """Draw pixels without a measurement: a slanted edge of the scene, or Landsat 7's wedges."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    if sensor == "landsat-7" and rng.random() < 0.35:
        across = y + rng.uniform(-0.25, 0.25) * x + rng.uniform(0, 40)
        return across % rng.uniform(28, 34) < rng.uniform(2, 12)
    if rng.random() > 0.07:
        return np.zeros(shape, bool)
    angle = rng.choice([0.0, 1.0], p=[0.2, 0.8]) * rng.normal(0, 0.25) + rng.integers(4) * np.pi / 2
    along = x * np.cos(angle) + y * np.sin(angle)
    return along < np.quantile(along, rng.uniform(0.03, 0.4))


def to_digital_numbers(
    values: NDArray[np.floating[Any]], missing: Mask, scale: float, offset: float, dtype: str
) -> DigitalNumbers:
    """Integers of ``dtype``; nodata is 0, or -9999 in a signed type.

    Args:
        values: (C, h, w) physical values.
        missing: (h, w) pixels without a measurement.
        scale: physical value of one digital number.
        offset: physical value of digital number 0.
        dtype: an integer type.
    """
    limits = np.iinfo(dtype)
    signed = limits.min < 0
    nodata = -9999 if signed else 0
    low = -2000 if signed else 1
    numbers = np.clip(np.rint((values - offset) / scale), low, limits.max).astype(dtype)
    numbers[:, missing] = nodata
    return DigitalNumbers(numbers, scale, offset, float(nodata) if missing.any() else None)


def to_display_values(
    rng: Generator, values: Plane, missing: Mask, *, colour_only: bool
) -> DigitalNumbers:
    """Numbers for the eye, as camera, mosaicking and contrast stretching leave them.

    Args:
        rng: random generator.
        values: (C, h, w) at-sensor reflectance of any scale.
        missing: (h, w) pixels without a measurement.
        colour_only: always 8 bits, as in aerial images; else also 11-bit counts.
    """
    per_band = (len(values), 1, 1)
    measured = values[:, ~missing] if not missing.all() else values.reshape(len(values), -1)
    if rng.random() < 0.2:
        values = values * _vignette(rng, values.shape[1:])
    if not colour_only and rng.random() < 0.35:  # counts of the detector, no stretch
        brightest = max(float(np.quantile(measured, 0.999)), 0.2)
        full = rng.uniform(0.5, 1.1, per_band) * brightest
        counts = values / full * rng.uniform(0.6, 1.0) + rng.uniform(0, 0.05, per_band)
        return _from_unit_range(counts, missing, 2047, "uint16")
    joint = rng.random() < 0.4
    low = _quantile(measured, rng.uniform(0, 0.02), joint)
    high = _quantile(measured, rng.uniform(0.97, 1.0), joint)
    low = low * rng.uniform(0, 1)
    # A scene of one surface has hardly any range of its own; stretches are set on larger areas.
    unit = (values - low) / np.maximum((high - low) * rng.uniform(0.95, 1.4), 0.08)
    cast = rng.choice([0.3, 1.0])  # well balanced colours, or not
    unit = unit * rng.normal(1, 0.12 * cast, per_band) + rng.normal(0, 0.04 * cast, per_band)
    # Mosaics of aerial images are bright and soft, with lifted shadows.
    gamma = rng.uniform(0.4, 1.2) * (1 + cast * rng.uniform(-0.2, 0.2, per_band))
    unit = np.clip(unit, 0, 1).astype(np.float32) ** gamma.astype(np.float32)
    lift = (rng.random(per_band) < rng.choice([0.0, 0.6])) * rng.uniform(0, 0.35, per_band)
    unit = (lift + (1 - lift) * unit).astype(np.float32)
    if rng.random() < 0.4:
        smooth = np.stack([gaussian_filter(plane, 1.0, truncate=3) for plane in unit])
        unit += rng.uniform(0.2, 0.8) * (unit - smooth)
    if rng.random() < 0.25:
        unit = np.stack([_compress(plane, rng.uniform(0.3, 2.5)) for plane in unit])
    return _from_unit_range(unit, missing, 255, "uint8")


def _quantile(measured: Plane, share: float, joint: bool) -> NDArray[np.floating[Any]]:
    """Quantile (C, 1, 1) of every band, or their mean for all bands."""
    per_band = np.quantile(measured[:, ::7], share, axis=1)
    if joint:
        per_band = np.full_like(per_band, per_band.mean())
    return per_band[:, None, None]


def _from_unit_range(
    unit: NDArray[np.floating[Any]], missing: Mask, top: int, dtype: str
) -> DigitalNumbers:
    """Values 0-1 as 0 to ``top``; where some are missing, 0 is nodata."""
    numbers = np.clip(np.rint(unit * top), 0, top).astype(dtype)
    if not missing.any():
        return DigitalNumbers(numbers, 1 / top, 0.0, None)
    numbers = np.maximum(numbers, 1)
    numbers[:, missing] = 0
    return DigitalNumbers(numbers, 1 / top, 0.0, 0.0)


def _vignette(rng: Generator, shape: tuple[int, ...]) -> Plane:
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    squared = (y[:, None] - rng.uniform(-0.6, 0.6)) ** 2 + (x - rng.uniform(-0.6, 0.6)) ** 2
    return (1 - rng.uniform(0.02, 0.12) * squared).astype(np.float32)


def _compress(plane: Plane, coarseness: float) -> Plane:
    """Round away fine detail in blocks of 8 x 8 pixels, as JPEG does."""
    height, width = (side // 8 * 8 for side in plane.shape)
    blocks = plane[:height, :width].reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2)
    step = np.float32(coarseness / 255) * (2 + 2 * np.add.outer(np.arange(8), np.arange(8)))
    rounded = np.rint(dctn(blocks, axes=(2, 3), norm="ortho") / step) * step
    restored = idctn(rounded, axes=(2, 3), norm="ortho")
    compressed = plane.copy()
    compressed[:height, :width] = restored.swapaxes(1, 2).reshape(height, width)
    return compressed
