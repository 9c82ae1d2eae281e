"""Evaluation: counts are right and add up, the door is the engine's own, a told prior says what the label says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spex.cli.main import main
from spex.engine import RulesPredictor
from spex.evaluate import Case, LabelTarget, QueryMethod, Scores, Tally, cases, labelled_evidence
from spex.evidence.text import evidence_text
from spex.model.config import make_config
from spex.model.predictor import ModelPredictor, ModelScenePredictor
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.records import BandRef, Rle, SceneRef, SpanTarget, SpieRecord, read_records, write_records
from train.stages.tokenizer import train_tokenizer

BANDS = [("B02", 490, 65), ("B03", 560, 35), ("B04", 665, 30), ("B08", 842, 115)]
NAMES = ("water", "vegetation", "bare")  # as in the truth of conftest.py


def target(mask: object, known: object = None, name: str = "water") -> LabelTarget:
    truth = np.asarray(mask, bool)
    return LabelTarget(
        name, name, name, truth, np.ones_like(truth) if known is None else np.asarray(known, bool)
    )


def probability(values: object) -> np.ndarray:
    return np.asarray(values, np.float32)


@pytest.fixture
def folder(scene_file: Path, truth: np.ndarray) -> Path:
    """SPIE records beside a scene: three classes and one that is absent; the first ten rows of water are unknown."""
    unknown = np.zeros(truth.shape, bool)
    unknown[:10] = True
    spans = [
        SpanTarget(class_name=name, phrase=name, mask=Rle.encode(truth == i))
        for i, name in enumerate(NAMES)
    ]
    spans[0] = spans[0].model_copy(update={"ignore": Rle.encode(unknown)})
    spans.append(
        SpanTarget(
            class_name="burned", phrase="burned land", mask=Rle.encode(np.zeros(truth.shape, bool))
        )
    )
    record = SpieRecord(
        id="a", kind="survey", split="val", place="a", source="made", scene=SceneRef(path=scene_file.name),
        sensor="sentinel-2a", bands=[BandRef(name=n, wavelength_nm=w, fwhm_nm=f) for n, w, f in BANDS],
        level="surface", gsd_m=10, scale=1e-4, spans=spans,
    )  # fmt: skip
    other = record.model_copy(update={"id": "b", "split": "train"})
    write_records(scene_file.parent / "survey_made.parquet", [record, other])
    return scene_file.parent


@pytest.fixture
def case(folder: Path) -> Case:
    return next(cases(read_records(folder)))


class Scripted(ModelPredictor):
    """A real, untrained model that answers with fixed words."""

    def __init__(self, words: str) -> None:
        torch.manual_seed(0)
        tokenizer = train_tokenizer([words, "<seg class=water>water</seg>"] * 3, 700)
        model = SpexModel(make_config("micro", tokenizer, presence_threshold=0.0))
        super().__init__(model, SpexProcessor(tokenizer, 4, 32), "scripted", None)
        self.words = words
        self.evidence_texts: list[str] = []

    def open(self, overview, evidence, described=None):
        return ScriptedScene(self, overview, evidence, described or evidence)


class ScriptedScene(ModelScenePredictor):
    def _write(self, requests):
        self.predictor.evidence_texts += [request.evidence_text for request in requests]
        yield [self.predictor.words] * len(requests)


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
    for found, one in [
        (some, full),
        (none, full),
        (some, empty),
        (none, empty),
        (none, empty),
        (none, trace),
    ]:
        tally.add(found, one)
    scores = tally.scores()
    assert scores["false_alarms"] == pytest.approx(1 / 3) and scores["misses"] == 1 / 2
    assert (scores["scenes_without"], scores["scenes_with"]) == (3, 2)


def test_no_mask_counts_as_nothing_found() -> None:
    tally = Tally()
    tally.add(None, target([[1, 1, 0]]))
    assert tally.scores()["iou"] == 0 and tally.scores()["unanswered"] == 1
    assert Tally().scores()["iou"] is None


def test_parts_add_up_to_the_whole(case: Case) -> None:
    methods = {"rules": QueryMethod(RulesPredictor())}
    whole, part, other = Scores(), Scores(), Scores()
    for scores in (whole, whole, part, other):
        scores.add(case, methods)
    part += other
    assert part.rows() == whole.rows()


def test_cases_of_records(case: Case, truth: np.ndarray) -> None:
    water = case.targets[0]
    assert [one.name for one in case.targets] == ["water", "vegetation", "bare", "burned"]
    assert (
        np.array_equal(water.mask, truth == 0)
        and not water.known[:10].any()
        and water.known[10:].all()
    )


def test_queries_choose_the_classes(folder: Path) -> None:
    (one,) = next(cases(read_records(folder), {"water": "open water"})).targets
    assert (one.class_name, one.query) == ("water", "open water")


def test_index_rules_on_a_clear_scene(case: Case) -> None:
    scores = Scores()
    scores.add(case, {"rules": QueryMethod(RulesPredictor())})
    iou = {row["target"]: row["iou"] for row in scores.rows()}
    assert iou["water"] > 0.95 and iou["vegetation"] > 0.95
    burned = next(row for row in scores.rows() if row["target"] == "burned")
    assert burned["unanswered"] == 1 and burned["false_alarms"] == 0  # these bands cannot tell it
    assert "| made | water | 17,600 |" in scores.table()


@pytest.mark.parametrize(
    "words",
    [
        "<seg class=vegetation>plants</seg>",
        "<seg class=water where=north>water</seg>",
        "<refuse>no</refuse>",
        "<seg class=wat",
    ],
)
def test_a_misread_query_has_no_mask(case: Case, words: str) -> None:
    asked = replace(case, targets=case.targets[:1])
    assert QueryMethod(Scripted(words))(asked) == {"water": None}


def test_the_span_of_the_class_is_measured(case: Case) -> None:
    model = Scripted("<seg class=bare>soil</seg> and <seg class=water>water</seg>")
    asked = replace(case, targets=case.targets[:1])
    found = QueryMethod(model)(asked)["water"]
    scene = model.open(case.pixels, case.evidence)
    maps = scene.decode(scene.features(case.pixels), scene.plan("water"), case.pixels)
    assert (
        found is not None and np.array_equal(found, maps[1]) and not np.array_equal(found, maps[0])
    )


def test_a_told_prior_says_what_the_label_says(case: Case) -> None:
    corner = np.zeros_like(case.targets[0].mask)
    corner[-30:, -40:] = True
    swapped = replace(
        case, targets=(target(corner), target(np.zeros_like(corner), name="vegetation"))
    )
    text = evidence_text(labelled_evidence(swapped), "open water")
    assert f"share {corner.mean():.1%}" in text and "1 regions, mostly southeast" in text
    assert "absent: " in text and "vegetation" in text.partition("absent: ")[2]
    assert "mostly southeast" not in evidence_text(case.evidence, "open water")


def test_only_the_text_of_a_told_prior_changes(case: Case) -> None:
    model = Scripted("<seg class=water>water</seg>")
    corner = np.zeros_like(case.targets[0].mask)
    corner[-30:, -40:] = True
    asked = replace(case, targets=(target(corner),))
    plain, told = (
        QueryMethod(model)(asked)["water"],
        QueryMethod(model, label_evidence=True)(asked)["water"],
    )
    assert (
        "mostly southeast" not in model.evidence_texts[0]
        and "mostly southeast" in model.evidence_texts[1]
    )
    assert plain is not None and told is not None and plain.shape == told.shape


def test_command_measures_the_split(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    assert main(["evaluate", str(folder), "--method", "rules", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "| made | water |" in printed and "Expected calibration error" in printed
    rows = json.loads(out.read_text())
    assert {row["method"] for row in rows} == {"rules"} and len(rows) == 4
    assert next(row for row in rows if row["target"] == "water")["pixels"] == 160 * 110
    assert (
        main(["evaluate", str(folder / "survey_made.parquet"), "--method", "rules", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out) == rows


def test_former_names_of_methods_are_noted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(folder), "--method", "prior", "--json"]) == 0
    out, err = capsys.readouterr()
    assert {row["method"] for row in json.loads(out)} == {"rules"}
    assert err == "Note: --method prior is now called rules\n"


def test_nothing_to_measure_is_one_line(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tmp_path / "nowhere"), "--method", "rules"]) == 2
    assert main(["evaluate", str(folder), "--method", "rules", "--split", "test"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "nowhere" in lines[0] and "'test'" in lines[1]
