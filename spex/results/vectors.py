"""The regions of a result as polygons with their measured attributes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.postprocess.components import RegionSweep
from spex.postprocess.facts import MaskFacts
from spex.raster.scene import Scene
from spex.raster.working_rasters import working_profile

REGIONS_LAYER = "regions"


def write_regions(scene: Scene, facts: Sequence[MaskFacts], mask: Path, target: Path) -> None:
    """Write one multipolygon per region, all masks in one layer, with its measured attributes.

    Memory grows with the number of corners, not with the scene. A scene without georeference gets
    x = column and y = -row, which is where desktop GIS shows such a raster.

    Args:
        scene: gives the georeference.
        facts: of the masks, as measured on ``mask``.
        mask: the mask raster.
        target: the GeoPackage to write.
    """
    import shapely
    from pyogrio.raw import write

    labels = mask.with_name("regions.tif")
    _write_labels(scene, facts, mask, labels)
    count = sum(mask_facts.regions.count for mask_facts in facts)
    geometry = shapely.to_wkb(_multipolygons(labels, mask, count, flip=scene.crs is None))
    labels.unlink()
    columns = _attributes(facts)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        write(
            target,
            geometry=geometry,
            field_data=list(columns.values()),
            fields=np.array(list(columns), object),
            layer=REGIONS_LAYER,
            driver="GPKG",
            geometry_type="MultiPolygon",
            crs=scene.crs.to_wkt() if scene.crs else None,
        )


def _attributes(facts: Sequence[MaskFacts]) -> dict[str, NDArray[Any]]:
    """Columns of the regions of all masks, in the order of the masks."""
    counts = [mask_facts.regions.count for mask_facts in facts]
    names = np.array([mask_facts.span.class_name for mask_facts in facts], object)
    phrases = np.array([mask_facts.span.phrase for mask_facts in facts], object)
    areas = []
    for mask_facts in facts:
        in_metres = mask_facts.area_m2 is not None
        no_area = np.full(mask_facts.regions.count, np.nan)
        areas.append(mask_facts.sizes() if in_metres else no_area)
    columns: dict[str, NDArray[Any]] = {
        "class": np.repeat(names, counts),
        "phrase": np.repeat(phrases, counts),
        "area_m2": _joined(areas),
        "pixels": _joined([mask_facts.regions.sums["pixels"] for mask_facts in facts]),
        "mean_probability": _joined(
            [mask_facts.regions.mean("probability") for mask_facts in facts]
        ),
    }
    for name in dict.fromkeys(name for mask_facts in facts for name in mask_facts.evidence):
        columns[name] = _joined([mask_facts.regions.mean(name) for mask_facts in facts])
    return columns


def _joined(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(0), *parts])


def _write_labels(scene: Scene, facts: Sequence[MaskFacts], mask: Path, target: Path) -> None:
    """Write the number of each pixel's region, counted through all masks from 1; 0 outside them."""
    sweeps = [RegionSweep() for _ in facts]
    offsets = np.cumsum([0] + [mask_facts.regions.count for mask_facts in facts])[:-1]
    profile = {**working_profile(scene, 1), "dtype": "int32", "nodata": None}
    with rasterio.open(mask) as source, rasterio.open(target, "w", **profile) as out:
        row = 0
        # The strips of the measuring sweep again: only they give the same provisional labels.
        for rows in facts[0].regions.strips if facts else ():
            window = Window(0, row, scene.width, rows)
            values = source.read(1, window=window)
            numbers = np.zeros(values.shape, np.int32)
            for mask_facts, sweep, offset in zip(facts, sweeps, offsets, strict=True):
                inside = values == mask_facts.value
                labels = sweep.add(inside)[inside]
                numbers[inside] = mask_facts.regions.final[labels] + offset
            out.write(numbers, 1, window=window)
            row += rows


def _multipolygons(labels: Path, mask: Path, count: int, flip: bool) -> NDArray[np.object_]:
    """The outline of each region in map coordinates.

    Args:
        labels: raster of the region numbers 1..count.
        mask: the mask raster; pixels of value 0 are skipped.
        count: number of regions.
        flip: whether to turn rows downwards, for a scene without georeference.
    """
    import shapely

    owners: list[int] = []
    parts: list[list[NDArray[np.float64]]] = []  # rings of each part, (corners, 2)
    with rasterio.open(labels) as numbered, rasterio.open(mask) as values:
        # Regions are 8-connected, but traced in 4-connected parts: a ring that touches itself at
        # a corner would be invalid.
        outlines = rasterio.features.shapes(
            rasterio.band(numbered, 1), mask=rasterio.band(values, 1), connectivity=4
        )
        for outline, number in outlines:
            if number:  # 0 is no data, which the mask holds too
                owners.append(int(number))
                parts.append([np.asarray(ring) for ring in outline["coordinates"]])
    if not parts:
        return np.zeros(0, object)
    order = np.argsort(owners, kind="stable")
    rings = [ring for part in order for ring in parts[part]]
    offsets = (
        np.cumsum([0] + [len(ring) for ring in rings]),
        np.cumsum([0] + [len(parts[part]) for part in order]),
        np.searchsorted(np.asarray(owners)[order], np.arange(1, count + 2)),
    )
    corners = np.concatenate(rings) * ((1, -1) if flip else (1, 1))
    return np.asarray(
        shapely.from_ragged_array(shapely.GeometryType.MULTIPOLYGON, corners, offsets)
    )
