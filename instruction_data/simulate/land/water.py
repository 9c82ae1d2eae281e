"""Open water where the relief lets it stand or run: sea, lakes, rivers that grow and meander."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.morphology import reconstruction

from instruction_data.simulate.land.noise import (
    Mask,
    Plane,
    coarse_side,
    fractal_noise,
    quantile,
    upsample,
)
from instruction_data.simulate.land.terrain import Terrain

RIVER, LAKE, SEA, PIT_LAKE = range(4)
"""Kinds of water; the number is also the variant of the material ``water``."""
_FAR = 1e3
# Hydraulic geometry: width in m = _WIDTH_FACTOR * (catchment in km2) ** _WIDTH_EXPONENT.
_WIDTH_FACTOR = 4.0
_WIDTH_EXPONENT = 0.45


@dataclass
class OpenWater:
    """Water on the pixels of the land; all planes are (size, size).

    Attributes:
        mask: where water stands.
        kind: which kind of water: ``RIVER``, ``LAKE``, ``SEA`` or ``PIT_LAKE``.
        depth_m: depth, above 0 in water.
        shore_distance_m: rough distance of the land to water, 0 in it.
    """

    mask: Mask
    kind: NDArray[np.uint8]
    depth_m: Plane
    shore_distance_m: Plane

    @classmethod
    def none(cls, size: int) -> OpenWater:
        """Land of ``size`` x ``size`` pixels without water."""
        shape = (size, size)
        return cls(
            mask=np.zeros(shape, bool),
            kind=np.zeros(shape, np.uint8),
            depth_m=np.zeros(shape, np.float32),
            shore_distance_m=np.full(shape, _FAR, np.float32),
        )

    def add(self, inside_m: Plane, depth_m: Plane, kind: int) -> None:
        """Put water of a kind where none stood before.

        Args:
            inside_m: (size, size) distance from the shore, above 0 in the water.
            depth_m: (size, size) depth, used inside only.
            kind: ``RIVER``, ``LAKE``, ``SEA`` or ``PIT_LAKE``.
        """
        new = (inside_m > 0) & ~self.mask
        self.kind[new] = kind
        self.depth_m[new] = np.maximum(depth_m, 0.05)[new]
        self.mask |= new
        np.minimum(self.shore_distance_m, np.maximum(-inside_m, 0), out=self.shore_distance_m)


def river_width_m(catchment_km2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bankfull width of a river by hydraulic geometry."""
    return _WIDTH_FACTOR * catchment_km2**_WIDTH_EXPONENT


def catchment_of_width(width_m: float) -> float:
    """Area in km2 that a river of this width drains."""
    return float((width_m / _WIDTH_FACTOR) ** (1 / _WIDTH_EXPONENT))


def add_sea(rng: Generator, water: OpenWater, terrain: Terrain, share: float) -> None:
    """Flood all land below the elevation under which ``share`` of the scene lies."""
    below = quantile(terrain.elevation_m, share) - terrain.elevation_m
    water.add(below / terrain.median_slope, below * np.float32(rng.uniform(1, 3)), SEA)


def add_lakes(rng: Generator, water: OpenWater, terrain: Terrain, share: float) -> None:
    """Fill hollows of the relief until ``share`` of the scene is under water."""
    height = terrain.coarse_elevation_m
    seed = height.copy()
    seed[1:-1, 1:-1] = height.max()
    # Hollows: what lies deep below its surroundings even where streams cut a way out.
    surroundings = gaussian_filter(height, terrain.side / rng.uniform(8, 20))
    filled: Any = reconstruction(seed, height, method="erosion")  # type: ignore[no-untyped-call]
    brim: Plane = filled.astype(np.float32)
    hollow = np.maximum(brim - height, 0) + np.maximum(surroundings - height, 0)
    hollow = hollow / (height.std() + 1e-6)
    edge = float(np.quantile(hollow, 1 - share))
    if edge <= 0:
        return
    frayed = upsample(hollow, len(water.mask)) + terrain.edge_noise[::-1] * np.float32(0.03)
    inside = (frayed - edge) * (terrain.cell_m / (hollow.std() + 1e-6))
    water.add(inside, 0.3 + inside * np.float32(rng.uniform(0.02, 0.08)), LAKE)


