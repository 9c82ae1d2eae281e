"""ESA WorldCover map tiles (v100 of 2020, v200 of 2021) with scenes beside them.

Scenes are the Sentinel-2 composites of WorldCover, or any other rasters whose bands are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from instruction_data.layouts.rasters import CHIP, footprint, sensor_bands
from instruction_data.sources.chips import Box, Chip, Layout, SceneItem, Split
from instruction_data.sources.labels import open_labels
from instruction_data.sources.legends import legend
from instruction_data.sources.windows import scene_chips
from spex.raster.scene import Scene

_FILE_NAME = re.compile(
    r"ESA_WorldCover_10m_(?P<year>\d{4})_v\d{3}_(?P<tile>[NS]\d\d[EW]\d{3})_(?P<kind>\w+)\.tif$"
)
_SUFFIXES = frozenset({".tif", ".tiff", ".vrt", ".img", ".jp2"})
_COMPOSITE = {
    "bands": [
        band.model_dump() for band in sensor_bands("sentinel-2a", ("B04", "B03", "B02", "B08"))
    ],
    "scale": 1e-4,
    "gsd_m": 10,
    "level": "surface",
}


@dataclass(frozen=True)
class _MapTile:
    path: Path
    year: str
    tile: str
    extent: Box | None


def _map_files(root: Path) -> list[Path]:
    """Maps in the folder itself or laid out as in the bucket."""
    paths: list[Path] = []
    for subfolder in ("", "map/", "v*/*/map/"):
        paths += root.glob(f"{subfolder}ESA_WorldCover_*_Map.tif")
    return [path for path in paths if _FILE_NAME.search(path.name)]


def _map_tiles(root: Path) -> list[_MapTile]:
    """All maps, the newest year first."""
    tiles: list[_MapTile] = []
    for path in _map_files(root):
        match = _FILE_NAME.search(path.name)
        assert match is not None
        tiles.append(_MapTile(path, match["year"], match["tile"], footprint(path)))
    return sorted(tiles, key=lambda tile: (-int(tile.year), tile.tile))


def _matches(root: Path) -> bool:
    return bool(_map_files(root))


def _items(root: Path) -> Iterator[SceneItem]:
    """Each scene with the map tiles that it overlaps.

    A composite takes the maps of its own year, other scenes the newest.
    """
    maps = _map_tiles(root)
    for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES):
        match = _FILE_NAME.search(path.name)
        if match and match["kind"] != "S2RGBNIR":
            continue
        extent = footprint(path)
        overlapping: dict[str, Path] = {}
        for candidate in maps:
            right_year = match is None or match["year"] == candidate.year
            if right_year and _overlap(extent, candidate.extent):
                overlapping.setdefault(candidate.tile, candidate.path)
        # A scene without a map is still an item: reading it states which extents do not overlap.
        stem = "_".join(path.relative_to(root).with_suffix("").parts)
        for tile, map_path in (overlapping or {maps[0].tile: maps[0].path}).items():
            name = f"worldcover_{stem}_{tile}"
            reader = partial(_chips, path, map_path, name, match is not None)
            place = None if extent else name
            yield SceneItem(id=name, read=reader, place=place, footprint=extent)


def _overlap(first: Box | None, second: Box | None) -> bool:
    if first is None or second is None:
        return False
    overlap_x = first[0] < second[2] and second[0] < first[2]
    overlap_y = first[1] < second[3] and second[1] < first[3]
    return overlap_x and overlap_y


def _chips(
    path: Path, map_path: Path, name: str, is_composite: bool, split: Split
) -> Iterator[Chip]:
    scene = Scene.open(path, bands=_COMPOSITE if is_composite else None)
    with open_labels(str(map_path), scene, legend("esa_worldcover")) as labels:
        yield from scene_chips(scene, labels, name, CHIP, {})


LAYOUTS = (
    Layout(
        name="esa_worldcover",
        title="ESA WorldCover 10 m (doi:10.5281/zenodo.5571936, doi:10.5281/zenodo.7254221)",
        licence="CC-BY-4.0",
        url="https://esa-worldcover.org",
        matches=_matches,
        items=_items,
    ),
)
