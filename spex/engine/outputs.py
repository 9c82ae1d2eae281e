"""Writes the files of a result folder from an extraction."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
import rasterio.shutil
from rasterio.enums import Resampling

from spex.engine.facts import MaskFacts
from spex.engine.mosaic import LEVELS, NODATA
from spex.engine.quicklook import draw
from spex.engine.report import explanation
from spex.engine.results import RESULT, Extraction, legend
from spex.evidence.classes import classes

_BATCH = 20_000


def write_outputs(extraction: Extraction, folder: Path) -> None:
    """Write every file of the result contract; a refusal has no rasters and no regions."""
    values = np.zeros(extraction.overview.valid.shape, np.uint8)
    if extraction.mask_path and extraction.probability_path:
        _mask(extraction, folder / "mask.tif")
        _probability(extraction, folder / "probability.tif")
        _regions(extraction, folder / "regions.gpkg")
        with rasterio.open(extraction.mask_path) as source:
            values = source.read(1, out_shape=values.shape, resampling=Resampling.nearest)
    draw(extraction.overview, values, legend(extraction.facts), extraction.query, folder / "quicklook.png")
    (folder / "explanation.md").write_text(explanation(extraction), encoding="utf-8")
    text = json.dumps(extraction.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / RESULT).write_text(text + "\n", encoding="utf-8")


def _cog(source: Path, target: Path, resampling: str) -> None:
    rasterio.shutil.copy(
        source,
        target,
        driver="COG",
        compress="DEFLATE",
        predictor="YES",
        overview_resampling=resampling,
        bigtiff="IF_SAFER",
    )


def _mask(extraction: Extraction, target: Path) -> None:
    assert extraction.mask_path is not None
    with rasterio.open(extraction.mask_path, "r+") as work:
        colours = {0: (0, 0, 0, 0), NODATA: (0, 0, 0, 0)}
        colours |= {
            one.value: (*bytes.fromhex(classes()[one.span.class_name].colour[1:]), 255) for one in extraction.facts
        }
        work.write_colormap(1, colours)
        names = {f"class_{one.value}": one.span.class_name for one in extraction.facts}
        phrases = {f"phrase_{one.value}": one.span.phrase for one in extraction.facts}
        work.update_tags(1, class_0="background", class_255="no data", **names, **phrases)
        work.set_band_description(1, "mask")
    _cog(extraction.mask_path, target, "NEAREST")


def _probability(extraction: Extraction, target: Path) -> None:
    assert extraction.probability_path is not None
    with rasterio.open(extraction.probability_path, "r+") as work:
        work.scales = [1 / LEVELS] * work.count
        if extraction.facts:
            for number, one in enumerate(extraction.facts, start=1):
                work.set_band_description(number, f"probability of {one.span.phrase}")
    _cog(extraction.probability_path, target, "AVERAGE")


def _regions(extraction: Extraction, target: Path) -> None:
    """One polygon per region, all masks in one layer; areas and means are those measured on the mask file."""
    from pyogrio.raw import write

    indices = list(dict.fromkeys(name for one in extraction.facts for name in one.evidence))
    texts, numbers = ("class", "phrase"), ("area_m2", "pixels", "mean_probability", *indices)
    options: dict[str, Any] = {
        "layer": "regions",
        "driver": "GPKG",
        "geometry_type": "MultiPolygon",
        "fields": np.array([*texts, *numbers], object),
        "crs": extraction.scene.crs.to_wkt() if extraction.scene.crs else None,
    }
    rows = list(_rows(extraction, indices))
    for start in range(0, max(len(rows), 1), _BATCH):
        batch = rows[start : start + _BATCH]
        geometry = np.array([row[0] for row in batch], object)
        columns = [np.array([row[1 + i] for row in batch], object) for i in range(len(texts))]
        columns += [np.array([row[1 + len(texts) + i] for row in batch], np.float64) for i in range(len(numbers))]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            write(target, geometry=geometry, field_data=columns, append=start > 0, **options)


def _rows(extraction: Extraction, indices: list[str]) -> Iterator[tuple[Any, ...]]:
    """Geometry (WKB), class, phrase, area, pixels, mean probability and index means of every region."""
    import shapely
    from shapely.geometry import shape

    assert extraction.mask_path is not None
    width, flip = extraction.scene.width, extraction.scene.crs is None
    known = {
        one.value: (one, {first: place for place, first in enumerate(one.regions.first.tolist())})
        for one in extraction.facts
    }
    with rasterio.open(extraction.mask_path) as source:
        inverse = ~source.transform  # map to (col, row)
        for outline, value in rasterio.features.shapes(rasterio.band(source, 1), connectivity=8):
            if value not in known:
                continue
            facts, places = known[value]
            # The first corner in reading order is that of the region's first pixel, which says which region this is.
            x, y = np.array(outline["coordinates"][0]).T
            rows, cols = (
                np.rint(inverse.d * x + inverse.e * y + inverse.f),
                np.rint(inverse.a * x + inverse.b * y + inverse.c),
            )
            row, col = min(zip(rows.astype(int), cols.astype(int), strict=True))
            place = places[row * width + col]
            polygon = shape(outline)
            polygon = polygon if polygon.is_valid else shapely.make_valid(polygon, method="structure")
            # Desktop GIS shows a raster without georeference with y = -row.
            polygon = shapely.transform(polygon, lambda xy: xy * (1, -1)) if flip else polygon
            many = polygon if polygon.geom_type == "MultiPolygon" else shapely.MultiPolygon([polygon])
            yield (many.wkb, facts.span.class_name, facts.span.phrase, *_numbers(facts, place, indices))


def _numbers(facts: MaskFacts, place: int, indices: list[str]) -> list[float]:
    sums = facts.regions.sums
    empty = np.zeros(facts.regions.count)
    pixels = float(sums["pixels"][place])
    area = np.nan if facts.area_m2 is None else float(sums["area_m2"][place])
    # Regions of an index that this mask does not use, or where it is undefined, have no mean.
    means = [
        float(sums[name][place] / sums[f"{name}:n"][place]) if sums.get(f"{name}:n", empty)[place] else np.nan
        for name in indices
    ]
    return [area, pixels, float(sums["probability"][place]) / pixels, *means]
