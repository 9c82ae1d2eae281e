"""The repository's satellite scenes: HLS of floods, Sentinel-2 of burns and crops.

What each label can and cannot state about every class was found by visual inspection; the
docstrings of the readers describe it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruction_data.layouts.rasters import labelled_chips, read
from instruction_data.layouts.repository_files import (
    Bands,
    band_refs,
    read_meta,
    read_splits,
    repository_layout,
)
from instruction_data.sources.chips import Chip, SceneItem, Split, Truth

# Codes of ESA WorldCover beside the HLS chips.
_WORLDCOVER = {
    "tree_cover": 10,
    "shrubland": 20,
    "grassland": 30,
    "cropland": 40,
    "built_up": 50,
    "bare": 60,
    "wetland": 90,
}
_WORLDCOVER_SNOW = 70
_WORLDCOVER_WATER = 80
_WORLDCOVER_GREEN = (10, 20, 30, 40, 90)
_WORLDCOVER_VAGUE = (0, 100)
# Bits of Fmask.
_CLOUD, _NEAR_CLOUD, _SHADOW, _SNOW = 1, 2, 3, 4


def _flood_items(folder: Path) -> Iterator[SceneItem]:
    meta = read_meta(folder)
    stems = {int(path.stem): path.stem for path in sorted((folder / "images").glob("*.tif"))}
    groups = {key: meta["location_group"][key] for key in stems}
    for key, split in sorted(read_splits(folder, groups).items()):
        reader = partial(_flood_chips, folder, stems[key], band_refs(meta["bands"]))
        yield SceneItem(
            id=f"hls_{stems[key]}", read=reader, place=f"hls_{groups[key]}", split=split
        )


def _flood_chips(folder: Path, stem: str, bands: Bands, split: Split) -> Iterator[Chip]:
    """HLS chips of floods with a water mask, static WorldCover and Fmask."""
    image = read(folder / f"images/{stem}.tif")
    flood, cover, quality = read(folder / f"labels/{stem}.tif", (1, 2, 3)).values
    yield from labelled_chips(
        image,
        _flood_truth(image.values.astype(np.float32), flood == 1, cover, quality, split),
        id=f"hls_{stem}",
        sensor="hls7",
        bands=bands,
        level="surface",
        gsd_m=30,
        scale=1e-4,
        labels="water mask joined with ESA WorldCover, Fmask cloud and shadow",
    )


def _flood_truth(
    values: NDArray[np.float32],
    flood: NDArray[np.bool_],
    cover: NDArray[Any],
    quality: NDArray[Any],
    split: Split,
) -> Truth:
    """Truth of a flood chip; where the labels disagree, the pixels decide or it is unknown.

    Args:
        values: stored pixel values (7, h, w).
        flood: water mask of the date (h, w).
        cover: WorldCover codes (h, w).
        quality: Fmask bits (h, w).
        split: in ``val`` only pixels on which both labels agree are water.
    """
    green_band, red, nir, swir1 = values[2], values[3], values[4], values[5]
    lake = cover == _WORLDCOVER_WATER
    cloud, near_cloud, shadow, snow = (
        quality >> bit & 1 == 1 for bit in (_CLOUD, _NEAR_CLOUD, _SHADOW, _SNOW)
    )
    water = flood & lake
    if split == "train":
        # One label together with MNDWI > 0.1 is water too.
        water |= (flood | lake) & (green_band - swir1 > 0.1 * np.abs(green_band + swir1))
    disputed = (flood | lake) & ~water
    hidden = disputed | cloud | shadow
    vague = np.isin(cover, _WORLDCOVER_VAGUE)
    truth: Truth = {name: (cover == code, hidden | vague) for name, code in _WORLDCOVER.items()}
    # Fields lie bare for part of the year, and static WorldCover cannot state when.
    bare_unknown = hidden | vague | (cover == _WORLDCOVER["cropland"])
    truth["bare"] = cover == _WORLDCOVER["bare"], bare_unknown
    if split == "train":
        # A fallow field is cropland all year, but vegetation only while something grows.
        ndvi = (nir - red) / np.maximum(np.abs(nir + red), 1)
        growing = np.isin(cover, _WORLDCOVER_GREEN) & (ndvi > 0.35)
        truth["vegetation"] = growing, hidden | vague | (ndvi > 0.25) & ~growing
    snow_unknown = (cover == _WORLDCOVER_SNOW) | snow | cloud
    truth["water"] = water, disputed | cloud
    truth["snow_ice"] = np.zeros_like(flood), snow_unknown
    truth["cloud"] = cloud, near_cloud & ~cloud
    truth["cloud_shadow"] = shadow, near_cloud & ~shadow
    return truth


def _burn_items(folder: Path) -> Iterator[SceneItem]:
    meta = read_meta(folder)
    chips = {entry["id"]: entry for entry in meta["chips"]}
    groups = {key: entry["location_group"] for key, entry in chips.items()}
    for key, split in sorted(read_splits(folder, groups).items()):
        dates = ("post", "pre") if chips[key]["has_pre"] else ("post",)
        reader = partial(_burn_chips, folder, key, dates, band_refs(meta["bands"]))
        yield SceneItem(id=f"burn_{key}", read=reader, place=f"burn_{groups[key]}", split=split)


def _burn_chips(
    folder: Path, key: str, dates: tuple[str, ...], bands: Bands, split: Split
) -> Iterator[Chip]:
    """Sentinel-2 after a fire inside its official perimeter, and before it if available."""
    label = read(folder / f"{key}_label.tif").values[0]
    for date in dates:
        burned = (label == 1) & (date == "post")
        yield from labelled_chips(
            read(folder / f"{key}_{date}.tif"),
            {"burned": (burned, label == 255)},
            id=f"burn_{key}_{date}",
            sensor="sentinel-2a",
            bands=bands,
            level="surface",
            gsd_m=10,
            scale=1e-4,
            labels="CAL FIRE perimeter; unburned islands inside count as burned",
        )


def _crop_items(folder: Path) -> Iterator[SceneItem]:
    band_entries = read_meta(folder)["bands"]
    for path in sorted((folder / "images").glob("*.tif")):
        place = path.stem.rsplit("_", 1)[0]
        reader = partial(_crop_chips, folder, path.stem, band_entries)
        yield SceneItem(
            id=f"worldcereal_{path.stem}", read=reader, place=f"worldcereal_{place}", split="train"
        )


def _crop_chips(
    folder: Path, stem: str, band_entries: list[dict[str, Any]], split: Split
) -> Iterator[Chip]:
    """Sentinel-2 dates of four places with parcels.

    A field is only vegetation where the scene classification states vegetation.
    """
    image = read(folder / f"images/{stem}.tif")
    cover = read(folder / f"labels/{stem.rsplit('_', 1)[0]}_lc.tif", (1,)).values[0]
    scene_class = read(folder / f"labels/{stem}_scl.tif", (1,)).values[0]
    entry_by_name = {entry["name"]: entry for entry in band_entries}
    vague = np.isin(cover, (0, 99))
    cloudy = np.isin(scene_class, (3, 7, 8, 9, 10))
    green = scene_class == 4
    growing = np.isin(cover, (11, 13)) & green
    nowhere = np.zeros_like(vague)
    truth: Truth = {
        "cropland": (cover == 11, cover == 0),
        "grassland": (cover == 13, vague),
        "built_up": (cover == 60, vague),
        "vegetation": (growing, vague | ~green),
        "bare": (nowhere, ~growing),
        "water": (nowhere, vague),
        "cloud": (nowhere, cloudy),
        "snow_ice": (nowhere, cloudy),
    }
    yield from labelled_chips(
        image,
        truth,
        id=f"worldcereal_{stem}",
        sensor="sentinel-2a",
        bands=band_refs([entry_by_name[name] for name in image.names if name]),
        level="surface",
        gsd_m=10,
        scale=1e-4,
        labels="parcels of WorldCereal, Sentinel-2 scene classification",
    )


FLOOD = repository_layout(
    name="hls_flood_wc",
    items=_flood_items,
    title="HLS chips of floods with water mask, ESA WorldCover and Fmask",
    licence="imagery public domain (NASA HLS); ESA WorldCover CC-BY-4.0; repository states none",
    github="shahed137003/Water-Segmentation-project",
)
BURN = repository_layout(
    name="s2_burn_california",
    items=_burn_items,
    title="Sentinel-2 of Californian fires with official perimeters",
    licence="Copernicus Sentinel data, free and open; CAL FIRE perimeters public; repository "
    "states none",
    github="Runan-Duan/Wildfire_Detection",
)
CROPS = repository_layout(
    name="s2_worldcereal",
    items=_crop_items,
    title="Sentinel-2 series of Flanders and Tanzania with parcels",
    licence="MIT; Copernicus Sentinel data, free and open; parcels open",
    github="WorldCereal/worldcereal-classification",
)
