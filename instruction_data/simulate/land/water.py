"""Open water where the relief lets it stand or run: sea, lakes, rivers that grow downstream and meander."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.morphology import reconstruction

from instruction_data.simulate.land.noise import Mask, Plane, coarse_side, finer, fractal, level
from instruction_data.simulate.land.terrain import Terrain

RIVER, LAKE, SEA, POND = range(4)
_FAR = -1e3


@dataclass
class Water:
    """Where which kind of water stands, its depth, and roughly how far the land is from it (metres)."""

    mask: Mask
    kind: np.ndarray
    depth_m: Plane
    bank_m: Plane

    def add(self, inside_m: Plane, depth_m: Plane, kind: int) -> None:
        """Put water where ``inside_m`` (distance in from the shore) is positive and nothing stood yet."""
        new = (inside_m > 0) & ~self.mask
        self.kind[new] = kind
        self.depth_m[new] = np.maximum(depth_m, 0.05)[new]
        self.mask |= new
        np.minimum(self.bank_m, np.maximum(-inside_m, 0), out=self.bank_m)


def no_water(size: int) -> Water:
    """Dry land."""
    return Water(
        np.zeros((size, size), bool), np.zeros((size, size), np.uint8), np.zeros((size, size), np.float32),
        np.full((size, size), -_FAR, np.float32),
    )  # fmt: skip


def river_width_m(drained_km2: np.ndarray) -> np.ndarray:
    """Width at full bank by hydraulic geometry."""
    return 4.0 * drained_km2**0.45


def drained_by(width_m: float) -> float:
    """Land (km2) that a river of this width drains."""
    return float((width_m / 4.0) ** (1 / 0.45))


def add_sea(rng: Generator, water: Water, land: Terrain, share: float) -> None:
    """Everything below a level that ``share`` of the scene lies under."""
    below = level(land.elevation_m, share) - land.elevation_m
    water.add(below / land.usual_slope, below * np.float32(rng.uniform(1, 3)), SEA)


def add_lakes(rng: Generator, water: Water, land: Terrain, share: float) -> None:
    """Hollows of the relief filled to the brim or below, until ``share`` of the scene is under water."""
    height = land.coarse_m
    seed = height.copy()
    seed[1:-1, 1:-1] = height.max()
    # Hollows: what lies deep below its surroundings even where streams cut a way out.
    around = gaussian_filter(height, land.side / rng.uniform(8, 20))
    brim: Plane = reconstruction(seed, height, method="erosion").astype(np.float32)  # type: ignore[no-untyped-call]
    hollow = (np.maximum(brim - height, 0) + np.maximum(around - height, 0)) / (height.std() + 1e-6)
    edge = float(np.quantile(hollow, 1 - share))
    if edge <= 0:
        return
    fine = finer(hollow, len(water.mask)) + land.ragged[::-1] * np.float32(0.03)
    inside = (fine - edge) * (land.cell_m / (hollow.std() + 1e-6))
    water.add(inside, 0.3 + inside * np.float32(rng.uniform(0.02, 0.08)), LAKE)


def add_rivers(rng: Generator, water: Water, land: Terrain, gsd_m: float) -> None:
    """Streams wide enough to see at this grid, along the ways the relief drains."""
    side, size = land.side, len(water.mask)
    width = river_width_m(land.drained_km2)
    channel = np.flatnonzero((width > gsd_m) & (land.drains.before >= 0))
    if not channel.size:
        return
    if channel.size > side * 12:
        channel = channel[np.argsort(width[channel])[-side * 12 :]]
    rows, columns = _bends(rng, land, width)
    before = land.drains.before[channel]
    steps = -(-3 * size // (2 * side))
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    scale = size / side
    y = ((rows[channel] * (1 - t) + rows[before] * t) + 0.5) * scale
    x = ((columns[channel] * (1 - t) + columns[before] * t) + 0.5) * scale
    wide = (
        width[channel] * (1 - t) + np.minimum(width[before], width[channel] * 2) * t
    ) * rng.uniform(0.8, 1.3)
    away, nearest = distance_to(size, y.ravel(), x.ravel())
    half = (wide.ravel()[nearest] / 2).astype(np.float32)
    half *= 1 + 0.2 * finer(fractal(rng, side, 1.2, 0.2), size)
    inside = half - away * np.float32(gsd_m)
    depth = np.clip(half * 0.08, 0.2, 10) * (1 - (away * gsd_m / np.maximum(half, 1e-3)) ** 2)
    water.add(inside, depth.astype(np.float32), RIVER)


def distance_to(size: int, y: np.ndarray, x: np.ndarray) -> tuple[Plane, np.ndarray]:
    """Distance (pixels) from every pixel to the nearest of some points (pixels), and which one that is.

    The nearest is sought for squares of 2 x 2 pixels, the distance to it is exact.
    """
    half = (size + 1) // 2
    row, column = np.floor(y / 2).astype(int), np.floor(x / 2).astype(int)
    inside = np.flatnonzero((row >= 0) & (row < half) & (column >= 0) & (column < half))
    if not inside.size:
        return np.full((size, size), -_FAR * size, np.float32), np.zeros((size, size), int)
    number = np.full((half, half), -1)
    number[row[inside], column[inside]] = inside
    at = distance_transform_edt(number < 0, return_distances=False, return_indices=True)
    nearest = number[at[0], at[1]]
    grid = np.arange(size, dtype=np.float32) + np.float32(0.5)
    down, right = (_twice(a.astype(np.float32)[nearest], size) for a in (y, x))
    return np.hypot(grid[:, None] - down, grid[None] - right), _twice(nearest, size)


def _twice(plane: np.ndarray, size: int) -> np.ndarray:
    return np.repeat(np.repeat(plane, 2, axis=0), 2, axis=1)[:size, :size]


def _bends(rng: Generator, land: Terrain, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the channel of every cell runs (rows, columns in cells): smoothed along its way, swinging in meanders."""
    side, before = land.side, land.drains.before
    following = np.where(before >= 0, before, np.arange(side * side))
    rows, columns = (a.ravel().astype(float) for a in np.mgrid[:side, :side])
    for _ in range(6):
        rows, columns = (rows + rows[following]) / 2, (columns + columns[following]) / 2
    ahead = following
    for _ in range(5):
        ahead = following[ahead]
    down, right = rows[ahead] - rows, columns[ahead] - columns
    length = np.hypot(down, right) + 1e-6
    swing = np.clip(width / land.cell_m * rng.uniform(0.3, 1.5), 1, side / 16)
    wave = np.maximum(width / land.cell_m * rng.uniform(9, 14), 9)
    along = np.zeros(side * side)
    step, total, previous = (1 / wave).tolist(), along.tolist(), before.tolist()
    for cell in land.drains.order.tolist():
        if previous[cell] >= 0:
            total[cell] = total[previous[cell]] + step[cell]
    drift = fractal(rng, side, 2.2, 0.2).ravel() * 0.6
    offset = swing * np.sin(2 * np.pi * (np.array(total) + drift)) + drift
    rows, columns = rows - offset * right / length, columns + offset * down / length
    for _ in range(3):
        rows, columns = (rows + rows[following]) / 2, (columns + columns[following]) / 2
    return rows, columns


def beach(rng: Generator, water: Water, width_m: float) -> Mask:
    """Land within about ``width_m`` of water, broken up along the shore."""
    broken = finer(fractal(rng, coarse_side(len(water.mask)), 1.3, 0.3), len(water.mask))
    return ~water.mask & (water.bank_m < width_m * np.clip(0.6 + 0.6 * broken, 0, 2))
