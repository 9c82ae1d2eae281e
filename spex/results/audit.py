"""Measures a written result again, by other means than those that made it.

Every quantity that the result states is compared with what its files and the scene say.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyogrio.raw import read as read_vectors

from spex.evidence.regions import label_regions
from spex.postprocess.fact_text import number_text_short
from spex.query.numbers import all_numbers, stated_numbers
from spex.query.wording import QUOTATION, wording
from spex.raster.scene import Scene
from spex.raster.working_rasters import PROBABILITY_SCALE, row_strips
from spex.results.audit_numbers import PROBABILITIES, index_numbers, mask_numbers, unknown_numbers
from spex.results.audit_sums import AuditError, MaskSums, require_met
from spex.results.explanation import HEADER_PARAGRAPHS
from spex.results.vectors import REGIONS_LAYER

_TOLERANCE = 1e-5  # relative; sums differ in order
_LABELLED_WHOLE = 1 << 24  # pixels up to which a raster is labelled in one piece
_QUANTITIES = ("pixels", "area_m2", "fraction", "regions", "mean_probability")


def audit(folder: Path, scene: Scene) -> None:
    """Check a result folder against its rasters, its regions and the scene.

    Args:
        folder: holds the files of a result.
        scene: the scene that the result is about.

    Raises:
        AuditError: a quantity of ``extraction.json``, or a number of its answer or of
            ``explanation.md``, differs from what the files say.
    """
    result = json.loads((folder / "extraction.json").read_text(encoding="utf-8"))
    if not result["tiles"]["total"]:
        return  # nothing was extracted
    masks = result["masks"]
    valid_fraction, measured_masks = _measure(folder, scene, masks)
    _require_same("valid_fraction", result["scene"]["valid_fraction"], valid_fraction)
    constraints = json.dumps([mask["constraints"] for mask in masks])
    reasons = " ".join(absence["reason"] for absence in result["absent"])
    language = result["language"]
    phrases = " ".join(mask["phrase"] for mask in masks)
    words = f"{result['query']} {phrases}"
    allowed = {"0", *PROBABILITIES, *all_numbers(words), *all_numbers(words, language)}
    allowed |= {*all_numbers(constraints), *all_numbers(reasons), *all_numbers(reasons, language)}
    if "unknown_fraction" in result:
        unknown = 1 - sum(measured["fraction"] for measured in measured_masks)
        _require_same("unknown_fraction", result["unknown_fraction"], unknown)
        allowed |= unknown_numbers(unknown, measured_masks)
    for mask, measured in zip(masks, measured_masks, strict=True):
        title = f"mask {mask['value']} ({mask['class']})"
        for name in (*_QUANTITIES, *measured["doubts"]):
            _require_same(f"{title} {name}", mask[name], {**measured, **measured["doubts"]}[name])
        for name, sides in measured["evidence"].items():
            for side, mean in sides.items():
                _require_same(f"{title} {name} {side}", mask["evidence"][name][side], mean)
        allowed |= mask_numbers(measured)
        allowed |= index_numbers(mask["evidence"])
    _require_measured(result["answer"], "the answer", allowed, language)
    report = (folder / "explanation.md").read_text(encoding="utf-8")
    notes = " ".join((reasons, *result["warnings"]))
    allowed |= {*all_numbers(notes), *all_numbers(notes, language)}
    allowed |= set(all_numbers(number_text_short(scene.gsd_m))) if scene.gsd_m else set()
    _require_measured(_measured_part(report, language), "the explanation", allowed, language)


def differences(stated: Any, measured: Any, name: str, tolerance: float) -> Iterator[str]:
    """Where two records of one mask differ, each difference in words.

    Args:
        stated: numbers, words, ``None``, or dicts of them.
        measured: the same, measured again.
        name: what the records are about.
        tolerance: relative difference up to which numbers count as the same.
    """
    if isinstance(stated, dict) and isinstance(measured, dict):
        for key in dict.fromkeys((*stated, *measured)):
            inner = f"{name} {key}".strip()
            yield from differences(stated.get(key), measured.get(key), inner, tolerance)
    elif isinstance(stated, (int, float)) and isinstance(measured, (int, float)):
        if not math.isclose(stated, measured, rel_tol=tolerance, abs_tol=1e-6):
            yield f"{name}: stated {stated:.9g}, measured again {measured:.9g}"
    elif stated != measured:
        yield f"{name}: stated {stated}, measured again {measured}"


def _require_same(name: str, stated: Any, measured: Any) -> None:
    for difference in differences(stated, measured, name, _TOLERANCE):
        raise AuditError(difference)


def _require_measured(text: str, source: str, allowed: set[str], language: str) -> None:
    """Every number of a text is one of those that were measured or asked for, or a quotation."""
    for number in stated_numbers(re.sub(QUOTATION, " ", text), language):
        if number not in allowed:
            raise AuditError(f"{source} states {number}, which nothing in the result measures")


def _measured_part(report: str, language: str) -> str:
    """An explanation without its header of names and dates, and without the tiles that failed."""
    body = "\n\n".join(report.split("\n\n")[HEADER_PARAGRAPHS:])
    return body.partition(f"## {wording(language)['report']['failed']}")[0]


def _measure(
    folder: Path, scene: Scene, masks: list[dict[str, Any]]
) -> tuple[float, list[dict[str, Any]]]:
    """The valid fraction of the scene, and the quantities of each mask."""
    in_metres = scene.pixel_area_m2() is not None
    sums = MaskSums(scene, masks)
    with (
        rasterio.open(folder / "mask.tif") as mask_file,
        rasterio.open(folder / "probability.tif") as probability_file,
    ):
        for window in row_strips(scene.height, scene.width, sums.planes):
            values = mask_file.read(1, window=window)
            levels = probability_file.read(window=window)
            sums.add(window, values, levels)
    regions = _region_sizes(folder, masks, in_metres)
    valid_area = float(sums.area.sum())
    measured = []
    for value, mask in enumerate(masks, start=1):
        doubt = sums.doubts[value].finish() if value in sums.doubts else None
        area = float(sums.area[value])
        pixels, sizes = regions[value - 1]
        require_met(sums.constraints.broken_by_regions(value, pixels, sizes, valid_area))
        measured.append(
            {
                "pixels": int(sums.pixels[value]),
                "area_m2": area if in_metres else None,
                "fraction": area / valid_area,
                "regions": len(sizes),
                "mean_probability": float(
                    sums.levels[value] / PROBABILITY_SCALE / sums.pixels[value]
                ),
                "sizes": sizes,
                "evidence": {name: sums.index_means(name, value) for name in mask["evidence"]},
                "doubts": doubt.to_dict() if doubt else {},
                "doubt": doubt,
            }
        )
    return float(sums.pixels.sum() / (scene.height * scene.width)), measured


def _region_sizes(
    folder: Path, masks: list[dict[str, Any]], in_metres: bool
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Pixels of the polygons of each mask, and their areas (pixels without map units).

    The regions of small rasters are counted again.
    """
    meta, _, _, columns = read_vectors(
        folder / "regions.gpkg", layer=REGIONS_LAYER, read_geometry=False
    )
    table = dict(zip(meta["fields"], columns, strict=True))
    all_pixels = np.asarray(table["pixels"], np.float64)
    all_sizes = np.asarray(table["area_m2"], np.float64) if in_metres else all_pixels
    # In the order of the masks: class and phrase do not tell two masks of one class apart.
    ends = np.cumsum([mask["regions"] for mask in masks], dtype=int)
    _require_same("regions of all masks", int(ends[-1]) if len(ends) else 0, len(all_sizes))
    sizes = []
    for mask, end in zip(masks, ends, strict=True):
        rows = slice(end - mask["regions"], end)
        sizes.append((all_pixels[rows], all_sizes[rows]))
        for name in ("class", "phrase"):
            if any(value != mask[name] for value in table[name][rows]):
                raise AuditError(
                    f"mask {mask['value']}: a region of regions.gpkg has another {name}"
                )
    with rasterio.open(folder / "mask.tif") as source:
        if source.width * source.height <= _LABELLED_WHOLE:
            values = source.read(1)
            for mask, (pixels, _) in zip(masks, sizes, strict=True):
                regions = label_regions(values == mask["value"])[1]
                _require_same(f"mask {mask['value']} regions", len(pixels), regions)
    return sizes
