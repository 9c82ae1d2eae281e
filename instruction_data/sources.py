"""Real scenes with labels: what each data folder shows, and what its labels can and cannot say about every class.

A reader yields ``Chip``s. The truth of a class is a pair of bool maps: where it is, and where the label cannot tell.
Classes a label never speaks of are left out. ``complete`` then derives parents from children and the absence of
children from parents.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray

from spex.errors import RecordError
from spex.evidence.classes import classes
from spex.records import BandRef
from spex.sensors import Level

Mask = NDArray[np.bool_]
Truth = dict[str, tuple[Mask, Mask]]
Split = Literal["train", "val"]


@dataclass(frozen=True)
class Chip:
    """One labelled raster; values (C, h, w) in their own type, truth per class as (mask, unknown), both bool (h, w)."""

    id: str
    place: str
    source: str
    split: Split
    sensor: str
    values: NDArray[Any]
    bands: tuple[BandRef, ...]
    level: Level
    truth: Truth
    labels: str
    gsd_m: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    crs: Any = None
    transform: Any = None
    extra: Mapping[str, str] = field(default_factory=dict)


def complete(truth: Truth) -> Truth:
    """Parents as the union of known children, children absent where their parent is; wholly unknown classes dropped."""
    found = {name: (mask & ~unknown, unknown) for name, (mask, unknown) in truth.items()}
    table = classes()
    for name in table:
        children = [child for child, about in table.items() if about.parent == name]
        if children and name not in found and all(child in found for child in children):
            mask = np.logical_or.reduce([found[child][0] for child in children])
            found[name] = mask, np.logical_or.reduce([found[child][1] for child in children]) & ~mask
        for child in children:
            if name in found and child not in found:
                mask, unknown = found[name]
                found[child] = np.zeros_like(mask), mask | unknown
    return {name: (mask, unknown) for name, (mask, unknown) in found.items() if not unknown.all()}


def _known(mask: Mask, unknown: Mask | None = None) -> tuple[Mask, Mask]:
    return mask, np.zeros_like(mask) if unknown is None else unknown


def _absent(like: Mask, *names: str) -> Truth:
    return {name: (np.zeros_like(like), np.zeros_like(like)) for name in names}


def _meta(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    return found


def _bands(entries: list[dict[str, Any]]) -> tuple[BandRef, ...]:
    return tuple(BandRef(name=b["name"], wavelength_nm=b["center_nm"], fwhm_nm=b["fwhm_nm"]) for b in entries)


def _split(
    folder: Path, item: str | int, group: object = None, groups: dict[object, Split] | None = None
) -> Split | None:
    lists = json.loads((folder.parent / "split.json").read_text())[folder.name]
    split: Split | None = next((name for name in ("train", "val") if item in lists[name]), None)
    if split and groups is not None and groups.setdefault(group, split) != split:
        raise RecordError(f"{folder.name}: place {group} lies in train and val; mend split.json before building")
    return split


def hls_flood_wc(folder: Path) -> Iterator[Chip]:
    """HLS chips of floods: a water mask and static WorldCover; disagreement is decided by pixels or unknown."""
    meta = _meta(folder)
    codes = {
        "tree_cover": 10,
        "shrubland": 20,
        "grassland": 30,
        "cropland": 40,
        "built_up": 50,
        "bare": 60,
        "wetland": 90,
    }
    groups: dict[object, Split] = {}
    for path in sorted((folder / "images").glob("*.tif")):
        group = meta["location_group"][int(path.stem)]
        split = _split(folder, int(path.stem), group, groups)
        if split is None:
            continue
        with rasterio.open(path) as image, rasterio.open(folder / "labels" / path.name) as label:
            values, nodata = image.read(), image.nodata
            flood, cover, quality = label.read([1, 2, 3])
        flood, lake = flood == 1, cover == 80
        cloud, near, shadow, snow = (quality >> bit & 1 == 1 for bit in (1, 2, 3, 4))
        water = flood & lake
        if (
            split == "train"
        ):  # one label and the pixels agreeing is water too; places that measure keep to the two labels
            green, swir = values[2].astype(np.float32), values[5].astype(np.float32)
            water |= (flood | lake) & (green - swir > 0.1 * np.abs(green + swir))
        doubt = (flood | lake) & ~water
        murky = doubt | cloud | shadow
        vague = np.isin(cover, (0, 100))
        truth: Truth = {name: (cover == code, murky | vague) for name, code in codes.items()}
        # Fields lie bare for part of the year, and static WorldCover cannot say when.
        truth["bare"] = cover == 60, murky | vague | (cover == 40)
        if split == "train":  # a fallow field is cropland all year, but vegetation only while something grows
            red, infrared = values[3].astype(np.float32), values[4].astype(np.float32)
            ndvi = (infrared - red) / np.maximum(np.abs(infrared + red), 1)
            green = np.isin(cover, (10, 20, 30, 40, 90)) & (ndvi > 0.35)
            truth["vegetation"] = green, murky | vague | (ndvi > 0.25) & ~green
        truth |= {
            "water": (water, doubt | cloud),
            "snow_ice": (np.zeros_like(flood), (cover == 70) | snow | cloud),
            "cloud": (cloud, near & ~cloud),
            "cloud_shadow": (shadow, near & ~shadow),
        }
        yield Chip(
            id=f"hls_{path.stem}", place=f"hls_{group}", source=folder.name, split=split, sensor="hls7", values=values,
            bands=_bands(meta["bands"]), level="surface", gsd_m=30, scale=1e-4, nodata=nodata, truth=truth,
            labels="water mask joined with ESA WorldCover, Fmask cloud and shadow",
        )  # fmt: skip


def naip_ohio_landcover(folder: Path) -> Iterator[Chip]:
    """Aerial chips with hand-drawn classes; the background is grass, crops and yards, none of them told apart."""
    meta = _meta(folder)
    groups: dict[object, Split] = {}
    for about in meta["chips"]:
        split = _split(folder, about["id"], about["location_group"], groups)
        if split is None:
            continue
        with rasterio.open(folder / "images" / f"{about['id']}.tif") as image:
            values, crs, transform = image.read(), image.crs, image.transform
        with rasterio.open(folder / "labels" / f"{about['id']}.tif") as image:
            label = image.read(1)
        mixed, soil = label == 0, label == 3
        drawn = {"building": 1, "road": 2, "bare": 3, "tree_cover": 4, "water": 5}
        truth = {name: _known(label == code) for name, code in drawn.items()}
        truth["vegetation"] = label == 4, mixed
        # A harvested field is drawn as bare land, so cropland is unknown there too.
        truth |= {
            name: (np.zeros_like(mixed), mixed | soil * (name == "cropland")) for name in ("grassland", "cropland")
        }
        yield Chip(
            id=f"ohio_{about['id']}", place=f"ohio_{about['location_group']}", source=folder.name, split=split,
            sensor="naip",
            values=values, bands=_bands(meta["bands"]), level="uncalibrated", gsd_m=0.6, scale=1 / 255, crs=crs,
            transform=transform, truth=truth | _absent(mixed, "snow_ice", "cloud", "burned"),
            labels="hand-drawn land cover; no snow, cloud or burn in this summer flight",
        )  # fmt: skip


def naip_chesapeake_wv(folder: Path) -> Iterator[Chip]:
    """Aerial patches of two dates with Chesapeake land cover; its low vegetation may be grass, crops or shrubs."""
    meta = _meta(folder)
    for path in sorted((folder / "labels").glob("*.tif")):
        with rasterio.open(path) as image:
            label, roofs = image.read([1, 3])
        gap, low, paved = label == 15, label == 3, np.isin(label, (5, 6))
        truth: Truth = {
            "water": (label == 1, gap), "tree_cover": (label == 2, gap), "vegetation": (np.isin(label, (2, 3)), gap),
            "bare": (label == 4, gap), "built_up": (paved, gap), "road": (label == 6, gap | (label == 5)),
            "building": (roofs == 1, gap | (paved & (roofs == 0))),
        }  # fmt: skip
        truth |= {name: (np.zeros_like(gap), gap | low) for name in ("grassland", "cropland", "shrubland", "wetland")}
        truth |= _absent(gap, "snow_ice", "cloud", "burned")
        for date in ("t1", "t2"):
            with rasterio.open(folder / "images" / f"{path.stem}_naip_{date}.tif") as image:
                values = image.read()
            yield Chip(
                id=f"chesapeake_{path.stem}_{date}", place=f"chesapeake_{path.stem.rsplit('-', 1)[0]}",
                source=folder.name,
                split="train", sensor="naip", values=values, bands=_bands(meta["bands"]), level="uncalibrated", gsd_m=1,
                scale=1 / 255, truth=truth, labels="Chesapeake land cover and building footprints",
            )  # fmt: skip


def s2_burn_california(folder: Path) -> Iterator[Chip]:
    """Sentinel-2 after a fire inside its official perimeter, and before it where there is such an image."""
    meta = _meta(folder)
    groups: dict[object, Split] = {}
    for about in meta["chips"]:
        split = _split(folder, about["id"], about["location_group"], groups)
        if split is None:
            continue
        with rasterio.open(folder / f"{about['id']}_label.tif") as image:
            label = image.read(1)
        for date in ("post", "pre") if about["has_pre"] else ("post",):
            with rasterio.open(folder / f"{about['id']}_{date}.tif") as image:
                values, nodata, crs, transform = image.read(), image.nodata, image.crs, image.transform
            burned = (label == 1) & (date == "post")
            yield Chip(
                id=f"burn_{about['id']}_{date}", place=f"burn_{about['location_group']}", source=folder.name,
                split=split,
                sensor="sentinel-2a", values=values, bands=_bands(meta["bands"]), level="surface", gsd_m=10, scale=1e-4,
                nodata=nodata, crs=crs, transform=transform, truth={"burned": (burned, label == 255)},
                labels="CAL FIRE perimeter; unburned islands inside count as burned",
            )  # fmt: skip


def s2_worldcereal(folder: Path) -> Iterator[Chip]:
    """Sentinel-2 dates of four places with parcels; a field is only called vegetation where the scene class says so."""
    known = {band["name"]: band for band in _meta(folder)["bands"]}
    for path in sorted((folder / "images").glob("*.tif")):
        place = path.stem.rsplit("_", 1)[0]
        with rasterio.open(path) as image:
            values, nodata, crs, transform = image.read(), image.nodata, image.crs, image.transform
            bands = _bands([known[name] for name in image.descriptions])
        with rasterio.open(folder / "labels" / f"{place}_lc.tif") as image:
            cover = image.read(1)
        with rasterio.open(folder / "labels" / f"{path.stem}_scl.tif") as image:
            scene_class = image.read(1)
        vague, cloudy, green = np.isin(cover, (0, 99)), np.isin(scene_class, (3, 7, 8, 9, 10)), scene_class == 4
        field_or_grass = np.isin(cover, (11, 13))
        truth: Truth = {
            "cropland": (cover == 11, cover == 0), "grassland": (cover == 13, vague), "built_up": (cover == 60, vague),
            "vegetation": (field_or_grass & green, vague | ~green), "bare": (np.zeros_like(vague),
            ~(field_or_grass & green)),
            "water": (np.zeros_like(vague), vague), "cloud": (np.zeros_like(vague), cloudy),
            "snow_ice": (np.zeros_like(vague), cloudy),
        }  # fmt: skip
        yield Chip(
            id=f"worldcereal_{path.stem}", place=f"worldcereal_{place}", source=folder.name, split="train",
            sensor="sentinel-2a", values=values, bands=bands, level="surface", gsd_m=10, scale=1e-4, nodata=nodata,
            crs=crs,
            transform=transform, truth=truth, labels="parcels of WorldCereal, Sentinel-2 scene classification",
        )  # fmt: skip


def hyperspectral(folder: Path) -> Iterator[Chip]:
    """One small airborne hyperspectral scene with reference abundances: a class is where it covers more than half."""
    meta = _meta(folder)
    with rasterio.open(folder / "image.tif") as image:
        values = image.read()
    with rasterio.open(folder / "abundance.tif") as image:
        shares = image.read()
    names = {"tree": "tree_cover", "road": "road", "water": "water", "soil": "soil", "vegetation": "vegetation"}
    truth: Truth = {}
    for share, title in zip(shares, meta["classes"].values(), strict=True):
        truth[names[title]] = share > 0.5, np.abs(share - 0.5) < 0.1
    # The abundances of these scenes sum to one over the classes listed, so a parent is its only listed child.
    for child, parent in (("tree_cover", "vegetation"), ("soil", "bare"), ("road", "built_up")):
        if child in truth:
            truth[parent] = truth[child]
    truth |= _absent(truth["water"][0], "snow_ice", "cloud", "burned")
    yield Chip(
        id=folder.name, place=folder.name, source=folder.name, split="train",
        sensor=meta["sensor"].split(" ")[0].rstrip(","),
        values=values, bands=_bands(meta["bands"]), level="surface", gsd_m=meta["gsd_m"],
        scale=meta["scale_to_reflectance"], truth=truth, labels="reference abundances above one half",
    )  # fmt: skip


def s2_tokyo_patches(folder: Path) -> Iterator[Chip]:
    """Sentinel-2 patches labelled at their centre, 8 x 8 of them side by side; only the centres are known."""
    meta = _meta(folder)
    names = {
        "water": {0},
        "grassland": {1, 2},
        "built_up": {3},
        "tree_cover": {4},
        "cropland": {5},
        "vegetation": {1, 2, 4, 5},
    }
    rng = np.random.default_rng(0)
    for part in ("A", "B"):
        with np.load(folder / f"set_{part}.npz") as arrays:
            patches, labels = arrays["patches_10m"], arrays["label_10m"]
        centre = np.zeros((16, 16), bool)
        centre[5:11, 5:11] = True
        unknown = ~np.tile(centre, (8, 8))
        for number, chosen in enumerate(rng.permutation(len(patches))[: len(patches) // 64 * 64].reshape(-1, 64)):
            values = patches[chosen].reshape(8, 8, 4, 16, 16).transpose(2, 0, 3, 1, 4).reshape(4, 128, 128)
            cover = np.kron(labels[chosen].reshape(8, 8), np.ones((16, 16), np.uint8))
            truth: Truth = {name: (np.isin(cover, list(codes)), unknown) for name, codes in names.items()}
            # A park may hold trees and a golf course bare bunkers; what is sure is listed, the rest left unknown.
            truth["tree_cover"] = cover == 4, unknown | np.isin(cover, (1, 2))
            truth |= {name: (np.zeros_like(unknown), unknown) for name in ("snow_ice", "burned")}
            yield Chip(
                id=f"tokyo_{part}{number:02d}", place="tokyo", source=folder.name, split="train", sensor="sentinel-2a",
                values=values, bands=_bands(meta["bands_10m"]), level="uncalibrated", gsd_m=10, scale=1 / 255,
                truth=truth,
                labels="class of each patch's centre; patches of several places side by side",
            )  # fmt: skip


SOURCES: Mapping[str, Callable[[Path], Iterator[Chip]]] = {
    "hls_flood_wc": hls_flood_wc,
    "naip_ohio_landcover": naip_ohio_landcover,
    "naip_chesapeake_wv": naip_chesapeake_wv,
    "s2_burn_california": s2_burn_california,
    "s2_worldcereal": s2_worldcereal,
    "aviris_jasper": hyperspectral,
    "samson": hyperspectral,
    "hsi_moffett": hyperspectral,
    "s2_tokyo_patches": s2_tokyo_patches,
}
