"""Roads across the country: least-cost ways over the relief, with bridges where they must cross water."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter1d

from instruction_data.simulate.land.canvas import Canvas
from instruction_data.simulate.land.noise import Mask, Plane, coarse_pixels
from instruction_data.simulate.land.paths import spread, way
from instruction_data.simulate.land.terrain import Terrain
from instruction_data.simulate.land.water import distance_to

_WIDTHS_M = (5, 7, 10, 18, 26)


def build_roads(
    rng: Generator, canvas: Canvas, land: Terrain, water: Mask, gsd_m: float, count: int
) -> Plane:
    """Lay ``count`` roads to one junction; returns how far from the carriageway each pixel is (metres)."""
    side, size = land.side, len(water)
    steep = np.hypot(*np.gradient(land.coarse_m, land.cell_m))
    wet = water[coarse_pixels(side, size)]
    cost = 1 + 30 * steep**2 + 25 * wet + rng.uniform(0, 0.6) * rng.random((side, side))
    border = rng.permutation(4)
    ends = [_on_border(rng, side, int(border[k % 4])) for k in range(count + 1)]
    tree = spread(cost.astype(np.float32), ends[0])
    y, x, width = [], [], []
    smooth = rng.uniform(3, 12)
    for end in ends[1:]:
        cells = np.array(way(tree, end))
        line = np.stack([cells // side + 0.5, cells % side + 0.5]) * (size / side)
        straight = np.pad(line, ((0, 0), (12, 12)), mode="reflect", reflect_type="odd")
        line = gaussian_filter1d(straight, smooth, axis=1)
        fine = np.linspace(0, line.shape[1] - 1, line.shape[1] * 2 * -(-size // side))
        y.append(np.interp(fine, np.arange(line.shape[1]), line[0]))
        x.append(np.interp(fine, np.arange(line.shape[1]), line[1]))
        width.append(
            np.full(
                fine.size,
                min(rng.choice(_WIDTHS_M, p=[0.25, 0.3, 0.25, 0.12, 0.08]), gsd_m * size / 12),
            )
        )
    away, nearest = distance_to(size, np.concatenate(y), np.concatenate(x))
    half = np.concatenate(width)[nearest].astype(np.float32) / 2
    metres = away * np.float32(gsd_m)
    verge = (metres < half + rng.uniform(1, 6)) & ~water & ~canvas.is_("building")
    unpaved = rng.random() < 0.15
    surface = {"soil:1": 0.8, "sand:0": 0.2} if unpaved else {"asphalt:0": 0.9, "concrete:0": 0.1}
    if gsd_m > 1.5 * float(np.median(half)):
        share = np.clip((half + np.float32(gsd_m / 2) - metres) / np.float32(gsd_m), 0, 1)
        canvas.veil((share * np.clip(2 * half / gsd_m, 0, 1)).astype(np.float32), "road", surface)
    else:
        canvas.paint(verge, "grassland", {"grass_green:0": 0.5, "grass_dry:1": 0.3, "soil:1": 0.2})
        road = metres < half
        canvas.paint(road, "road", surface)
        canvas.height_m[road] = 0
        if gsd_m < 0.4 and not unpaved:
            line = (np.abs(metres - half * 0.94) < 0.12) | (metres < 0.1)
            canvas.paint(line & road, "road", {"paint:0": 1.0})
        divided = road & (metres < 1.5) & (half > 10)
        canvas.paint(divided, "grassland", {"grass_green:0": 0.5, "grass_dry:1": 0.5})
    return metres


def _on_border(rng: Generator, side: int, which: int) -> int:
    at = int(rng.integers(side // 8, side - side // 8))
    return [at, (side - 1) * side + at, at * side, at * side + side - 1][which]
