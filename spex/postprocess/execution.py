"""Carries an answer out on probabilities: the masks, their facts, and why a mask is empty.

The engine calls it with the model's probabilities, the instruction data with those of the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from spex.evidence.scene_evidence import SceneEvidence
from spex.postprocess.answer_text import Absence, absence, unavailable
from spex.postprocess.composition import narrower, write_mask
from spex.postprocess.constraint_masks import Frame, asks_percent
from spex.postprocess.facts import MaskFacts, measure_masks
from spex.query.answer_markup import Answer, Span, other_classes
from spex.query.wording import class_title, reason_text, wording
from spex.raster.scene import Scene
from spex.raster.working_rasters import NODATA, row_strips, working_profile


@dataclass(frozen=True)
class ExecutedAnswer:
    """What an answer extracts.

    Attributes:
        facts: measured on the mask raster, one per span in order, empty masks included.
        absences: why a mask is empty, by the number of its span (from 0).
        valid_fraction: share of the scene's pixels that hold data, 0-1.
    """

    facts: tuple[MaskFacts, ...]
    absences: dict[int, Absence]
    valid_fraction: float


def execute(
    frame: Frame,
    answer: Answer,
    evidence: SceneEvidence,
    *,
    probability: Path,
    mask: Path,
    likely: Sequence[bool],
    on_step: Callable[[str], None] | None = None,
) -> ExecutedAnswer:
    """Write the mask raster of an answer and measure its facts.

    Args:
        frame: extent of the scene's valid pixels.
        answer: has at least one span.
        evidence: of the scene.
        probability: raster of one band per span, then one per class of ``other_classes``.
        mask: path of the raster to write (0 background, 1..n the spans in order, 255 no data).
        likely: whether any pixel reaches probability 0.5, per band of ``probability``.
        on_step: called with ``"masks"`` and ``"facts"`` as each of these steps ends.
    """
    missing = unavailable(answer, evidence)
    others = {name: len(answer.spans) + i for i, name in enumerate(other_classes(answer))}
    unseen = [band for name, band in others.items() if evidence.of(name).status == "unavailable"]
    write_mask(frame, answer, probability, mask, never=frozenset((*missing, *unseen)))
    if on_step:
        on_step("masks")
    facts, valid_fraction = measure_masks(frame, answer, evidence, mask, probability)
    if on_step:
        on_step("facts")
    absences = {}
    for number, span in enumerate(answer.spans):
        if number in missing:
            absences[number] = missing[number]
        elif not facts[number].pixels:
            takers = _narrower_masks(span, answer, facts)
            taken_by = takers[0].phrase if takers and likely[number] else None
            sought = (distance.class_name for distance in span.constraints.near)
            nowhere = next((name for name in sought if not likely[others[name]]), None)
            absences[number] = absence(
                span, evidence, taken_by, nowhere=nowhere, likely=likely[number]
            )
    return ExecutedAnswer(tuple(facts), absences, valid_fraction)


def _narrower_masks(span: Span, answer: Answer, facts: Sequence[MaskFacts]) -> list[Span]:
    """Spans whose masks hold pixels that would else belong to ``span``."""
    return [
        other
        for other, other_facts in zip(answer.spans, facts, strict=True)
        if other_facts.pixels and narrower(other, span)
    ]


def cautions(
    answer: Answer, facts: Sequence[MaskFacts], evidence: SceneEvidence, language: str = "en"
) -> list[str]:
    """Notes that a reader of the result needs, each once.

    Args:
        answer: that was carried out.
        facts: of each span.
        evidence: of the scene.
        language: of the answer.
    """
    words = wording(language)
    notes = []
    for span, span_facts in zip(answer.spans, facts, strict=True):
        if not span_facts.pixels:
            continue
        takers = [other.phrase for other in _narrower_masks(span, answer, facts)]
        if takers:
            others = words["lists"]["either"].join(takers)
            notes.append(words["cautions"]["narrower"].format(phrase=span.phrase, others=others))
        if evidence.of(span.class_name).weak:
            notes.append(words["cautions"]["weak"].format(phrase=span.phrase))
    for span in answer.spans:
        for distance in (*span.constraints.near, *span.constraints.far):
            title = class_title(distance.class_name, language)
            notes.append(words["cautions"]["distance"].format(title=title))
        if asks_percent(span.constraints):
            notes.append(words["cautions"]["percent"])
    for name in other_classes(answer):
        class_evidence = evidence.of(name)
        if class_evidence.status == "unavailable":
            title = class_title(name, language)
            reason = reason_text(class_evidence, language)
            notes.append(words["cautions"]["not_excluded"].format(title=title, reason=reason))
    return list(dict.fromkeys(notes))


def drop_empty_masks(
    scene: Scene, values: Sequence[int], maps: int, *, mask: Path, probability: Path
) -> None:
    """Renumber the masks without the empty ones, and keep one probability band per mask.

    Args:
        scene: gives the size and the georeference.
        values: numbers of the masks that hold pixels, ascending; if there are none, all bands stay.
        maps: number of bands of the probability raster.
        mask: the mask raster, replaced.
        probability: the probability raster, replaced.
    """
    if list(values) == list(range(1, maps + 1)):
        return
    new_values = np.zeros(256, np.uint8)
    new_values[NODATA] = NODATA
    new_values[list(values)] = np.arange(1, len(values) + 1)
    bands = list(values) or list(range(1, maps + 1))
    for path, count in ((mask, 1), (probability, len(bands))):
        before = path.rename(path.with_suffix(".all.tif"))
        with (
            rasterio.open(before) as source,
            rasterio.open(path, "w", **working_profile(scene, count)) as out,
        ):
            for window in row_strips(scene.height, scene.width, 1 + maps):
                if path == mask:
                    out.write(new_values[source.read(window=window)], window=window)
                else:
                    out.write(source.read(bands, window=window), window=window)
        before.unlink()
