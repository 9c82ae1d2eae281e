"""Relief: fractal uplift cut by the streams that drain it, slopes slumped to their angle of repose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from instruction_data.simulate.land.noise import Plane, coarse_side, finer, fractal, ranks
from instruction_data.simulate.land.paths import Spread, spread, upstream, way

_REPOSE = 0.7


@dataclass(frozen=True)
class Terrain:
    """Relief on a coarse grid (m, m) of ``cell_m`` metres and at the land's own pixels.

    ``drained_km2`` (m * m,) is the land above a cell, rivers from beyond the scene included; ``above_stream_m`` the
    height over the stream a cell drains to; ``moisture`` 0-1; ``slope`` rise over run; ``ragged`` noise (deviation 1)
    that frays the edges of whatever follows the relief.
    """

    cell_m: float
    coarse_m: Plane
    drains: Spread
    drained_km2: NDArray[np.float64]
    elevation_m: Plane
    slope: Plane
    moisture: Plane
    above_stream_m: Plane
    ragged: Plane

    @property
    def side(self) -> int:
        """Cells of the coarse grid a side."""
        return len(self.coarse_m)

    @property
    def usual_slope(self) -> np.float32:
        """Median rise over run; turns heights to rough distances."""
        return np.float32(max(float(np.median(self.slope[::4, ::4])), 1e-4))


def terrain(
    rng: Generator,
    gsd_m: float,
    size: int,
    *,
    relief_m: float,
    base_m: float,
    tilt: float,
    inflow_km2: float,
) -> Terrain:
    """Draw relief; ``inflow_km2`` of land beyond the scene drain through it, ``tilt`` (times the relief) to a side."""
    side = coarse_side(size)
    cell_m, km = gsd_m * size / side, gsd_m * size / 1000
    amount = relief_m * (km / 10) ** 0.85
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:side, :side] / side - 0.5
    height = fractal(rng, side, rng.uniform(1.8, 2.3)) + 2 * tilt * (
        np.sin(angle) * y + np.cos(angle) * x
    )
    height = (height * amount).astype(np.float32)
    edge = np.zeros((side, side), bool)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    for _ in range(2):
        drains = spread((0.03 + ranks(height)) ** 2, np.flatnonzero(edge), delay=3 * side)
        own = upstream(drains, np.ones(side * side))
        cut = gaussian_filter(np.log1p(own).reshape(side, side).astype(np.float32), 1.0)
        height = height - cut * amount * 0.13
        height = _slump(height, cell_m)
    drained = own * cell_m**2 / 1e6
    if inflow_km2:
        drained[way(drains, _source(rng, drains, edge, height))] += inflow_km2
    stream = drained > np.quantile(drained, 0.96)
    foot = _foot(drains, stream, height)
    detail = fractal(rng, size, 1.9, 0.12) * amount * 0.022
    coarse = height - height.min() + base_m
    slope = finer(np.hypot(*np.gradient(coarse, np.float32(cell_m))), size)
    above = np.maximum(height - foot, 0)
    gathered = np.log(drained.reshape(side, side) + cell_m**2 / 1e6).astype(np.float32)
    wet = finer(ranks(gaussian_filter(gathered, 2) - 2 * above / (amount + 1e-6)), size)
    elevation = finer(coarse, size) + detail
    ragged = fractal(rng, size, 1.3, 0.12)
    return Terrain(
        cell_m, coarse, drains, drained, elevation, slope, wet, finer(above, size), ragged
    )


def _slump(height: Plane, cell_m: float) -> Plane:
    smooth = gaussian_filter(height, 1.2)
    steep = np.clip(np.hypot(*np.gradient(height, cell_m)) / _REPOSE, 0.25, 1)
    return height + steep * (smooth - height)


def _source(rng: Generator, drains: Spread, edge: NDArray[np.bool_], height: Plane) -> int:
    """A cell on the border from which the way down crosses much of the scene."""
    side = len(height)
    border = np.flatnonzero(edge)
    ends = rng.choice(border, 24, replace=False)
    lengths = [len(way(drains, int(end))) + rng.uniform(0, side / 4) for end in ends]
    longest = int(ends[int(np.argmax(lengths))])
    if max(lengths) > side / 2:
        return longest
    far = drains.order[-side:]
    return int(rng.choice(far))


def _foot(drains: Spread, stream: NDArray[np.bool_], height: Plane) -> Plane:
    foot, before, wet = height.ravel().tolist(), drains.before.tolist(), stream.tolist()
    for cell in drains.order.tolist():
        if not wet[cell] and before[cell] >= 0:
            foot[cell] = foot[before[cell]]
    return np.array(foot, np.float32).reshape(height.shape)
