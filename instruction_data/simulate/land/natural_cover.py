"""Natural cover of land that nobody has changed: by moisture, slope, elevation, in patches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.land.context import LandContext
from instruction_data.simulate.land.noise import Plane, fractal_noise, upsample

# How much each surface prefers moist, steep and high ground; negative: how much it avoids it.
_PREFERENCES = {
    "tree_cover": (0.5, 0.3, -0.2),
    "shrubland": (-0.2, 0.2, 0.1),
    "grassland": (0.1, -0.3, 0.0),
    "wetland": (1.5, -0.8, -0.5),
    "soil": (-0.6, 0.2, 0.1),
    "sand": (-0.3, -0.7, -0.4),
    "rock": (-0.6, 1.0, 0.7),
}


def paint_natural_cover(rng: Generator, land: LandContext, shares: Mapping[str, float]) -> None:
    """Cover all land with the surfaces of ``shares``, each where its score is highest."""
    terrain = land.terrain
    names = list(shares)
    features = [
        _standardize(plane) for plane in (terrain.moisture, terrain.slope, terrain.elevation_m)
    ]
    patchiness = rng.uniform(0.7, 1.6)
    wavelength = rng.uniform(0.15, 0.8)
    scores = []
    for number, name in enumerate(names):
        share = max(shares[name] * rng.lognormal(0, 0.6), 1e-3)
        noise = fractal_noise(rng, terrain.side, rng.uniform(1.2, 1.8), wavelength)
        score = upsample(noise * np.float32(patchiness), land.size)
        edge_noise = terrain.edge_noise * np.float32(0.18 * (-1) ** number)
        score += np.float32(np.log(share)) + edge_noise
        for feature, preference in zip(features, _PREFERENCES[name], strict=True):
            score += feature * np.float32(preference)
        scores.append(score)
    best = np.argmax(scores, axis=0)
    for number, name in enumerate(names):
        land.canvas.paint(best == number, name, land.vegetation.mix(name))


def _standardize(plane: Plane) -> Plane:
    return np.clip((plane - plane.mean()) / (plane.std() + 1e-6), -2.5, 2.5)


def paint_steep_rock(land: LandContext, steepest: float) -> None:
    """Paint rock where the slope (rise over run) is above ``steepest`` and holds no soil."""
    steep = (land.terrain.slope > steepest) & ~land.canvas.mask_of("water")
    land.canvas.paint(steep, "rock", land.vegetation.mix("rock"))


def tree_density(rng: Generator, land: LandContext, single: float) -> Plane:
    """Chance of a tree at every pixel: high in woods, ``single`` in clumps elsewhere."""
    noise = upsample(fractal_noise(rng, land.terrain.side, 1.0, 0.2), land.size)
    density = np.clip(1 + noise, 0, 3) * np.float32(single)
    density[land.canvas.mask_of("tree_cover")] = 0.96
    density[land.canvas.mask_of("shrubland")] *= 1.5
    return density
