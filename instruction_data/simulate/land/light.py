"""Irradiance: slopes facing the sun or turned away; shadows of relief, houses and clouds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter

from instruction_data.simulate.land.noise import Plane, fractal_noise, quantile, upsample
from instruction_data.simulate.land.terrain import Terrain

_DARKEST = 0.08  # limits of the irradiance relative to flat sunlit ground
_BRIGHTEST = 1.7


class Sun(NamedTuple):
    """Position of the sun: degrees from the zenith, and degrees clockwise from north."""

    zenith_deg: float
    azimuth_deg: float


def relative_irradiance(
    terrain: Terrain, height_m: Plane, shading: Plane, gsd_m: float, sun: Sun
) -> Plane:
    """Irradiance (size, size) relative to flat sunlit ground.

    Args:
        terrain: relief, which shades slopes and casts shadows.
        height_m: (size, size) height of houses and crowns above the ground.
        shading: (size, size) factor for all other darkening, 1 where there is none.
        gsd_m: pixel width in metres.
        sun: position of the sun.
    """
    size = len(height_m)
    zenith, azimuth = np.radians(sun)
    # Rows run south: the direction towards the sun in rows and columns.
    sunward = -np.cos(azimuth), np.sin(azimuth)
    hill_shadow = _shadow(terrain.coarse_elevation_m, terrain.cell_m, zenith, sunward, 24)
    relief = _relative_cosine(terrain.elevation_m, gsd_m, zenith, sunward)
    relief = relief * (1 - 0.85 * upsample(hill_shadow, size))
    if not height_m.any():
        return np.clip(relief, _DARKEST, _BRIGHTEST) * shading
    tops = gaussian_filter(height_m, 0.5)
    objects = np.clip(_relative_cosine(tops, gsd_m, zenith, sunward), 0.45, 1.35)
    objects[height_m == 0] = 1
    shadow = _shadow(height_m, gsd_m, zenith, sunward, 20)
    light = relief * objects * (1 - 0.75 * shadow)
    return np.clip(light, _DARKEST, _BRIGHTEST) * shading


def _relative_cosine(
    height: Plane, cell_m: float, zenith: float, sunward: tuple[float, float]
) -> Plane:
    """Cosine of the sun's incidence angle on the ground, relative to flat ground."""
    down = _row_slope(height, cell_m)
    right = _row_slope(height.T, cell_m).T
    rise = down * np.float32(sunward[0]) + right * np.float32(sunward[1])
    cosine = (1 - rise * np.float32(np.tan(zenith))) / np.sqrt(1 + down**2 + right**2)
    return np.clip(cosine, 0.1, 1.7).astype(np.float32)


def _row_slope(height: Plane, cell_m: float) -> Plane:
    """Slope down the rows: central differences inside, one-sided ones on the border."""
    slope = np.empty_like(height)
    np.subtract(height[2:], height[:-2], out=slope[1:-1])
    slope[0] = 2 * (height[1] - height[0])
    slope[-1] = 2 * (height[-1] - height[-2])
    slope *= np.float32(0.5 / cell_m)
    return slope


def _shadow(
    height: Plane, cell_m: float, zenith: float, sunward: tuple[float, float], steps: int
) -> Plane:
    """1 where something towards the sun is high enough to hide it, else 0, softened a little.

    Args:
        height: (n, n) heights in metres.
        cell_m: width of a cell in metres.
        zenith: of the sun, in radians.
        sunward: direction towards the sun in rows and columns, of length 1.
        steps: how many distances are tried at most.
    """
    size = len(height)
    rise = 1 / max(np.tan(zenith), 1e-3)
    longest = min(float(np.ptp(height)) / rise / cell_m, size / 2)
    if longest < 1:
        return np.zeros_like(height)
    horizon = np.full_like(height, -np.inf)
    for distance in np.unique(np.ceil(np.geomspace(1, longest, min(steps, int(longest) + 1)))):
        row = round(sunward[0] * distance)
        column = round(sunward[1] * distance)
        cells = (
            slice(max(0, -row), size - max(0, row)),
            slice(max(0, -column), size - max(0, column)),
        )
        cells_sunward = (
            slice(max(0, row), size - max(0, -row)),
            slice(max(0, column), size - max(0, -column)),
        )
        line_of_sight = height[cells_sunward] - np.float32(distance * cell_m * rise)
        np.maximum(horizon[cells], line_of_sight, out=horizon[cells])
    return gaussian_filter((horizon > height + 0.3).astype(np.float32), 0.5)


def draw_clouds(rng: Generator, size: int, gsd_m: float, sun: Sun) -> tuple[Plane, Plane]:
    """Draw the opacity (size, size), 0-1, of clouds and of the shadows that they cast.

    Args:
        rng: random generator.
        size: pixels a side.
        gsd_m: pixel width in metres.
        sun: position of the sun; shadows lie away from it.
    """
    extent_m = gsd_m * size
    covers = [rng.uniform(0.02, 0.15), rng.uniform(0.1, 0.5), rng.uniform(0.5, 0.9)]
    cover = float(rng.choice(covers, p=[0.45, 0.45, 0.1]))
    longest = float(np.clip(rng.uniform(500, 6000) / extent_m, 0.1, 1))
    noise = fractal_noise(rng, size, rng.uniform(1.5, 2.0), longest)
    softness = rng.uniform(0.15, 0.8)
    cloud = np.clip((noise - quantile(noise, 1 - cover)) / softness, 0, 1)
    if rng.random() < 0.25:
        cloud *= np.float32(rng.uniform(0.3, 0.8))
    cloud = (cloud * cloud * (3 - 2 * cloud)).astype(np.float32)
    offset = rng.uniform(500, 4000) * np.tan(np.radians(sun.zenith_deg)) / gsd_m
    azimuth = np.radians(sun.azimuth_deg)
    shift = round(np.cos(azimuth) * offset) % size, round(-np.sin(azimuth) * offset) % size
    # The noise is periodic: what is shifted in belongs to clouds just outside the scene.
    shadow = gaussian_filter(np.roll(cloud, shift, (0, 1)), 1.2) * (1 - cloud)
    return cloud, shadow.astype(np.float32)
