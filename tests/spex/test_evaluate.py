"""Evaluation: cases, the engine's own methods, and evidence made from labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spex.cli.main import main
from spex.engine import RulesPredictor
from spex.evaluate import Case, LabelTarget, PredictorMethod, cases, labelled_evidence
from spex.evidence.text import evidence_text
from spex.model.config import make_config
from spex.model.predictor import ModelPredictor, ModelScenePredictor
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.records import BandRef, Rle, SceneRef, SpanTarget, SpieRecord, read_records, write_records
from spex.scores import Scores
from train.stages.tokenizer import train_tokenizer

BANDS = [("B02", 490, 65), ("B03", 560, 35), ("B04", 665, 30), ("B08", 842, 115)]
NAMES = ("water", "vegetation", "bare")  # as in the truth of conftest.py


def target(mask: object, known: object = None, name: str = "water") -> LabelTarget:
    truth = np.asarray(mask, bool)
    return LabelTarget(
        name, name, name, truth, np.ones_like(truth) if known is None else np.asarray(known, bool)
    )


@pytest.fixture
def folder(scene_file: Path, truth: np.ndarray) -> Path:
    """Records of a scene: three classes, one that is absent; ten rows of water are unknown."""
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
        id="a", kind="survey", split="val", place="a", source="made",
        scene=SceneRef(path=scene_file.name), sensor="sentinel-2a",
        bands=[BandRef(name=n, wavelength_nm=w, fwhm_nm=f) for n, w, f in BANDS],
        level="surface", gsd_m=10, scale=1e-4, spans=spans,
    )  # fmt: skip
    other = record.model_copy(update={"id": "b", "split": "train"})
    write_records(scene_file.parent / "survey_made.parquet", [record, other])
    return scene_file.parent


@pytest.fixture
def case(folder: Path) -> Case:
    return next(cases(read_records(folder)))


class Untrained(ModelPredictor):
    """A real, untrained model that remembers which evidence texts it read."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        tokenizer = train_tokenizer(["<seg class=water>water</seg>"] * 3, 700)
        model = SpexModel(make_config("micro", tokenizer, presence_threshold=0.0))
        super().__init__(model, SpexProcessor(tokenizer, 4, 32), "untrained", None)
        self.evidence_texts: list[str] = []

    def open(self, overview, evidence, described=None):
        return UntrainedScene(self, overview, evidence, described or evidence)


class UntrainedScene(ModelScenePredictor):
    def decoder_weights(self, rows):
        self.predictor.evidence_texts += [request.evidence_text for request, _ in rows]
        return super().decoder_weights(rows)


def test_parts_add_up_to_the_whole(case: Case) -> None:
    methods = {"rules": PredictorMethod(RulesPredictor())}
    whole, part, other = Scores(), Scores(), Scores()
    for scores in (whole, whole, part, other):
        scores.add(case, methods)
    part += other
    assert part.rows() == whole.rows()


def test_cases_of_records(case: Case, truth: np.ndarray) -> None:
    water = case.targets[0]
    assert [target.name for target in case.targets] == ["water", "vegetation", "bare", "burned"]
    assert (
        np.array_equal(water.mask, truth == 0)
        and not water.known[:10].any()
        and water.known[10:].all()
    )


def test_queries_choose_the_classes(folder: Path) -> None:
    (water,) = next(cases(read_records(folder), {"water": "open water"})).targets
    assert (water.class_name, water.query) == ("water", "open water")


def test_index_rules_on_a_clear_scene(case: Case) -> None:
    scores = Scores()
    scores.add(case, {"rules": PredictorMethod(RulesPredictor())})
    iou = {row["target"]: row["iou"] for row in scores.rows()}
    assert iou["water"] > 0.95 and iou["vegetation"] > 0.95
    burned = next(row for row in scores.rows() if row["target"] == "burned")
    assert burned["unanswered"] == 1 and burned["false_alarms"] == 0  # these bands cannot tell it
    assert "| made | water | 17,600 |" in scores.table()


def test_a_target_has_the_map_of_its_class_whatever_else_is_asked(case: Case) -> None:
    model = Untrained()
    maps = PredictorMethod(model)(case)
    scene = model.open(case.pixels, case.evidence)
    alone = scene.decode(scene.features(case.pixels), ["bare"], case.pixels)
    assert maps["burned"] is None  # these bands cannot tell it
    assert np.array_equal(maps["bare"], alone[0])
    assert not np.array_equal(maps["bare"], maps["water"])


def test_label_evidence_says_what_the_label_says(case: Case) -> None:
    corner = np.zeros_like(case.targets[0].mask)
    corner[-30:, -40:] = True
    swapped = replace(
        case, targets=(target(corner), target(np.zeros_like(corner), name="vegetation"))
    )
    text = evidence_text(labelled_evidence(swapped), "open water")
    assert f"share {corner.mean():.1%}" in text and "1 regions, mostly southeast" in text
    assert "absent: " in text and "vegetation" in text.partition("absent: ")[2]
    assert "mostly southeast" not in evidence_text(case.evidence, "open water")


def test_label_evidence_changes_the_text_only(case: Case) -> None:
    model = Untrained()
    corner = np.zeros_like(case.targets[0].mask)
    corner[-30:, -40:] = True
    asked = replace(case, targets=(target(corner),))
    plain = PredictorMethod(model)(asked)["water"]
    labelled = PredictorMethod(model, label_evidence=True)(asked)["water"]
    assert (
        "mostly southeast" not in model.evidence_texts[0]
        and "mostly southeast" in model.evidence_texts[1]
    )
    assert plain is not None and labelled is not None and plain.shape == labelled.shape


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
