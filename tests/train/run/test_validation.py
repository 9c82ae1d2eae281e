"""Validation of every stage: scores and samples of its checkpoint, on validation places only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import spex
from spex.errors import ConfigError, RecordError
from spex.records import read_records, write_records
from train.run.validation import validation_records
from train.settings import STAGES
from train.settings_file import load_settings
from train.stages.launch import run_stage

CLASSES = ["bare", "built_up", "vegetation", "water"]


def trained(stage: str, small: Path, out: Path, **changes: Any) -> dict[str, float]:
    """Twenty steps of a stage, and what its validation found."""
    about = {
        "data": str(small),
        "out": str(out),
        "init_from": str(small / "start"),
        "max_steps": 20,
        "vision_from": str(small / "start") if stage == "instruct" else None,
        "batch_size": 2,
        "threads": 1,
        "precision": "fp32",
        "learning_rate": 1e-3,
        "eval_steps": 20,
        "eval_records": 2,
        **changes,
    }
    if stage != "language":
        about["crop_size"] = 32
    run_stage(STAGES[stage](**about))
    (row,) = (json.loads(line) for line in (out / "validation.jsonl").read_text().splitlines())
    return row


@pytest.mark.parametrize("stage", ["masks", "instruct"])
def test_masks_are_measured_and_drawn_beside_their_labels(
    stage: str, small: Path, tmp_path: Path
) -> None:
    row = trained(stage, small, tmp_path)
    assert list(row) == ["step", "iou", *(f"iou/{name}" for name in CLASSES)]
    assert (
        row["iou"] == pytest.approx(sum(row[f"iou/{name}"] for name in CLASSES) / 4)
        and 0 <= row["iou"] <= 1
    )
    assert Image.open(tmp_path / "samples/step_000020.png").width > 3 * 224
    assert spex.load(str(tmp_path / "best")) and not (tmp_path / "best/training").exists()
    answers = tmp_path / "samples/step_000020.md"
    assert answers.exists() == (stage == "instruct")
    if stage == "instruct":
        assert "scene_2" in answers.read_text() and "- water" in answers.read_text()


def test_answers_of_the_language_model_are_read_beside_those_wanted(
    small: Path, tmp_path: Path
) -> None:
    row = trained("language", small, tmp_path, gradient_checkpointing=True)
    assert row["loss"] == pytest.approx(row["text"]) and row["loss"] > 0
    assert "wanted `<seg class=" in (tmp_path / "samples/step_000020.md").read_text()


def test_only_validation_places_are_looked_at(small: Path, tmp_path: Path) -> None:
    assert [record.split for record in validation_records(small, 9)] == ["val"]
    seen = [
        record for record in read_records(small / "survey_made.parquet") if record.split == "train"
    ]
    write_records(tmp_path / "survey_made.parquet", seen)
    with pytest.raises(
        RecordError, match=r"no survey records of split 'val' in .*; set eval_steps=0"
    ):
        validation_records(tmp_path, 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("eval_steps=30", "a multiple of 20"),
        ("early_stopping_patience=2", "set eval_steps"),
        ("keep_checkpoints=0", "at least 1"),
        ("gradient_accumulation_steps=1.5", "a whole number"),
    ],
)
def test_numbers_that_cannot_be_are_refused(change: str, message: str) -> None:
    path = Path(__file__).parents[3] / "train/configs/masks.yaml"
    with pytest.raises(ConfigError, match=message):
        load_settings(path, ["eval_steps=0", change] if "patience" in change else [change])
