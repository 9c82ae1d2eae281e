"""Materials of surfaces that nobody has changed, as planes that vary with stands and patches."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.land.canvas import Mix
from instruction_data.simulate.land.noise import coarse_side, fractal_noise, upsample


class Vegetation:
    """The plants of one landscape: green by season, thinning out in patches.

    Args:
        rng: random generator.
        size: pixels a side.
        greenness: share of living leaves at this time of the year, 0-1.
        conifer_share: share of conifers in the woods, 0-1.

    Attributes:
        greenness: as given.
        conifer: (size, size) chance that a tree is a conifer.
    """

    def __init__(self, rng: Generator, size: int, greenness: float, conifer_share: float) -> None:
        side = coarse_side(size)
        self.greenness = greenness
        patches = upsample(fractal_noise(rng, side, 1.3, 0.3), size)
        self._patches = np.clip(0.5 + 0.25 * patches, 0, 1)
        grain = fractal_noise(rng, size, rng.uniform(0.4, 1.0))
        self._grain = np.clip(0.5 + 0.25 * grain, 0, 1)
        stands = upsample(fractal_noise(rng, side, 1.5, 0.3), size)
        conifer = np.clip(0.5 + (stands + 3 * (conifer_share - 0.5)) * 3, 0, 1)
        self.conifer = conifer.astype(np.float32)
        self._closure = rng.uniform(0.6, 1)
        self._lushness = rng.uniform(0.55, 1)
        self._leaves = max(greenness, rng.uniform(0.1, 1))
        self._grass_between_shrubs = rng.uniform(0.2, 0.7)

    def mix(self, surface: str) -> Mix:
        """The materials of a natural surface, as shares that differ from place to place."""
        if surface == "tree_cover":
            return self._tree_cover()
        if surface == "shrubland":
            return self._shrubland()
        if surface == "grassland":
            return self._grassland()
        if surface == "wetland":
            return self._wetland()
        return self._bare(surface)

    def _tree_cover(self) -> Mix:
        closure = self._closure + 0.5 * (self._patches - 0.5) + 0.5 * (self._grain - 0.5)
        canopy = closure.clip(0.35, 1)
        broadleaf = canopy * (1 - self.conifer)
        leaves = broadleaf * self._leaves
        return {
            "canopy_broadleaf:0": leaves * self._patches,
            "canopy_broadleaf:1": leaves * (1 - self._patches),
            "canopy_conifer:0": canopy * self.conifer,
            "litter:0": (broadleaf - leaves) + 0.5 * (1 - canopy),
            "grass_green:1": 0.5 * (1 - canopy) * self.greenness,
        }

    def _shrubland(self) -> Mix:
        shrubs = 0.65 + 0.5 * (self._grain - 0.5) + 0.4 * (self._patches - 0.5)
        shrubs = shrubs.clip(0.1, 1)
        return {
            "shrub:0": shrubs,
            "soil:0": (1 - shrubs) * (1 - self._grass_between_shrubs),
            "litter:0": 0.1,
            "grass_dry:0": (1 - shrubs) * self._grass_between_shrubs,
        }

    def _grassland(self) -> Mix:
        living = self.greenness * self._lushness + 0.5 * (self._patches - 0.5)
        living = (living + 0.2 * (self._grain - 0.5)).clip(0.02, 1)
        return {
            "grass_green:0": living,
            "grass_dry:0": (1 - living) * 0.85,
            "soil:0": (1 - living) * 0.15,
        }

    def _wetland(self) -> Mix:
        reeds = 0.65 + 0.6 * (self._patches - 0.5) + 0.4 * (self._grain - 0.5)
        reeds = reeds.clip(0.2, 1)
        living = max(self.greenness, 0.3)
        return {
            "marsh:0": reeds * living,
            "grass_dry:1": reeds * (1 - living),
            "water:3": (1 - reeds) * 0.8,
            "soil:2": (1 - reeds) * 0.2,
        }

    def _bare(self, surface: str) -> Mix:
        """Soil, sand or rock with a little of another bare material and of dry grass."""
        other = {"soil": "rock:0", "sand": "soil:1", "rock": "soil:0"}[surface]
        return {
            f"{surface}:0": self._patches,
            f"{surface}:1": 1 - self._patches,
            other: 0.25 * self._grain * (1 - self._closure) + 0.02,
            "grass_dry:0": 0.15 * (1 - self._grain) * self.greenness,
        }
