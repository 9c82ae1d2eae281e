"""What all steps that paint one landscape share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instruction_data.simulate.land.biomes import Biome
from instruction_data.simulate.land.canvas import Canvas
from instruction_data.simulate.land.terrain import Terrain
from instruction_data.simulate.land.vegetation import Vegetation
from instruction_data.simulate.land.water import OpenWater


@dataclass(frozen=True)
class LandContext:
    """One landscape while it is being made.

    Attributes:
        canvas: the surfaces painted so far.
        water: the open water placed so far.
        terrain: the relief.
        vegetation: the plants, which know how green the season is.
        biome: the kind of country.
        gsd_m: pixel width in metres.
    """

    canvas: Canvas
    water: OpenWater
    terrain: Terrain
    vegetation: Vegetation
    biome: Biome
    gsd_m: float

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.canvas.size

    @property
    def extent_m(self) -> float:
        """Width of the landscape in metres."""
        return self.gsd_m * self.size

    @property
    def greenness(self) -> float:
        """Share of living leaves at the season, 0-1."""
        return self.vegetation.greenness

    def paint_water(self) -> None:
        """Paint all open water that has been placed, each kind with its own material."""
        water = self.water
        for kind in np.unique(water.kind[water.mask]):
            self.canvas.paint(water.mask & (water.kind == kind), "water", {f"water:{kind}": 1.0})
