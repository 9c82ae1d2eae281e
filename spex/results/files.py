"""Writes the files of a result folder."""

from __future__ import annotations

import json
from pathlib import Path

import rasterio
import rasterio.shutil

from spex.evidence.classes import land_class
from spex.raster.working_rasters import NODATA, PROBABILITY_SCALE
from spex.results.explanation import explanation
from spex.results.folder import RESULT
from spex.results.qgis_styles import add_layer_style, mask_style, regions_style
from spex.results.query_result import QueryResult
from spex.results.quicklook import quicklook
from spex.results.vectors import REGIONS_LAYER, write_regions


def write_outputs(result: QueryResult, folder: Path) -> None:
    """Write every file of a result; a refusal has no rasters and no regions."""
    if result.mask_path and result.probability_path:
        _write_mask(result, result.mask_path, folder / "mask.tif")
        (folder / "mask.qml").write_text(mask_style(result.facts), encoding="utf-8")
        _write_probability(result, result.probability_path, folder / "probability.tif")
        write_regions(result.scene, result.facts, result.mask_path, folder / "regions.gpkg")
        add_layer_style(folder / "regions.gpkg", REGIONS_LAYER, regions_style(result.facts))
    quicklook(result).save(folder / "quicklook.png", optimize=True)
    (folder / "explanation.md").write_text(explanation(result), encoding="utf-8")
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / RESULT).write_text(text + "\n", encoding="utf-8")


# The rasters tell classes and constraints, never the person's words: equal requests in other words
# give equal bytes.
def _write_mask(result: QueryResult, work: Path, target: Path) -> None:
    colours = {0: (0, 0, 0, 0), NODATA: (0, 0, 0, 0)}
    tags = {"class_0": "background", "class_255": "no data"}
    for facts in result.facts:
        colour = land_class(facts.span.class_name).colour
        colours[facts.value] = (*bytes.fromhex(colour[1:]), 255)
        tags[f"class_{facts.value}"] = facts.span.class_name
        constraints = facts.span.constraints.to_dict()
        if constraints:
            texts = [f"{name}={value}" for name, value in constraints.items()]
            tags[f"constraints_{facts.value}"] = " ".join(texts)
    with rasterio.open(work, "r+") as raster:
        raster.write_colormap(1, colours)
        raster.update_tags(1, **tags)
        raster.set_band_description(1, "mask")
    _write_cog(work, target, "NEAREST")


def _write_probability(result: QueryResult, work: Path, target: Path) -> None:
    with rasterio.open(work, "r+") as raster:
        raster.scales = [1 / PROBABILITY_SCALE] * raster.count
        for facts in result.facts:
            title = land_class(facts.span.class_name).title
            raster.set_band_description(facts.value, f"probability of {title}")
    _write_cog(work, target, "AVERAGE")


def _write_cog(source: Path, target: Path, resampling: str) -> None:
    rasterio.shutil.copy(
        source,
        target,
        driver="COG",
        compress="DEFLATE",
        predictor="YES",
        overview_resampling=resampling,
        bigtiff="IF_SAFER",
    )
