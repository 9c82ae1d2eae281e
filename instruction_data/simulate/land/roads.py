"""Country roads: least-cost paths over the relief, with bridges where they must cross water."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from instruction_data.simulate.land.context import LandContext
from instruction_data.simulate.land.noise import Mask, cell_centres
from instruction_data.simulate.land.paths import least_cost_tree, trace_path
from instruction_data.simulate.land.water import distance_to_points

Metres = NDArray[np.floating[Any]]

_WIDTHS_M = (5, 7, 10, 18, 26)
_WIDTH_SHARES = (0.25, 0.3, 0.25, 0.12, 0.08)
_FINEST_LINES_M = 0.4  # pixels wider than this do not show road markings
_PADDING = 12  # cells by which a path is extended before it is smoothed


def build_roads(rng: Generator, land: LandContext, count: int) -> None:
    """Lay ``count`` roads that meet in one junction on the border."""
    canvas = land.canvas
    gsd_m = land.gsd_m
    distance_m, half_width_m = _road_distance(rng, land, count)
    verge_m = rng.uniform(1, 6)
    verge = (distance_m < half_width_m + verge_m) & ~land.water.mask
    verge &= ~canvas.mask_of("building")
    unpaved = rng.random() < 0.15
    surface = {"soil:1": 0.8, "sand:0": 0.2} if unpaved else {"asphalt:0": 0.9, "concrete:0": 0.1}
    if gsd_m > 1.5 * float(np.median(half_width_m)):
        reach = half_width_m + np.float32(gsd_m / 2)
        share = np.clip((reach - distance_m) / np.float32(gsd_m), 0, 1)
        opacity = share * np.clip(2 * half_width_m / gsd_m, 0, 1)
        canvas.veil(opacity.astype(np.float32), "road", surface)
        return
    canvas.paint(verge, "grassland", {"grass_green:0": 0.5, "grass_dry:1": 0.3, "soil:1": 0.2})
    road = distance_m < half_width_m
    canvas.paint(road, "road", surface)
    canvas.height_m[road] = 0
    if gsd_m < _FINEST_LINES_M and not unpaved:
        canvas.paint(_marking(distance_m, half_width_m) & road, "road", {"paint:0": 1.0})
    median = road & (distance_m < 1.5) & (half_width_m > 10)
    canvas.paint(median, "grassland", {"grass_green:0": 0.5, "grass_dry:1": 0.5})


def _road_distance(rng: Generator, land: LandContext, count: int) -> tuple[Metres, Metres]:
    """Distance of every pixel to the nearest road's centre line, and half of that road's width."""
    side = land.terrain.side
    size = land.size
    steepness = np.hypot(*np.gradient(land.terrain.coarse_elevation_m, land.terrain.cell_m))
    wet = land.water.mask[cell_centres(side, size)]
    cost = 1 + 30 * steepness**2 + 25 * wet + rng.uniform(0, 0.6) * rng.random((side, side))
    borders = rng.permutation(4)
    ends = [_border_cell(rng, side, int(borders[number % 4])) for number in range(count + 1)]
    tree = least_cost_tree(cost.astype(np.float32), ends[0])
    y = []
    x = []
    widths_m = []
    smoothing = rng.uniform(3, 12)
    for end in ends[1:]:
        line = _smooth_line(trace_path(tree, end), side, size, smoothing)
        widest_m = land.extent_m / 12
        road_width_m = min(float(rng.choice(_WIDTHS_M, p=_WIDTH_SHARES)), widest_m)
        y.append(line[0])
        x.append(line[1])
        widths_m.append(np.full(line.shape[1], road_width_m))
    distance, nearest = distance_to_points(size, np.concatenate(y), np.concatenate(x))
    width_m = np.concatenate(widths_m)[nearest].astype(np.float32)
    return distance * np.float32(land.gsd_m), width_m / 2


def _smooth_line(path: list[int], side: int, size: int, smoothing: float) -> NDArray[np.float64]:
    """Points (2, n) in pixels along a path of cells, dense enough to leave no gap."""
    cells = np.array(path)
    line = np.stack([cells // side + 0.5, cells % side + 0.5]) * (size / side)
    padding = ((0, 0), (_PADDING, _PADDING))
    line = gaussian_filter1d(
        np.pad(line, padding, mode="reflect", reflect_type="odd"), smoothing, axis=1
    )
    vertices = np.arange(line.shape[1])
    steps = np.linspace(0, line.shape[1] - 1, line.shape[1] * 2 * -(-size // side))
    return np.stack([np.interp(steps, vertices, coordinate) for coordinate in line])


def _marking(distance_m: Metres, half_width_m: Metres) -> Mask:
    edge_line = np.abs(distance_m - half_width_m * 0.94) < 0.12
    return edge_line | (distance_m < 0.1)


def _border_cell(rng: Generator, side: int, border: int) -> int:
    """Flat number of a drawn cell on the top (0), bottom (1), left (2) or right (3) border."""
    offset = int(rng.integers(side // 8, side - side // 8))
    cells = [offset, (side - 1) * side + offset, offset * side, offset * side + side - 1]
    return cells[border]
