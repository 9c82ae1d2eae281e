"""What an adapter changes: scores on held-out tiles before and after, and degraded classes."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spex.engine.methods import Predictor
from spex.evaluate import Case, LabelTarget, Method, PredictorMethod, cases
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import measure
from spex.raster.scene import Pixels
from spex.records import SpieRecord
from spex.scores import Scores
from train.run.validation import ProbabilityMaps

MAX_IOU_LOSS = 0.03
"""IoU that a class known before may lose on held-out tiles."""
MAX_CHANGED_SHARE = 0.03
"""Share of pixels whose mask may change, per class, on the half of the sample scene that was not
replayed."""
_MIN_POSITIVE_PIXELS = 300  # below, an IoU says little
_MAX_SAMPLE_CLASSES = 8


@dataclass
class CaseComparison:
    """Labelled scenes queried with several predictors.

    Attributes:
        cases: The scenes.
        scores: Scores of each predictor.
        maps: Probability maps by scene and title of the predictor.
    """

    cases: list[Case]
    scores: Scores = field(default_factory=Scores)
    maps: dict[tuple[str, str], ProbabilityMaps] = field(default_factory=dict)

    @classmethod
    def from_records(cls, records: Sequence[SpieRecord]) -> CaseComparison:
        """Cases of survey records, ordered so that the first ones are of different places."""
        place_counts: dict[str, int] = {}
        ranked: list[tuple[int, str, SpieRecord]] = []
        for record in records:
            place_counts[record.place] = place_counts.get(record.place, 0) + 1
            ranked.append((place_counts[record.place], record.id, record))
        ranked.sort(key=lambda entry: entry[:2])
        return cls(list(cases(record for _, _, record in ranked)))

    def query(self, predictors: Mapping[str, Predictor], max_seconds: float | None = None) -> None:
        """Query predictors for all targets of all cases.

        Args:
            predictors: By title.
            max_seconds: Time limit. Cases that would exceed it are dropped, but never all.
        """
        began = time.monotonic()
        methods = {title: self._recording(title, item) for title, item in predictors.items()}
        for number, case in enumerate(self.cases):
            seconds_needed = (time.monotonic() - began) * (number + 1) / max(number, 1)
            if number and max_seconds is not None and seconds_needed > max_seconds:
                self.cases = self.cases[:number]
                break
            self.scores.add(case, methods)

    def _recording(self, title: str, predictor: Predictor) -> Method:
        """A method that queries a predictor and keeps its maps."""
        method = PredictorMethod(predictor)

        def query(case: Case) -> ProbabilityMaps:
            maps = method(case)
            self.maps[case.id, title] = maps
            return maps

        return query

    def score_rows(self) -> list[dict[str, Any]]:
        """Per source and class: the pixels of the class, and IoU and false alarms by title."""
        rows = []
        for (source, name), tallies in sorted(self.scores.tallies.items()):
            scores = {title: tally.scores() for title, tally in tallies.items()}
            rows.append(
                {
                    "source": source,
                    "class": name,
                    "pixels": next(iter(scores.values()))["positive_pixels"],
                    "iou": {title: values["iou"] for title, values in scores.items()},
                    "false_alarms": {
                        title: values["false_alarms"] for title, values in scores.items()
                    },
                }
            )
        return rows


def sample_case(
    pixels: Pixels, predictor: Predictor, known: Collection[str]
) -> tuple[Case, ProbabilityMaps]:
    """A scene whose truth is what a predictor gives for it.

    Args:
        pixels: The scene.
        predictor: The model before training.
        known: Classes to query; of these, the most frequent ones that the scene's bands allow.

    Returns:
        The scene, and the probability maps of its targets.
    """
    evidence = measure(pixels)
    measurable = [
        class_evidence
        for class_evidence in evidence.classes.values()
        if class_evidence.name in known and class_evidence.status in ("present", "absent")
    ]
    measurable.sort(key=lambda class_evidence: -class_evidence.fraction)
    empty = np.zeros_like(pixels.valid)
    queried = tuple(
        LabelTarget(item.name, item.name, classes()[item.name].title, empty, pixels.valid)
        for item in measurable[:_MAX_SAMPLE_CLASSES]
    )
    case = Case("sample", "sample", pixels, evidence, queried)
    maps = PredictorMethod(predictor)(case)
    targets = []
    for target in queried:
        probability = maps[target.name]
        if probability is not None:
            targets.append(replace(target, mask=np.asarray(probability >= 0.5)))
    return replace(case, targets=tuple(targets)), maps


def changed_shares(case: Case, before: ProbabilityMaps, after: ProbabilityMaps) -> dict[str, float]:
    """Share of a scene's valid pixels whose mask differs, by class."""
    valid = case.pixels.valid
    shares = {}
    for target in case.targets:
        map_before = before[target.name]
        map_after = after[target.name]
        if map_before is None or map_after is None:
            differs = np.ones_like(valid)
        else:
            differs = (map_after >= 0.5) != (map_before >= 0.5)
        shares[target.name] = float(differs[valid].mean())
    return shares


def iou_losses(rows: Sequence[Mapping[str, Any]], new: Collection[str]) -> dict[str, float]:
    """IoU that each class lost, by ``source/class``.

    Args:
        rows: Of :meth:`CaseComparison.score_rows`, with the titles ``before`` and ``after``.
        new: Classes that the model did not know before; they are left out, as are classes with too
            few pixels.
    """
    losses = {}
    for row in rows:
        iou = row["iou"]
        if row["class"] in new or row["pixels"] < _MIN_POSITIVE_PIXELS or None in iou.values():
            continue
        losses[f"{row['source']}/{row['class']}"] = iou["before"] - iou["after"]
    return losses
