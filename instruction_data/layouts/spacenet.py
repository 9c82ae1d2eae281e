"""SpaceNet 2: WorldView-3 tiles of four cities with building footprints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from rasterio.features import rasterize
from rasterio.warp import transform_geom

from instruction_data.layouts.rasters import LayoutRaster, labelled_chips, read, sensor_bands
from instruction_data.sources.chips import Chip, Layout, SceneItem, Split
from instruction_data.sources.legends import legend, legend_truth
from spex.errors import RecordError

# Image folders and their pixel width in metres.
_GSD_M = {"PS-MS": 0.3, "MUL-PanSharpen": 0.3, "MS": 1.24, "MUL": 1.24}
_CITY = re.compile(r"AOI_\d_([A-Za-z]+)")


def _matches(root: Path) -> bool:
    return bool(_areas(root))


def _areas(root: Path) -> list[Path]:
    candidates = [root, *sorted(root.glob("*AOI_[2345]_*"))]
    return [area for area in candidates if _building_folder(area) and "AOI_" in area.name]


def _building_folder(area: Path) -> Path | None:
    candidates = (area / "geojson_buildings", area / "geojson/buildings")
    return next((path for path in candidates if path.is_dir()), None)


def _items(root: Path) -> Iterator[SceneItem]:
    """Tiles of 200 m, pan-sharpened and at their own resolution; a city is one place."""
    for area in _areas(root):
        match = _CITY.search(area.name)
        buildings = _building_folder(area)
        if match is None or buildings is None:
            continue
        city = match[1].lower()
        outlines = buildings.glob("*.geojson")
        for outline in sorted(outlines, key=lambda path: (len(path.name), path.name)):
            name = f"spacenet2_{city}_{_tile_number(outline)}"
            yield SceneItem(id=name, read=partial(_chips, area, outline, name), place=city)


def _tile_number(outline: Path) -> str:
    return outline.stem.rsplit("_", 1)[-1]


def _chips(area: Path, outline: Path, name: str, split: Split) -> Iterator[Chip]:
    images: list[tuple[str, Path]] = []
    for folder in _GSD_M:
        for path in (area / folder).glob(f"*_{_tile_number(outline)}.tif"):
            images.append((folder, path))
    if not images:
        raise RecordError(
            f"{outline} has no image of eight bands beside it; download {area.name} again"
        )
    for folder, path in images:
        image = read(path)
        codes = _rasterize_buildings(outline, image)
        yield from labelled_chips(
            image,
            legend_truth(codes, legend("spacenet"), str(outline)),
            id=f"{name}_{folder.lower()}",
            sensor="worldview-3",
            bands=sensor_bands("worldview-3"),
            level="uncalibrated",
            gsd_m=_GSD_M[folder],
            scale=1 / 2047,
            zero_is_gap=True,
            labels="building footprints (SpaceNet 2)",
        )


def _rasterize_buildings(outline: Path, image: LayoutRaster) -> np.ndarray:
    """Building footprints on the grid of an image, uint8 (h, w); their file is in degrees."""
    if image.crs is None:
        raise RecordError(
            f"{image.path} has no CRS, which building footprints require; download the file again"
        )
    try:
        features = json.loads(outline.read_text(encoding="utf-8"))["features"]
        outlines = [feature["geometry"] for feature in features]
        shapes = [
            transform_geom("EPSG:4326", image.crs, geometry)
            for geometry in outlines
            if geometry and geometry["coordinates"]
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise RecordError(
            f"{outline} is not a feature collection ({error}); download the file again"
        ) from error
    shape = image.values.shape[1:]
    if not shapes:
        return np.zeros(shape, np.uint8)
    return rasterize(shapes, shape, transform=image.transform, dtype=np.uint8)


LAYOUTS = (
    Layout(
        name="spacenet2",
        title="SpaceNet 2, building footprints of four cities (arXiv:1807.01232)",
        licence="CC-BY-SA-4.0",
        url="https://spacenet.ai/spacenet-buildings-dataset-v2/",
        matches=_matches,
        items=_items,
    ),
)
