"""Writes the files of a result folder from an result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import rasterio
import rasterio.features
import rasterio.shutil
from rasterio.enums import Resampling

from spex.evidence.classes import classes
from spex.raster.working_rasters import NODATA, PROBABILITY_SCALE
from spex.results.explanation import explanation
from spex.results.folder import RESULT
from spex.results.query_result import QueryResult
from spex.results.quicklook import draw
from spex.results.vectors import write_regions


def write_outputs(result: QueryResult, folder: Path) -> None:
    """Write every file of the result contract; a refusal has no rasters and no regions."""
    values = np.zeros(result.overview.valid.shape, np.uint8)
    if result.mask_path and result.probability_path:
        _mask(result, folder / "mask.tif")
        _probability(result, folder / "probability.tif")
        write_regions(result.scene, result.facts, result.mask_path, folder / "regions.gpkg")
        with rasterio.open(result.mask_path) as source:
            values = source.read(1, out_shape=values.shape, resampling=Resampling.nearest)
    draw(
        result.overview,
        values,
        result.legend(),
        result.query,
        folder / "quicklook.png",
    )
    (folder / "explanation.md").write_text(explanation(result), encoding="utf-8")
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
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


def _mask(result: QueryResult, target: Path) -> None:
    assert result.mask_path is not None
    with rasterio.open(result.mask_path, "r+") as work:
        colours = {0: (0, 0, 0, 0), NODATA: (0, 0, 0, 0)}
        colours |= {
            facts.value: (*bytes.fromhex(classes()[facts.span.class_name].colour[1:]), 255)
            for facts in result.facts
        }
        work.write_colormap(1, colours)
        names = {f"class_{facts.value}": facts.span.class_name for facts in result.facts}
        phrases = {f"phrase_{facts.value}": facts.span.phrase for facts in result.facts}
        work.update_tags(1, class_0="background", class_255="no data", **names, **phrases)
        work.set_band_description(1, "mask")
    _cog(result.mask_path, target, "NEAREST")


def _probability(result: QueryResult, target: Path) -> None:
    assert result.probability_path is not None
    with rasterio.open(result.probability_path, "r+") as work:
        work.scales = [1 / PROBABILITY_SCALE] * work.count
        if result.facts:
            for number, facts in enumerate(result.facts, start=1):
                work.set_band_description(number, f"probability of {facts.span.phrase}")
    _cog(result.probability_path, target, "AVERAGE")
