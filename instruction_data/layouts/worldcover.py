"""ESA WorldCover map tiles (v100 of 2020, v200 of 2021) with scenes beside them.

Scenes are the project's own Sentinel-2 composites, or any other rasters whose bands are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from instruction_data.layouts.rasters import CHIP, footprint, sensor_bands
from instruction_data.sources.chips import Box, Chip, Layout, SceneItem, Split
from instruction_data.sources.labels import open_labels
from instruction_data.sources.legends import legend
from instruction_data.sources.windows import scene_chips
from spex.raster.scene import Scene

_TILE = re.compile(
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


def _maps(root: Path) -> list[tuple[Path, str, str]]:
    """Path, year and tile of every map in the folder or laid out as in the bucket, the newest year first."""
    paths = (
        path
        for inside in ("", "map/", "v*/*/map/")
        for path in root.glob(f"{inside}ESA_WorldCover_*_Map.tif")
    )
    found = [(path, match) for path in paths if (match := _TILE.search(path.name))]
    return sorted(
        ((p, m["year"], m["tile"]) for p, m in found), key=lambda entry: (-int(entry[1]), entry[2])
    )


def _holds(root: Path) -> bool:
    return bool(_maps(root))


def _items(root: Path) -> Iterator[SceneItem]:
    """Each scene with the map tiles that it overlaps: of a composite's own year, else the newest."""
    maps = [(path, year, tile, footprint(path)) for path, year, tile in _maps(root)]
    for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES):
        match = _TILE.search(path.name)
        if match and match["kind"] != "S2RGBNIR":
            continue
        box = footprint(path)
        fitting: dict[str, Path] = {}
        for candidate, year, tile, extent in maps:
            if _overlap(box, extent) and (match is None or match["year"] == year):
                fitting.setdefault(tile, candidate)
        # A scene that fits no map is still an item: reading it says which extents do not meet.
        for tile, candidate in (fitting or {maps[0][2]: maps[0][0]}).items():
            name = f"worldcover_{'_'.join(path.relative_to(root).with_suffix('').parts)}_{tile}"
            reader = partial(_chips, path, candidate, name, match is not None)
            yield SceneItem(id=name, read=reader, place=None if box else name, footprint=box)


def _overlap(a: Box | None, b: Box | None) -> bool:
    return (
        a is not None
        and b is not None
        and a[0] < b[2]
        and b[0] < a[2]
        and a[1] < b[3]
        and b[1] < a[3]
    )


def _chips(path: Path, labels: Path, name: str, composite: bool, split: Split) -> Iterator[Chip]:
    scene = Scene.open(path, bands=_COMPOSITE if composite else None)
    with open_labels(str(labels), scene, legend("esa_worldcover")) as opened:
        yield from scene_chips(scene, opened, name, CHIP, {})


LAYOUTS = (
    Layout(
        "esa_worldcover", "ESA WorldCover 10 m (doi:10.5281/zenodo.5571936, doi:10.5281/zenodo.7254221)", "CC-BY-4.0",
        "https://esa-worldcover.org", _holds, _items,
    ),
)  # fmt: skip
