"""Scores of several methods side by side: streaming counts per source and target.

Counts of any number of cases add up, so that processes can share the work.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spex.evaluate import Case, LabelTarget, Method

_BINS = 15
_SHOWN = 0.01  # share of the known pixels from which a label is taken to show a class
_BEST_IS_HIGHEST = ("iou", "f1")


@dataclass
class Tally:
    """Counts of one target under one method.

    Attributes:
        pixels: (2, 2), by [in the label, in the mask].
        scenes: (2, 2), by [class in the label, any pixel in the mask]; a scene with a mere trace
            of the class is not counted.
        bins: (3, bins), per bin of probability: pixels, sum of probability, pixels in the label.
        unanswered: scenes without a mask of the class.
    """

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    scenes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, _BINS)))
    unanswered: int = 0

    def add(self, probability: NDArray[np.float32] | None, target: LabelTarget) -> None:
        """Count one scene.

        Args:
            probability: (h, w), 0-1; None counts as 0 everywhere.
            target: the truth.
        """
        truth = target.mask[target.known]
        if not truth.size:
            return
        if probability is None:
            self.unanswered += 1
            known_probability = np.zeros(truth.shape, np.float32)
        else:
            known_probability = probability[target.known]
        mask = known_probability >= 0.5
        self.pixels += np.bincount(2 * truth + mask, minlength=4).reshape(2, 2)
        if not truth.any() or truth.mean() >= _SHOWN:
            self.scenes[int(truth.any()), int(mask.any())] += 1
        numbers = np.minimum((known_probability * _BINS).astype(np.int64), _BINS - 1)
        for row, weights in enumerate((None, known_probability, truth)):
            self.bins[row] += np.bincount(numbers, weights, _BINS)

    def __iadd__(self, other: Tally) -> Tally:
        self.pixels += other.pixels
        self.scenes += other.scenes
        self.bins += other.bins
        self.unanswered += other.unanswered
        return self

    def scores(self) -> dict[str, float | int | None]:
        """IoU, F1, precision, recall, calibration error, and errors of presence; None for 0 / 0.

        ``ece`` is the expected calibration error. ``false_alarms`` is the share of scenes without
        the class where any pixel was found, ``misses`` the share of scenes with at least 1 % of it
        where none was.
        """
        (_, false_pixels), (missed_pixels, hit_pixels) = self.pixels.tolist()
        (true_absences, false_alarms), (misses, true_presences) = self.scenes.tolist()
        counts, probability_sums, label_counts = self.bins
        union = hit_pixels + false_pixels + missed_pixels
        miscalibration = float(np.abs(probability_sums - label_counts).sum())
        return {
            "iou": _share(hit_pixels, union),
            "f1": _share(2 * hit_pixels, hit_pixels + union),
            "precision": _share(hit_pixels, hit_pixels + false_pixels),
            "recall": _share(hit_pixels, hit_pixels + missed_pixels),
            "ece": _share(miscalibration, float(counts.sum())),
            "false_alarms": _share(false_alarms, false_alarms + true_absences),
            "misses": _share(misses, misses + true_presences),
            "scenes_without": false_alarms + true_absences,
            "scenes_with": misses + true_presences,
            "unanswered": self.unanswered,
            "pixels": int(self.pixels.sum()),
            "positive_pixels": hit_pixels + missed_pixels,
        }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


class Scores:
    """Tallies of methods by source and target, in the order in which they are added."""

    def __init__(self) -> None:
        self.tallies: dict[tuple[str, str], dict[str, Tally]] = {}

    def add(self, case: Case, methods: Mapping[str, Method]) -> None:
        """Ask every method about a case, and count.

        Args:
            case: a labelled scene.
            methods: by the title that the tables give them.
        """
        for title, method in methods.items():
            maps = method(case)
            for target in case.targets:
                row = self.tallies.setdefault((case.source, target.name), {})
                row.setdefault(title, Tally()).add(maps[target.name], target)

    def __iadd__(self, other: Scores) -> Scores:
        for key, other_row in other.tallies.items():
            row = self.tallies.setdefault(key, {})
            for title, tally in other_row.items():
                row[title] = row.setdefault(title, Tally()).__iadd__(tally)
        return self

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict per source, target and method, for JSON."""
        rows = []
        for (source, name), row in sorted(self.tallies.items()):
            for title, tally in row.items():
                rows.append({"source": source, "target": name, "method": title, **tally.scores()})
        return rows

    def table(self, score: str = "iou", without: Collection[str] = ()) -> str:
        """One score as a Markdown table with a column per method; the highest IoU or F1 in bold.

        Args:
            score: a key of ``Tally.scores``.
            without: titles of methods to leave out.
        """
        titles = self._titles(without)
        lines = [["source", "class", "pixels", "of the class", *titles]]
        lines.append(["---", "---", *["---:"] * (len(titles) + 2)])
        for (source, name), row in sorted(self.tallies.items()):
            scores = {title: tally.scores() for title, tally in row.items()}
            first = next(iter(scores.values()))
            values = [scores[title][score] if title in scores else None for title in titles]
            best = None
            if score in _BEST_IS_HIGHEST:
                best = max((value for value in values if value is not None), default=None)
            cells = [_cell(value, score, best) for value in values]
            lines.append(
                [source, name, f"{first['pixels']:,}", f"{first['positive_pixels']:,}", *cells]
            )
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def _titles(self, without: Collection[str]) -> list[str]:
        """Titles of the methods in the order in which they are added."""
        titles: dict[str, None] = {}
        for row in self.tallies.values():
            titles.update(dict.fromkeys(row))
        return [title for title in titles if title not in without]


def _cell(value: float | int | None, score: str, best: float | None) -> str:
    """The text of one score; in bold if it is the best of its row."""
    if value is None:
        return "–"
    if isinstance(value, int):
        text = str(value)
    elif score == "ece":
        text = f"{value:.3f}"
    elif score in ("false_alarms", "misses"):
        text = f"{value:.0%}"
    else:
        text = f"{value:.2f}"
    return f"**{text}**" if value == best else text
