"""Light and shade: slopes towards and away from the sun, shadows of hills, houses and crowns, clouds and theirs."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter

from instruction_data.simulate.land.noise import Plane, finer, fractal, level
from instruction_data.simulate.land.terrain import Terrain


def lit(
    land: Terrain, height_m: Plane, light: Plane, gsd_m: float, sun: tuple[float, float]
) -> Plane:
    """Light relative to flat sunlit ground.

    Args:
        land: its relief shades at large.
        height_m: of houses and crowns over the ground.
        light: what else darkens a place, 1 = nothing.
        gsd_m: metres a pixel.
        sun: zenith and azimuth (clockwise from north) in degrees.
    """
    size = len(height_m)
    zenith, azimuth = np.radians(sun)
    # Rows run south: the direction towards the sun in rows and columns.
    towards = -np.cos(azimuth), np.sin(azimuth)
    shaded = finer(_behind(land.coarse_m, land.cell_m, zenith, towards, 24), size)
    relief = _facing(land.elevation_m, gsd_m, zenith, towards) * (1 - 0.85 * shaded)
    if not height_m.any():
        return np.clip(relief, 0.08, 1.7) * light
    tops = gaussian_filter(height_m, 0.5)
    things = np.clip(_facing(tops, gsd_m, zenith, towards), 0.45, 1.35)
    things[height_m == 0] = 1
    shade = _behind(height_m, gsd_m, zenith, towards, 20)
    return np.clip(relief * things * (1 - 0.75 * shade), 0.08, 1.7) * light


def _facing(height: Plane, cell_m: float, zenith: float, towards: tuple[float, float]) -> Plane:
    """Cosine of the sun's angle to the ground, over that to flat ground."""
    down, right = _differences(height, cell_m), _differences(height.T, cell_m).T
    rise = down * np.float32(towards[0]) + right * np.float32(towards[1])
    cosine = (1 - rise * np.float32(np.tan(zenith))) / np.sqrt(1 + down**2 + right**2)
    return np.clip(cosine, 0.1, 1.7).astype(np.float32)


def _differences(height: Plane, cell_m: float) -> Plane:
    """Slope down the rows, central inside and one-sided on the border."""
    slope = np.empty_like(height)
    np.subtract(height[2:], height[:-2], out=slope[1:-1])
    slope[0], slope[-1] = 2 * (height[1] - height[0]), 2 * (height[-1] - height[-2])
    slope *= np.float32(0.5 / cell_m)
    return slope


def _behind(
    height: Plane, cell_m: float, zenith: float, towards: tuple[float, float], steps: int
) -> Plane:
    """1 where something towards the sun stands in its way."""
    size = len(height)
    rise = 1 / max(np.tan(zenith), 1e-3)
    longest = min(float(np.ptp(height)) / rise / cell_m, size / 2)
    if longest < 1:
        return np.zeros_like(height)
    horizon = np.full_like(height, -np.inf)
    for distance in np.unique(np.ceil(np.geomspace(1, longest, min(steps, int(longest) + 1)))):
        row, column = round(towards[0] * distance), round(towards[1] * distance)
        here = (
            slice(max(0, -row), size - max(0, row)),
            slice(max(0, -column), size - max(0, column)),
        )
        there = (
            slice(max(0, row), size - max(0, -row)),
            slice(max(0, column), size - max(0, -column)),
        )
        np.maximum(
            horizon[here], height[there] - np.float32(distance * cell_m * rise), out=horizon[here]
        )
    return gaussian_filter((horizon > height + 0.3).astype(np.float32), 0.5)


def clouds(
    rng: Generator, size: int, gsd_m: float, sun: tuple[float, float]
) -> tuple[Plane, Plane]:
    """Opacity of clouds and of their shadows, cast by height away from the sun."""
    extent = gsd_m * size
    share = float(
        rng.choice(
            [rng.uniform(0.02, 0.15), rng.uniform(0.1, 0.5), rng.uniform(0.5, 0.9)],
            p=[0.45, 0.45, 0.1],
        )
    )
    longest = float(np.clip(rng.uniform(500, 6000) / extent, 0.1, 1))
    noise = fractal(rng, size, rng.uniform(1.5, 2.0), longest)
    soft = rng.uniform(0.15, 0.8)
    cloud = np.clip((noise - level(noise, 1 - share)) / soft, 0, 1)
    if rng.random() < 0.25:
        cloud *= np.float32(rng.uniform(0.3, 0.8))
    cloud = (cloud * cloud * (3 - 2 * cloud)).astype(np.float32)
    away = rng.uniform(500, 4000) * np.tan(np.radians(sun[0])) / gsd_m
    azimuth = np.radians(sun[1])
    shift = round(np.cos(azimuth) * away) % size, round(-np.sin(azimuth) * away) % size
    # The noise is periodic: what is shifted in belongs to clouds just outside the scene.
    shadow = gaussian_filter(np.roll(cloud, shift, (0, 1)), 1.2) * (1 - cloud)
    return cloud, shadow.astype(np.float32)
