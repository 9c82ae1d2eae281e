"""The truth of a simulated scene: where every class is, from the finer land under its pixels."""

from __future__ import annotations

import numpy as np

from instruction_data.simulate.land.landscape import Landscape
from instruction_data.simulate.land.noise import Mask, Plane
from instruction_data.sources.chips import Truth

MAX_BUILDING_GSD_M = 10.0
"""In wider pixels (metres) houses and roads are not told apart; only the settlement is known."""
_SURFACES = {
    "water": ("water",),
    "tree_cover": ("tree_cover",),
    "shrubland": ("shrubland",),
    "grassland": ("grassland",),
    "cropland": ("cropland", "paddy"),
    "wetland": ("wetland",),
    "building": ("building",),
    "road": ("road",),
    "built_up": ("building", "road", "paved", "settlement"),
    "soil": ("soil", "fallow"),
    "sand": ("sand",),
    "rock": ("rock",),
    "snow_ice": ("snow_ice",),
    "burned": ("burned",),
}
# Surfaces that are one class to the eye and another on the map. A field without plants looks like
# soil, a flooded field like water, rows of fruit trees like woods. Their other class is unknown.
_AMBIGUOUS_SURFACES = {
    "cropland": ("fallow", "orchard"),
    "tree_cover": ("orchard",),
    "water": ("paddy",),
    "wetland": ("paddy",),
}
_PLANT_SURFACES = (
    "tree_cover",
    "shrubland",
    "grassland",
    "cropland",
    "orchard",
    "wetland",
    "paddy",
)
_GREEN_MATERIALS = (
    "canopy_broadleaf",
    "canopy_conifer",
    "shrub",
    "grass_green",
    "crop_green",
    "marsh",
)


def coarsen(planes: Plane, factor: int) -> Plane:
    """Means over ``factor`` x ``factor`` pixels of the last two axes; incomplete blocks are cut."""
    height, width = (side // factor * factor for side in planes.shape[-2:])
    total = planes[..., :height:factor, :width:factor].copy()
    for number in range(1, factor**2):
        row, column = divmod(number, factor)
        total += planes[..., row:height:factor, column:width:factor]
    total *= np.float32(1 / factor**2)
    return total


def scene_truth(land: Landscape, factor: int = 2) -> Truth:
    """Mask and unknown pixels of every class, on pixels ``factor`` times as wide as the land's.

    A class is present where it covers more than half a pixel, and unknown from 0.4 to 0.6. Clouds
    hide what lies below; under their thin edges and in their shadow it is unknown. Vegetation is
    green leaves on more than 0.35 of a pixel; where plants are sparse, dry or ripe it is unknown.
    """

    def share(*surfaces: str) -> Plane:
        return coarsen(land.mask_of(*surfaces).astype(np.float32), factor)

    truth: Truth = {name: _by_share(share(*surfaces)) for name, surfaces in _SURFACES.items()}
    for name, surfaces in _AMBIGUOUS_SURFACES.items():
        mask, unknown = truth[name]
        truth[name] = mask, unknown | (share(*surfaces) > 0) & ~mask
    green = np.zeros(truth["water"][0].shape, np.float32)
    for name, plane in land.materials.items():
        if name.partition(":")[0] in _GREEN_MATERIALS:
            green += coarsen(plane, factor)
    vegetation = green > 0.35
    sparse = (share(*_PLANT_SURFACES) > 0) | (green > 0.2)
    truth["vegetation"] = vegetation, ~vegetation & sparse
    empty = np.zeros_like(vegetation)
    if land.gsd_m * factor > MAX_BUILDING_GSD_M:
        built = share(*_SURFACES["built_up"]) > 0
        truth |= {"building": (empty, built), "road": (empty, built)}
    if land.cloud is None or land.shadow is None:
        return truth | {"cloud": (empty, empty), "cloud_shadow": (empty, empty)}
    return _under_clouds(truth, coarsen(land.cloud, factor), coarsen(land.shadow, factor))


def _by_share(share: Plane) -> tuple[Mask, Mask]:
    unknown = (share >= 0.4) & (share <= 0.6)
    return (share > 0.5) & ~unknown, unknown


def _under_clouds(truth: Truth, cloud: Plane, shadow: Plane) -> Truth:
    hidden = cloud > 0.6
    veiled = (cloud > 0.1) & (cloud <= 0.6) | (shadow > 0.1)
    visible = {
        name: (mask & ~hidden, (unknown | veiled) & ~hidden)
        for name, (mask, unknown) in truth.items()
    }
    visible["cloud"] = hidden, (cloud > 0.15) & ~hidden
    half_shadow = (shadow > 0.15) & (shadow <= 0.5) | (cloud > 0.15) & ~hidden
    visible["cloud_shadow"] = (shadow > 0.5) & ~hidden, half_shadow
    return visible
