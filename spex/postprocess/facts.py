"""What is measured on the written mask and the raster, and how a person reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from spex.evidence.classes import classes
from spex.evidence.indices import available_indices, compute_index, role_planes
from spex.evidence.scene_evidence import SceneEvidence
from spex.postprocess.components import RegionSweep, RegionTable
from spex.postprocess.constraint_masks import Frame
from spex.postprocess.doubts import Doubts, DoubtSweep
from spex.query.answer_markup import Answer, Span
from spex.raster.damaged_scene import read_around_damage
from spex.raster.working_rasters import HALF_PROBABILITY, NODATA, PROBABILITY_SCALE, row_strips

DOUBT_PLANES = 24  # maps that the recipes of a class and of those like it take
_GRID = 6  # cells a side: thirds and halves of the extent both follow from it


@dataclass(frozen=True)
class IndexFacts:
    """Mean of an index inside and outside a mask, and the scene's threshold; ``None`` where undefined."""

    inside: float | None
    outside: float | None
    threshold: float | None


@dataclass(frozen=True)
class MaskFacts:
    """One mask as measured on the written file. Areas are square metres, ``None`` without map units.

    ``doubts`` are measured where the answer has a slot for them.
    """

    value: int
    span: Span
    pixels: int
    area_m2: float | None
    fraction: float
    mean_probability: float | None
    location: str
    evidence: dict[str, IndexFacts]
    regions: RegionTable
    doubts: Doubts | None = None

    def to_dict(self) -> dict[str, Any]:
        """The mask's entry in ``extraction.json``."""
        return {
            "value": self.value,
            "class": self.span.class_name,
            "phrase": self.span.phrase,
            "constraints": self.span.constraints.to_dict(),
            "pixels": self.pixels,
            "area_m2": self.area_m2,
            "fraction": self.fraction,
            "regions": self.regions.count,
            "mean_probability": self.mean_probability,
            "evidence": {name: vars(facts) for name, facts in self.evidence.items()},
            **(self.doubts.to_dict() if self.doubts else {}),
        }

    def sizes(self) -> NDArray[np.float64]:
        """Area of each region: square metres, or pixels without map units."""
        return self.regions.sums["pixels"] if self.area_m2 is None else self.regions.sums["area_m2"]


def indices_of(span: Span, number: int, answer: Answer, evidence: SceneEvidence) -> list[str]:
    """Indices that belong to a span: its class's own, those of its conditions and of its answer; possible ones only."""
    own = evidence.classes[span.class_name].index
    slots = re.findall(r"<fact:\w+:([A-Za-z0-9]+)>", _territory(answer, number))
    names = dict.fromkeys(
        ([own] if own else []) + [condition.name for condition in span.constraints.index] + slots
    )
    possible = set(available_indices(evidence.roles))
    return [name for name in names if name in possible]


def _territory(answer: Answer, number: int) -> str:
    """The text whose slots belong to a span: from its start to the next one's."""
    follows = answer.spans[number + 1].start if number + 1 < len(answer.spans) else len(answer.text)
    return answer.text[answer.spans[number].start : follows]


