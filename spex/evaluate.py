"""Measuring masks against labels: streaming counts of several methods side by side, per source and class.

A case is one scene, asked as a whole and as one tile. A method gives a probability map for every target of a case;
``QueryMethod`` asks a predictor as a person would (plan, then decode). Counts of any number of cases add up, so that processes
can share the work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spex.engine.methods import Predictor, ScenePredictor
from spex.errors import AnswerError
from spex.evidence.indices import available, role_planes
from spex.evidence.measured import KEPT_REGIONS, SceneEvidence, measure
from spex.evidence.regions import label_runs, main_location, regions
from spex.query.constraints import Constraints
from spex.raster.scene import Pixels
from spex.records import SpieRecord, load_pixels

if TYPE_CHECKING:
    from spex.model.predictor import ModelPredictor

_BINS = 15
_SHOWN = 0.01  # share of the known pixels from which a label is taken to show a class


@dataclass(frozen=True)
class LabelTarget:
    """What one query asks of a scene, and the truth: masks (h, w) of where the class is and where the label knows."""

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
"""A probability map (h, w) per target's name; None where the method gave no mask of the class at all."""


def cases(
    records: Iterable[SpieRecord], queries: Mapping[str, str] | None = None
) -> Iterator[Case]:
    """Cases of survey records.

    Args:
        queries: the query per class; only these classes are asked for. All, by their titles, if left out.

    Raises:
        RecordError: a record does not fit its raster.
        SceneError: a raster cannot be read.
    """
    for record in records:
        pixels = load_pixels(record)
        yield Case(
            record.id,
            record.source,
            pixels,
            measure(pixels),
            targets(record, pixels.valid, queries),
        )


def targets(
    record: SpieRecord, valid: NDArray[np.bool_], queries: Mapping[str, str] | None = None
) -> tuple[LabelTarget, ...]:
    """What a survey record's labels say, on the pixels that are ``valid`` (h, w); ``queries`` as for ``cases``."""
    found = []
    for span in record.spans:
        if span.mask is None or (queries is not None and span.class_name not in queries):
            continue
        known = valid & ~span.ignore.decode() if span.ignore else valid
        query = span.phrase if queries is None else queries[span.class_name]
        found.append(
            LabelTarget(span.class_name, span.class_name, query, span.mask.decode(), known)
        )
    return tuple(found)


class QueryMethod:
    """A predictor asked for each target with the target's bare query; what it has no plain span for stays without mask.

    Args:
        label_evidence: the predictor is a model and reads an evidence text made from the labels, all
            else unchanged: the worth of perfect evidence.
    """

    def __init__(self, predictor: Predictor, *, label_evidence: bool = False) -> None:
        self.predictor = predictor
        self.label_evidence = label_evidence

    def __call__(self, case: Case) -> dict[str, NDArray[np.float32] | None]:
        """Probability maps of all targets; the features are computed once."""
        scene = self._open(case)
        found: dict[tuple[str, str], NDArray[np.float32] | None] = {}
        features = None
        for query, name in dict.fromkeys(
            (target.query, target.class_name) for target in case.targets
        ):
            found[query, name] = None
            if case.evidence.classes[name].status == "unavailable":  # the engine refuses it
                continue
            try:
                plan = scene.plan(query)
            except (
                AnswerError
            ):  # what the model wrote cannot be read: an error for a person, no mask here
                continue
            # A constraint that nobody asked for is a misreading as well.
            spans = [(span.class_name, span.constraints) for span in plan.answer.spans]
            if (name, Constraints()) in spans:
                if features is None:
                    features = scene.features(case.pixels)
                maps = scene.decode(features, plan, case.pixels)
                found[query, name] = maps[spans.index((name, Constraints()))]
        return {target.name: found[target.query, target.class_name] for target in case.targets}

    def _open(self, case: Case) -> ScenePredictor:
        if not self.label_evidence:
            return self.predictor.open(case.pixels, case.evidence)
        model: ModelPredictor = self.predictor  # type: ignore[assignment]  # only a model reads text
        return model.open(case.pixels, case.evidence, described=labelled_evidence(case))


def labelled_evidence(case: Case) -> SceneEvidence:
    """The scene's evidence as if the class of every target (the first of a class) lay where its label has it."""
    evidence, planes = case.evidence, role_planes(case.pixels)
    maps = evidence.recipe_maps(planes)
    found = dict(evidence.classes)
    for target in {target.class_name: target for target in reversed(case.targets)}.values():
        item, mask = found[target.class_name], target.mask & target.known
        recipe = maps.recipe(target.class_name)
        name = item.index if recipe else next(iter(available(evidence.roles)), "")
        if not name:
            continue
        quantity = maps.quantity(recipe.conditions[0]) if recipe else maps.index(name)
        threshold = item.threshold if np.isfinite(item.threshold) else float(np.nanmean(quantity))
        if not mask.any():
            found[target.class_name] = replace(
                item, status="absent", index=name, threshold=threshold, fraction=0.0
            )
            continue
        runs = label_runs(mask)
        rest = quantity[~mask & case.pixels.valid]
        found[target.class_name] = replace(
            item,
            status="present",
            index=name,
            threshold=threshold,
            fraction=float(mask.sum()) / max(evidence.valid_pixels, 1),
            region_count=runs.count,
            regions=tuple(regions(mask, limit=KEPT_REGIONS, runs=runs, planes={name: quantity})),
            location=main_location(mask),
            inside=float(np.nanmean(quantity[mask])),
            outside=float(np.nanmean(rest)) if rest.size else float("nan"),
        )
    return replace(evidence, classes=found)


