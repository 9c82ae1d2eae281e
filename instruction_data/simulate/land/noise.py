"""Random fields and the way from a coarse grid, where processes run, to the fine one."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.fft import irfft2

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


def fractal(rng: Generator, size: int, roughness: float, longest: float = 1.0) -> Plane:
    """Periodic power-law noise (size, size) of mean 0 and deviation 1.

    Args:
        rng: drawn from.
        size: pixels a side.
        roughness: exponent by which amplitudes fall with frequency; 1 is ragged, 2 smooth.
        longest: wavelength, as a share of the side, beyond which amplitudes no longer grow.
    """
    half = size // 2 + 1
    spectrum = rng.standard_normal((2, size, half), dtype=np.float32)
    waves = (spectrum[0] + 1j * spectrum[1]) * _amplitude(
        size, round(float(roughness), 1), round(float(longest), 2)
    )
    noise = irfft2(waves, s=(size, size)).ravel()
    noise /= np.sqrt(noise @ noise / noise.size) + np.float32(1e-12)
    return cast("Plane", noise.reshape(size, size))


@lru_cache(maxsize=128)
def _amplitude(size: int, roughness: float, longest: float) -> Plane:
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    amplitude = np.maximum(frequency, 1 / (size * longest)) ** -roughness
    amplitude[0, 0] = 0
    return amplitude.astype(np.float32)


def level(field: Plane, share: float) -> float:
    """The value below which ``share`` of the field lies."""
    return float(np.quantile(field[::4, ::4], min(max(share, 0.0), 1.0)))


def ranks(field: Plane) -> Plane:
    """The field's own distribution flattened to 0-1."""
    steps = np.quantile(field[::4, ::4], np.linspace(0, 1, 33)) + np.arange(33) * 1e-9
    return np.interp(field, steps, np.linspace(0, 1, 33)).astype(np.float32)


def coarse_side(size: int) -> int:
    """Cells a side of the grid on which processes run below ``size`` pixels."""
    return max(32, size * 3 // 16)


def coarse_pixels(side: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Index of the pixels in the middle of the cells of a coarse grid."""
    at = ((np.arange(side) + 0.5) * size / side).astype(np.intp)
    return at[:, None], at[None]


def finer(coarse: Plane, size: int) -> Plane:
    """A coarse plane as (size, size), by smooth (cubic B-spline) weights; linear in its values."""
    weights = _weights(len(coarse), size)
    return cast("Plane", weights @ coarse.astype(np.float32, copy=False) @ weights.T)


@lru_cache(maxsize=16)
def _weights(coarse: int, size: int) -> Plane:
    at = (np.arange(size) + 0.5) * coarse / size - 0.5
    t = np.abs(at[:, None] - np.arange(-2, coarse + 2)[None])
    spline = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0))
    inner = spline[:, 2:-2].copy()
    inner[:, 0] += spline[:, :2].sum(axis=1)  # the border's value goes on beyond it
    inner[:, -1] += spline[:, -2:].sum(axis=1)
    return inner.astype(np.float32)
