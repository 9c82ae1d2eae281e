"""Scores: counts of pixels, scenes and probabilities are right."""

from __future__ import annotations

import numpy as np
import pytest

from spex.evaluate import LabelTarget
from spex.scores import Tally


def target(mask: object, known: object = None, name: str = "water") -> LabelTarget:
    truth = np.asarray(mask, bool)
    return LabelTarget(
        name, name, name, truth, np.ones_like(truth) if known is None else np.asarray(known, bool)
    )


def probability(values: object) -> np.ndarray:
    return np.asarray(values, np.float32)


def test_scores_of_counted_pixels() -> None:
    tally = Tally()
    tally.add(probability([[0.9, 0.5], [0.4, 0.1]]), target([[1, 0], [1, 0]]))
    scores = tally.scores()
    assert (scores["iou"], scores["precision"], scores["recall"], scores["f1"]) == (
        1 / 3,
        0.5,
        0.5,
        0.5,
    )
    assert scores["pixels"] == 4 and scores["positive_pixels"] == 2


def test_unknown_pixels_do_not_count() -> None:
    tally = Tally()
    tally.add(probability([[0.9, 0.9, 0.1]]), target([[1, 0, 0]], known=[[1, 0, 1]]))
    assert tally.scores()["iou"] == 1 and tally.scores()["pixels"] == 2
    tally.add(probability([[0.9, 0.9, 0.9]]), target([[0, 0, 0]], known=[[0, 0, 0]]))
    assert tally.scores()["pixels"] == 2 and tally.scores()["scenes_without"] == 0


def test_calibration_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((400, 400)).astype(np.float32)
    honest, boastful = Tally(), Tally()
    honest.add(p, target(rng.random(p.shape) < p))
    boastful.add(np.full(p.shape, 0.9, np.float32), target(rng.random(p.shape) < 0.2))
    assert honest.scores()["ece"] < 0.01
    assert boastful.scores()["ece"] == pytest.approx(0.7, abs=0.01)


def test_presence_of_a_class_in_a_scene() -> None:
    some, none = probability([[0.9] + [0.0] * 199]), probability([[0.0] * 200])
    full, trace, empty = target([[1] * 200]), target([[1] + [0] * 199]), target([[0] * 200])
    tally = Tally()
    for answer, label in [
        (some, full),
        (none, full),
        (some, empty),
        (none, empty),
        (none, empty),
        (none, trace),
    ]:
        tally.add(answer, label)
    scores = tally.scores()
    assert scores["false_alarms"] == pytest.approx(1 / 3) and scores["misses"] == 1 / 2
    assert (scores["scenes_without"], scores["scenes_with"]) == (3, 2)


def test_no_mask_counts_as_nothing_found() -> None:
    tally = Tally()
    tally.add(None, target([[1, 1, 0]]))
    assert tally.scores()["iou"] == 0 and tally.scores()["unanswered"] == 1
    assert Tally().scores()["iou"] is None
