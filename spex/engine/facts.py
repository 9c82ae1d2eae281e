"""What is measured on the written mask and the raster, and how a person reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from spex.engine.constraints import Frame
from spex.engine.labelling import RegionSweep, RegionTable
from spex.engine.mosaic import LEVELS, NODATA, strips
from spex.engine.reading import read_around
from spex.evidence.indices import available, index, role_planes
from spex.evidence.scene import SceneEvidence
from spex.prompts import Answer, Span

_GRID = 6  # cells a side: thirds and halves of the extent both follow from it


@dataclass(frozen=True)
class IndexFacts:
    """Mean of an index inside and outside a mask, and the scene's threshold; ``None`` where undefined."""

    inside: float | None
    outside: float | None
    threshold: float | None


@dataclass(frozen=True)
class MaskFacts:
    """One mask as measured on the written file. Areas are square metres, ``None`` without map units."""

    value: int
    span: Span
    pixels: int
    area_m2: float | None
    fraction: float
    mean_probability: float | None
    location: str
    evidence: dict[str, IndexFacts]
    regions: RegionTable

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
        }

    def sizes(self) -> NDArray[np.float64]:
        """Area of each region: square metres, or pixels without map units."""
        return self.regions.sums["pixels"] if self.area_m2 is None else self.regions.sums["area_m2"]


def indices_of(span: Span, number: int, answer: Answer, evidence: SceneEvidence) -> list[str]:
    """Indices that belong to a span: its class's own, those of its conditions and of its answer; possible ones only."""
    own = evidence.classes[span.class_name].index
    follows = answer.spans[number + 1].start if number + 1 < len(answer.spans) else len(answer.text)
    slots = re.findall(r"<fact:(?:index|outside|threshold):([A-Za-z0-9]+)>", answer.text[span.start : follows])
    names = dict.fromkeys(([own] if own else []) + [condition.name for condition in span.constraints.index] + slots)
    possible = set(available(evidence.roles))
    return [name for name in names if name in possible]


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
    cells = np.zeros((len(spans), _GRID * _GRID))
    index_sums = np.zeros((2, len(everything)))  # sum and count over all valid pixels
    valid_area = valid_pixels = 0.0
    with rasterio.open(mask) as mask_file, rasterio.open(probability) as probability_file:
        for window in strips(scene.height, scene.width, len(scene.bands) + len(everything) + 8):
            values = mask_file.read(1, window=window)
            valid = values != NODATA
            rows = slice(int(window.row_off), int(window.row_off + window.height))
            area = np.ones((values.shape[0], 1)) if areas is None else areas[rows, None]
            valid_pixels += float(valid.sum())
            valid_area += float((valid.sum(axis=1) * area[:, 0]).sum())
            maps: dict[str, NDArray[Any]] = {"area_m2": area}
            if everything and valid.any():
                planes = role_planes(read_around(scene, window, valid))
                for place, name in enumerate(everything):
                    maps[name] = index(name, planes)
                    finite = valid & np.isfinite(maps[name])
                    index_sums[:, place] += maps[name][finite].sum(dtype=np.float64), finite.sum()
            east, south = frame.position(window)
            cell = np.clip(south * _GRID, 0, _GRID - 1).astype(np.int8) * _GRID + np.clip(
                east * _GRID, 0, _GRID - 1
            ).astype(np.int8)
            for number, names in enumerate(named):
                inside = values == number + 1
                levels = probability_file.read(number + 1, window=window) / LEVELS
                own = {"area_m2": area, "probability": levels, **{name: maps[name] for name in names if name in maps}}
                sweeps[number].add(inside, own)
                cells[number] += np.bincount(np.broadcast_to(cell, inside.shape)[inside], minlength=_GRID * _GRID)
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
                mean_probability=float(table.sums["probability"].sum() / pixels) if pixels else None,
                location=_location(cells[number]),
                evidence={name: _index_facts(name, table, everywhere[name], span, evidence) for name in named[number]},
                regions=table,
            )
        )
    return facts, valid_pixels / (scene.height * scene.width)


def _index_facts(
    name: str, table: RegionTable, everywhere: NDArray[np.float64], span: Span, evidence: SceneEvidence
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
        (area_m2, "m²") if area_m2 < 1e4 else (area_m2 / 1e4, "ha") if area_m2 < 1e7 else (area_m2 / 1e6, "km²")
    )
    return f"{_digits(value)} {unit}"


def share_text(fraction: float) -> str:
    """A share of the scene's valid area for people."""
    return f"{_digits(100 * fraction) if fraction >= 1e-3 or not fraction else format(100 * fraction, '.1g')} %"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def fact_text(facts: MaskFacts, name: str, index_name: str | None) -> str:
    """One fact slot as text; ``not available`` where it cannot be measured."""
    if index_name is not None:
        known = facts.evidence.get(index_name)
        value = known and {"index": known.inside, "outside": known.outside, "threshold": known.threshold}[name]
        return "not available" if value is None else f"{value:.2f}"
    sizes = facts.sizes()
    if name in ("largest", "smallest", "mean_area"):
        if not len(sizes):
            return area_text(None if facts.area_m2 is None else 0.0, 0)
        size = float(sizes.max() if name == "largest" else sizes.min() if name == "smallest" else sizes.mean())
        return area_text(None if facts.area_m2 is None else size, size)
    if name == "probability":
        return "not available" if facts.mean_probability is None else f"{facts.mean_probability:.2f}"
    simple = {
        "area": area_text(facts.area_m2, facts.pixels),
        "share": share_text(facts.fraction),
        "count": f"{facts.regions.count:,}",
        "location": facts.location,
    }
    return simple[name]


def all_texts(facts: Sequence[MaskFacts]) -> set[str]:
    """Every numeric fact as text: the numbers an answer may hold."""
    names = ("area", "share", "count", "largest", "smallest", "mean_area", "probability")
    plain = {fact_text(one, name, None) for one in facts for name in names}
    return plain | {
        fact_text(one, kind, name)
        for one in facts
        for name in one.evidence
        for kind in ("index", "outside", "threshold")
    }
