"""Burned land: a fire spreads with the wind, stops where there is no fuel, and leaves islands."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.land.canvas import Canvas
from instruction_data.simulate.land.noise import cell_centres, fractal_noise, upsample
from instruction_data.simulate.land.paths import least_cost_tree
from instruction_data.simulate.land.terrain import Terrain

_FUEL = ("tree_cover", "shrubland", "grassland", "cropland", "wetland", "fallow")


def paint_burned_land(rng: Generator, canvas: Canvas, terrain: Terrain, share: float) -> None:
    """Burn up to ``share`` of the scene, from one to three points of ignition."""
    side = terrain.side
    fuel = canvas.mask_of(*_FUEL)
    cost = np.where(fuel[cell_centres(side, canvas.size)], 1.0, 1e3)
    cost = cost * np.exp(0.8 * fractal_noise(rng, side, 0.8, 0.3))
    candidates = np.flatnonzero(cost < np.median(cost) + 1e-6)
    angle = rng.uniform(0, 2 * np.pi)
    speed = rng.uniform(0, 0.55)
    ignitions = rng.choice(candidates, int(rng.integers(1, 4)))
    wind = (speed * np.sin(angle), speed * np.cos(angle))
    fire = least_cost_tree(cost.astype(np.float32), ignitions, wind=wind)
    arrival = fire.cost.reshape(side, side)
    last = np.quantile(arrival, share)
    ahead = ((arrival - last) / max(float(last), 1e-6)).astype(np.float32)
    ahead = upsample(ahead, canvas.size)
    patches = upsample(fractal_noise(rng, side, 1.0, 0.15), canvas.size)
    patches = patches + 0.5 * terrain.edge_noise[:, ::-1]
    burned = (ahead + 0.05 * patches < 0) & fuel & (patches < rng.uniform(1.2, 2.5))
    severity = np.clip(0.55 + 0.25 * patches + rng.uniform(-0.2, 0.25), 0.1, 1)
    severity = severity.astype(np.float32)
    ash = np.float32(rng.uniform(0, 0.3)) * np.clip(-patches, 0, 1)
    mix = {
        "char:0": severity,
        "ash:0": ash * severity,
        "soil:0": (1 - severity) * 0.5,
        "litter:0": (1 - severity) * 0.35,
        "canopy_conifer:0": (1 - severity) * 0.15,
    }
    canvas.paint(burned, "burned", mix)
    canvas.height_m[burned] *= 0.3
