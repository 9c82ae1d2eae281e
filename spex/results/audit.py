"""Measures a written result again, by other means than those that made it, and compares every quantity it states."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyogrio.raw import read as read_vectors

from spex.evidence.indices import compute_index, role_planes
from spex.evidence.regions import label_regions
from spex.evidence.scene_evidence import measure
from spex.postprocess.doubts import DoubtSweep
from spex.postprocess.facts import DOUBT_PLANES, area_text, doubt_text, share_text
from spex.query.numbers import all_numbers, stated_numbers
from spex.raster.damaged_scene import read_around_damage
from spex.raster.scene import Scene
from spex.raster.working_rasters import HALF_PROBABILITY, NODATA, PROBABILITY_SCALE, row_strips

_CLOSE = 1e-5  # relative; sums differ in order
_WHOLE = 1 << 24  # pixels that are labelled in one piece


class AuditError(AssertionError):
    """A result states a quantity that its own files do not bear out: a defect of SPEX."""


def audit(folder: Path, scene: Scene) -> None:
    """Check a result folder against its rasters, its regions and the scene.

    Raises:
        AuditError: a quantity of ``extraction.json`` or a number of its answer is not what the files say.
    """
    result = json.loads((folder / "extraction.json").read_text(encoding="utf-8"))
    if result["refused"] is not None:
        return
    measured = _measure(folder, scene, result)
    _compare("valid_fraction", result["scene"]["valid_fraction"], measured["valid_fraction"])
    numbers = set(
        all_numbers(result["query"] + json.dumps([m["constraints"] for m in result["masks"]]))
    )
    for mask, found in zip(result["masks"], measured["masks"], strict=True):
        place = f"mask {mask['value']} ({mask['class']})"
        for name in ("pixels", "area_m2", "fraction", "regions", "mean_probability"):
            _compare(f"{place} {name}", mask[name], found[name])
        for name, values in mask["evidence"].items():
            for side in ("inside", "outside"):
                _compare(f"{place} {name} {side}", values[side], found["evidence"][name][side])
            known = [value for value in values.values() if value is not None]
            if values["inside"] is not None and values["outside"] is not None:
                known.append(values["inside"] - values["outside"])
            numbers |= {f"{value:.2f}".lstrip("-") for value in known}
        for name, values in found["doubts"].items():
            _same(f"{place} {name}", mask[name], values)
        numbers |= _numbers(found)
    reasons = " ".join(one["reason"] for one in result["absent"])
    numbers |= set(all_numbers(reasons)) | {"0"}
    for number in stated_numbers(result["answer"]):
        if number.rstrip(",") not in numbers:
            raise AuditError(f"the answer states {number}, which nothing in the result measures")


def _compare(what: str, stated: float | None, found: float | None) -> None:
    if (stated is None) != (found is None):
        raise AuditError(f"{what}: stated {stated}, found {found}")
    if (
        stated is not None
        and found is not None
        and not math.isclose(stated, found, rel_tol=_CLOSE, abs_tol=1e-6)
    ):
        raise AuditError(f"{what}: stated {stated:.9g}, found {found:.9g}")


def _same(what: str, stated: Any, found: Any) -> None:
    """As ``_compare``, for words and for several quantities under one name."""
    if isinstance(stated, dict) and isinstance(found, dict):
        for name in stated.keys() | found.keys():
            _same(f"{what} {name}", stated.get(name), found.get(name))
    elif isinstance(stated, str | dict) or isinstance(found, str | dict):
        if stated != found:
            raise AuditError(f"{what}: stated {stated}, found {found}")
    else:
        _compare(what, stated, found)


def _numbers(found: dict[str, Any]) -> set[str]:
    """The numbers that may stand in an answer about one mask, as they are written."""
    sizes = found["sizes"]
    texts = [
        area_text(None if found["area_m2"] is None else size, size)
        for size in (sizes.max(), sizes.min(), sizes.mean())
    ]
    texts += [area_text(found["area_m2"], found["pixels"]), share_text(found["fraction"])]
    texts += found["clauses"]
    texts += [f"{found['regions']:,}", f"{found['mean_probability']:.2f}"]
    return {number for text in texts for number in all_numbers(text)}


def _measure(folder: Path, scene: Scene, result: dict[str, Any]) -> dict[str, Any]:
    masks, areas = result["masks"], scene.pixel_area_m2()
    names = list(dict.fromkeys(name for mask in masks for name in mask["evidence"]))
    count = len(masks)
    pixels, area, levels = np.zeros(count + 1), np.zeros(count + 1), np.zeros(count + 1)
    sums: dict[str, NDArray[np.float64]] = {
        name: np.zeros((2, count + 1)) for name in names
    }  # by value: sum, count
    doubtful = [number for number, mask in enumerate(masks, 1) if "left_out" in mask]
    evidence = measure(scene.overview(1024)) if doubtful else None
    doubts = {
        number: DoubtSweep(masks[number - 1]["class"], evidence) for number in doubtful if evidence
    }
    with (
        rasterio.open(folder / "mask.tif") as mask_file,
        rasterio.open(folder / "probability.tif") as probability_file,
    ):
        held = len(scene.bands) + len(names) + count + 4 + DOUBT_PLANES * bool(doubts)
        for window in row_strips(scene.height, scene.width, held):
            values = mask_file.read(1, window=window)
            stored = probability_file.read(window=window)
            if ((stored[0] == NODATA) != (values == NODATA)).any():
                raise AuditError("mask.tif and probability.tif do not have the same valid pixels")
            inside = values != NODATA
            owner = values[inside].astype(np.intp)
            ground = np.ones(scene.height) if areas is None else areas
            rows = ground[int(window.row_off) : int(window.row_off + window.height), None]
            pixels += np.bincount(owner, minlength=count + 1)
            area += np.bincount(
                owner, np.broadcast_to(rows, values.shape)[inside], minlength=count + 1
            )
            for number in range(1, count + 1):
                mine = stored[number - 1][values == number]
                if (mine < HALF_PROBABILITY).any():
                    raise AuditError(f"mask {number} holds pixels with a probability below 0.5")
                levels[number] += mine.sum(dtype=np.float64)
            if (names or doubts) and inside.any():
                planes = role_planes(read_around_damage(scene, window, inside))
                recipes = evidence.recipe_maps(planes) if evidence else None
                for number, sweep in doubts.items():
                    mine = values == number
                    others = inside & (values > 0) & ~mine
                    if recipes:
                        sweep.add(
                            mine,
                            others,
                            stored[number - 1] >= HALF_PROBABILITY,
                            inside,
                            rows,
                            recipes,
                        )
                for name in names:
                    plane = compute_index(name, planes)[inside]
                    finite = np.isfinite(plane)
                    sums[name][0] += np.bincount(
                        owner[finite], plane[finite].astype(np.float64), minlength=count + 1
                    )
                    sums[name][1] += np.bincount(owner[finite], minlength=count + 1)
    sizes = _region_sizes(folder, masks, areas is not None)
    found = []
    for place, mask in enumerate(masks):
        value = place + 1
        doubt = doubts[value].finish() if value in doubts else None
        found.append({
            "pixels": int(pixels[value]),
            "area_m2": None if areas is None else float(area[value]),
            "fraction": float(area[value] / area.sum()),
            "regions": len(sizes[place]),
            "mean_probability": float(levels[value] / PROBABILITY_SCALE / pixels[value]),
            "sizes": sizes[place],
            "evidence": {name: _sides(sums[name], value) for name in mask["evidence"]},
            "doubts": doubt.to_dict() if doubt else {},
            "clauses": [doubt_text(doubt, name, in_metres=areas is not None) for name in ("confusion", "left_out")],
        })  # fmt: skip
    return {"valid_fraction": float(pixels.sum() / (scene.height * scene.width)), "masks": found}


def _sides(sums: NDArray[np.float64], value: int) -> dict[str, float | None]:
    inside, everywhere = sums[:, value], sums.sum(axis=1)
    outside = everywhere - inside
    return {
        side: float(part[0] / part[1]) if part[1] else None
        for side, part in (("inside", inside), ("outside", outside))
    }


def _region_sizes(
    folder: Path, masks: list[dict[str, Any]], in_metres: bool
) -> list[NDArray[np.float64]]:
    """Sizes of the polygons of each mask; small rasters are labelled as a whole to check their number."""
    meta, _, _, columns = read_vectors(folder / "regions.gpkg", read_geometry=False)
    table = dict(zip(meta["fields"], columns, strict=True))
    every = np.asarray(table["area_m2" if in_metres else "pixels"], np.float64)
    # In the order of the masks: class and phrase do not tell two masks of one class apart.
    ends = np.cumsum([0] + [mask["regions"] for mask in masks])
    _compare("regions of all masks", float(ends[-1]), float(len(every)))
    sizes = [every[start:end] for start, end in zip(ends, ends[1:], strict=False)]
    for mask, start, end in zip(masks, ends, ends[1:], strict=False):
        for name in ("class", "phrase"):
            if any(value != mask[name] for value in table[name][start:end]):
                raise AuditError(
                    f"mask {mask['value']}: a region of regions.gpkg has another {name}"
                )
    with rasterio.open(folder / "mask.tif") as source:
        if source.width * source.height <= _WHOLE:
            values = source.read(1)
            for mask, own in zip(masks, sizes, strict=True):
                found = label_regions(values == mask["value"])[1]
                if found != len(own):
                    raise AuditError(
                        f"mask {mask['value']} has {found} regions, regions.gpkg {len(own)}"
                    )
    return sizes
