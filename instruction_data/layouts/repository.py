"""The repository's own folders of real data, each with a ``meta.json``, and ``split.json`` beside them.

What each label can and cannot say about every class was found by looking; the readers' docstrings tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from instruction_data.layouts.highres import chesapeake_truth
from instruction_data.layouts.rasters import LayoutRaster, labelled_chips, read
from instruction_data.sources.chips import (
    Chip,
    Layout,
    SceneItem,
    Split,
    Truth,
    absent_truth,
    class_truth,
)
from spex.errors import RecordError, SceneError
from spex.records import BandRef

Bands = tuple[BandRef, ...]


def _meta(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    return found


def _arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    """Arrays of an ``.npz`` file by name.

    Raises:
        SceneError: the file is missing, damaged or lacks one of them.
    """
    try:
        with np.load(path) as arrays:
            return [arrays[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise SceneError(f"{path} cannot be read ({error}); fetch the file again") from error


def _bands(entries: list[dict[str, Any]]) -> Bands:
    return tuple(
        BandRef(name=b["name"], wavelength_nm=b["center_nm"], fwhm_nm=b["fwhm_nm"]) for b in entries
    )


def _splits(folder: Path, places: dict[Any, Any]) -> dict[Any, Split]:
    """The split of every item, by its key; items in neither list are left out.

    Raises:
        RecordError: a place lies in both lists.
    """
    lists = json.loads((folder.parent / "split.json").read_text())[folder.name]
    chosen = {split: [key for key in lists[split] if key in places] for split in ("train", "val")}
    torn = {places[key] for key in chosen["train"]} & {places[key] for key in chosen["val"]}
    if torn:
        raise RecordError(
            f"{folder.name}: place {min(torn)} lies in train and val; mend split.json before building"
        )
    found: dict[Any, Split] = dict.fromkeys(chosen["train"], "train")
    return found | dict.fromkeys(chosen["val"], "val")


def _hls_flood(folder: Path) -> Iterator[SceneItem]:
    meta = _meta(folder)
    keys = {int(path.stem): path.stem for path in sorted((folder / "images").glob("*.tif"))}
    groups = {key: meta["location_group"][key] for key in keys}
    for key, split in sorted(_splits(folder, groups).items()):
        reader = partial(_hls_chips, folder, keys[key], _bands(meta["bands"]))
        yield SceneItem(id=f"hls_{keys[key]}", read=reader, place=f"hls_{groups[key]}", split=split)


def _hls_chips(folder: Path, stem: str, bands: Bands, split: Split) -> Iterator[Chip]:
    """HLS chips of floods: a water mask and static WorldCover; disagreement is decided by pixels or unknown."""
    codes = {
        "tree_cover": 10, "shrubland": 20, "grassland": 30, "cropland": 40, "built_up": 50, "bare": 60, "wetland": 90,
    }  # fmt: skip
    image = read(folder / f"images/{stem}.tif")
    flood, cover, quality = read(folder / f"labels/{stem}.tif", (1, 2, 3)).values
    flood, lake = flood == 1, cover == 80
    cloud, near, shadow, snow = (quality >> bit & 1 == 1 for bit in (1, 2, 3, 4))
    values = image.values.astype(np.float32)
    water = flood & lake
    if (
        split == "train"
    ):  # one label and the pixels agreeing is water too; places that measure keep to the two labels
        water |= (flood | lake) & (values[2] - values[5] > 0.1 * np.abs(values[2] + values[5]))
    doubt = (flood | lake) & ~water
    murky = doubt | cloud | shadow
    vague = np.isin(cover, (0, 100))
    truth: Truth = {name: (cover == code, murky | vague) for name, code in codes.items()}
    # Fields lie bare for part of the year, and static WorldCover cannot say when.
    truth["bare"] = cover == 60, murky | vague | (cover == 40)
    if (
        split == "train"
    ):  # a fallow field is cropland all year, but vegetation only while something grows
        ndvi = (values[4] - values[3]) / np.maximum(np.abs(values[4] + values[3]), 1)
        green = np.isin(cover, (10, 20, 30, 40, 90)) & (ndvi > 0.35)
        truth["vegetation"] = green, murky | vague | (ndvi > 0.25) & ~green
    truth |= {
        "water": (water, doubt | cloud),
        "snow_ice": (np.zeros_like(flood), (cover == 70) | snow | cloud),
        "cloud": (cloud, near & ~cloud),
        "cloud_shadow": (shadow, near & ~shadow),
    }
    yield from labelled_chips(
        image, truth, id=f"hls_{stem}", sensor="hls7", bands=bands, level="surface", gsd_m=30, scale=1e-4,
        labels="water mask joined with ESA WorldCover, Fmask cloud and shadow",
    )  # fmt: skip


def _naip_ohio(folder: Path) -> Iterator[SceneItem]:
    meta = _meta(folder)
    groups = {about["id"]: about["location_group"] for about in meta["chips"]}
    for key, split in sorted(_splits(folder, groups).items()):
        reader = partial(_ohio_chips, folder, key, _bands(meta["bands"]))
        yield SceneItem(id=f"ohio_{key}", read=reader, place=f"ohio_{groups[key]}", split=split)


def _ohio_chips(folder: Path, key: str, bands: Bands, split: Split) -> Iterator[Chip]:
    """Aerial chips with hand-drawn classes; the background is grass, crops and yards, none of them told apart."""
    image, label = read(folder / f"images/{key}.tif"), read(folder / f"labels/{key}.tif").values[0]
    mixed, soil = label == 0, label == 3
    drawn = {"building": 1, "road": 2, "bare": 3, "tree_cover": 4, "water": 5}
    truth = {name: class_truth(label == code) for name, code in drawn.items()}
    truth["vegetation"] = label == 4, mixed
    # A harvested field is drawn as bare land, so cropland is unknown there too.
    truth |= {
        name: (np.zeros_like(mixed), mixed | soil * (name == "cropland"))
        for name in ("grassland", "cropland")
    }
    yield from labelled_chips(
        image, truth | absent_truth(mixed, "snow_ice", "cloud", "burned"), id=f"ohio_{key}", sensor="naip", bands=bands,
        level="uncalibrated", gsd_m=0.6, scale=1 / 255,
        labels="hand-drawn land cover; no snow, cloud or burn in this summer flight",
    )  # fmt: skip


def _naip_chesapeake(folder: Path) -> Iterator[SceneItem]:
    bands = _bands(_meta(folder)["bands"])
    for path in sorted((folder / "labels").glob("*.tif")):
        quad = path.stem.rsplit("-", 1)[0]
        reader = partial(_chesapeake_chips, folder, path.stem, bands)
        yield SceneItem(
            id=f"chesapeake_{path.stem}", read=reader, place=f"chesapeake_{quad}", split="train"
        )


def _chesapeake_chips(folder: Path, stem: str, bands: Bands, split: Split) -> Iterator[Chip]:
    """Aerial patches of two dates with Chesapeake land cover.

    The Landsat stacks beside them are left out: they are 30 m pixels enlarged to 1 m, nine across a patch.
    """
    truth = chesapeake_truth(*read(folder / f"labels/{stem}.tif", (1, 3)).values)
    for date in ("t1", "t2"):
        yield from labelled_chips(
            read(folder / f"images/{stem}_naip_{date}.tif"), truth, id=f"chesapeake_{stem}_{date}", sensor="naip",
            bands=bands, level="uncalibrated", gsd_m=1, scale=1 / 255,
            labels="Chesapeake land cover and building footprints",
        )  # fmt: skip


def _s2_burn(folder: Path) -> Iterator[SceneItem]:
    meta = _meta(folder)
    chips = {about["id"]: about for about in meta["chips"]}
    groups = {key: about["location_group"] for key, about in chips.items()}
    for key, split in sorted(_splits(folder, groups).items()):
        dates = ("post", "pre") if chips[key]["has_pre"] else ("post",)
        reader = partial(_burn_chips, folder, key, dates, _bands(meta["bands"]))
        yield SceneItem(id=f"burn_{key}", read=reader, place=f"burn_{groups[key]}", split=split)


def _burn_chips(
    folder: Path, key: str, dates: tuple[str, ...], bands: Bands, split: Split
) -> Iterator[Chip]:
    """Sentinel-2 after a fire inside its official perimeter, and before it where there is such an image."""
    label = read(folder / f"{key}_label.tif").values[0]
    for date in dates:
        burned = (label == 1) & (date == "post")
        yield from labelled_chips(
            read(folder / f"{key}_{date}.tif"), {"burned": (burned, label == 255)}, id=f"burn_{key}_{date}",
            sensor="sentinel-2a", bands=bands, level="surface", gsd_m=10, scale=1e-4,
            labels="CAL FIRE perimeter; unburned islands inside count as burned",
        )  # fmt: skip


def _worldcereal(folder: Path) -> Iterator[SceneItem]:
    entries = _meta(folder)["bands"]
    for path in sorted((folder / "images").glob("*.tif")):
        place, reader = (
            path.stem.rsplit("_", 1)[0],
            partial(_worldcereal_chips, folder, path.stem, entries),
        )
        yield SceneItem(
            id=f"worldcereal_{path.stem}", read=reader, place=f"worldcereal_{place}", split="train"
        )


def _worldcereal_chips(
    folder: Path, stem: str, entries: list[dict[str, Any]], split: Split
) -> Iterator[Chip]:
    """Sentinel-2 dates of four places with parcels; a field is only called vegetation where the scene class says so."""
    image = read(folder / f"images/{stem}.tif")
    cover = read(folder / f"labels/{stem.rsplit('_', 1)[0]}_lc.tif", (1,)).values[0]
    scene_class = read(folder / f"labels/{stem}_scl.tif", (1,)).values[0]
    by_name = {entry["name"]: entry for entry in entries}
    vague, cloudy, green = (
        np.isin(cover, (0, 99)),
        np.isin(scene_class, (3, 7, 8, 9, 10)),
        scene_class == 4,
    )
    nowhere, growing = np.zeros_like(vague), np.isin(cover, (11, 13)) & green
    truth: Truth = {
        "cropland": (cover == 11, cover == 0), "grassland": (cover == 13, vague), "built_up": (cover == 60, vague),
        "vegetation": (growing, vague | ~green), "bare": (nowhere, ~growing), "water": (nowhere, vague),
        "cloud": (nowhere, cloudy), "snow_ice": (nowhere, cloudy),
    }  # fmt: skip
    yield from labelled_chips(
        image, truth, id=f"worldcereal_{stem}", sensor="sentinel-2a", level="surface", gsd_m=10, scale=1e-4,
        bands=_bands([by_name[name] for name in image.names if name]),
        labels="parcels of WorldCereal, Sentinel-2 scene classification",
    )  # fmt: skip


def _hyperspectral(folder: Path) -> Iterator[SceneItem]:
    yield SceneItem(
        id=folder.name, read=partial(_hyperspectral_chips, folder), place=folder.name, split="train"
    )


def _hyperspectral_chips(folder: Path, split: Split) -> Iterator[Chip]:
    """One small airborne hyperspectral scene with reference abundances: a class is where it covers more than half."""
    meta, image = _meta(folder), read(folder / "image.tif")
    names = {
        "tree": "tree_cover",
        "road": "road",
        "water": "water",
        "soil": "soil",
        "vegetation": "vegetation",
    }
    truth: Truth = {}
    for share, title in zip(
        read(folder / "abundance.tif").values, meta["classes"].values(), strict=True
    ):
        truth[names[title]] = share > 0.5, np.abs(share - 0.5) < 0.1
    # The abundances of these scenes sum to one over the classes listed, so a parent is its only listed child.
    for child, parent in (("tree_cover", "vegetation"), ("soil", "bare"), ("road", "built_up")):
        if child in truth:
            truth[parent] = truth[child]
    yield from labelled_chips(
        image, truth | absent_truth(truth["water"][0], "snow_ice", "cloud", "burned"), id=folder.name,
        sensor=meta["sensor"].split(" ")[0].rstrip(","), bands=_bands(meta["bands"]), level="surface",
        gsd_m=meta["gsd_m"], scale=meta["scale_to_reflectance"], labels="reference abundances above one half",
    )  # fmt: skip


def _tokyo(folder: Path) -> Iterator[SceneItem]:
    bands = _bands(_meta(folder)["bands_10m"])
    for part in ("A", "B"):
        yield SceneItem(
            id=f"tokyo_{part}",
            read=partial(_tokyo_chips, folder, part, bands),
            place="tokyo",
            split="train",
        )


def _tokyo_chips(folder: Path, part: str, bands: Bands, split: Split) -> Iterator[Chip]:
    """Sentinel-2 patches labelled at their centre, 8 x 8 of them side by side; only the centres are known."""
    names = {
        "water": {0}, "grassland": {1, 2}, "built_up": {3}, "tree_cover": {4}, "cropland": {5},
        "vegetation": {1, 2, 4, 5},
    }  # fmt: skip
    path = folder / f"set_{part}.npz"
    patches, labels = _arrays(path, "patches_10m", "label_10m")
    centre = np.zeros((16, 16), bool)
    centre[5:11, 5:11] = True
    unknown = ~np.tile(centre, (8, 8))
    order = np.random.default_rng(ord(part)).permutation(len(patches))
    for number, chosen in enumerate(order[: len(patches) // 64 * 64].reshape(-1, 64)):
        values = (
            patches[chosen].reshape(8, 8, 4, 16, 16).transpose(2, 0, 3, 1, 4).reshape(4, 128, 128)
        )
        cover = np.kron(labels[chosen].reshape(8, 8), np.ones((16, 16), np.uint8))
        truth: Truth = {
            name: (np.isin(cover, list(codes)), unknown) for name, codes in names.items()
        }
        # A park may hold trees and a golf course bare bunkers; what is sure is listed, the rest left unknown.
        truth["tree_cover"] = cover == 4, unknown | np.isin(cover, (1, 2))
        truth |= {name: (np.zeros_like(unknown), unknown) for name in ("snow_ice", "burned")}
        yield from labelled_chips(
            LayoutRaster(path, values), truth, id=f"tokyo_{part}{number:02d}", sensor="sentinel-2a", bands=bands,
            level="uncalibrated", gsd_m=10, scale=1 / 255,
            labels="class of each patch's centre; patches of several places side by side",
        )  # fmt: skip


def _landslides(folder: Path) -> Iterator[SceneItem]:
    bands = _bands(_meta(folder)["bands"][:12])
    (scars,) = _arrays(folder / "chips.npz", "label")
    marked = np.flatnonzero(scars.any(axis=(1, 2)))  # without a scar, nothing is known of a chip
    for number in marked.tolist():
        reader = partial(_landslide_chips, folder, number, bands)
        yield SceneItem(
            id=f"landslide_{number:02d}", read=reader, place="landslide4sense", split="train"
        )


def _landslide_chips(folder: Path, number: int, bands: Bands, split: Split) -> Iterator[Chip]:
    """Sentinel-2 divided by unknown means, scars of landslides outlined; elsewhere anything may lie."""
    path = folder / "chips.npz"
    images, labels = _arrays(path, "image", "label")
    values, scar = images[number, :12].astype(np.float32), labels[number] == 1
    truth = {
        name: (scar & (name == "bare"), ~scar)
        for name in ("bare", "vegetation", "water", "built_up", "snow_ice")
    }
    yield from labelled_chips(
        LayoutRaster(path, values), truth, id=f"landslide_{number:02d}", sensor="sentinel-2a", bands=bands,
        level="uncalibrated", gsd_m=10, labels="outlined landslide scars; the rest is unknown",
    )  # fmt: skip


def _holds(name: str, folder: Path) -> bool:
    return folder.name == name and (folder / "meta.json").is_file()


def _source(
    name: str, items: Callable[[Path], Iterator[SceneItem]], title: str, licence: str, url: str
) -> Layout:
    return Layout(name, title, licence, f"https://github.com/{url}", partial(_holds, name), items)


_UNMIXING = "UPCGIT/Hyperspectral-Unmixing-Models"
LAYOUTS: tuple[Layout, ...] = (
    _source(
        "hls_flood_wc", _hls_flood, "HLS chips of floods with water mask, ESA WorldCover and Fmask",
        "imagery public domain (NASA HLS); ESA WorldCover CC-BY-4.0; repository states none",
        "shahed137003/Water-Segmentation-project",
    ),
    _source(
        "naip_ohio_landcover", _naip_ohio, "NAIP chips of rural Ohio with hand-drawn land cover",
        "imagery public domain (NAIP); labels by yinx111, attribution asked for, no licence stated",
        "yinx111/U-Net-Semantic-Segmentation-on-Multispectral-Satellite-Imagery",
    ),
    _source(
        "naip_chesapeake_wv", _naip_chesapeake, "NAIP patches of West Virginia with Chesapeake land cover",
        "imagery public domain (NAIP); land cover by the Chesapeake Conservancy, open with attribution",
        "calebrob6/land-cover",
    ),
    _source(
        "s2_burn_california", _s2_burn, "Sentinel-2 of Californian fires with official perimeters",
        "Copernicus Sentinel data, free and open; CAL FIRE perimeters public; repository states none",
        "Runan-Duan/Wildfire_Detection",
    ),
    _source(
        "s2_worldcereal", _worldcereal, "Sentinel-2 series of Flanders and Tanzania with parcels",
        "MIT; Copernicus Sentinel data, free and open; parcels open", "WorldCereal/worldcereal-classification",
    ),
    _source(
        "aviris_jasper", _hyperspectral, "AVIRIS of Jasper Ridge with reference abundances",
        "AVIRIS public (NASA/JPL); labels for academic use", _UNMIXING,
    ),
    _source(
        "samson", _hyperspectral, "SAMSON of the Florida coast with reference abundances",
        "public benchmark for academic use, none stated", _UNMIXING,
    ),
    _source(
        "hsi_moffett", _hyperspectral, "AVIRIS of Moffett Field with reference abundances",
        "AVIRIS public (NASA/JPL); none stated for the abundances", _UNMIXING,
    ),
    _source(
        "s2_tokyo_patches", _tokyo, "Sentinel-2 patches of Tokyo labelled at their centres",
        "Apache-2.0; Copernicus Sentinel data, free and open", "remicres/otbtf",
    ),
    _source(
        "s2_landslide4sense", _landslides, "Landslide4Sense chips, scars of landslides outlined",
        "research use (IARAI)", "CamDucLe/Landslide-Project-Sentinel2",
    ),
)  # fmt: skip