@dataclass
class Tally:
    """Counts of one target under one method: pixels, scenes, and bins of probability."""

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    """[in the label, found]"""
    scenes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    """[label shows the class, found anywhere]; scenes with a mere trace of the class are in neither row"""
    bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, _BINS)))
    """pixels, sum of probability, pixels in the label; per bin of probability"""
    unanswered: int = 0

    def add(self, probability: NDArray[np.float32] | None, target: LabelTarget) -> None:
        """Count one scene; no probability counts as 0 everywhere."""
        truth = target.mask[target.known]
        if not truth.size:
            return
        p = np.zeros(truth.shape, np.float32) if probability is None else probability[target.known]
        self.unanswered += probability is None
        found = p >= 0.5
        self.pixels += np.bincount(2 * truth + found, minlength=4).reshape(2, 2)
        if not truth.any() or truth.mean() >= _SHOWN:
            self.scenes[int(truth.any()), int(found.any())] += 1
        place = np.minimum((p * _BINS).astype(np.int64), _BINS - 1)
        self.bins += [np.bincount(place, weights, _BINS) for weights in (None, p, truth)]

    def __iadd__(self, other: Tally) -> Tally:
        self.pixels += other.pixels
        self.scenes += other.scenes
        self.bins += other.bins
        self.unanswered += other.unanswered
        return self

    def scores(self) -> dict[str, float | int | None]:
        """IoU, F1, precision, recall, expected calibration error, and how often a scene's presence was misjudged.

        ``false_alarms`` is the share of scenes without the class where any pixel was found, ``misses`` the share of
        scenes with at least 1 % of it where none was. None where there is nothing to divide by.
        """
        (_, false), (missed, hit) = self.pixels.tolist()
        (quiet, alarm), (lost, seen) = self.scenes.tolist()
        count, summed, positive = self.bins
        return {
            "iou": _share(hit, hit + false + missed),
            "f1": _share(2 * hit, 2 * hit + false + missed),
            "precision": _share(hit, hit + false),
            "recall": _share(hit, hit + missed),
            "ece": _share(float(np.abs(summed - positive).sum()), float(count.sum())),
            "false_alarms": _share(alarm, alarm + quiet),
            "misses": _share(lost, lost + seen),
            "scenes_without": alarm + quiet,
            "scenes_with": lost + seen,
            "unanswered": self.unanswered,
            "pixels": int(self.pixels.sum()),
            "positive_pixels": hit + missed,
        }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


class Scores:
    """Tallies of methods by source and target, in the order they were met."""

    def __init__(self) -> None:
        self.tallies: dict[tuple[str, str], dict[str, Tally]] = {}

    def add(self, case: Case, methods: Mapping[str, Method]) -> None:
        """Ask every method about a case and count."""
        for title, method in methods.items():
            answered = method(case)
            for target in case.targets:
                row = self.tallies.setdefault((case.source, target.name), {})
                row.setdefault(title, Tally()).add(answered[target.name], target)

    def __iadd__(self, other: Scores) -> Scores:
        for key, row in other.tallies.items():
            mine = self.tallies.setdefault(key, {})
            for title, tally in row.items():
                mine[title] = mine.setdefault(title, Tally()).__iadd__(tally)
        return self

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict per source, target and method, for JSON."""
        return [
            {"source": source, "target": name, "method": title, **tally.scores()}
            for (source, name), row in sorted(self.tallies.items())
            for title, tally in row.items()
        ]

    def table(self, score: str = "iou", without: Collection[str] = ()) -> str:
        """One score as a Markdown table, a column per method but those left out; the highest IoU or F1 in bold."""
        titles = list(
            dict.fromkeys(
                title for row in self.tallies.values() for title in row if title not in without
            )
        )
        lines = [["source", "class", "pixels", "of the class", *titles]]
        for (source, name), row in sorted(self.tallies.items()):
            found = {title: tally.scores() for title, tally in row.items()}
            first = next(iter(found.values()))
            values = [found[title][score] if title in found else None for title in titles]
            best = (
                max((v for v in values if v is not None), default=None)
                if score in ("iou", "f1")
                else None
            )
            cells = [_cell(v, score, best is not None and v == best) for v in values]
            lines.append(
                [source, name, f"{first['pixels']:,}", f"{first['positive_pixels']:,}", *cells]
            )
        marks = ["---", "---", *["---:"] * (len(lines[0]) - 2)]
        return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])


def _cell(value: float | int | None, score: str, best: bool) -> str:
    if value is None:
        return "–"
    text = (
        f"{value:.3f}"
        if score == "ece"
        else f"{value:.0%}"
        if score in ("false_alarms", "misses")
        else f"{value:.2f}"
    )
    if isinstance(value, int):
        text = str(value)
    return f"**{text}**" if best else text
