"""Simulated land, twice as fine as the scene to be: which surface lies where, and of which materials it is mixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data import landscape as flat

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

KINDS = (
    "water", "canopy_broadleaf", "canopy_conifer", "shrub", "grass_green", "grass_dry", "crop_green", "crop_ripe",
    "marsh", "litter", "soil", "sand", "rock", "roof", "asphalt", "concrete", "paint", "snow", "ice", "char", "ash",
)  # fmt: skip
"""Materials; one landscape may hold several variants of each, written ``kind:number``."""
SURFACES = (
    "water", "tree_cover", "shrubland", "grassland", "cropland", "fallow", "paddy", "orchard", "wetland", "building",
    "road", "paved", "settlement", "soil", "sand", "rock", "snow_ice", "burned",
)  # fmt: skip
"""``fallow``: a field without plants; ``paddy``: a field under water; ``orchard``: rows of trees; ``paved``: no road, no
building; ``settlement``: houses finer than a pixel."""


@dataclass
class Landscape:
    """Land of ``gsd_m`` metres a pixel: cover (an index into ``SURFACES``), shares of materials, relief, light and sky.

    The shares of a pixel sum to 1; ``light`` is 1 on flat sunlit ground; cloud and shadow are opacities 0-1.
    """

    gsd_m: float
    cover: NDArray[np.uint8]
    materials: dict[str, Plane]
    elevation_m: Plane
    water_depth_m: Plane
    light: Plane
    cloud: Plane | None = None
    shadow: Plane | None = None
    season: float = 0.5
    sun: tuple[float, float] = (40.0, 150.0)

    def is_(self, *surfaces: str) -> Mask:
        """Where one of ``surfaces`` lies."""
        chosen = np.zeros(len(SURFACES), bool)
        chosen[[SURFACES.index(name) for name in surfaces]] = True
        return chosen[self.cover]


_NAMES = {"tree:0": "canopy_broadleaf:0", "tree:1": "canopy_conifer:0", "shrub": "shrub:0", "grass:0": "grass_green:0",
          "dry": "grass_dry:0", "crop:0": "crop_green:0", "crop:1": "crop_green:1", "marsh": "marsh:0",
          "water:0": "water:0", "water:1": "water:1", "glint": "water:0", "sand": "sand:0", "rock": "rock:0",
          "asphalt": "asphalt:0", "concrete": "concrete:0", "snow": "snow:0", "char": "char:0"}  # fmt: skip


def landscape(rng: Generator, gsd_m: float, size: int = 512) -> Landscape:
    """Draw a landscape of ``size`` x ``size`` pixels, each ``gsd_m`` metres wide."""
    old = flat.landscape(rng, gsd_m, size)
    materials: dict[str, Plane] = {}
    for name, plane in old.materials.items():
        new = _NAMES.get(name, name)
        materials[new] = materials.get(new, np.zeros((size, size), np.float32)) + np.maximum(plane, 0)
    total = np.sum(list(materials.values()), axis=0)
    cover = np.array([SURFACES.index(name) for name in flat.SURFACES], np.uint8)[old.cover]
    water = cover == SURFACES.index("water")
    return Landscape(
        gsd_m, cover, {name: (plane / np.maximum(total, 1e-6)).astype(np.float32) for name, plane in materials.items()},
        elevation_m=(200 * flat.fractal(rng, size, 2.2)).astype(np.float32),
        water_depth_m=np.where(water, rng.uniform(0.3, 10), 0).astype(np.float32),
        light=np.clip(total, 0.15, 1.6).astype(np.float32), cloud=old.cloud, shadow=old.shadow,
        season=float(rng.random()), sun=(float(rng.uniform(20, 65)), float(rng.uniform(90, 270))),
    )  # fmt: skip
