"""Writes the files of a result folder from an extraction."""

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
from spex.results.extraction import RESULT, Extraction, legend
from spex.results.quicklook import draw
from spex.results.vectors import write_regions


def write_outputs(extraction: Extraction, folder: Path) -> None:
    """Write every file of the result contract; a refusal has no rasters and no regions."""
    values = np.zeros(extraction.overview.valid.shape, np.uint8)
    if extraction.mask_path and extraction.probability_path:
        _mask(extraction, folder / "mask.tif")
        _probability(extraction, folder / "probability.tif")
        write_regions(
            extraction.scene, extraction.facts, extraction.mask_path, folder / "regions.gpkg"
        )
        with rasterio.open(extraction.mask_path) as source:
            values = source.read(1, out_shape=values.shape, resampling=Resampling.nearest)
    draw(
        extraction.overview,
        values,
        legend(extraction.facts),
        extraction.query,
        folder / "quicklook.png",
    )
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
            one.value: (*bytes.fromhex(classes()[one.span.class_name].colour[1:]), 255)
            for one in extraction.facts
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
        work.scales = [1 / PROBABILITY_SCALE] * work.count
        if extraction.facts:
            for number, one in enumerate(extraction.facts, start=1):
                work.set_band_description(number, f"probability of {one.span.phrase}")
    _cog(extraction.probability_path, target, "AVERAGE")