def measure_masks(
    frame: Frame, answer: Answer, evidence: SceneEvidence, mask: Path, probability: Path
) -> tuple[list[MaskFacts], float]:
    """Measure every mask of the written file in one sweep over the scene.

    Returns:
        The facts of each span in order (empty masks too), and the valid fraction of the scene.
    """
    scene, areas, spans = frame.scene, frame.scene.pixel_area_m2(), answer.spans
    named = [indices_of(span, number, answer, evidence) for number, span in enumerate(spans)]
    everything = list(dict.fromkeys(name for names in named for name in names))
    sweeps = [RegionSweep() for _ in spans]
    doubting = {
        number: DoubtSweep(span.class_name, evidence)
        for number, span in enumerate(spans)
        if re.search("<fact:(?:confusion|left_out)>", _territory(answer, number))
    }
    cells = np.zeros((len(spans), _GRID * _GRID))
    index_sums = np.zeros((2, len(everything)))  # sum and count over all valid pixels
    valid_area = valid_pixels = 0.0
    with rasterio.open(mask) as mask_file, rasterio.open(probability) as probability_file:
        held = len(scene.bands) + len(everything) + 8 + DOUBT_PLANES * bool(doubting)
        for window in row_strips(scene.height, scene.width, held):
            values = mask_file.read(1, window=window)
            valid = values != NODATA
            rows = slice(int(window.row_off), int(window.row_off + window.height))
            area = np.ones((values.shape[0], 1)) if areas is None else areas[rows, None]
            valid_pixels += float(valid.sum())
            valid_area += float((valid.sum(axis=1) * area[:, 0]).sum())
            maps: dict[str, NDArray[Any]] = {"area_m2": area}
            recipes = None
            if (everything or doubting) and valid.any():
                planes = role_planes(read_around_damage(scene, window, valid))
                recipes = evidence.recipe_maps(planes)
                for place, name in enumerate(everything):
                    maps[name] = compute_index(name, planes)
                    finite = valid & np.isfinite(maps[name])
                    index_sums[:, place] += maps[name][finite].sum(dtype=np.float64), finite.sum()
            east, south = frame.position(window)
            cell = np.clip(south * _GRID, 0, _GRID - 1).astype(np.int8) * _GRID + np.clip(
                east * _GRID, 0, _GRID - 1
            ).astype(np.int8)
            for number, names in enumerate(named):
                inside = values == number + 1
                levels = probability_file.read(number + 1, window=window) / PROBABILITY_SCALE
                own = {
                    "area_m2": area,
                    "probability": levels,
                    **{name: maps[name] for name in names if name in maps},
                }
                sweeps[number].add(inside, own)
                cells[number] += np.bincount(
                    np.broadcast_to(cell, inside.shape)[inside], minlength=_GRID * _GRID
                )
                if number in doubting and recipes:
                    others = valid & (values > 0) & ~inside
                    doubting[number].add(
                        inside,
                        others,
                        levels * PROBABILITY_SCALE >= HALF_PROBABILITY,
                        valid,
                        area,
                        recipes,
                    )
    everywhere = dict(zip(everything, index_sums.T, strict=True))
    facts = []
    for number, span in enumerate(spans):
        table = sweeps[number].finish()
        pixels = int(table.sums["pixels"].sum())
        area_sum = float(table.sums["area_m2"].sum())
        facts.append(
            MaskFacts(
                value=number + 1,
                span=span,
                pixels=pixels,
                area_m2=None if areas is None else area_sum,
                fraction=area_sum / valid_area if valid_area else 0.0,
                mean_probability=float(table.sums["probability"].sum() / pixels)
                if pixels
                else None,
                location=_location(cells[number]),
                evidence={
                    name: _index_facts(name, table, everywhere[name], span, evidence)
                    for name in named[number]
                },
                regions=table,
                doubts=doubting[number].finish() if number in doubting else None,
            )
        )
    return facts, valid_pixels / (scene.height * scene.width)


def _index_facts(
    name: str,
    table: RegionTable,
    everywhere: NDArray[np.float64],
    span: Span,
    evidence: SceneEvidence,
) -> IndexFacts:
    inside = np.array([table.sums.get(key, np.zeros(1)).sum() for key in (name, f"{name}:n")])
    outside = everywhere - inside
    own = evidence.classes[span.class_name]
    threshold = own.threshold if own.index == name else None
    if threshold is None and name in evidence.indices:
        threshold = evidence.indices[name].threshold

    def mean(part: NDArray[np.float64]) -> float | None:
        return float(part[0] / part[1]) if part[1] else None

    return IndexFacts(mean(inside), mean(outside), None if threshold is None else float(threshold))


