"""What is measured on the written mask and the scene."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.evidence.indices import available_indices, compute_index, role_planes
from spex.evidence.scene_evidence import SceneEvidence
from spex.postprocess.components import RegionSweep, RegionTable
from spex.postprocess.constraint_masks import Frame
from spex.postprocess.doubt_sweep import DoubtSweep, Strip
from spex.postprocess.doubts import Doubts
from spex.postprocess.location import GRID, location_of
from spex.query.answer_markup import Answer, Span
from spex.query.constraints import ANY
from spex.raster.damaged_scene import read_around_damage
from spex.raster.working_rasters import NODATA, PROBABILITY_SCALE, row_strips

DOUBT_PLANES = 24  # maps that the recipes of a class and of those like it take
_INDEX_SLOTS = re.compile(r"<fact:\w+:([A-Za-z0-9]+)>")


@dataclass(frozen=True)
class IndexFacts:
    """An index of one mask, each value ``None`` where it is undefined.

    Attributes:
        inside: mean inside the mask.
        outside: mean over the other valid pixels.
        threshold: that of the scene.
        telling: whether the means differ by more than the index varies in the scene.
    """

    inside: float | None
    outside: float | None
    threshold: float | None
    telling: bool


@dataclass(frozen=True)
class MaskFacts:
    """One mask as measured on the written file.

    Attributes:
        value: of its pixels in the mask raster, 1..n.
        span: the part of the answer that it belongs to.
        pixels: how many it has.
        area_m2: square metres; ``None`` without map units.
        fraction: share of the scene's valid area, 0-1.
        mean_probability: over its pixels, 0-1; ``None`` if it has none.
        location: part of the scene in words.
        evidence: by the name of the index.
        regions: its connected regions.
        doubts: what speaks against it; ``None`` for ``any``.
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


def measure_masks(
    frame: Frame, answer: Answer, evidence: SceneEvidence, mask: Path, probability: Path
) -> tuple[list[MaskFacts], float]:
    """Measure every mask of the written file in one sweep over the scene.

    Args:
        frame: extent of the scene's valid pixels.
        answer: its spans are the masks.
        evidence: of the scene.
        mask: raster of the values 1..n in the order of the spans.
        probability: raster with a band per span.

    Returns:
        The facts of each span in order (empty masks too), and the valid fraction of the scene.
    """
    sweep = _FactSweep(frame, answer, evidence)
    scene = frame.scene
    bands = list(range(1, len(answer.spans) + 1))
    with rasterio.open(mask) as mask_file, rasterio.open(probability) as probability_file:
        for window in row_strips(scene.height, scene.width, sweep.planes):
            values = mask_file.read(1, window=window)
            sweep.add(window, values, probability_file.read(bands, window=window))
    facts = [sweep.facts(number) for number in range(len(answer.spans))]
    return facts, sweep.valid_pixels / (scene.height * scene.width)


