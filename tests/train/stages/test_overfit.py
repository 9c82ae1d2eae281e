"""Eight records are learned by heart: stages, checkpoint and predictor can be perfect together."""

from __future__ import annotations

from pathlib import Path

import pytest

from spex.evidence.scene_evidence import measure
from spex.evidence.text import evidence_text
from spex.model.loading import load
from spex.query.answer_markup import parse_answer
from spex.query.prompt import user_message
from spex.records import (
    BandRef,
    Rle,
    SceneRef,
    SpanTarget,
    SpieRecord,
    Turn,
    load_pixels,
    write_records,
)
from spex.sensors import Band
from tests.scenes import CLASSES, write_synthetic_scene
from train.data.conversations import load_conversations
from train.data.training_chips import CLASS_NAMES, load_chips
from train.settings import InstructSettings, MaskSettings
from train.stages.launch import run_stage
from train.stages.tokenizer import train_tokenizer

BANDS = [("B", 490.0), ("G", 560.0), ("R", 665.0), ("N", 842.0), ("S1", 1610.0)]
TALKS = [
    ("show lakes", "<seg class=water>lakes</seg>: <fact:area>."),
    (
        "show plants in the north",
        "<seg class=vegetation where=north>plants</seg> in the north: <fact:share>.",
    ),
    ("how much bare ground is there?", "<seg class=bare>bare ground</seg> covers <fact:area>."),
    ("the largest town", "the largest <seg class=built_up top=1>town</seg>: <fact:largest>."),
    (
        "lakes and plants",
        "<seg class=water>lakes</seg>: <fact:area>. "
        "<seg class=vegetation>plants</seg>: <fact:area>.",
    ),
    (
        "lakes larger than 1 ha",
        "<seg class=water min_area=1ha>lakes</seg> larger than 1 ha: <fact:count>.",
    ),
    ("count the cars", "<refuse>cars are single objects, not land cover.</refuse>"),
    ("where is town?", "<seg class=built_up>town</seg> lies <fact:location>."),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes with two conversations each, their prior text given."""
    folder = tmp_path_factory.mktemp("spie")
    bands = tuple(Band(name, wavelength, 40.0) for name, wavelength in BANDS)
    surveys, talks = [], []
    for number in range(4):
        path = folder / f"s{number}.tif"
        truth = write_synthetic_scene(path, bands=bands, height=32, width=32, seed=number)
        base = {
            "split": "train",
            "place": str(number),
            "source": "made",
            "scene": SceneRef(path=path.name),
            "level": "surface",
            "gsd_m": 10.0,
            "scale": 1e-4,
            "sensor": "made",
            "bands": [BandRef(name=n, wavelength_nm=w, fwhm_nm=40.0) for n, w in BANDS],
        }
        spans = [
            SpanTarget(
                class_name=name,
                phrase=name,
                mask=Rle.encode(truth == code),
                ignore=Rle.encode(truth == 0),
            )
            for code, name in enumerate(CLASSES, 1)
        ]
        survey = SpieRecord(id=path.stem, kind="survey", spans=spans, **base)
        surveys.append(survey)
        evidence = measure(
            load_pixels(survey.model_copy(update={"scene": SceneRef(path=str(path))}))
        )
        for query, answer in TALKS[2 * number : 2 * number + 2]:
            prior = evidence_text(evidence, query)
            turns = [
                Turn(role="user", content=user_message(query, prior)),
                Turn(role="assistant", content=answer),
            ]
            talks.append(SpieRecord(id=query, kind="dialogue", turns=turns, prior=prior, **base))
    write_records(folder / "survey_made.parquet", surveys)
    write_records(folder / "dialogue_made.parquet", talks)
    train_tokenizer([turn.content for one in talks for turn in one.turns] * 5, 700).save_pretrained(
        str(folder / "tokenizer")
    )
    return folder


@pytest.mark.slow
def test_eight_records_are_learned_by_heart(data: Path, tmp_path: Path) -> None:
    values = {
        "data": str(data),
        "model_size": "micro",
        "batch_size": 8,
        "crop_size": 32,
        "threads": 1,
        "evidence_map_dropout": 0.0,
        "tokenizer": str(data / "tokenizer"),
        "learning_rate": 4e-3,
        "precision": "fp32",
    }
    masks = MaskSettings(out=str(tmp_path / "masks"), max_steps=60, **values)  # type: ignore[arg-type]
    run_stage(masks)
    begin = str(tmp_path / "masks/checkpoint")
    settings = InstructSettings(
        out=str(tmp_path / "joint"),
        init_from=begin,
        vision_from=begin,
        max_steps=240,
        evidence_text_dropout=0.0,
        **values,
    )  # type: ignore[arg-type]
    log = run_stage(settings)
    assert log[-1]["text"] < 0.05  # ends between 0.019 and 0.023, as rounding has it

    predictor = load(tmp_path / "joint/checkpoint")
    chips = load_chips(data, "train")
    for talk in load_conversations(data, "train"):
        chip = chips[chips.ids.index(talk.scene_id)]
        evidence = measure(chip.pixels)
        scene = predictor.open(chip.pixels, evidence)
        assert scene.propose([(talk.query, ())])[0].text == talk.answer
        spans = parse_answer(talk.answer).spans
        names = [span.class_name for span in spans]
        found = scene.decode(scene.features(chip.pixels), names, chip.pixels) >= 0.5
        for span, mask in zip(spans, found, strict=True):
            labels = chip.labels[CLASS_NAMES.index(span.class_name)]
            truth, mine = labels[labels >= 0] > 0, mask[labels >= 0]
            assert (truth & mine).sum() > 0.95 * (truth | mine).sum()