def _location(cells: NDArray[np.float64]) -> str:
    """Where a mask lies: the ninth of the scene with half of it, else the half with two thirds of it, or all parts."""
    if not cells.any():
        return "nowhere"
    grid = cells.reshape(_GRID, _GRID) / cells.sum()
    ninths = grid.reshape(3, _GRID // 3, 3, _GRID // 3).sum(axis=(1, 3))
    if ninths.max() >= 0.5:
        row, col = np.unravel_index(ninths.argmax(), ninths.shape)
        return (("north", "", "south")[row] + ("west", "", "east")[col]) or "center"
    half = _GRID // 2
    shares = {
        "north": grid[:half].sum(),
        "south": grid[half:].sum(),
        "west": grid[:, :half].sum(),
        "east": grid[:, half:].sum(),
    }
    name = max(shares, key=lambda side: shares[side])
    return name if shares[name] >= 2 / 3 else "all parts of the scene"


def area_text(area_m2: float | None, pixels: float) -> str:
    """An area for people: m², ha or km²; pixels without map units."""
    if area_m2 is None:
        return f"{pixels:,.0f} px"
    value, unit = (
        (area_m2, "m²")
        if area_m2 < 1e4
        else (area_m2 / 1e4, "ha")
        if area_m2 < 1e7
        else (area_m2 / 1e6, "km²")
    )
    return f"{_digits(value)} {unit}"


def share_text(fraction: float) -> str:
    """A share of the scene's valid area for people."""
    return f"{_digits(100 * fraction) if fraction >= 1e-3 or not fraction else format(100 * fraction, '.1g')} %"


def _digits(value: float) -> str:
    return (
        f"{value:,.0f}"
        if value >= 100 or value == 0
        else f"{value:.1f}"
        if value >= 10
        else f"{value:.2f}"
    )


def fact_text(facts: MaskFacts, name: str, index_name: str | None) -> str:
    """One fact slot as text; ``not available`` where it cannot be measured."""
    if index_name is not None:
        known = facts.evidence.get(index_name)
        if name == "contrast":
            return _contrast_text(known)
        value = (
            known
            and {"index": known.inside, "outside": known.outside, "threshold": known.threshold}[
                name
            ]
        )
        return "not available" if value is None else f"{value:.2f}"
    if name in ("confusion", "left_out"):
        return doubt_text(facts.doubts, name, in_metres=facts.area_m2 is not None)
    sizes = facts.sizes()
    if name in ("largest", "smallest", "mean_area"):
        if not len(sizes):
            return area_text(None if facts.area_m2 is None else 0.0, 0)
        size = float(
            sizes.max()
            if name == "largest"
            else sizes.min()
            if name == "smallest"
            else sizes.mean()
        )
        return area_text(None if facts.area_m2 is None else size, size)
    if name == "probability":
        return (
            "not available" if facts.mean_probability is None else f"{facts.mean_probability:.2f}"
        )
    simple = {
        "area": area_text(facts.area_m2, facts.pixels),
        "share": share_text(facts.fraction),
        "count": f"{facts.regions.count:,}",
        "location": facts.location,
    }
    return simple[name]


def _contrast_text(known: IndexFacts | None) -> str:
    if known is None or known.inside is None or known.outside is None:
        return "not available"
    difference = known.inside - known.outside
    if abs(difference) < 0.005:
        return "the same inside and outside"
    return f"{abs(difference):.2f} {'higher' if difference > 0 else 'lower'} inside than outside"


def doubt_text(doubts: Doubts | None, name: str, *, in_metres: bool) -> str:
    """The slots ``confusion`` and ``left_out`` as clauses."""
    if doubts is None:
        return "not available"
    if name == "confusion":
        if doubts.similar is None:
            return "no similar class can be told from these bands"
        similar, share = doubts.similar
        return (
            f"{share_text(share)} of the mask also looks like {classes()[similar].title}"
            if similar
            else "no similar class fits the mask"
        )
    if doubts.left_out is None:
        return "what was left out cannot be told from these bands"
    if not doubts.left_out:
        return f"nothing beyond {doubts.beyond} was left out"
    area = area_text(doubts.left_out if in_metres else None, doubts.left_out_pixels)
    reason, share = doubts.against
    return f"{area} beyond {doubts.beyond} were left out, {'most' if share > 0.5 else 'part'} of it {reason}"
