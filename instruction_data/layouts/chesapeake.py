"""Chesapeake land cover: aerial images (NAIP) of two dates with cover and building footprints."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from instruction_data.layouts.rasters import (
    footprint,
    hide_unknown,
    labelled_chips,
    read_strip,
    sensor_bands,
    strips,
)
from instruction_data.sources.chips import (
    Chip,
    Layout,
    SceneItem,
    Split,
    Truth,
    absent_truth,
    class_truth,
)
from spex.raster.tiles import Tile

_STATE_FOLDERS = "*_1m_*_extended-debuffered-*_tiles"
_DATES = ("naip-new", "naip-old")
# Codes of the land cover.
_WATER, _TREES, _LOW_VEGETATION, _BARREN, _OTHER_IMPERVIOUS, _ROADS = range(1, 7)
_UNKNOWN = (0, 15, 255)


def chesapeake_truth(cover: np.ndarray, buildings: np.ndarray) -> Truth:
    """What Chesapeake land cover states about every class.

    Low vegetation may be grass, crops, shrubs or reeds, and includes tilled fields. Other
    impervious surfaces may be roofs or paved ground.

    Args:
        cover: codes of seven classes (h, w).
        buildings: building footprints (h, w), 1 inside.
    """
    low_vegetation = cover == _LOW_VEGETATION
    impervious = np.isin(cover, (_OTHER_IMPERVIOUS, _ROADS))
    building = buildings == 1
    truth = {
        "water": class_truth(cover == _WATER),
        "tree_cover": class_truth(cover == _TREES),
        "vegetation": class_truth(np.isin(cover, (_TREES, _LOW_VEGETATION))),
        "bare": class_truth(cover == _BARREN, low_vegetation),
        "built_up": class_truth(impervious),
        "road": class_truth(cover == _ROADS, cover == _OTHER_IMPERVIOUS),
        "building": class_truth(building, impervious & ~building),
    }
    for name in ("grassland", "cropland", "shrubland", "wetland"):
        truth[name] = np.zeros_like(low_vegetation), low_vegetation
    truth |= absent_truth(low_vegetation, "snow_ice", "cloud", "burned")
    return hide_unknown(truth, np.isin(cover, _UNKNOWN))


def _matches(root: Path) -> bool:
    return any(root.glob(f"{_STATE_FOLDERS}/*_naip-new.tif"))


def _items(root: Path) -> Iterator[SceneItem]:
    """Rows of chips of the quarter quads of six states.

    Places come from footprints: the published lists separate neighbours.
    """
    for path in sorted(root.glob(f"{_STATE_FOLDERS}/*_naip-new.tif")):
        stem = path.name.removesuffix("_naip-new.tif")
        extent = footprint(path)
        place = None if extent else f"{path.parent.name[:2]}_{stem}"
        for tiles in strips(path):
            reader = partial(_chips, path.parent, stem, tiles)
            item_id = f"chesapeake_{stem}_r{tiles[0].row:05d}"
            yield SceneItem(id=item_id, read=reader, place=place, footprint=extent)


def _chips(folder: Path, stem: str, tiles: tuple[Tile, ...], split: Split) -> Iterator[Chip]:
    layers = [
        read_strip(folder / f"{stem}_{layer}.tif", tiles) for layer in ("lc", "buildings", *_DATES)
    ]
    for tile, cover, buildings, *images in zip(tiles, *layers, strict=True):
        truth = chesapeake_truth(cover.values[0], buildings.values[0])
        for date, image in zip(_DATES, images, strict=True):
            yield from labelled_chips(
                image,
                truth,
                id=f"chesapeake_{stem}_{tile.row:05d}_{tile.col:05d}_{date}",
                sensor="naip",
                bands=sensor_bands("naip"),
                level="uncalibrated",
                gsd_m=1,
                scale=1 / 255,
                labels="Chesapeake land cover 2013/2014 and building footprints",
            )


LAYOUTS = (
    Layout(
        name="chesapeake_cvpr",
        title="Chesapeake Land Cover, CVPR 2019 (doi:10.1109/CVPR.2019.01301)",
        licence="imagery public domain (NAIP); labels by the Chesapeake Conservancy, footprints by "
        "Microsoft, terms at LILA",
        url="https://lila.science/datasets/chesapeakelandcover",
        matches=_matches,
        items=_items,
    ),
)
