"""The repository's satellite data: HLS floods, Sentinel-2 burns, crops, Tokyo and landslides.

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

from instruction_data.layouts.rasters import LayoutRaster, labelled_chips, read
from instruction_data.layouts.repository_files import (
    Bands,
    band_refs,
    read_arrays,
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

_TOKYO_CODES = {
    "water": (0,),
    "grassland": (1, 2),
    "built_up": (3,),
    "tree_cover": (4,),
    "cropland": (5,),
    "vegetation": (1, 2, 4, 5),
}


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


def _tokyo_items(folder: Path) -> Iterator[SceneItem]:
    bands = band_refs(read_meta(folder)["bands_10m"])
    for part in ("A", "B"):
        reader = partial(_tokyo_chips, folder, part, bands)
        yield SceneItem(id=f"tokyo_{part}", read=reader, place="tokyo", split="train")


def _tokyo_chips(folder: Path, part: str, bands: Bands, split: Split) -> Iterator[Chip]:
    """Sentinel-2 patches labelled at their centre, 8 x 8 of them side by side in a chip.

    Only the centres are known.
    """
    path = folder / f"set_{part}.npz"
    patches, labels = read_arrays(path, "patches_10m", "label_10m")
    centre = np.zeros((16, 16), bool)
    centre[5:11, 5:11] = True
    unknown = ~np.tile(centre, (8, 8))
    order = np.random.default_rng(ord(part)).permutation(len(patches))
    chip_patches = order[: len(patches) // 64 * 64].reshape(-1, 64)
    for number, chosen in enumerate(chip_patches):
        grid = patches[chosen].reshape(8, 8, 4, 16, 16)
        values = grid.transpose(2, 0, 3, 1, 4).reshape(4, 128, 128)
        cover = np.kron(labels[chosen].reshape(8, 8), np.ones((16, 16), np.uint8))
        truth: Truth = {
            name: (np.isin(cover, codes), unknown) for name, codes in _TOKYO_CODES.items()
        }
        # A park may have trees and a golf course bare bunkers: only what is certain is listed.
        truth["tree_cover"] = cover == 4, unknown | np.isin(cover, (1, 2))
        truth["snow_ice"] = truth["burned"] = np.zeros_like(unknown), unknown
        yield from labelled_chips(
            LayoutRaster(path, values),
            truth,
            id=f"tokyo_{part}{number:02d}",
            sensor="sentinel-2a",
            bands=bands,
            level="uncalibrated",
            gsd_m=10,
            scale=1 / 255,
            labels="class of each patch's centre; patches of several places side by side",
        )


def _landslide_items(folder: Path) -> Iterator[SceneItem]:
    bands = band_refs(read_meta(folder)["bands"][:12])
    (scars,) = read_arrays(folder / "chips.npz", "label")
    # Without a scar, nothing is known of a chip.
    for number in np.flatnonzero(scars.any(axis=(1, 2))).tolist():
        reader = partial(_landslide_chips, folder, number, bands)
        yield SceneItem(
            id=f"landslide_{number:02d}", read=reader, place="landslide4sense", split="train"
        )


def _landslide_chips(folder: Path, number: int, bands: Bands, split: Split) -> Iterator[Chip]:
    """Sentinel-2 divided by unknown means, scars of landslides outlined; the rest is unknown."""
    path = folder / "chips.npz"
    images, labels = read_arrays(path, "image", "label")
    values = images[number, :12].astype(np.float32)
    scar = labels[number] == 1
    nowhere = np.zeros_like(scar)
    truth: Truth = {"bare": (scar, ~scar)}
    for name in ("vegetation", "water", "built_up", "snow_ice"):
        truth[name] = nowhere, ~scar
    yield from labelled_chips(
        LayoutRaster(path, values),
        truth,
        id=f"landslide_{number:02d}",
        sensor="sentinel-2a",
        bands=bands,
        level="uncalibrated",
        gsd_m=10,
        labels="outlined landslide scars; the rest is unknown",
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
TOKYO = repository_layout(
    name="s2_tokyo_patches",
    items=_tokyo_items,
    title="Sentinel-2 patches of Tokyo labelled at their centres",
    licence="Apache-2.0; Copernicus Sentinel data, free and open",
    github="remicres/otbtf",
)
LANDSLIDE = repository_layout(
    name="s2_landslide4sense",
    items=_landslide_items,
    title="Landslide4Sense chips, scars of landslides outlined",
    licence="research use (IARAI)",
    github="CamDucLe/Landslide-Project-Sentinel2",
)
