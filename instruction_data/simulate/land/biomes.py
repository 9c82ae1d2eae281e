"""Kinds of country: how rough, wet, wooded, farmed and built up they are, and how often drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Biome:
    """A kind of country. Probabilities and shares are 0-1, lengths are in metres.

    Args:
        weight: how often it is drawn, relative to the others.
        natural_cover: shares of the surfaces where people have not changed the land.
        relief_m: standard deviation of elevation over 10 km.
        farmland: probability of fields, then the least and the largest share of land under them.
        field_patterns: how fields are cut: strips, grid, pivot, terraces.
        parcel_m: typical side of a parcel.
        irrigated: weight of parcels that are green out of season.
        rice: weight of parcels that are paddies.
        orchard: weight of parcels that bear rows of trees.
        town: probability of a settlement, then the least and the largest share of land in it.
        town_zones: zones that settlements consist of (see ``town.ZONES``).
        coast: probability of a sea.
        lakes: probability of lakes.
        river: probability of a river from beyond the scene.
        marsh: probability of marshes.
        snow: probability of snow.
        fire: probability of burned land.
        quarry: probability of a quarry.
        conifer: share of conifers in the woods.
        green_peak: time of the year, 0-1 from midwinter, at which plants are greenest.
        green_amplitude: how far the greenness falls half a year later, 0-1.
        hedges: frequency of trees along the edges of parcels.
        flooded: whether rivers stand above their banks.
    """

    weight: float
    natural_cover: Mapping[str, float]
    relief_m: float = 40
    farmland: tuple[float, float, float] = (0, 0, 0)
    field_patterns: tuple[str, ...] = ("strips", "grid")
    parcel_m: float = 200
    irrigated: float = 0.1
    rice: float = 0.0
    orchard: float = 0.06
    town: tuple[float, float, float] = (0.3, 0.03, 0.2)
    town_zones: tuple[str, ...] = ("houses", "village", "works")
    coast: float = 0.0
    lakes: float = 0.3
    river: float = 0.5
    marsh: float = 0.1
    snow: float = 0.05
    fire: float = 0.25
    quarry: float = 0.05
    conifer: float = 0.2
    green_peak: float = 0.48
    green_amplitude: float = 0.7
    hedges: float = 0.1
    flooded: bool = False


BIOMES: Mapping[str, Biome] = {
    "farmland": Biome(
        16,
        {"grassland": 0.42, "tree_cover": 0.5, "shrubland": 0.08},
        farmland=(0.97, 0.45, 0.95),
        hedges=0.3,
        town=(0.45, 0.03, 0.15),
    ),
    "boreal": Biome(
        7,
        {"tree_cover": 0.7, "wetland": 0.1, "grassland": 0.1, "shrubland": 0.1},
        relief_m=80,
        lakes=0.75,
        marsh=0.4,
        conifer=0.85,
        snow=0.3,
        fire=0.6,
        town=(0.12, 0.02, 0.1),
        farmland=(0.15, 0.1, 0.3),
    ),
    "desert": Biome(
        6,
        {"sand": 0.35, "soil": 0.35, "rock": 0.2, "shrubland": 0.1},
        relief_m=120,
        lakes=0.1,
        river=0.15,
        marsh=0.02,
        fire=0,
        town=(0.25, 0.02, 0.15),
        farmland=(0.3, 0.1, 0.4),
        field_patterns=("pivot", "grid"),
        irrigated=0.6,
        green_amplitude=0.2,
        snow=0,
        parcel_m=400,
    ),
    "coast": Biome(
        9,
        {"grassland": 0.35, "tree_cover": 0.3, "shrubland": 0.2, "sand": 0.15},
        relief_m=60,
        coast=0.95,
        marsh=0.25,
        town=(0.5, 0.05, 0.3),
        town_zones=("houses", "core", "works", "estate"),
        farmland=(0.45, 0.1, 0.5),
    ),
    "mountain": Biome(
        8,
        {"tree_cover": 0.4, "grassland": 0.2, "rock": 0.25, "shrubland": 0.15},
        relief_m=550,
        lakes=0.25,
        river=0.7,
        conifer=0.7,
        snow=0.6,
        fire=0.3,
        town=(0.2, 0.02, 0.1),
        farmland=(0.2, 0.05, 0.25),
        parcel_m=120,
        quarry=0.12,
        field_patterns=("terraces", "strips"),
    ),
    "tropical": Biome(
        7,
        {"tree_cover": 0.75, "grassland": 0.15, "shrubland": 0.1},
        relief_m=90,
        river=0.75,
        marsh=0.25,
        conifer=0,
        fire=0.24,
        green_amplitude=0.1,
        farmland=(0.5, 0.15, 0.6),
        town=(0.3, 0.02, 0.15),
        parcel_m=100,
        orchard=0.25,
        snow=0,
        hedges=0.3,
    ),
    "tundra": Biome(
        4,
        {"grassland": 0.4, "shrubland": 0.25, "rock": 0.2, "soil": 0.15},
        relief_m=120,
        lakes=0.8,
        marsh=0.4,
        snow=0.55,
        fire=0.06,
        town=(0.08, 0.02, 0.05),
        conifer=1,
    ),
    "savanna": Biome(
        7,
        {"grassland": 0.45, "shrubland": 0.3, "tree_cover": 0.1, "soil": 0.15},
        relief_m=50,
        lakes=0.25,
        river=0.4,
        fire=0.7,
        farmland=(0.45, 0.1, 0.5),
        town=(0.25, 0.02, 0.12),
        town_zones=("village", "houses"),
        conifer=0,
        snow=0,
        parcel_m=80,
        green_amplitude=0.8,
    ),
    "dryland": Biome(
        6,
        {"shrubland": 0.4, "soil": 0.3, "rock": 0.15, "grassland": 0.15},
        relief_m=110,
        river=0.4,
        lakes=0.2,
        fire=0.3,
        farmland=(0.75, 0.15, 0.7),
        field_patterns=("pivot", "grid", "strips"),
        irrigated=0.6,
        orchard=0.2,
        green_peak=0.3,
        town=(0.35, 0.03, 0.2),
        parcel_m=350,
        quarry=0.1,
        snow=0.02,
    ),
    "rice": Biome(
        5,
        {"tree_cover": 0.5, "grassland": 0.35, "wetland": 0.15},
        relief_m=30,
        river=0.7,
        marsh=0.3,
        fire=0.06,
        farmland=(1, 0.5, 0.9),
        field_patterns=("strips", "terraces", "grid"),
        rice=0.6,
        parcel_m=70,
        town=(0.6, 0.03, 0.2),
        town_zones=("village", "houses"),
        green_amplitude=0.2,
        conifer=0.1,
        snow=0,
    ),
    "city": Biome(
        7,
        {"grassland": 0.55, "tree_cover": 0.45},
        relief_m=20,
        town=(1, 0.6, 1),
        town_zones=("core", "estate", "works", "houses"),
        river=0.5,
        lakes=0.2,
        fire=0,
    ),
    "suburb": Biome(
        9,
        {"grassland": 0.45, "tree_cover": 0.5, "shrubland": 0.05},
        relief_m=30,
        town=(1, 0.3, 0.85),
        town_zones=("houses", "houses", "works", "estate"),
        farmland=(0.3, 0.1, 0.5),
        fire=0.04,
        lakes=0.4,
    ),
    "village": Biome(
        6,
        {"grassland": 0.42, "tree_cover": 0.5, "shrubland": 0.08},
        town=(1, 0.1, 0.35),
        town_zones=("village", "houses"),
        farmland=(0.9, 0.3, 0.8),
        hedges=0.4,
        parcel_m=120,
    ),
    "mining": Biome(
        3,
        {"shrubland": 0.3, "soil": 0.3, "rock": 0.2, "tree_cover": 0.2},
        relief_m=130,
        quarry=1,
        town=(0.5, 0.03, 0.15),
        town_zones=("works", "houses"),
        fire=0.1,
    ),
    "delta": Biome(
        5,
        {"wetland": 0.35, "grassland": 0.35, "tree_cover": 0.2, "shrubland": 0.1},
        relief_m=8,
        coast=0.35,
        lakes=0.7,
        river=0.95,
        marsh=0.8,
        farmland=(0.5, 0.2, 0.6),
        town=(0.25, 0.02, 0.12),
        conifer=0,
        rice=0.15,
    ),
    "flood": Biome(
        4,
        {"grassland": 0.5, "tree_cover": 0.35, "shrubland": 0.15},
        relief_m=15,
        river=1,
        flooded=True,
        farmland=(0.8, 0.3, 0.9),
        fire=0,
        marsh=0.2,
        town=(0.5, 0.05, 0.25),
        snow=0,
    ),
}
