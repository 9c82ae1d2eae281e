"""Simulated land, twice as fine as the scene to be: which surface lies where, and of which materials it is mixed.

Relief comes first and carries water, plants and snow; people add fields, towns and roads; fire and clouds come last.
Lengths are metres: a house is twenty pixels across in an aerial image and part of one in Landsat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.land.biomes import BIOMES, Biome
from instruction_data.simulate.land.canvas import SURFACES, Canvas, where_is
from instruction_data.simulate.land.fields import lay_fields
from instruction_data.simulate.land.fire import burn
from instruction_data.simulate.land.light import clouds, lit
from instruction_data.simulate.land.noise import Mask, Plane, finer, fractal, level
from instruction_data.simulate.land.roads import build_roads
from instruction_data.simulate.land.terrain import Terrain, terrain
from instruction_data.simulate.land.town import FINEST_HOUSES_M, build_town, town_mask
from instruction_data.simulate.land.trees import FINEST_CROWN_M, plant_trees
from instruction_data.simulate.land.water import (
    RIVER,
    SEA,
    Water,
    add_lakes,
    add_rivers,
    add_sea,
    beach,
    drained_by,
    no_water,
)  # fmt: skip
from instruction_data.simulate.land.wild import Plants, bare_slopes, cover_wild, tree_density

__all__ = ["KINDS", "SURFACES", "Landscape", "landscape"]

KINDS = (
    "water", "canopy_broadleaf", "canopy_conifer", "shrub", "grass_green", "grass_dry", "crop_green", "crop_ripe",
    "marsh", "litter", "soil", "sand", "rock", "roof", "asphalt", "concrete", "paint", "snow", "ice", "char", "ash",
)  # fmt: skip
"""Materials; one landscape may hold several variants of each, written ``kind:number``."""
_PLAIN = 0.12  # of all landscapes are of one surface, or nearly


@dataclass
class Landscape:
    """Land of ``gsd_m`` metres a pixel: cover (an index into ``SURFACES``), shares of materials, relief, light and sky.

    The shares of a pixel sum to 1; ``light`` is 1 on flat sunlit ground; cloud and shadow are opacities 0-1; ``season``
    runs 0-1 from midwinter on, ``sun`` is zenith and azimuth (clockwise from north) in degrees.
    """

    gsd_m: float
    cover: NDArray[np.uint8]
    materials: dict[str, Plane]
    elevation_m: Plane
    water_depth_m: Plane
    light: Plane
    cloud: Plane | None
    shadow: Plane | None
    season: float
    sun: tuple[float, float]
    biome: str

    def is_(self, *surfaces: str) -> Mask:
        """Where one of ``surfaces`` lies."""
        return where_is(self.cover, *surfaces)


def landscape(rng: Generator, gsd_m: float, size: int = 512, biome: str | None = None) -> Landscape:
    """Draw a landscape of ``size`` x ``size`` pixels, each ``gsd_m`` metres wide, of a drawn or given biome."""
    if biome is None:
        weights = np.array([about.weight for about in BIOMES.values()])
        biome = str(rng.choice(list(BIOMES), p=weights / weights.sum()))
    about, season = BIOMES[biome], float(rng.random())
    sun = float(rng.uniform(18, 62)), float(rng.uniform(90, 270))
    green = float(
        np.clip(
            1
            - about.swing * (0.5 - 0.5 * np.cos(2 * np.pi * (season - about.peak)))
            + rng.normal(0, 0.1),
            0.05,
            1,
        )
    )
    coast = rng.random() < about.coast
    river = rng.random() < about.river
    extent = gsd_m * size
    widest = float(np.clip(extent * np.exp(rng.uniform(np.log(0.006), np.log(0.12))), 2, 1200))
    land = terrain(
        rng, gsd_m, size, relief_m=about.relief_m * rng.lognormal(0, 0.4), base_m=rng.uniform(0, 400),
        tilt=rng.uniform(1, 2.5) if coast else rng.uniform(0, 1), inflow_km2=drained_by(widest) if river else 0.0,
    )  # fmt: skip
    canvas, plants = Canvas(size), Plants(rng, size, green, about.conifer)
    water = no_water(size)
    if rng.random() < _PLAIN:
        _one_surface(rng, canvas, water, land, plants, about, gsd_m, green)
    else:
        _fill(rng, water, land, about, gsd_m, coast)
        _country(rng, canvas, water, land, plants, about, gsd_m, green)
    _freeze(rng, canvas, water, land, about, season)
    canvas.height_m[canvas.is_("water", "snow_ice", "road", "paved")] = 0
    cloud = shadow = None
    if extent > 400 and rng.random() < 0.27:
        cloud, shadow = clouds(rng, size, gsd_m, sun)
    light = lit(land, canvas.height_m, canvas.light, gsd_m, sun)
    light[canvas.is_("water")] = 1
    return Landscape(
        gsd_m, canvas.cover, canvas.materials(), land.elevation_m, np.where(canvas.is_("water"), water.depth_m, 0),
        light, cloud, shadow, season, sun, biome,
    )  # fmt: skip


def _one_surface(
    rng: Generator,
    canvas: Canvas,
    water: Water,
    land: Terrain,
    plants: Plants,
    about: Biome,
    gsd_m: float,
    green: float,
) -> None:
    surface = str(rng.choice(["water", "fields", "town", *about.wild]))
    size = len(canvas.cover)
    everywhere = np.ones((size, size), bool)
    cover_wild(rng, canvas, land, plants, {surface: 1.0} if surface in about.wild else about.wild)
    trees = np.zeros((size, size), np.float32)
    if surface == "water":
        water.add(
            np.full((size, size), 1e3, np.float32),
            2 + 30 * np.abs(land.elevation_m - land.elevation_m.min()),
            SEA,
        )
        _pour(canvas, water)
    elif surface == "fields":
        lay_fields(rng, canvas, land, about, land.moisture, 1.0, gsd_m, green)
    elif surface == "town":
        trees = build_town(rng, canvas, everywhere, about.towns, gsd_m, green)
    if gsd_m <= FINEST_CROWN_M and surface != "water":
        _trees(
            rng,
            canvas,
            land,
            plants,
            about,
            gsd_m,
            np.maximum(trees, tree_density(rng, canvas, land, 0.0)),
        )


def _fill(
    rng: Generator, water: Water, land: Terrain, about: Biome, gsd_m: float, coast: bool
) -> None:
    if coast:
        add_sea(rng, water, land, rng.uniform(0.08, 0.7))
    if rng.random() < about.lakes:
        add_lakes(rng, water, land, float(np.exp(rng.uniform(np.log(0.01), np.log(0.25)))))
    add_rivers(rng, water, land, gsd_m)
    if about.flooded:
        high = level(land.above_stream_m, rng.uniform(0.15, 0.6)) - land.above_stream_m
        high += 0.1 * float(high.std()) * land.ragged
        water.add(high / land.usual_slope, np.clip(high, 0.1, 4), RIVER)


def _country(
    rng: Generator,
    canvas: Canvas,
    water: Water,
    land: Terrain,
    plants: Plants,
    about: Biome,
    gsd_m: float,
    green: float,
) -> None:
    size = len(canvas.cover)
    cover_wild(rng, canvas, land, plants, about.wild)
    bare_slopes(canvas, land, plants, rng.uniform(0.6, 1.1))
    if rng.random() < about.marsh:
        low = level(land.moisture, 1 - rng.uniform(0.08, 0.35))
        ragged = 0.06 * land.ragged.T
        canvas.paint(land.moisture + ragged > low, "wetland", plants.mix("wetland"))
    farmed, hedges = np.zeros((size, size), bool), np.zeros((size, size), np.float32)
    if rng.random() < about.farmed[0]:
        good = finer(fractal(rng, land.side, 1.4, 0.7), size) - 1.5 * np.clip(
            land.slope / 0.15, 0, 4
        )
        farm = lay_fields(
            rng, canvas, land, about, good, rng.uniform(*about.farmed[1:]), gsd_m, green
        )
        farmed, hedges = (
            farm.fields,
            farm.edge * np.float32(rng.uniform(0.3, 0.8) * (rng.random() < about.hedges * 2)),
        )
        if gsd_m > FINEST_CROWN_M:
            leaves = max(green, 0.2)
            shade = hedges * np.float32(min(1.0, 5 / gsd_m))
            canvas.veil(shade, "tree_cover", {"canopy_broadleaf:1": leaves, "litter:0": 1 - leaves})
    if rng.random() < about.quarry:
        _quarry(rng, canvas, water, land, plants)
    _pour(
        canvas,
        water,
        beach(
            rng,
            water,
            float(np.exp(rng.uniform(np.log(2), np.log(60))).clip(max=gsd_m * size / 20)),
        ),
        plants,
        rng.random() < 0.45 and not about.flooded,
    )
    trees = tree_density(rng, canvas, land, rng.choice([0.0, 0.03, 0.12], p=[0.4, 0.3, 0.3]))
    trees = np.where(farmed & ~canvas.is_("tree_cover"), hedges, trees)
    if rng.random() < about.town[0] + (0.12 if gsd_m <= FINEST_HOUSES_M else 0):
        town = town_mask(
            rng, land.side, size, ~water.mask, land.slope, rng.uniform(*about.town[1:])
        )
        trees = np.where(town, 0, trees)
        for zone in _quarters(rng, town, land):
            trees = np.maximum(trees, build_town(rng, canvas, zone, about.towns, gsd_m, green))
    if rng.random() < about.fire:
        burn(rng, canvas, land, float(rng.uniform(0.05, 0.6)))
    if rng.random() < (0.75 if about.town[0] > 0.3 else 0.35) and gsd_m < 20:
        build_roads(rng, canvas, land, water.mask, gsd_m, int(rng.integers(1, 4)))
    if gsd_m <= FINEST_CROWN_M:
        _trees(rng, canvas, land, plants, about, gsd_m, trees)


def _trees(
    rng: Generator,
    canvas: Canvas,
    land: Terrain,
    plants: Plants,
    about: Biome,
    gsd_m: float,
    density: Plane,
) -> None:
    kept = canvas.is_("road", "burned", "sand", "paddy")
    plant_trees(
        rng,
        canvas,
        gsd_m,
        density,
        plants.conifer,
        max(plants.green, 0.1),
        canvas.is_("orchard"),
        kept,
    )


def _quarters(rng: Generator, town: Mask, land: Terrain) -> list[Mask]:
    """A town in up to three parts, built at different times in different ways."""
    parts = int(rng.integers(1, 4))
    if parts == 1 or not town.any():
        return [town]
    size = len(town)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    along = y * np.float32(np.sin(angle)) + x * np.float32(np.cos(angle))
    cuts = np.sort(np.quantile(along[town][::16], rng.uniform(0.2, 0.8, parts - 1)))
    return [town & (np.searchsorted(cuts, along) == part) for part in range(parts)]


def _quarry(rng: Generator, canvas: Canvas, water: Water, land: Terrain, plants: Plants) -> None:
    size = len(canvas.cover)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    cy, cx = rng.uniform(0.1, 0.9, 2)
    radius = rng.uniform(0.08, 0.3)
    ragged = finer(fractal(rng, land.side, 2.2, 0.5), size)
    inside = np.float32(radius) * (1 + 0.3 * ragged) - np.hypot(
        y - np.float32(cy), x - np.float32(cx)
    )
    surface = str(rng.choice(["rock", "sand", "soil"]))
    benches = 0.5 + 0.5 * np.sin(inside / np.float32(radius) * 18)
    canvas.paint(
        inside > 0, surface, {f"{surface}:0": benches, f"{surface}:1": 1 - benches, "soil:2": 0.1}
    )
    canvas.light[inside > 0] *= (0.85 + 0.3 * benches)[inside > 0]
    if rng.random() < 0.5:
        water.add(
            (inside - np.float32(0.6 * radius)) * size, np.full((size, size), 6, np.float32), 3
        )


def _pour(
    canvas: Canvas,
    water: Water,
    shore: Mask | None = None,
    plants: Plants | None = None,
    sandy: bool = False,
) -> None:
    if sandy and shore is not None and plants is not None:
        canvas.paint(shore & (water.bank_m < 900), "sand", plants.mix("sand"))
    for kind in np.unique(water.kind[water.mask]):
        canvas.paint(water.mask & (water.kind == kind), "water", {f"water:{kind}": 1.0})


def _freeze(
    rng: Generator, canvas: Canvas, water: Water, land: Terrain, about: Biome, season: float
) -> None:
    """Snow above a line that lies lower on shaded slopes, on everything but woods' crowns; ice on still water."""
    if rng.random() >= about.snow:
        return
    size = len(canvas.cover)
    high = (land.elevation_m - land.elevation_m.mean()) / (land.elevation_m.std() + 1e-6)
    north = finer(np.gradient(land.coarse_m, land.cell_m, axis=0).astype(np.float32), size)
    high += 1.0 * north / (north.std() + 1e-6) * 0.4 + 0.2 * land.ragged
    winter = abs(season - 0.5) > 0.28
    line = level(high, rng.uniform(0, 0.4) if winter else rng.uniform(0.4, 0.95))
    depth = np.clip((high - line) * rng.uniform(1.5, 6), 0, 1)
    bare = canvas.is_("water", "road", "building")
    depth[bare] = 0
    woods = canvas.is_("tree_cover", "shrubland")
    depth[woods] *= np.float32(rng.uniform(0.1, 0.7))
    old = {"snow:0": 0.7, "snow:1": 0.3}
    canvas.veil((depth * 0.97).astype(np.float32), "snow_ice", old)
    if winter and rng.random() < 0.7:
        frozen = canvas.is_("water") & (water.kind != RIVER) & (water.kind != SEA)
        canvas.paint(frozen, "snow_ice", {"ice:0": 0.4, "snow:1": 0.6})
