"""The facts of a mask measured a second time, on whole arrays, and where the two disagree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from instruction_data.review.targets import ExpectedAnswer, LabelledChip
from spex.evidence.indices import compute_index
from spex.evidence.regions import label_regions
from spex.postprocess.constraint_masks import Frame
from spex.postprocess.doubt_sweep import DoubtSweep, Strip
from spex.postprocess.facts import MaskFacts
from spex.raster.working_rasters import NODATA, PROBABILITY_SCALE
from spex.results.audit import differences

_TOLERANCE = 1e-6  # relative; sums differ in their order


def disagreements(chip: LabelledChip, expected: ExpectedAnswer) -> list[str]:
    """Quantities that the engine states about masks and that the mask raster does not confirm."""
    lines: list[str] = []
    for number, facts in enumerate(expected.facts):
        if not facts.pixels:
            continue
        measured = _measured(chip, expected, number)
        lines += differences(_stated(facts), measured, facts.span.class_name, _TOLERANCE)
    return lines


def _stated(facts: MaskFacts) -> dict[str, Any]:
    """The quantities of a mask as the engine measured them."""
    evidence = {
        name: {"inside": means.inside, "outside": means.outside}
        for name, means in facts.evidence.items()
    }
    quantities: dict[str, Any] = {
        "pixels": facts.pixels,
        "area": facts.area_m2,
        "share": facts.fraction,
        "location": facts.location,
        "sizes": dict(enumerate(np.sort(facts.sizes()).tolist())),
        "evidence": evidence,
    }
    if facts.doubts:
        quantities |= facts.doubts.to_dict()
    return quantities


def _measured(chip: LabelledChip, expected: ExpectedAnswer, number: int) -> dict[str, Any]:
    """The same quantities measured on the mask raster."""
    facts = expected.facts[number]
    mask = expected.values == number + 1
    valid = expected.values != NODATA
    row_areas = chip.scene.pixel_area_m2()
    row_weights = np.ones(len(mask)) if row_areas is None else row_areas
    areas = np.broadcast_to(row_weights[:, None], mask.shape)
    labels, count = label_regions(mask)
    sizes = np.bincount(labels[mask], areas[mask], count + 1)[1:]
    evidence: dict[str, dict[str, float | None]] = {}
    for name in facts.evidence:
        plane = compute_index(name, chip.planes)
        evidence[name] = {
            "inside": _finite_mean(plane, mask),
            "outside": _finite_mean(plane, valid & ~mask),
        }
    quantities: dict[str, Any] = {
        "pixels": int(mask.sum()),
        "area": None if row_areas is None else float(areas[mask].sum()),
        "share": float(areas[mask].sum() / areas[valid].sum()),
        "location": _location(chip, mask, facts.location),
        "sizes": dict(enumerate(np.sort(sizes).tolist())),
        "evidence": evidence,
    }
    if facts.doubts:
        sweep = DoubtSweep(facts.span.class_name, chip.evidence)
        other_masks = valid & (expected.values > 0) & ~mask
        levels = (chip.mask(facts.span.class_name) * PROBABILITY_SCALE).astype(np.uint8)
        maps = chip.evidence.recipe_maps(chip.planes)
        cells = np.zeros(mask.shape, np.int8)  # where two masks differ is compared by no number
        strip = Strip(mask, other_masks, levels, valid, row_weights[:, None], cells)
        sweep.add(strip, maps)
        quantities |= sweep.finish().to_dict()
    return quantities


def _finite_mean(plane: NDArray[Any], where: NDArray[np.bool_]) -> float | None:
    values = plane[where & np.isfinite(plane)].astype(np.float64)
    return float(values.mean()) if values.size else None


def _location(chip: LabelledChip, mask: NDArray[np.bool_], stated: str) -> str:
    """Where a mask lies; if several halves contain as much of it, the one stated."""
    window = Window(0, 0, chip.scene.width, chip.scene.height)
    frame = Frame.of(chip.scene, chip.pixels)
    east, south = (np.broadcast_to(axis, mask.shape)[mask] for axis in frame.position(window))
    ninths = np.histogram2d(south, east, bins=3, range=((0, 1), (0, 1)))[0] / mask.sum()
    if ninths.max() >= 0.5:
        row, col = np.unravel_index(ninths.argmax(), ninths.shape)
        return (("north", "", "south")[row] + ("west", "", "east")[col]) or "center"
    halves = {
        side: (mask & frame.part(side, window)).sum() / mask.sum()
        for side in ("north", "south", "west", "east")
    }
    side = max(halves, key=lambda name: (round(halves[name], 9), name == stated))
    return side if halves[side] >= 2 / 3 else "all parts of the scene"
