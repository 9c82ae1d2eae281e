"""What sensors and products do to reflectance: blur, noise, stripes, gaps, integers; and images made for the eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter, shift

from instruction_data.simulate.land.landscape import Mask, Plane
from spex.sensors import Band


@dataclass(frozen=True)
class Stored:
    """Pixels as a product stores them: value = stored x ``scale`` + ``offset``; ``nodata`` where not measured."""

    values: NDArray[Any]
    scale: float
    offset: float
    nodata: float | None


def detect(rng: Generator, values: Plane, bands: Sequence[Band], gsd_m: float) -> Plane:
    """Optics, detectors and calibration: blur, bands out of register, gains, noise that grows with light, stripes."""
    count, _, width = values.shape
    blur = rng.uniform(0.2, 0.6)
    finest = max(
        gsd_m, min((b.gsd_m or gsd_m) for b in bands)
    )  # sharpened images are finer than any of their bands
    native = [max((b.gsd_m or gsd_m) / finest, 1) for b in bands]
    values = np.stack(
        [
            gaussian_filter(p, min(blur * n, 2.5), truncate=3)
            for p, n in zip(values, native, strict=True)
        ]
    )
    if rng.random() < 0.15:
        values = np.stack(
            [shift(p, rng.normal(0, 0.25, 2), order=1, mode="nearest") for p in values]
        )
    column = (count, 1, 1)
    values *= (rng.normal(1, 0.02, column) * rng.normal(1, 0.03)).astype(np.float32)
    dark = np.exp(rng.uniform(np.log(2e-4), np.log(3e-3), column)).astype(np.float32)
    shot = np.exp(rng.uniform(np.log(1e-3), np.log(6e-3))) ** 2 / 0.3
    values += rng.standard_normal(values.shape, np.float32) * np.sqrt(
        dark**2 + shot * np.maximum(values, 0)
    )
    if rng.random() < 0.08:
        values *= 1 + rng.normal(0, rng.uniform(0.002, 0.012), (count, 1, width)).astype(np.float32)
    return values.astype(np.float32)


def gaps(rng: Generator, sensor: str, shape: tuple[int, int]) -> Mask:
    """Where nothing was measured: a slanted edge of the scene, or the wedges of Landsat 7 without line corrector."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    if sensor == "landsat-7" and rng.random() < 0.35:
        across = y + rng.uniform(-0.25, 0.25) * x + rng.uniform(0, 40)
        return across % rng.uniform(28, 34) < rng.uniform(2, 12)
    if rng.random() > 0.07:
        return np.zeros(shape, bool)
    angle = rng.choice([0.0, 1.0], p=[0.2, 0.8]) * rng.normal(0, 0.25) + rng.integers(4) * np.pi / 2
    along = x * np.cos(angle) + y * np.sin(angle)
    return along < np.quantile(along, rng.uniform(0.03, 0.4))


def stored(values: Plane, missing: Mask, scale: float, offset: float, dtype: str) -> Stored:
    """Integers of ``dtype``; nodata is the type's usual one."""
    limits = np.iinfo(dtype)
    nodata = -9999 if limits.min < 0 else 0
    low, high = (-2000, limits.max) if limits.min < 0 else (1, limits.max)
    numbers = np.clip(np.rint((values - offset) / scale), low, high).astype(dtype)
    numbers[:, missing] = nodata
    return Stored(numbers, scale, offset, float(nodata) if missing.any() else None)


def display(rng: Generator, values: Plane, missing: Mask, *, colour_only: bool) -> Stored:
    """Numbers for the eye from radiances (C, h, w): as camera, mosaicking and stretching leave them.

    Args:
        rng: source of the look.
        values: at-sensor reflectance of any scale.
        missing: where nothing was measured.
        colour_only: 8 bits as of aerial images; otherwise also 11-bit counts.
    """
    column = (len(values), 1, 1)
    known = values[:, ~missing] if not missing.all() else values.reshape(len(values), -1)
    if rng.random() < 0.2:
        values = values * _vignette(rng, values.shape[1:])
    if not colour_only and rng.random() < 0.35:  # counts of the detector, no stretch
        full = rng.uniform(0.5, 1.1, column) * max(float(np.quantile(known, 0.999)), 0.2)
        counts = values / full * rng.uniform(0.6, 1.0) + rng.uniform(0, 0.05, column)
        return _whole(counts, missing, 2047, "uint16")
    joint = rng.random() < 0.4
    low, high = (_quantile(known, rng.uniform(*r), joint) for r in ((0, 0.02), (0.97, 1.0)))
    low = low * rng.uniform(0, 1)
    # A scene of one surface has hardly any range of its own; stretches are set on larger areas.
    unit = (values - low) / np.maximum((high - low) * rng.uniform(0.95, 1.4), 0.08)
    cast = rng.choice([0.3, 1.0])  # well balanced colours, or not
    unit = unit * rng.normal(1, 0.12 * cast, column) + rng.normal(0, 0.04 * cast, column)
    # Mosaics of aerial images are made bright and soft: shadows lifted, in the visible more than in near infrared.
    gamma = rng.uniform(0.4, 1.2) * (1 + cast * rng.uniform(-0.2, 0.2, column))
    unit = np.clip(unit, 0, 1).astype(np.float32) ** gamma.astype(np.float32)
    lifted = (rng.random(column) < rng.choice([0.0, 0.6])) * rng.uniform(0, 0.35, column)
    unit = (lifted + (1 - lifted) * unit).astype(np.float32)
    if rng.random() < 0.4:
        halo = np.stack([gaussian_filter(plane, 1.0, truncate=3) for plane in unit])
        unit += rng.uniform(0.2, 0.8) * (unit - halo)
    if rng.random() < 0.25:
        unit = np.stack([_compress(plane, rng.uniform(0.3, 2.5)) for plane in unit])
    return _whole(unit, missing, 255, "uint8")


def _quantile(known: NDArray[np.float32], level: float, joint: bool) -> NDArray[np.float64]:
    per_band = np.quantile(known[:, ::7], level, axis=1)
    return (np.full_like(per_band, per_band.mean()) if joint else per_band)[:, None, None]


def _whole(unit: Plane, missing: Mask, top: int, dtype: str) -> Stored:
    numbers = np.clip(np.rint(unit * top), 0, top).astype(dtype)
    if not missing.any():
        return Stored(numbers, 1 / top, 0.0, None)
    numbers = np.maximum(numbers, 1)
    numbers[:, missing] = 0
    return Stored(numbers, 1 / top, 0.0, 0.0)


def _vignette(rng: Generator, shape: tuple[int, ...]) -> Plane:
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    away = (y[:, None] - rng.uniform(-0.6, 0.6)) ** 2 + (x - rng.uniform(-0.6, 0.6)) ** 2
    return (1 - rng.uniform(0.02, 0.12) * away).astype(np.float32)


def _compress(plane: Plane, coarseness: float) -> Plane:
    """Blocks of 8 x 8 with their fine detail rounded away, as JPEG leaves them."""
    height, width = (side // 8 * 8 for side in plane.shape)
    blocks = plane[:height, :width].reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2)
    step = np.float32(coarseness / 255) * (2 + 2 * np.add.outer(np.arange(8), np.arange(8)))
    rounded = idctn(
        np.rint(dctn(blocks, axes=(2, 3), norm="ortho") / step) * step, axes=(2, 3), norm="ortho"
    )
    out = plane.copy()
    out[:height, :width] = rounded.swapaxes(1, 2).reshape(height, width)
    return out
