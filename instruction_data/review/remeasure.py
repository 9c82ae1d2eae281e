"""The facts of a mask measured a second time, on whole arrays instead of strips, and where the two disagree."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from rasterio.windows import Window

from instruction_data.review.targets import ExpectedAnswer, LabelledChip
from spex.evidence.indices import compute_index
from spex.evidence.regions import label_regions
from spex.postprocess.constraint_masks import Frame
from spex.postprocess.doubts import DoubtSweep
from spex.postprocess.facts import MaskFacts
from spex.raster.working_rasters import NODATA

_CLOSE = 1e-6  # relative; sums differ in order


def disagreements(chip: LabelledChip, target: ExpectedAnswer) -> list[str]:
    """Quantities that the engine states of a target's masks and that its raster does not bear out."""
    return [
        f"{facts.span.class_name} {what}"
        for number, facts in enumerate(target.facts)
        if facts.pixels
        for what in _differing(_stated(facts), _measured(chip, target, number))
    ]


def _stated(facts: MaskFacts) -> dict[str, Any]:
    sides = {
        name: {"inside": one.inside, "outside": one.outside} for name, one in facts.evidence.items()
    }
    sizes = dict(enumerate(np.sort(facts.sizes()).tolist()))
    whole = {
        "pixels": facts.pixels,
        "area": facts.area_m2,
        "share": facts.fraction,
        "location": facts.location,
    }
    return {
        **whole,
        "sizes": sizes,
        "evidence": sides,
        **(facts.doubts.to_dict() if facts.doubts else {}),
    }


def _measured(chip: LabelledChip, target: ExpectedAnswer, number: int) -> dict[str, Any]:
    values, facts = target.values, target.facts[number]
    mask, valid, areas = values == number + 1, values != NODATA, chip.scene.pixel_area_m2()
    rows = np.ones(len(values)) if areas is None else areas
    area = np.broadcast_to(rows[:, None], mask.shape)
    labels, count = label_regions(mask)
    sizes = np.bincount(labels[mask], area[mask], count + 1)[1:]
    sides = {}
    for name in facts.evidence:
        plane = compute_index(name, chip.planes)
        inside, outside = (
            plane[side & np.isfinite(plane)].astype(np.float64) for side in (mask, valid & ~mask)
        )
        sides[name] = {
            side: float(of.mean()) if of.size else None
            for side, of in (("inside", inside), ("outside", outside))
        }
    found = {
        "pixels": int(mask.sum()),
        "area": None if areas is None else float(area[mask].sum()),
        "share": float(area[mask].sum() / area[valid].sum()),
        "location": _location(chip, mask, facts.location),
        "sizes": dict(enumerate(np.sort(sizes).tolist())),
        "evidence": sides,
    }
    if facts.doubts:
        sweep = DoubtSweep(facts.span.class_name, chip.evidence)
        others = valid & (values > 0) & ~mask
        likely = chip.mask(facts.span.class_name)
        sweep.add(
            mask, others, likely, valid, rows[:, None], chip.evidence.recipe_maps(chip.planes)
        )
        found |= sweep.finish().to_dict()
    return found


def _location(chip: LabelledChip, mask: Any, stated: str) -> str:
    """Where a mask lies; of several halves that hold as much of it, the one stated."""
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


def _differing(stated: Any, found: Any, what: str = "") -> Iterator[str]:
    if isinstance(stated, dict) and isinstance(found, dict):
        for name in dict.fromkeys((*stated, *found)):
            yield from _differing(stated.get(name), found.get(name), f"{what} {name}".strip())
    elif isinstance(stated, (int, float)) and isinstance(found, (int, float)):
        if not math.isclose(stated, found, rel_tol=_CLOSE, abs_tol=1e-6):
            yield f"{what}: stated {stated:g}, measured again {found:g}"
    elif stated != found:
        yield f"{what}: stated {stated}, measured again {found}"
