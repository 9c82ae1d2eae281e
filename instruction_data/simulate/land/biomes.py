"""Kinds of country: how rough, wet, wooded, farmed and built up they are, and how often each is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Biome:
    """One kind of country; probabilities and shares 0-1, lengths in metres.

    Args:
        weight: how often it is drawn.
        wild: shares of the surfaces that cover it where people have not changed it.
        relief_m: standard deviation of heights over 10 km.
        farmed: probability of fields, and the least and largest share of the land under them.
        farms: how fields are cut: strips, grid, pivot, terraces.
        parcel_m: typical side of a field.
        irrigated: probability that a field is green out of season.
        rice: probability that a field is a paddy; orchard: that it bears rows of trees.
        town: probability of a settlement, and the least and largest share of the land in it.
        towns: zones that settlements consist of: core, houses, estate, works, village.
        coast, lakes, river, marsh, snow, fire, quarry: probabilities.
        conifer: share of conifers in the woods.
        peak: time of the year (0-1) at which plants are greenest; swing: how far green falls at the other end.
        hedges: trees along the edges of fields, 0-1.
        flooded: rivers stand over their banks.
    """

    weight: float
    wild: Mapping[str, float]
    relief_m: float = 40
    farmed: tuple[float, float, float] = (0, 0, 0)
    farms: tuple[str, ...] = ("strips", "grid")
    parcel_m: float = 200
    irrigated: float = 0.1
    rice: float = 0.0
    orchard: float = 0.06
    town: tuple[float, float, float] = (0.3, 0.03, 0.2)
    towns: tuple[str, ...] = ("houses", "village", "works")
    coast: float = 0.0
    lakes: float = 0.3
    river: float = 0.5
    marsh: float = 0.1
    snow: float = 0.05
    fire: float = 0.25
    quarry: float = 0.05
    conifer: float = 0.2
    peak: float = 0.48
    swing: float = 0.7
    hedges: float = 0.1
    flooded: bool = False


BIOMES: Mapping[str, Biome] = {
    "farmland": Biome(
        16, {"grassland": 0.42, "tree_cover": 0.5, "shrubland": 0.08}, farmed=(0.97, 0.45, 0.95), hedges=0.3,
        town=(0.45, 0.03, 0.15),
    ),
    "boreal": Biome(
        7, {"tree_cover": 0.7, "wetland": 0.1, "grassland": 0.1, "shrubland": 0.1}, relief_m=80, lakes=0.75, marsh=0.4,
        conifer=0.85, snow=0.3, fire=0.6, town=(0.12, 0.02, 0.1), farmed=(0.15, 0.1, 0.3),
    ),
    "desert": Biome(
        6, {"sand": 0.35, "soil": 0.35, "rock": 0.2, "shrubland": 0.1}, relief_m=120, lakes=0.1, river=0.15, marsh=0.02,
        fire=0, town=(0.25, 0.02, 0.15), farmed=(0.3, 0.1, 0.4), farms=("pivot", "grid"), irrigated=0.6, swing=0.2,
        snow=0, parcel_m=400,
    ),
    "coast": Biome(
        9, {"grassland": 0.35, "tree_cover": 0.3, "shrubland": 0.2, "sand": 0.15}, relief_m=60, coast=0.95, marsh=0.25,
        town=(0.5, 0.05, 0.3), towns=("houses", "core", "works", "estate"), farmed=(0.45, 0.1, 0.5),
    ),
    "mountain": Biome(
        8, {"tree_cover": 0.4, "grassland": 0.2, "rock": 0.25, "shrubland": 0.15}, relief_m=550, lakes=0.25, river=0.7,
        conifer=0.7, snow=0.6, fire=0.3, town=(0.2, 0.02, 0.1), farmed=(0.2, 0.05, 0.25), parcel_m=120, quarry=0.12,
        farms=("terraces", "strips"),
    ),
    "tropical": Biome(
        7, {"tree_cover": 0.75, "grassland": 0.15, "shrubland": 0.1}, relief_m=90, river=0.75, marsh=0.25, conifer=0,
        fire=0.24, swing=0.1, farmed=(0.5, 0.15, 0.6), town=(0.3, 0.02, 0.15), parcel_m=100, orchard=0.25, snow=0,
        hedges=0.3,
    ),
    "tundra": Biome(
        4, {"grassland": 0.4, "shrubland": 0.25, "rock": 0.2, "soil": 0.15}, relief_m=120, lakes=0.8, marsh=0.4,
        snow=0.55, fire=0.06, town=(0.08, 0.02, 0.05), conifer=1,
    ),
    "savanna": Biome(
        7, {"grassland": 0.45, "shrubland": 0.3, "tree_cover": 0.1, "soil": 0.15}, relief_m=50, lakes=0.25, river=0.4,
        fire=0.7, farmed=(0.45, 0.1, 0.5), town=(0.25, 0.02, 0.12), towns=("village", "houses"), conifer=0, snow=0,
        parcel_m=80, swing=0.8,
    ),
    "dryland": Biome(
        6, {"shrubland": 0.4, "soil": 0.3, "rock": 0.15, "grassland": 0.15}, relief_m=110, river=0.4, lakes=0.2,
        fire=0.3,
        farmed=(0.75, 0.15, 0.7), farms=("pivot", "grid", "strips"), irrigated=0.6, orchard=0.2, peak=0.3,
        town=(0.35, 0.03, 0.2), parcel_m=350, quarry=0.1, snow=0.02,
    ),
    "rice": Biome(
        5, {"tree_cover": 0.5, "grassland": 0.35, "wetland": 0.15}, relief_m=30, river=0.7, marsh=0.3, fire=0.06,
        farmed=(1, 0.5, 0.9), farms=("strips", "terraces", "grid"), rice=0.6, parcel_m=70, town=(0.6, 0.03, 0.2),
        towns=("village", "houses"), swing=0.2, conifer=0.1, snow=0,
    ),
    "city": Biome(
        7, {"grassland": 0.55, "tree_cover": 0.45}, relief_m=20, town=(1, 0.6, 1), towns=("core", "estate", "works",
        "houses"),
        river=0.5, lakes=0.2, fire=0,
    ),
    "suburb": Biome(
        9, {"grassland": 0.45, "tree_cover": 0.5, "shrubland": 0.05}, relief_m=30, town=(1, 0.3, 0.85),
        towns=("houses", "houses", "works", "estate"), farmed=(0.3, 0.1, 0.5), fire=0.04, lakes=0.4,
    ),
    "village": Biome(
        6, {"grassland": 0.42, "tree_cover": 0.5, "shrubland": 0.08}, town=(1, 0.1, 0.35), towns=("village", "houses"),
        farmed=(0.9, 0.3, 0.8), hedges=0.4, parcel_m=120,
    ),
    "mining": Biome(
        3, {"shrubland": 0.3, "soil": 0.3, "rock": 0.2, "tree_cover": 0.2}, relief_m=130, quarry=1, town=(0.5, 0.03,
        0.15),
        towns=("works", "houses"), fire=0.1,
    ),
    "delta": Biome(
        5, {"wetland": 0.35, "grassland": 0.35, "tree_cover": 0.2, "shrubland": 0.1}, relief_m=8, coast=0.35, lakes=0.7,
        river=0.95, marsh=0.8, farmed=(0.5, 0.2, 0.6), town=(0.25, 0.02, 0.12), conifer=0, rice=0.15,
    ),
    "flood": Biome(
        4, {"grassland": 0.5, "tree_cover": 0.35, "shrubland": 0.15}, relief_m=15, river=1, flooded=True,
        farmed=(0.8, 0.3, 0.9), fire=0,
        marsh=0.2, town=(0.5, 0.05, 0.25), snow=0,
    ),
}  # fmt: skip
