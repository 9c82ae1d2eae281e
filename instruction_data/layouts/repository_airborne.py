"""The repository's airborne data: NAIP of Ohio and West Virginia, hyperspectral scenes.

What each label can and cannot state about every class was found by visual inspection; the
docstrings of the readers describe it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from instruction_data.layouts.chesapeake import chesapeake_truth
from instruction_data.layouts.rasters import labelled_chips, read
from instruction_data.layouts.repository_files import (
    Bands,
    band_refs,
    read_meta,
    read_splits,
    repository_layout,
)
from instruction_data.sources.chips import Chip, SceneItem, Split, Truth, absent_truth, class_truth

_UNMIXING = "UPCGIT/Hyperspectral-Unmixing-Models"
_OHIO_CODES = {"building": 1, "road": 2, "bare": 3, "tree_cover": 4, "water": 5}
_ABUNDANCE_CLASSES = {
    "tree": "tree_cover",
    "road": "road",
    "water": "water",
    "soil": "soil",
    "vegetation": "vegetation",
}


def _ohio_items(folder: Path) -> Iterator[SceneItem]:
    meta = read_meta(folder)
    groups = {entry["id"]: entry["location_group"] for entry in meta["chips"]}
    for key, split in sorted(read_splits(folder, groups).items()):
        reader = partial(_ohio_chips, folder, key, band_refs(meta["bands"]))
        yield SceneItem(id=f"ohio_{key}", read=reader, place=f"ohio_{groups[key]}", split=split)


def _ohio_chips(folder: Path, key: str, bands: Bands, split: Split) -> Iterator[Chip]:
    """Aerial chips with hand-drawn classes.

    The background is grass, crops and yards, which the label does not distinguish.
    """
    image = read(folder / f"images/{key}.tif")
    label = read(folder / f"labels/{key}.tif").values[0]
    background = label == 0
    truth: Truth = {name: class_truth(label == code) for name, code in _OHIO_CODES.items()}
    truth["vegetation"] = label == _OHIO_CODES["tree_cover"], background
    nowhere = np.zeros_like(background)
    truth["grassland"] = nowhere, background
    # A harvested field is drawn as bare land, so that cropland is unknown there too.
    truth["cropland"] = nowhere, background | (label == _OHIO_CODES["bare"])
    truth |= absent_truth(background, "snow_ice", "cloud", "burned")
    yield from labelled_chips(
        image,
        truth,
        id=f"ohio_{key}",
        sensor="naip",
        bands=bands,
        level="uncalibrated",
        gsd_m=0.6,
        scale=1 / 255,
        labels="hand-drawn land cover; no snow, cloud or burn in this summer flight",
    )


def _chesapeake_items(folder: Path) -> Iterator[SceneItem]:
    bands = band_refs(read_meta(folder)["bands"])
    for path in sorted((folder / "labels").glob("*.tif")):
        quad = path.stem.rsplit("-", 1)[0]
        reader = partial(_chesapeake_chips, folder, path.stem, bands)
        yield SceneItem(
            id=f"chesapeake_{path.stem}", read=reader, place=f"chesapeake_{quad}", split="train"
        )


def _chesapeake_chips(folder: Path, stem: str, bands: Bands, split: Split) -> Iterator[Chip]:
    """Aerial patches of two dates with Chesapeake land cover.

    The Landsat stacks beside them are left out: they are 30 m pixels enlarged to 1 m, nine across
    a patch.
    """
    cover, buildings = read(folder / f"labels/{stem}.tif", (1, 3)).values
    truth = chesapeake_truth(cover, buildings)
    for date in ("t1", "t2"):
        yield from labelled_chips(
            read(folder / f"images/{stem}_naip_{date}.tif"),
            truth,
            id=f"chesapeake_{stem}_{date}",
            sensor="naip",
            bands=bands,
            level="uncalibrated",
            gsd_m=1,
            scale=1 / 255,
            labels="Chesapeake land cover and building footprints",
        )


def _hyperspectral_items(folder: Path) -> Iterator[SceneItem]:
    reader = partial(_hyperspectral_chips, folder)
    yield SceneItem(id=folder.name, read=reader, place=folder.name, split="train")


def _hyperspectral_chips(folder: Path, split: Split) -> Iterator[Chip]:
    """One small airborne hyperspectral scene with reference abundances.

    A class is where it covers more than half of a pixel.
    """
    meta = read_meta(folder)
    image = read(folder / "image.tif")
    abundances = read(folder / "abundance.tif").values
    truth: Truth = {}
    for abundance, title in zip(abundances, meta["classes"].values(), strict=True):
        unknown = np.abs(abundance - 0.5) < 0.1
        truth[_ABUNDANCE_CLASSES[title]] = abundance > 0.5, unknown
    # The abundances sum to one over the classes listed, so a parent is its only listed child.
    for child, parent in (("tree_cover", "vegetation"), ("soil", "bare"), ("road", "built_up")):
        if child in truth:
            truth[parent] = truth[child]
    truth |= absent_truth(truth["water"][0], "snow_ice", "cloud", "burned")
    yield from labelled_chips(
        image,
        truth,
        id=folder.name,
        sensor=meta["sensor"].split(" ")[0].rstrip(","),
        bands=band_refs(meta["bands"]),
        level="surface",
        gsd_m=meta["gsd_m"],
        scale=meta["scale_to_reflectance"],
        labels="reference abundances above one half",
    )


OHIO = repository_layout(
    name="naip_ohio_landcover",
    items=_ohio_items,
    title="NAIP chips of rural Ohio with hand-drawn land cover",
    licence="imagery public domain (NAIP); labels by yinx111, attribution asked for, no licence "
    "stated",
    github="yinx111/U-Net-Semantic-Segmentation-on-Multispectral-Satellite-Imagery",
)
CHESAPEAKE = repository_layout(
    name="naip_chesapeake_wv",
    items=_chesapeake_items,
    title="NAIP patches of West Virginia with Chesapeake land cover",
    licence="imagery public domain (NAIP); land cover by the Chesapeake Conservancy, open with "
    "attribution",
    github="calebrob6/land-cover",
)
JASPER = repository_layout(
    name="aviris_jasper",
    items=_hyperspectral_items,
    title="AVIRIS of Jasper Ridge with reference abundances",
    licence="AVIRIS public (NASA/JPL); labels for academic use",
    github=_UNMIXING,
)
SAMSON = repository_layout(
    name="samson",
    items=_hyperspectral_items,
    title="SAMSON of the Florida coast with reference abundances",
    licence="public benchmark for academic use, none stated",
    github=_UNMIXING,
)
MOFFETT = repository_layout(
    name="hsi_moffett",
    items=_hyperspectral_items,
    title="AVIRIS of Moffett Field with reference abundances",
    licence="AVIRIS public (NASA/JPL); none stated for the abundances",
    github=_UNMIXING,
)