class _FactSweep:
    """Adds up the facts of all masks of an answer strip by strip.

    Attributes:
        planes: float32 planes that are held for each strip.
        valid_pixels: number of valid pixels so far.
    """

    def __init__(self, frame: Frame, answer: Answer, evidence: SceneEvidence) -> None:
        self._frame = frame
        self._spans = answer.spans
        self._evidence = evidence
        self._row_areas = frame.scene.pixel_area_m2()
        self._index_names = [_index_names(answer, i, evidence) for i in range(len(self._spans))]
        self._regions = [RegionSweep() for _ in self._spans]
        self._doubts = {
            number: DoubtSweep(span.class_name, evidence)
            for number, span in enumerate(self._spans)
            if span.class_name != ANY
        }
        self._cells = np.zeros((len(self._spans), GRID * GRID))
        # Sum and count of the finite values of each index over all valid pixels.
        self._index_sums: dict[str, NDArray[np.float64]] = {
            name: np.zeros(2) for names in self._index_names for name in names
        }
        self._valid_area = 0.0
        self.valid_pixels = 0.0
        planes = len(frame.scene.bands) + len(self._index_sums) + 8
        self.planes = planes + DOUBT_PLANES * bool(self._doubts)

    def add(self, window: Window, values: NDArray[np.uint8], levels: NDArray[np.uint8]) -> None:
        """Add a strip.

        Args:
            window: of the strip in the scene.
            values: of the mask raster, ``(h, w)``.
            levels: of the probability raster, ``(masks, h, w)``.
        """
        valid = values != NODATA
        rows = slice(int(window.row_off), int(window.row_off + window.height))
        area = np.ones((len(values), 1)) if self._row_areas is None else self._row_areas[rows, None]
        self.valid_pixels += float(valid.sum())
        self._valid_area += float((valid.sum(axis=1) * area[:, 0]).sum())
        index_maps: dict[str, NDArray[Any]] = {}
        recipes = None
        if (self._index_sums or self._doubts) and valid.any():
            planes = role_planes(read_around_damage(self._frame.scene, window, valid))
            recipes = self._evidence.recipe_maps(planes)
            for name, sums in self._index_sums.items():
                index_maps[name] = compute_index(name, planes)
                finite = valid & np.isfinite(index_maps[name])
                sums += index_maps[name][finite].sum(dtype=np.float64), finite.sum()
        cells = self._cell_numbers(window, values.shape)
        for number, names in enumerate(self._index_names):
            inside = values == number + 1
            maps = {"area_m2": area, "probability": levels[number] / PROBABILITY_SCALE}
            maps |= {name: index_maps[name] for name in names if name in index_maps}
            self._regions[number].add(inside, maps)
            self._cells[number] += np.bincount(cells[inside], minlength=GRID * GRID)
            if number in self._doubts and recipes:
                others = valid & (values > 0) & ~inside
                strip = Strip(inside, others, levels[number], valid, area, cells)
                self._doubts[number].add(strip, recipes)

    def _cell_numbers(self, window: Window, shape: tuple[int, ...]) -> NDArray[np.int8]:
        """Number of the cell of the extent that each pixel lies in, ``(h, w)``."""
        east, south = self._frame.position(window)
        column = np.clip(east * GRID, 0, GRID - 1).astype(np.int8)
        row = np.clip(south * GRID, 0, GRID - 1).astype(np.int8)
        return np.broadcast_to(row * np.int8(GRID) + column, shape)

    def facts(self, number: int) -> MaskFacts:
        """The facts of one mask, after the last strip."""
        span = self._spans[number]
        regions = self._regions[number].finish()
        pixels = int(regions.sums["pixels"].sum())
        area = float(regions.sums["area_m2"].sum())
        probability = float(regions.sums["probability"].sum() / pixels) if pixels else None
        doubts = self._doubts.get(number)
        return MaskFacts(
            value=number + 1,
            span=span,
            pixels=pixels,
            area_m2=None if self._row_areas is None else area,
            fraction=area / self._valid_area if self._valid_area else 0.0,
            mean_probability=probability,
            location=location_of(self._cells[number]),
            evidence={
                name: self._index_facts(name, regions, span) for name in self._index_names[number]
            },
            regions=regions,
            doubts=doubts.finish() if doubts else None,
        )

    def _index_facts(self, name: str, regions: RegionTable, span: Span) -> IndexFacts:
        keys = (name, f"{name}:n")
        inside = np.array([regions.sums.get(key, np.zeros(1)).sum() for key in keys])
        outside = self._index_sums[name] - inside
        class_evidence = self._evidence.of(span.class_name)
        threshold = class_evidence.threshold if class_evidence.index == name else None
        if threshold is None and name in self._evidence.indices:
            threshold = self._evidence.indices[name].threshold
        mean_inside = _mean(inside)
        mean_outside = _mean(outside)
        stats = self._evidence.indices.get(name)
        telling = False
        if mean_inside is not None and mean_outside is not None and stats is not None:
            telling = abs(mean_inside - mean_outside) > stats.std
        return IndexFacts(
            mean_inside, mean_outside, None if threshold is None else float(threshold), telling
        )


def _mean(sum_and_count: NDArray[np.float64]) -> float | None:
    return float(sum_and_count[0] / sum_and_count[1]) if sum_and_count[1] else None


def _index_names(answer: Answer, number: int, evidence: SceneEvidence) -> list[str]:
    """Indices of a span that the scene's bands allow.

    They are the index of its class, those of its constraints, and those of its fact slots.
    """
    span = answer.spans[number]
    class_index = evidence.of(span.class_name).index
    names = [class_index] if class_index else []
    names += [condition.name for condition in span.constraints.index]
    names += _INDEX_SLOTS.findall(_text_of_span(answer, number))
    possible = set(available_indices(evidence.roles))
    return [name for name in dict.fromkeys(names) if name in possible]


def _text_of_span(answer: Answer, number: int) -> str:
    """The text whose slots belong to a span: from its start to the next one's."""
    starts = [span.start for span in answer.spans] + [len(answer.text)]
    return answer.text[starts[number] : starts[number + 1]]
