"""What grows, or does not, where nobody has changed the land: by moisture, slope and height, in patches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.land.canvas import Canvas, Mix
from instruction_data.simulate.land.noise import Plane, coarse_side, finer, fractal
from instruction_data.simulate.land.terrain import Terrain

# How each surface likes moist, steep and high ground.
_LIKES = {
    "tree_cover": (0.5, 0.3, -0.2), "shrubland": (-0.2, 0.2, 0.1), "grassland": (0.1, -0.3, 0.0),
    "wetland": (1.5, -0.8, -0.5), "soil": (-0.6, 0.2, 0.1), "sand": (-0.3, -0.7, -0.4), "rock": (-0.6, 1.0, 0.7),
}  # fmt: skip


class Plants:
    """How plants of one landscape look: green by season, of some kinds, thinning out in patches.

    Args:
        rng: drawn from.
        size: pixels a side.
        green: how green plants are at this time of the year, 0-1.
        conifer: share of conifers in the woods.
    """

    def __init__(self, rng: Generator, size: int, green: float, conifer: float) -> None:
        side = coarse_side(size)
        self.green = green
        self.size = size
        self.patches = np.clip(0.5 + 0.25 * finer(fractal(rng, side, 1.3, 0.3), size), 0, 1)
        self.grain = np.clip(0.5 + 0.25 * fractal(rng, size, rng.uniform(0.4, 1.0)), 0, 1)
        stands = finer(fractal(rng, side, 1.5, 0.3), size)
        self.conifer = np.clip(0.5 + (stands + 3 * (conifer - 0.5)) * 3, 0, 1).astype(np.float32)
        self._thick, self._lush, self._leaves = (
            rng.uniform(0.6, 1),
            rng.uniform(0.55, 1),
            max(green, rng.uniform(0.1, 1)),
        )
        self._open = rng.uniform(0.2, 0.7)

    def mix(self, surface: str) -> Mix:
        """The materials of a surface, as shares that differ from place to place."""
        patch, grain = self.patches, self.grain
        if surface == "tree_cover":
            canopy = (self._thick + 0.5 * (patch - 0.5) + 0.5 * (grain - 0.5)).clip(0.35, 1)
            broadleaf = canopy * (1 - self.conifer)
            leaves = broadleaf * self._leaves
            return {"canopy_broadleaf:0": leaves * patch, "canopy_broadleaf:1": leaves * (1 - patch),
                    "canopy_conifer:0": canopy * self.conifer, "litter:0": (broadleaf - leaves) + 0.5 * (1 - canopy),
                    "grass_green:1": 0.5 * (1 - canopy) * self.green}  # fmt: skip
        if surface == "shrubland":
            bushes = (0.65 + 0.5 * (grain - 0.5) + 0.4 * (patch - 0.5)).clip(0.1, 1)
            return {"shrub:0": bushes, "soil:0": (1 - bushes) * (1 - self._open), "litter:0": 0.1,
                    "grass_dry:0": (1 - bushes) * self._open}  # fmt: skip
        if surface == "grassland":
            living = (self.green * self._lush + 0.5 * (patch - 0.5) + 0.2 * (grain - 0.5)).clip(
                0.02, 1
            )
            return {
                "grass_green:0": living,
                "grass_dry:0": (1 - living) * 0.85,
                "soil:0": (1 - living) * 0.15,
            }
        if surface == "wetland":
            reeds = (0.65 + 0.6 * (patch - 0.5) + 0.4 * (grain - 0.5)).clip(0.2, 1)
            return {"marsh:0": reeds * max(self.green, 0.3), "grass_dry:1": reeds * (1 - max(self.green, 0.3)),
                    "water:3": (1 - reeds) * 0.8, "soil:2": (1 - reeds) * 0.2}  # fmt: skip
        other = {"soil": "rock:0", "sand": "soil:1", "rock": "soil:0"}[surface]
        return {f"{surface}:0": patch, f"{surface}:1": 1 - patch, other: 0.25 * grain * (1 - self._thick) + 0.02,
                "grass_dry:0": 0.15 * (1 - grain) * self.green}  # fmt: skip


def cover_wild(
    rng: Generator, canvas: Canvas, land: Terrain, plants: Plants, shares: Mapping[str, float]
) -> None:
    """Cover the whole land with the surfaces of ``shares``, each where it does best."""
    size = len(canvas.cover)
    names = list(shares)
    features = [_standard(plane) for plane in (land.moisture, land.slope, land.elevation_m)]
    patchy, wavelength = rng.uniform(0.7, 1.6), rng.uniform(0.15, 0.8)
    best, chosen = None, np.zeros((size, size), np.uint8)
    for number, name in enumerate(names):
        share = max(shares[name] * rng.lognormal(0, 0.6), 1e-3)
        score = finer(
            fractal(rng, land.side, rng.uniform(1.2, 1.8), wavelength) * np.float32(patchy), size
        )
        score += np.float32(np.log(share)) + land.ragged * np.float32(0.18 * (-1) ** number)
        for feature, liking in zip(features, _LIKES[name], strict=True):
            score += feature * np.float32(liking)
        if best is None:
            best = score
        else:
            better = score > best
            chosen[better] = number
            best = np.maximum(best, score)
    for number, name in enumerate(names):
        canvas.paint(chosen == number, name, plants.mix(name))


def _standard(plane: Plane) -> Plane:
    return np.clip((plane - plane.mean()) / (plane.std() + 1e-6), -2.5, 2.5)


def tree_density(rng: Generator, canvas: Canvas, land: Terrain, single: float) -> Plane:
    """How likely a tree stands at a spot: in woods nearly always, elsewhere ``single``, in clumps."""
    clumps = np.clip(1 + finer(fractal(rng, land.side, 1.0, 0.2), len(canvas.cover)), 0, 3)
    density = clumps * np.float32(single)
    density[canvas.is_("tree_cover")] = 0.96
    density[canvas.is_("shrubland")] *= 1.5
    return density


def bare_slopes(canvas: Canvas, land: Terrain, plants: Plants, steep: float) -> None:
    """Rock where no soil holds."""
    canvas.paint((land.slope > steep) & ~canvas.is_("water"), "rock", plants.mix("rock"))
