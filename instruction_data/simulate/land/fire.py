"""Burned land: a fire spreads with the wind and uphill, stops at water, roads and bare ground, and leaves islands."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.land.canvas import Canvas
from instruction_data.simulate.land.noise import coarse_pixels, finer, fractal
from instruction_data.simulate.land.paths import spread
from instruction_data.simulate.land.terrain import Terrain

_FUEL = ("tree_cover", "shrubland", "grassland", "cropland", "wetland", "fallow")


def burn(rng: Generator, canvas: Canvas, land: Terrain, share: float) -> None:
    """Burn up to ``share`` of the scene, from where a fire breaks out."""
    side, size = land.side, len(canvas.cover)
    fuel = canvas.is_(*_FUEL)
    at = coarse_pixels(side, size)
    cost = np.where(fuel[at], 1.0, 1e3)
    cost = cost * np.exp(0.8 * fractal(rng, side, 0.8, 0.3))
    starts = np.flatnonzero(cost < np.median(cost) + 1e-6)
    angle, wind = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.55)
    fire = spread(
        cost.astype(np.float32), rng.choice(starts, int(rng.integers(1, 4))),
        drift=(wind * np.sin(angle), wind * np.cos(angle)),
    )  # fmt: skip
    arrival = fire.cost.reshape(side, side)
    last = np.quantile(arrival, share)
    ahead = finer(((arrival - last) / max(float(last), 1e-6)).astype(np.float32), size)
    patches = finer(fractal(rng, side, 1.0, 0.15), size) + 0.5 * land.ragged[:, ::-1]
    burned = (ahead + 0.05 * patches < 0) & fuel & (patches < rng.uniform(1.2, 2.5))
    severe = np.clip(0.55 + 0.25 * patches + rng.uniform(-0.2, 0.25), 0.1, 1).astype(np.float32)
    ash = np.float32(rng.uniform(0, 0.3)) * np.clip(-patches, 0, 1)
    canvas.paint(
        burned, "burned",
        {"char:0": severe, "ash:0": ash * severe, "soil:0": (1 - severe) * 0.5, "litter:0": (1 - severe) * 0.35,
         "canopy_conifer:0": (1 - severe) * 0.15},
    )  # fmt: skip
    canvas.height_m[burned] *= 0.3
