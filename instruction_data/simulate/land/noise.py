"""Random fields, and the way from a coarse grid, on which processes run, to the fine grid."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.fft import irfft2

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

_RANK_STEPS = 33


def fractal_noise(rng: Generator, size: int, roughness: float, longest: float = 1.0) -> Plane:
    """Periodic power-law noise (size, size) of mean 0 and standard deviation 1.

    Args:
        rng: random generator.
        size: pixels a side.
        roughness: exponent by which amplitudes fall with frequency; 1 is ragged, 2 is smooth.
        longest: wavelength, as a share of the side, beyond which amplitudes no longer grow.
    """
    half = size // 2 + 1
    spectrum = rng.standard_normal((2, size, half), dtype=np.float32)
    amplitude = _amplitude(size, round(float(roughness), 1), round(float(longest), 2))
    waves = (spectrum[0] + 1j * spectrum[1]) * amplitude
    noise = irfft2(waves, s=(size, size)).ravel()
    noise /= np.sqrt(noise @ noise / noise.size) + np.float32(1e-12)
    return cast("Plane", noise.reshape(size, size))


@lru_cache(maxsize=128)
def _amplitude(size: int, roughness: float, longest: float) -> Plane:
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    amplitude = np.maximum(frequency, 1 / (size * longest)) ** -roughness
    amplitude[0, 0] = 0
    return amplitude.astype(np.float32)


def quantile(plane: Plane, share: float) -> float:
    """The value below which ``share`` of the plane lies, from every fourth row and column."""
    return float(np.quantile(plane[::4, ::4], min(max(share, 0.0), 1.0)))


def ranks(plane: Plane) -> Plane:
    """Ranks of the values, 0-1: the plane with its own distribution made even."""
    levels = np.linspace(0, 1, _RANK_STEPS)
    steps = np.quantile(plane[::4, ::4], levels) + np.arange(_RANK_STEPS) * 1e-9
    return np.interp(plane, steps, levels).astype(np.float32)


def coarse_side(size: int) -> int:
    """Cells a side of the coarse grid under ``size`` pixels."""
    return max(32, size * 3 // 16)


def cell_centres(side: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Index of the pixels at the centres of the cells of a coarse grid.

    Args:
        side: cells a side.
        size: pixels a side.
    """
    positions = ((np.arange(side) + 0.5) * size / side).astype(np.intp)
    return positions[:, None], positions[None]


def upsample(coarse: Plane, size: int) -> Plane:
    """A coarse plane on (size, size) pixels by cubic B-spline weights; linear in its values."""
    weights = _spline_weights(len(coarse), size)
    return cast("Plane", weights @ coarse.astype(np.float32, copy=False) @ weights.T)


@lru_cache(maxsize=16)
def _spline_weights(side: int, size: int) -> Plane:
    positions = (np.arange(size) + 0.5) * side / size - 0.5
    t = np.abs(positions[:, None] - np.arange(-2, side + 2)[None])
    spline = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0))
    inner = spline[:, 2:-2].copy()
    inner[:, 0] += spline[:, :2].sum(axis=1)  # beyond the border, the border's value continues
    inner[:, -1] += spline[:, -2:].sum(axis=1)
    return inner.astype(np.float32)