def add_rivers(rng: Generator, water: OpenWater, terrain: Terrain, gsd_m: float) -> None:
    """Add the streams that are wider than a pixel, along the drainage of the relief."""
    side = terrain.side
    size = len(water.mask)
    width = river_width_m(terrain.catchment_km2)
    channel = np.flatnonzero((width > gsd_m) & (terrain.drainage.predecessor >= 0))
    if not channel.size:
        return
    if channel.size > side * 12:
        channel = channel[np.argsort(width[channel])[-side * 12 :]]
    rows, columns = _meanders(rng, terrain, width)
    following = terrain.drainage.predecessor[channel]
    steps = -(-3 * size // (2 * side))
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    scale = size / side
    y = ((rows[channel] * (1 - t) + rows[following] * t) + 0.5) * scale
    x = ((columns[channel] * (1 - t) + columns[following] * t) + 0.5) * scale
    width_along = width[channel] * (1 - t) + np.minimum(width[following], width[channel] * 2) * t
    width_along = width_along * rng.uniform(0.8, 1.3)
    distance, nearest = distance_to_points(size, y.ravel(), x.ravel())
    half_width = (width_along.ravel()[nearest] / 2).astype(np.float32)
    half_width *= 1 + 0.2 * upsample(fractal_noise(rng, side, 1.2, 0.2), size)
    inside = half_width - distance * np.float32(gsd_m)
    depth = np.clip(half_width * 0.08, 0.2, 10)
    depth = depth * (1 - (distance * gsd_m / np.maximum(half_width, 1e-3)) ** 2)
    water.add(inside, depth.astype(np.float32), RIVER)


def distance_to_points(
    size: int, y: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[Plane, NDArray[np.intp]]:
    """Distance from every pixel to the nearest of some points, and the index of that point.

    The nearest point is sought for squares of 2 x 2 pixels; the distance to it is exact.

    Args:
        size: pixels a side.
        y: (n,) rows of the points in pixels.
        x: (n,) columns of the points in pixels.

    Returns:
        (size, size) distances in pixels, and (size, size) indexes into ``y`` and ``x``.
    """
    half = (size + 1) // 2
    row = np.floor(y / 2).astype(int)
    column = np.floor(x / 2).astype(int)
    inside = np.flatnonzero((row >= 0) & (row < half) & (column >= 0) & (column < half))
    if not inside.size:
        return np.full((size, size), _FAR * size, np.float32), np.zeros((size, size), int)
    point = np.full((half, half), -1)
    point[row[inside], column[inside]] = inside
    cell = distance_transform_edt(point < 0, return_distances=False, return_indices=True)
    nearest = point[cell[0], cell[1]]
    centres = np.arange(size, dtype=np.float32) + np.float32(0.5)
    nearest_y = _twice(y.astype(np.float32)[nearest], size)
    nearest_x = _twice(x.astype(np.float32)[nearest], size)
    distance = np.hypot(centres[:, None] - nearest_y, centres[None] - nearest_x)
    return distance, _twice(nearest, size)


def _twice(plane: NDArray[Any], size: int) -> NDArray[Any]:
    return np.repeat(np.repeat(plane, 2, axis=0), 2, axis=1)[:size, :size]


def _meanders(
    rng: Generator, terrain: Terrain, width_m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column (m * m,), in cells, of the channel in every cell: smoothed, then swinging."""
    side = terrain.side
    predecessor = terrain.drainage.predecessor
    following = np.where(predecessor >= 0, predecessor, np.arange(side * side))
    rows, columns = (index.ravel().astype(float) for index in np.mgrid[:side, :side])
    for _ in range(6):
        rows = (rows + rows[following]) / 2
        columns = (columns + columns[following]) / 2
    ahead = following
    for _ in range(5):
        ahead = following[ahead]
    down = rows[ahead] - rows
    right = columns[ahead] - columns
    length = np.hypot(down, right) + 1e-6
    swing = np.clip(width_m / terrain.cell_m * rng.uniform(0.3, 1.5), 1, side / 16)
    wavelength = np.maximum(width_m / terrain.cell_m * rng.uniform(9, 14), 9)
    phase = _accumulate_phase(terrain, 1 / wavelength)
    drift = fractal_noise(rng, side, 2.2, 0.2).ravel() * 0.6
    offset = swing * np.sin(2 * np.pi * (phase + drift)) + drift
    rows = rows - offset * right / length
    columns = columns + offset * down / length
    for _ in range(3):
        rows = (rows + rows[following]) / 2
        columns = (columns + columns[following]) / 2
    return rows, columns


def _accumulate_phase(terrain: Terrain, step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of ``step`` (m * m,), in periods per cell, from the outlet up to every cell."""
    phase = [0.0] * len(step)
    steps = step.tolist()
    predecessor = terrain.drainage.predecessor.tolist()
    for cell in terrain.drainage.order.tolist():
        if predecessor[cell] >= 0:
            phase[cell] = phase[predecessor[cell]] + steps[cell]
    return np.array(phase)


def beach_mask(rng: Generator, water: OpenWater, width_m: float) -> Mask:
    """Land within about ``width_m`` of water, broken up along the shore."""
    size = len(water.mask)
    noise = upsample(fractal_noise(rng, coarse_side(size), 1.3, 0.3), size)
    return ~water.mask & (water.shore_distance_m < width_m * np.clip(0.6 + 0.6 * noise, 0, 2))
