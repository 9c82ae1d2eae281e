"""Simulated land, twice as fine as the scene: which surface lies where, and of which materials.

Relief comes first and carries water, plants and snow. People add fields, towns and roads. Fire and
clouds come last. Lengths are metres: a house is twenty pixels across in an aerial image and part
of a pixel in Landsat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.land.biomes import BIOMES, Biome
from instruction_data.simulate.land.canvas import Canvas, surface_mask
from instruction_data.simulate.land.context import LandContext
from instruction_data.simulate.land.country import paint_country
from instruction_data.simulate.land.fields import lay_out_fields
from instruction_data.simulate.land.light import Sun, draw_clouds, relative_irradiance
from instruction_data.simulate.land.natural_cover import paint_natural_cover, tree_density
from instruction_data.simulate.land.noise import Mask, Plane, quantile, upsample
from instruction_data.simulate.land.terrain import draw_terrain
from instruction_data.simulate.land.town import build_town
from instruction_data.simulate.land.trees import MAX_CROWN_GSD_M, plant_trees
from instruction_data.simulate.land.vegetation import Vegetation
from instruction_data.simulate.land.water import (
    RIVER,
    SEA,
    OpenWater,
    add_lakes,
    add_rivers,
    add_sea,
    catchment_of_width,
)

MATERIAL_KINDS = (
    "water",
    "canopy_broadleaf",
    "canopy_conifer",
    "shrub",
    "grass_green",
    "grass_dry",
    "crop_green",
    "crop_ripe",
    "marsh",
    "litter",
    "soil",
    "sand",
    "rock",
    "roof",
    "asphalt",
    "concrete",
    "paint",
    "snow",
    "ice",
    "char",
    "ash",
)
"""Materials; a landscape may hold several variants of each, written ``kind:number``."""
_SINGLE_SURFACE_SHARE = 0.12  # of all landscapes show one surface, or nearly
_MIN_CLOUD_EXTENT_M = 400
_WINTER = 0.28  # share of the year from midsummer after which it is winter


@dataclass
class Landscape:
    """Land of ``gsd_m`` metres a pixel; all planes are (size, size).

    Attributes:
        gsd_m: pixel width in metres.
        cover: the surface, an index into ``SURFACES``.
        materials: share of each material; they sum to 1 in every pixel.
        elevation_m: elevation.
        water_depth_m: depth of water, 0 on land.
        irradiance: light of the sun, 1 on flat sunlit ground.
        cloud: opacity of clouds, 0-1; None: a clear sky.
        shadow: opacity of the shadows of clouds, 0-1; None: a clear sky.
        season: time of the year, 0-1 from midwinter.
        sun: position of the sun.
        biome: name of the kind of country.
    """

    gsd_m: float
    cover: NDArray[np.uint8]
    materials: dict[str, Plane]
    elevation_m: Plane
    water_depth_m: Plane
    irradiance: Plane
    cloud: Plane | None
    shadow: Plane | None
    season: float
    sun: Sun
    biome: str

    def mask_of(self, *surfaces: str) -> Mask:
        """Where the surface is one of ``surfaces``."""
        return surface_mask(self.cover, *surfaces)


def draw_landscape(
    rng: Generator, gsd_m: float, size: int = 512, biome: str | None = None
) -> Landscape:
    """Draw a landscape.

    Args:
        rng: random generator.
        gsd_m: pixel width in metres.
        size: pixels a side.
        biome: one of ``BIOMES``; None: drawn.
    """
    if biome is None:
        weights = np.array([kind.weight for kind in BIOMES.values()])
        biome = str(rng.choice(list(BIOMES), p=weights / weights.sum()))
    season = float(rng.random())
    sun = Sun(zenith_deg=float(rng.uniform(18, 62)), azimuth_deg=float(rng.uniform(90, 270)))
    land, coast = _draw_context(rng, BIOMES[biome], gsd_m, size, season)
    canvas = land.canvas
    if rng.random() < _SINGLE_SURFACE_SHARE:
        _paint_single_surface(rng, land)
    else:
        _fill_water(rng, land, coast)
        paint_country(rng, land)
    _add_snow_and_ice(rng, land, season)
    canvas.height_m[canvas.mask_of("water", "snow_ice", "road", "paved")] = 0
    cloud = shadow = None
    if land.extent_m > _MIN_CLOUD_EXTENT_M and rng.random() < 0.27:
        cloud, shadow = draw_clouds(rng, size, gsd_m, sun)
    irradiance = relative_irradiance(land.terrain, canvas.height_m, canvas.shading, gsd_m, sun)
    irradiance[canvas.mask_of("water")] = 1
    return Landscape(
        gsd_m=gsd_m,
        cover=canvas.cover,
        materials=canvas.materials(),
        elevation_m=land.terrain.elevation_m,
        water_depth_m=np.where(canvas.mask_of("water"), land.water.depth_m, 0),
        irradiance=irradiance,
        cloud=cloud,
        shadow=shadow,
        season=season,
        sun=sun,
        biome=biome,
    )


def _draw_context(
    rng: Generator, biome: Biome, gsd_m: float, size: int, season: float
) -> tuple[LandContext, bool]:
    """Relief and plants of a landscape, still dry and unpainted, and whether it has a sea."""
    cycle = 0.5 - 0.5 * np.cos(2 * np.pi * (season - biome.green_peak))
    greenness = 1 - biome.green_amplitude * cycle + rng.normal(0, 0.1)
    greenness = float(np.clip(greenness, 0.05, 1))
    coast = rng.random() < biome.coast
    river = rng.random() < biome.river
    river_share = np.exp(rng.uniform(np.log(0.006), np.log(0.12)))
    river_width_m = float(np.clip(gsd_m * size * river_share, 2, 1200))
    terrain = draw_terrain(
        rng,
        gsd_m,
        size,
        relief_m=biome.relief_m * rng.lognormal(0, 0.4),
        base_m=rng.uniform(0, 400),
        tilt=rng.uniform(1, 2.5) if coast else rng.uniform(0, 1),
        inflow_km2=catchment_of_width(river_width_m) if river else 0.0,
    )
    canvas = Canvas(size)
    vegetation = Vegetation(rng, size, greenness, biome.conifer)
    return LandContext(canvas, OpenWater.none(size), terrain, vegetation, biome, gsd_m), coast


def _paint_single_surface(rng: Generator, land: LandContext) -> None:
    natural = land.biome.natural_cover
    surface = str(rng.choice(["water", "fields", "town", *natural]))
    paint_natural_cover(rng, land, {surface: 1.0} if surface in natural else natural)
    trees = np.zeros((land.size, land.size), np.float32)
    if surface == "water":
        far_from_shore = np.full((land.size, land.size), 1e3, np.float32)
        elevation = land.terrain.elevation_m
        land.water.add(far_from_shore, 2 + 30 * np.abs(elevation - elevation.min()), SEA)
        land.paint_water()
    elif surface == "fields":
        lay_out_fields(rng, land, land.terrain.moisture, 1.0)
    elif surface == "town":
        trees = build_town(rng, land, np.ones((land.size, land.size), bool))
    if land.gsd_m <= MAX_CROWN_GSD_M and surface != "water":
        plant_trees(rng, land, np.maximum(trees, tree_density(rng, land, 0.0)))


def _fill_water(rng: Generator, land: LandContext, coast: bool) -> None:
    """Place the sea, lakes, rivers and, in flooded biomes, water above the banks."""
    terrain = land.terrain
    water = land.water
    if coast:
        add_sea(rng, water, terrain, rng.uniform(0.08, 0.7))
    if rng.random() < land.biome.lakes:
        share = float(np.exp(rng.uniform(np.log(0.01), np.log(0.25))))
        add_lakes(rng, water, terrain, share)
    add_rivers(rng, water, terrain, land.gsd_m)
    if land.biome.flooded:
        flood_level = quantile(terrain.above_stream_m, rng.uniform(0.15, 0.6))
        depth = flood_level - terrain.above_stream_m
        depth += 0.1 * float(depth.std()) * terrain.edge_noise
        water.add(depth / terrain.median_slope, np.clip(depth, 0.1, 4), RIVER)


def _add_snow_and_ice(rng: Generator, land: LandContext, season: float) -> None:
    """Lay snow above a line that is lower on shaded slopes, and ice on still water in winter."""
    if rng.random() >= land.biome.snow:
        return
    canvas = land.canvas
    terrain = land.terrain
    elevation = terrain.elevation_m
    height = (elevation - elevation.mean()) / (elevation.std() + 1e-6)
    northward = np.gradient(terrain.coarse_elevation_m, terrain.cell_m, axis=0)
    northward = upsample(northward.astype(np.float32), land.size)
    height += 1.0 * northward / (northward.std() + 1e-6) * 0.4 + 0.2 * terrain.edge_noise
    winter = abs(season - 0.5) > _WINTER
    line = quantile(height, rng.uniform(0, 0.4) if winter else rng.uniform(0.4, 0.95))
    opacity = np.clip((height - line) * rng.uniform(1.5, 6), 0, 1)
    opacity[canvas.mask_of("water", "road", "building")] = 0
    woods = canvas.mask_of("tree_cover", "shrubland")
    opacity[woods] *= np.float32(rng.uniform(0.1, 0.7))
    snow = {"snow:0": 0.7, "snow:1": 0.3}
    canvas.veil((opacity * 0.97).astype(np.float32), "snow_ice", snow)
    if winter and rng.random() < 0.7:
        kind = land.water.kind
        still_water = canvas.mask_of("water") & (kind != RIVER) & (kind != SEA)
        canvas.paint(still_water, "snow_ice", {"ice:0": 0.4, "snow:1": 0.6})
