"""What is where in a simulated scene: the truth of every class at its pixels, from the finer land below them."""

from __future__ import annotations

import numpy as np

from instruction_data.simulate.land.landscape import Landscape
from instruction_data.simulate.land.noise import Mask, Plane
from instruction_data.sources.chips import Truth

FINEST_FOR_HOUSES_M = 10.0
"""Pixels wider than this (metres) do not tell houses from roads; only the settlement is known."""
_CLASSES = {
    "water": ("water",), "tree_cover": ("tree_cover",), "shrubland": ("shrubland",), "grassland": ("grassland",),
    "cropland": ("cropland", "paddy"), "wetland": ("wetland",), "building": ("building",), "road": ("road",),
    "built_up": ("building", "road", "paved", "settlement"), "soil": ("soil", "fallow"), "sand": ("sand",),
    "rock": ("rock",), "snow_ice": ("snow_ice",), "burned": ("burned",),
}  # fmt: skip
# A field without plants is soil to the eye and cropland on the map; a flooded one is water and cropland; rows of fruit
# trees are trees and cropland. Both classes stay open there.
_OPEN = {
    "cropland": ("fallow", "orchard"),
    "tree_cover": ("orchard",),
    "water": ("paddy",),
    "wetland": ("paddy",),
}
_PLANTS = ("tree_cover", "shrubland", "grassland", "cropland", "orchard", "wetland", "paddy")
_GREEN = ("canopy_broadleaf", "canopy_conifer", "shrub", "grass_green", "crop_green", "marsh")


def coarsen(planes: Plane, factor: int) -> Plane:
    """Means over ``factor`` x ``factor`` pixels of the last two axes; what does not fill a pixel is left out."""
    height, width = (side // factor * factor for side in planes.shape[-2:])
    total = planes[..., :height:factor, :width:factor].copy()
    for number in range(1, factor**2):
        total += planes[..., number // factor : height : factor, number % factor : width : factor]
    total *= np.float32(1 / factor**2)
    return total


def truth(land: Landscape, factor: int = 2) -> Truth:
    """Every class as (mask, unknown) on pixels ``factor`` times as wide as the land's.

    A class is where it covers more than half a pixel, unknown between 0.4 and 0.6; clouds hide what lies below, under
    their thin edges and in their shadow it is unknown. Vegetation means green leaves, over 0.35 of a pixel; with fewer,
    dry, ripe or bare plants leave it unknown.
    """

    def share(*surfaces: str) -> Plane:
        return coarsen(land.is_(*surfaces).astype(np.float32), factor)

    found: Truth = {name: _decide(share(*surfaces)) for name, surfaces in _CLASSES.items()}
    for name, surfaces in _OPEN.items():
        mask, unknown = found[name]
        found[name] = mask, unknown | (share(*surfaces) > 0) & ~mask
    green = np.zeros(found["water"][0].shape, np.float32)
    for name, plane in land.materials.items():
        if name.partition(":")[0] in _GREEN:
            green += coarsen(plane, factor)
    mask = green > 0.35
    found["vegetation"] = mask, ~mask & ((share(*_PLANTS) > 0) | (green > 0.2))
    nowhere = np.zeros_like(mask)
    if land.gsd_m * factor > FINEST_FOR_HOUSES_M:
        built = share(*_CLASSES["built_up"]) > 0
        found |= {"building": (nowhere, built), "road": (nowhere, built)}
    if land.cloud is None or land.shadow is None:
        return found | {"cloud": (nowhere, nowhere), "cloud_shadow": (nowhere, nowhere)}
    return _behind_clouds(found, coarsen(land.cloud, factor), coarsen(land.shadow, factor))


def _decide(part: Plane) -> tuple[Mask, Mask]:
    unknown = (part >= 0.4) & (part <= 0.6)
    return (part > 0.5) & ~unknown, unknown


def _behind_clouds(found: Truth, cloud: Plane, shadow: Plane) -> Truth:
    hidden, veiled = cloud > 0.6, (cloud > 0.1) & (cloud <= 0.6) | (shadow > 0.1)
    found = {
        name: (mask & ~hidden, (unknown | veiled) & ~hidden)
        for name, (mask, unknown) in found.items()
    }
    found["cloud"] = hidden, (cloud > 0.15) & ~hidden
    found["cloud_shadow"] = (
        (shadow > 0.5) & ~hidden,
        (shadow > 0.15) & (shadow <= 0.5) | (cloud > 0.15) & ~hidden,
    )
    return found
