"""Relief: fractal uplift, cut by the streams that drain it, slopes at their angle of repose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from instruction_data.simulate.land.noise import (
    Mask,
    Plane,
    coarse_side,
    fractal_noise,
    ranks,
    upsample,
)
from instruction_data.simulate.land.paths import (
    LeastCostTree,
    accumulate_flow,
    least_cost_tree,
    trace_path,
)

_REPOSE_SLOPE = 0.7
_STREAM_QUANTILE = 0.96  # cells with a catchment above it hold a stream


@dataclass(frozen=True)
class Terrain:
    """Relief on a coarse grid of m x m cells and on the pixels of the land.

    Attributes:
        cell_m: width of a cell of the coarse grid in metres.
        coarse_elevation_m: (m, m) elevation on the coarse grid.
        drainage: the way that water takes from every cell to the border of the scene.
        catchment_km2: (m * m,) area that drains through a cell, also from beyond the scene.
        elevation_m: (size, size) elevation.
        slope: (size, size) rise over run.
        moisture: (size, size) soil moisture, 0-1.
        above_stream_m: (size, size) height above the stream that a pixel drains to.
        edge_noise: (size, size) noise of standard deviation 1 that frays whatever follows the
            relief.
    """

    cell_m: float
    coarse_elevation_m: Plane
    drainage: LeastCostTree
    catchment_km2: NDArray[np.float64]
    elevation_m: Plane
    slope: Plane
    moisture: Plane
    above_stream_m: Plane
    edge_noise: Plane

    @property
    def side(self) -> int:
        """Cells of the coarse grid a side."""
        return len(self.coarse_elevation_m)

    @property
    def median_slope(self) -> np.float32:
        """Median rise over run; turns heights into rough distances."""
        return np.float32(max(float(np.median(self.slope[::4, ::4])), 1e-4))


def draw_terrain(
    rng: Generator,
    gsd_m: float,
    size: int,
    *,
    relief_m: float,
    base_m: float,
    tilt: float,
    inflow_km2: float,
) -> Terrain:
    """Draw the relief of a scene.

    Args:
        rng: random generator.
        gsd_m: pixel width in metres.
        size: pixels a side.
        relief_m: standard deviation of elevation over 10 km.
        base_m: lowest elevation.
        tilt: fall from one side of the scene to the other, in units of the relief.
        inflow_km2: area beyond the scene that drains through it; 0: none.
    """
    side = coarse_side(size)
    cell_m = gsd_m * size / side
    extent_km = gsd_m * size / 1000
    amplitude_m = relief_m * (extent_km / 10) ** 0.85
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:side, :side] / side - 0.5
    uplift = fractal_noise(rng, side, rng.uniform(1.8, 2.3))
    height = uplift + 2 * tilt * (np.sin(angle) * y + np.cos(angle) * x)
    height = (height * amplitude_m).astype(np.float32)
    border = np.zeros((side, side), bool)
    border[[0, -1]] = border[:, [0, -1]] = True
    for _ in range(2):
        starts = np.flatnonzero(border)
        drainage = least_cost_tree((0.03 + ranks(height)) ** 2, starts, start_delay=3 * side)
        cells = accumulate_flow(drainage, np.ones(side * side))
        incision = np.log1p(cells).reshape(side, side).astype(np.float32)
        height = height - gaussian_filter(incision, 1.0) * amplitude_m * 0.13
        height = _slump(height, cell_m)
    catchment = cells * cell_m**2 / 1e6
    if inflow_km2:
        catchment[trace_path(drainage, _river_entry(rng, drainage, border))] += inflow_km2
    stream = catchment > np.quantile(catchment, _STREAM_QUANTILE)
    above_stream = np.maximum(height - _stream_height(drainage, stream, height), 0)
    detail = fractal_noise(rng, size, 1.9, 0.12) * amplitude_m * 0.022
    elevation = height - height.min() + base_m
    wetness = np.log(catchment.reshape(side, side) + cell_m**2 / 1e6).astype(np.float32)
    wetness = gaussian_filter(wetness, 2) - 2 * above_stream / (amplitude_m + 1e-6)
    return Terrain(
        cell_m=cell_m,
        coarse_elevation_m=elevation,
        drainage=drainage,
        catchment_km2=catchment,
        elevation_m=upsample(elevation, size) + detail,
        slope=upsample(np.hypot(*np.gradient(elevation, np.float32(cell_m))), size),
        moisture=upsample(ranks(wetness), size),
        above_stream_m=upsample(above_stream, size),
        edge_noise=fractal_noise(rng, size, 1.3, 0.12),
    )


def _slump(height: Plane, cell_m: float) -> Plane:
    """Smooth the relief, the more the steeper it is, up to the angle of repose."""
    smooth = gaussian_filter(height, 1.2)
    steep = np.clip(np.hypot(*np.gradient(height, cell_m)) / _REPOSE_SLOPE, 0.25, 1)
    return height + steep * (smooth - height)


def _river_entry(rng: Generator, drainage: LeastCostTree, border: Mask) -> int:
    """A cell from which the way down crosses much of the scene, on the border if there is one."""
    side = len(border)
    ends = rng.choice(np.flatnonzero(border), 24, replace=False)
    lengths = [len(trace_path(drainage, int(end))) + rng.uniform(0, side / 4) for end in ends]
    if max(lengths) > side / 2:
        return int(ends[int(np.argmax(lengths))])
    farthest = drainage.order[-side:]
    return int(rng.choice(farthest))


def _stream_height(drainage: LeastCostTree, stream: NDArray[np.bool_], height: Plane) -> Plane:
    """Height (m, m) of the stream, or of the outlet, that every cell drains to."""
    heights = height.ravel().tolist()
    predecessor = drainage.predecessor.tolist()
    in_stream = stream.tolist()
    for cell in drainage.order.tolist():
        if not in_stream[cell] and predecessor[cell] >= 0:
            heights[cell] = heights[predecessor[cell]]
    return np.array(heights, np.float32).reshape(height.shape)
