"""A handful of records and an untrained model of size micro, for tests that need no learning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from spex.model.config import make_config
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.answer_markup import format_span
from spex.query.prompt import user_message
from spex.records import BandRef, Rle, SceneRef, SpanTarget, SpieRecord, Turn, write_records
from spex.sensors import Band
from tests.scenes import write_synthetic_scene
from train.run.checkpoints import save_checkpoint
from train.stages.class_prompts import class_prompts_file
from train.stages.masks import MaskTrainer
from train.stages.tokenizer import train_tokenizer

CLASSES = {1: "water", 2: "vegetation", 3: "bare", 4: "built_up"}
BANDS = [("B", 490.0), ("G", 560.0), ("R", 665.0), ("N", 842.0)]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small scenes, one for validation, with conversations, and an untrained model."""
    folder = tmp_path_factory.mktemp("spie")
    surveys, dialogues = [], []
    for number in range(3):
        path = folder / f"scene_{number}.tif"
        truth = write_synthetic_scene(
            path, bands=tuple(Band(n, w, 40.0) for n, w in BANDS), height=32, width=32, seed=number
        )
        base = {
            "split": "val" if number == 2 else "train",
            "place": str(number),
            "source": "made",
            "sensor": "made",
            "scene": SceneRef(path=path.name),
            "level": "surface",
            "gsd_m": 10.0,
            "scale": 1e-4,
            "bands": [BandRef(name=n, wavelength_nm=w, fwhm_nm=40.0) for n, w in BANDS],
        }
        spans = [
            SpanTarget(class_name=c, phrase=c, mask=Rle.encode(truth == code))
            for code, c in CLASSES.items()
        ]
        surveys.append(SpieRecord(id=f"scene_{number}", kind="survey", spans=spans, **base))
        for name in CLASSES.values():
            said = (
                ("user", user_message(f"where is {name}?", "")),
                ("assistant", f"{format_span(name, name)}: <fact:area>."),
            )
            turns = [Turn(role=role, content=text) for role, text in said]
            dialogues.append(
                SpieRecord(id=f"{number}-{name}", kind="dialogue", turns=turns, **base)
            )
    write_records(folder / "survey_made.parquet", surveys)
    write_records(folder / "dialogue_made.parquet", dialogues)
    train_tokenizer((turn.content for one in dialogues for turn in one.turns), 400).save_pretrained(
        str(folder / "words")
    )
    torch.manual_seed(0)
    model = SpexModel(make_config("micro", AutoTokenizer.from_pretrained(str(folder / "words"))))
    processor = SpexProcessor.from_pretrained(str(folder / "words"), model.config)
    table = class_prompts_file(MaskTrainer(model).class_prompts)
    save_checkpoint(folder / "start", model, processor=processor, extra=table)
    return folder
