"""Masks against labels: labelled cases of survey records, and the methods that answer them.

A case is one scene, asked as a whole and as one tile. A method gives a probability map for every
target of a case; ``PredictorMethod`` is a predictor as the engine uses it, a map per class.
``spex.scores`` counts the results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spex.engine.methods import Predictor, ScenePredictor
from spex.evidence.class_evidence import MAX_REGIONS, ClassEvidence
from spex.evidence.indices import available_indices, role_planes
from spex.evidence.regions import label_runs, main_location, regions
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.raster.scene import Pixels
from spex.records import SpieRecord, load_pixels

if TYPE_CHECKING:
    from spex.evidence.recipes import RecipeMaps
    from spex.model.predictor import ModelPredictor


@dataclass(frozen=True)
class LabelTarget:
    """What one query asks of a scene, and what the label says.

    Attributes:
        name: of the target, unique in its case.
        class_name: the class that is asked for.
        query: in plain language.
        mask: (h, w), where the label has the class.
        known: (h, w), where the label can be trusted.
    """

    name: str
    class_name: str
    query: str
    mask: NDArray[np.bool_]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """One labelled scene with its evidence."""

    id: str
    source: str
    pixels: Pixels
    evidence: SceneEvidence
    targets: tuple[LabelTarget, ...]


Method = Callable[[Case], Mapping[str, "NDArray[np.float32] | None"]]
"""Gives a probability map (h, w) per name of a target, None if it has no mask of the class."""


def cases(
    records: Iterable[SpieRecord], queries: Mapping[str, str] | None = None
) -> Iterator[Case]:
    """Cases of survey records.

    Args:
        records: surveys; a dialogue has no masks.
        queries: query per class; only these classes are asked for. None: all classes, by the
            phrases of the records.

    Raises:
        RecordError: a record does not fit its raster.
        SceneError: a raster cannot be read.
    """
    for record in records:
        pixels = load_pixels(record)
        evidence = measure(pixels)
        asked = targets(record, pixels.valid, queries)
        yield Case(record.id, record.source, pixels, evidence, asked)


def targets(
    record: SpieRecord, valid: NDArray[np.bool_], queries: Mapping[str, str] | None = None
) -> tuple[LabelTarget, ...]:
    """What the labels of a survey record say.

    Args:
        record: a survey.
        valid: (h, w), pixels of the scene that are not nodata.
        queries: as for ``cases``.
    """
    label_targets = []
    for span in record.spans:
        if span.mask is None or (queries is not None and span.class_name not in queries):
            continue
        known = valid & ~span.ignore.decode() if span.ignore else valid
        query = span.phrase if queries is None else queries[span.class_name]
        mask = span.mask.decode()
        label_targets.append(LabelTarget(span.class_name, span.class_name, query, mask, known))
    return tuple(label_targets)


class PredictorMethod:
    """A predictor's map of each target's class.

    A target has no mask where the scene's bands cannot show its class.

    Args:
        predictor: the model or the rules.
        label_evidence: the predictor is a model and reads an evidence text made from the labels,
            all else unchanged: an upper bound of what better evidence could give.
    """

    def __init__(self, predictor: Predictor, *, label_evidence: bool = False) -> None:
        self.predictor = predictor
        self.label_evidence = label_evidence

    def __call__(self, case: Case) -> dict[str, NDArray[np.float32] | None]:
        """Probability maps of all targets; the features are computed once."""
        names = [
            name
            for name in dict.fromkeys(target.class_name for target in case.targets)
            if case.evidence.classes[name].status != "unavailable"  # else the engine refuses it
        ]
        maps: dict[str, NDArray[np.float32]] = {}
        if names:
            scene = self._open(case)
            decoded = scene.decode(scene.features(case.pixels), names, case.pixels)
            maps = dict(zip(names, decoded, strict=True))
        return {target.name: maps.get(target.class_name) for target in case.targets}

    def _open(self, case: Case) -> ScenePredictor:
        if not self.label_evidence:
            return self.predictor.open(case.pixels, case.evidence)
        model: ModelPredictor = self.predictor  # type: ignore[assignment]  # only a model reads text
        return model.open(case.pixels, case.evidence, described=labelled_evidence(case))


def labelled_evidence(case: Case) -> SceneEvidence:
    """The evidence as if each target's class lay exactly where its label has it.

    Of several targets of one class the first counts.
    """
    maps = case.evidence.recipe_maps(role_planes(case.pixels))
    first_targets: dict[str, LabelTarget] = {}
    for target in case.targets:
        first_targets.setdefault(target.class_name, target)
    classes = dict(case.evidence.classes)
    for name, target in first_targets.items():
        classes[name] = _class_evidence(case, target, maps)
    return replace(case.evidence, classes=classes)


def _class_evidence(case: Case, target: LabelTarget, maps: RecipeMaps) -> ClassEvidence:
    """Evidence of one class as its label has it; unchanged if the scene's bands give no index."""
    evidence = case.evidence
    measured = evidence.classes[target.class_name]
    mask = target.mask & target.known
    recipe = maps.recipe(target.class_name)
    index = measured.index if recipe else next(iter(available_indices(evidence.roles)), "")
    if not index:
        return measured
    quantity = maps.quantity(recipe.conditions[0]) if recipe else maps.index(index)
    threshold = measured.threshold
    if not np.isfinite(threshold):
        threshold = float(np.nanmean(quantity))
    if not mask.any():
        return replace(measured, status="absent", index=index, threshold=threshold, fraction=0.0)
    runs = label_runs(mask)
    outside = quantity[~mask & case.pixels.valid]
    return replace(
        measured,
        status="present",
        index=index,
        threshold=threshold,
        fraction=float(mask.sum()) / max(evidence.valid_pixels, 1),
        region_count=runs.count,
        regions=tuple(regions(mask, limit=MAX_REGIONS, runs=runs, planes={index: quantity})),
        location=main_location(mask),
        inside=float(np.nanmean(quantity[mask])),
        outside=float(np.nanmean(outside)) if outside.size else float("nan"),
    )
