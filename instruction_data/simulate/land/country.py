"""The country, painted in order: natural cover, farmland, quarries, water, towns, fire, roads."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.land.context import LandContext
from instruction_data.simulate.land.fields import Farmland, lay_out_fields
from instruction_data.simulate.land.fire import paint_burned_land
from instruction_data.simulate.land.natural_cover import (
    paint_natural_cover,
    paint_steep_rock,
    tree_density,
)
from instruction_data.simulate.land.noise import Mask, Plane, fractal_noise, quantile, upsample
from instruction_data.simulate.land.roads import build_roads
from instruction_data.simulate.land.town import MAX_HOUSE_GSD_M, build_town, draw_town_mask
from instruction_data.simulate.land.trees import MAX_CROWN_GSD_M, plant_trees
from instruction_data.simulate.land.water import PIT_LAKE, beach_mask

_MAX_ROAD_GSD_M = 20


def paint_country(rng: Generator, land: LandContext) -> None:
    """Paint a landscape of many surfaces over relief whose water is already placed."""
    biome = land.biome
    paint_natural_cover(rng, land, biome.natural_cover)
    paint_steep_rock(land, rng.uniform(0.6, 1.1))
    if rng.random() < biome.marsh:
        _paint_marsh(rng, land)
    farmed = np.zeros((land.size, land.size), bool)
    hedges = np.zeros((land.size, land.size), np.float32)
    if rng.random() < biome.farmland[0]:
        farmland = _farm(rng, land)
        farmed = farmland.mask
        hedges = _grow_hedges(rng, land, farmland)
    if rng.random() < biome.quarry:
        _dig_quarry(rng, land)
    _paint_beach(rng, land)
    land.paint_water()
    single_trees = rng.choice([0.0, 0.03, 0.12], p=[0.4, 0.3, 0.3])
    trees = tree_density(rng, land, single_trees)
    trees = np.where(farmed & ~land.canvas.mask_of("tree_cover"), hedges, trees)
    # Fine scenes are small: towns are drawn more often, so that enough of them show houses.
    town_chance = biome.town[0] + (0.12 if land.gsd_m <= MAX_HOUSE_GSD_M else 0)
    if rng.random() < town_chance:
        trees = _build_towns(rng, land, trees)
    if rng.random() < biome.fire:
        share = float(rng.uniform(0.05, 0.6))
        paint_burned_land(rng, land.canvas, land.terrain, share)
    road_chance = 0.75 if biome.town[0] > 0.3 else 0.35
    if rng.random() < road_chance and land.gsd_m < _MAX_ROAD_GSD_M:
        build_roads(rng, land, int(rng.integers(1, 4)))
    if land.gsd_m <= MAX_CROWN_GSD_M:
        plant_trees(rng, land, trees)


def _paint_marsh(rng: Generator, land: LandContext) -> None:
    moisture = land.terrain.moisture
    wettest = quantile(moisture, 1 - rng.uniform(0.08, 0.35))
    frayed = moisture + 0.06 * land.terrain.edge_noise.T
    land.canvas.paint(frayed > wettest, "wetland", land.vegetation.mix("wetland"))


def _farm(rng: Generator, land: LandContext) -> Farmland:
    noise = upsample(fractal_noise(rng, land.terrain.side, 1.4, 0.7), land.size)
    suitability = noise - 1.5 * np.clip(land.terrain.slope / 0.15, 0, 4)
    return lay_out_fields(rng, land, suitability, rng.uniform(*land.biome.farmland[1:]))


def _grow_hedges(rng: Generator, land: LandContext, farmland: Farmland) -> Plane:
    """Chance of a tree (size, size) on the edges of parcels; coarse pixels get a veil of leaves."""
    density = rng.uniform(0.3, 0.8) * (rng.random() < land.biome.hedges * 2)
    hedges = farmland.edge * np.float32(density)
    if land.gsd_m > MAX_CROWN_GSD_M:
        leaves = max(land.greenness, 0.2)
        opacity = hedges * np.float32(min(1.0, 5 / land.gsd_m))
        mix = {"canopy_broadleaf:1": leaves, "litter:0": 1 - leaves}
        land.canvas.veil(opacity, "tree_cover", mix)
    return hedges


def _paint_beach(rng: Generator, land: LandContext) -> None:
    width_m = np.exp(rng.uniform(np.log(2), np.log(60))).clip(max=land.extent_m / 20)
    beach = beach_mask(rng, land.water, float(width_m))
    sandy = rng.random() < 0.45 and not land.biome.flooded
    if sandy:
        near = beach & (land.water.shore_distance_m < 900)
        land.canvas.paint(near, "sand", land.vegetation.mix("sand"))


def _build_towns(rng: Generator, land: LandContext, trees: Plane) -> Plane:
    """Build a settlement; return the chance of a tree with that in its yards and parks."""
    town = draw_town_mask(rng, land, rng.uniform(*land.biome.town[1:]))
    trees = np.where(town, 0, trees)
    for quarter in _split_town(rng, town):
        trees = np.maximum(trees, build_town(rng, land, quarter))
    return trees


def _split_town(rng: Generator, town: Mask) -> list[Mask]:
    """A town in up to three quarters, which are built in different ways."""
    parts = int(rng.integers(1, 4))
    if parts == 1 or not town.any():
        return [town]
    size = len(town)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    along = y * np.float32(np.sin(angle)) + x * np.float32(np.cos(angle))
    cuts = np.sort(np.quantile(along[town][::16], rng.uniform(0.2, 0.8, parts - 1)))
    return [town & (np.searchsorted(cuts, along) == part) for part in range(parts)]


def _dig_quarry(rng: Generator, land: LandContext) -> None:
    """Paint a pit of rock, sand or soil with benches, in half of the cases with water in it."""
    size = land.size
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    centre_y, centre_x = rng.uniform(0.1, 0.9, 2)
    radius = rng.uniform(0.08, 0.3)
    noise = upsample(fractal_noise(rng, land.terrain.side, 2.2, 0.5), size)
    distance = np.hypot(y - np.float32(centre_y), x - np.float32(centre_x))
    inside = np.float32(radius) * (1 + 0.3 * noise) - distance
    surface = str(rng.choice(["rock", "sand", "soil"]))
    benches = 0.5 + 0.5 * np.sin(inside / np.float32(radius) * 18)
    pit = inside > 0
    mix = {f"{surface}:0": benches, f"{surface}:1": 1 - benches, "soil:2": 0.1}
    land.canvas.paint(pit, surface, mix)
    land.canvas.shading[pit] *= (0.85 + 0.3 * benches)[pit]
    if rng.random() < 0.5:
        depth = np.full((size, size), 6, np.float32)
        land.water.add((inside - np.float32(0.6 * radius)) * size, depth, PIT_LAKE)
