"""The stages on a handful of records at size micro: they learn, save and hand over."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from spex.errors import ConfigError, RecordError
from spex.evidence.scene_evidence import measure
from spex.evidence.text import evidence_text
from spex.model.loading import SHIPPED, load
from spex.model.precision import has_bfloat16
from spex.model.processor import SpexProcessor
from spex.query.answer_markup import format_span, parse_answer
from spex.query.prompt import SPECIAL_TOKENS, user_message
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
from tests.scenes import write_synthetic_scene
from train.data.conversations import ConversationEncoder, TextStream, load_conversations, pad
from train.data.crops import CropStream, collate, drop_bands, jitter
from train.data.training_chips import CLASS_NAMES, load_chips
from train.run.losses import mask_losses, presence_loss, text_loss
from train.settings import STAGES
from train.stages.launch import run_stage
from train.stages.tokenizer import train_tokenizer

CLASSES = {1: "water", 2: "vegetation", 3: "bare", 4: "built_up"}
PHRASES = {"water": ["lakes", "open water"], "vegetation": ["plants", "vegetation"]}
BANDS = [("B", 490.0), ("G", 560.0), ("R", 665.0), ("N", 842.0), ("S1", 1610.0)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes with surveys and conversations, one of them for validation."""
    folder = tmp_path_factory.mktemp("spie")
    surveys, dialogues = [], []
    for number in range(4):
        path = folder / f"scene_{number}.tif"
        truth = write_synthetic_scene(
            path, bands=tuple(Band(n, w, 40.0) for n, w in BANDS), height=64, width=64, seed=number
        )
        known = {name: truth == code for code, name in CLASSES.items()}
        base = {
            "split": "val" if number == 3 else "train",
            "place": str(number),
            "source": "made",
            "sensor": "made",
            "scene": SceneRef(path=path.name),
            "bands": [BandRef(name=n, wavelength_nm=w, fwhm_nm=40.0) for n, w in BANDS],
            "level": "surface",
            "gsd_m": 10.0,
            "scale": 1e-4,
        }
        gap = Rle.encode(truth == 0)
        spans = [
            SpanTarget(class_name=c, phrase=c, mask=Rle.encode(m), ignore=gap)
            for c, m in known.items()
        ]
        survey = SpieRecord(id=f"scene_{number}", kind="survey", spans=spans, **base)
        surveys.append(survey)
        evidence = measure(
            load_pixels(survey.model_copy(update={"scene": SceneRef(path=str(path))}))
        )
        for name, phrases in PHRASES.items():
            for phrase in phrases:
                for told in (False, True):
                    query = f"where are {phrase}?"
                    prior = evidence_text(evidence, query) if told else ""
                    turns = [
                        Turn(role="user", content=user_message(query, prior)),
                        Turn(
                            role="assistant", content=f"{format_span(name, phrase)}: <fact:area>."
                        ),
                    ]
                    key = f"{number}-{phrase}-{told}"
                    dialogues.append(
                        SpieRecord(id=key, kind="dialogue", turns=turns, prior=prior, **base)
                    )
    said = [("where are lakes?", ""), ("only in the north", " where=north")]
    turns = [
        turn
        for query, limit in said
        for turn in (
            Turn(role="user", content=user_message(query, "")),
            Turn(role="assistant", content=f"<seg class=water{limit}>lakes</seg>: <fact:area>."),
        )
    ]
    follow = surveys[0].model_copy(
        update={"id": "follow", "kind": "dialogue", "turns": turns, "spans": []}
    )
    dialogues.append(follow)
    write_records(folder / "survey_made.parquet", surveys)
    write_records(folder / "dialogue_made.parquet", dialogues)
    texts = [turn.content for record in dialogues for turn in record.turns]
    train_tokenizer(texts, 600).save_pretrained(str(folder / "tokenizer"))
    return folder


def stage(name: str, data: Path, out: Path, **changes: object) -> list[dict[str, float]]:
    values: dict[str, object] = {
        "model_size": "micro",
        "max_steps": 40,
        "max_minutes": 30.0,
        "batch_size": 4,
        "learning_rate": 3e-3,
        "threads": 1,
        "tokenizer": str(data / "tokenizer"),
    }
    if name != "language":
        values["crop_size"] = 64
    values |= changes
    return run_stage(STAGES[name](data=str(data), out=str(out), **values))  # type: ignore[arg-type]


def test_stages_learn_and_hand_over(data: Path, tmp_path: Path) -> None:
    masks = stage("masks", data, tmp_path / "masks")
    assert masks[-1]["bce"] < 0.8 * masks[0]["bce"]
    language = stage("language", data, tmp_path / "language", max_steps=120, batch_size=8)
    assert language[-1]["text"] < 0.5 * language[0]["text"]
    joint = stage(
        "instruct",
        data,
        tmp_path / "joint",
        init_from=str(tmp_path / "language/checkpoint"),
        vision_from=str(tmp_path / "masks/checkpoint"),
        max_steps=40,
    )
    assert joint[-1]["teacher"] < joint[0]["teacher"]
    assert {"text", "bce", "dice", "presence"} <= joint[-1].keys()
    predictor = load(tmp_path / "joint/checkpoint")
    chip = load_chips(data, "val")[0].pixels
    (answer,) = predictor.open(chip, measure(chip)).propose([("where are lakes?", ())])
    assert [span.class_name for span in answer.spans] == ["water"]
    assert (tmp_path / "joint/training.yaml").is_file()


def test_training_goes_on_from_the_shipped_model_with_the_tokens_it_lacks(
    data: Path, tmp_path: Path
) -> None:
    few = {
        "max_steps": 5,
        "batch_size": 2,
        "learning_rate": 1e-4,
        "init_from": str(SHIPPED),
    }
    stage("language", data, tmp_path / "language", **few)
    grown = tmp_path / "language/checkpoint"
    stage(
        "instruct",
        data,
        tmp_path / "joint",
        vision_from=str(SHIPPED),
        **(few | {"init_from": str(grown)}),
    )
    before, after = load(SHIPPED), load(tmp_path / "joint/checkpoint")
    words = after.processor.tokenizer
    added = len(words) - len(before.processor.tokenizer)
    assert after.model.language.get_input_embeddings().weight.shape[0] == len(words)
    assert len(words("<fact:left_out>", add_special_tokens=False)["input_ids"]) == 1 or not added
    chip = load_chips(data, "val")[0].pixels
    (answer,) = after.open(chip, measure(chip)).propose([("open water", ())])
    assert [span.class_name for span in answer.spans] == ["water"]


def test_a_language_model_of_another_width_is_put_in_and_tuned_by_pairs(
    data: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(data / "tokenizer"))
    sizes = {
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": len(tokenizer),
    }
    language = tmp_path / "language"
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(language)
    tokenizer.save_pretrained(language)
    stage("masks", data, tmp_path / "masks", max_steps=1)
    made = {
        "language_model": str(language),
        "vision_from": str(tmp_path / "masks/checkpoint"),
        "tokenizer": None,
    }
    stage("instruct", data, tmp_path / "joint", max_steps=2, tune="lora", lora_rank=2, **made)
    before = load_file(language / "model.safetensors")
    shutil.rmtree(language)
    predictor = load(tmp_path / "joint/checkpoint")
    after = predictor.model.language.state_dict()
    assert after.keys() == before.keys()
    moved = {
        name.rpartition(".")[0].rpartition(".")[2]
        for name in before
        if not torch.equal(before[name], after[name])
    }
    projections = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert moved == {*projections, "embed_tokens", "lm_head"}
    special = set(tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        rows = (before[name] != after[name]).any(1).nonzero().flatten().tolist()
        assert rows and special.issuperset(rows)
    chip = load_chips(data, "val")[0].pixels
    (answer,) = predictor.open(chip, measure(chip)).propose([("where are lakes?", ())])
    assert parse_answer(answer.text) == answer


def test_only_the_last_answer_of_a_conversation_is_learned(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (talk,) = (one for one in load_conversations(data, "train") if one.history)
    assert [one.query for one in talk.exchanges] == ["where are lakes?", "only in the north"]
    tokenizer = AutoTokenizer.from_pretrained(str(data / "tokenizer"))
    processor = SpexProcessor(tokenizer, 4, 32)
    encode = ConversationEncoder(processor, 2)
    ids, start = encode(talk, talk.evidence_text) or ([], 0)
    assert tokenizer.decode(ids[start:]).startswith("<seg class=water where=north>")
    long = replace(talk, query="lakes " * 2000)
    assert encode(long, "") is None and "1 of 2 conversations left out so far" in caplog.text
    with pytest.raises(RecordError, match="all 2 conversations"):
        encode(replace(long, scene_id="other"), "")


def test_batches_of_conversations_depend_on_the_step_alone(data: Path) -> None:
    processor = SpexProcessor(AutoTokenizer.from_pretrained(str(data / "tokenizer")), 0, 32)
    streams = [
        TextStream(load_conversations(data, "train"), processor, 4, 0.5, 0) for _ in range(2)
    ]
    straight = [streams[0].draw(step, 0) for step in range(42)]
    for step in (41, 3):  # of two pools
        assert torch.equal(streams[1].draw(step, 0).input_ids, straight[step].input_ids)
    assert not torch.equal(streams[1].draw(3, 1).weight, straight[3].weight)


def test_the_precision_is_that_of_the_machine_and_recorded(data: Path, tmp_path: Path) -> None:
    stage("masks", data, tmp_path / "masks", max_steps=1)
    recorded = yaml.safe_load((tmp_path / "masks/training.yaml").read_text())["precision"]
    assert recorded == ("bf16" if has_bfloat16(torch.device("cpu")) else "fp32")
    with pytest.raises(ConfigError, match="was started with precision="):
        stage(
            "masks",
            data,
            tmp_path / "masks",
            max_steps=2,
            precision="bf16" if recorded == "fp32" else "fp32",
        )


def test_vision_of_another_size_is_refused(data: Path, tmp_path: Path) -> None:
    stage("language", data, tmp_path / "language", max_steps=1)
    stage("masks", data, tmp_path / "masks", max_steps=1)
    with pytest.raises(ConfigError, match="needs vision_from"):
        stage("instruct", data, tmp_path / "joint", init_from=str(tmp_path / "language/checkpoint"))
    weights = tmp_path / "masks/checkpoint/model.safetensors"
    tensors = load_file(weights)
    tensors["place"] = torch.zeros(3, 3)
    save_file(tensors, weights)
    with pytest.raises(ConfigError, match="does not fit"):
        stage(
            "instruct",
            data,
            tmp_path / "joint",
            init_from=str(tmp_path / "language/checkpoint"),
            vision_from=str(tmp_path / "masks/checkpoint"),
        )


def test_labels_follow_every_flip_and_padding(data: Path) -> None:
    chips = load_chips(data, "train")
    stream, rng = CropStream(chips, 96, {}, 0.0), np.random.default_rng(0)
    for _ in range(8):
        sample = stream.draw(rng, radiometry=False)
        water = sample.labels[CLASS_NAMES.index("water")]
        assert sample.labels.shape == (len(CLASS_NAMES), 96, 96)
        assert (sample.labels[:, ~sample.pixels.valid] == -1).all()
        near_infrared = sample.pixels.values[3]
        assert (
            near_infrared[water == 1].mean()
            < 0.5 * near_infrared[(water == 0) & sample.pixels.valid].mean()
        )


def test_jitter_keeps_invalid_pixels_zero_and_bands_aligned(data: Path) -> None:
    pixels = load_chips(data, "train")[0].pixels
    rng = np.random.default_rng(1)
    for _ in range(10):
        changed = jitter(pixels, rng)
        assert (
            len(changed.bands) == len(changed.values)
            and (changed.values[:, ~changed.valid] == 0).all()
        )
    fewer = drop_bands(pixels, rng)
    for band, plane in zip(fewer.bands, fewer.values, strict=True):
        assert (plane == pixels.values[pixels.bands.index(band)]).all()


def test_batches_mix_sensors(data: Path) -> None:
    stream, rng = CropStream(load_chips(data, "train"), 64, {}, 0.0), np.random.default_rng(0)
    batch = collate([stream.draw(rng) for _ in range(6)])
    assert batch.evidence.shape[0] == 6 and batch.bands.present.sum(1).tolist() == [
        len(v) for v in batch.values
    ]


def test_unknown_pixels_have_no_influence_on_the_loss() -> None:
    logits, labels = torch.randn(2, 8, 8), torch.randint(-1, 2, (2, 8, 8))
    changed = torch.where(labels < 0, 50.0, logits)
    for a, b in zip(mask_losses(logits, labels), mask_losses(changed, labels), strict=True):
        torch.testing.assert_close(a, b)
    perfect = mask_losses((labels.float() * 2 - 1) * 20, labels)
    assert perfect[0] < 1e-4 and perfect[1] < 0.05
    assert mask_losses(logits, torch.full_like(labels, -1)) == (0, 0)


def test_presence_counts_absence_only_where_most_is_known() -> None:
    labels = torch.full((3, 4, 4), -1)
    labels[0, 0, 0], labels[1] = 1, 0
    logits = torch.tensor([-4.0, -4.0, 9.0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[:2], torch.tensor([1.0, 0.0])
    )
    torch.testing.assert_close(presence_loss(logits, labels), expected)


def test_text_loss_is_on_the_answer_only_and_mostly_on_its_spans(data: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(data / "tokenizer"))
    begin, end = tokenizer.convert_tokens_to_ids(["<seg", "</seg>"])
    batch = pad([([50, 60, begin, 80, end, 81], 2), ([50, 60, 70], 2)], tokenizer)
    assert batch.input_ids.shape == batch.attention_mask.shape == (2, 16)
    assert batch.attention_mask.sum(1).tolist() == [6, 3]
    assert (
        batch.weight[:, :6].tolist() == [[0, 0, 4, 4, 1, 1], [0, 0, 1, 0, 0, 0]]
        and not batch.weight[:, 6:].any()
    )
    logits = torch.zeros(2, 16, 600)
    for row, at in ((0, 2), (0, 3), (0, 4), (0, 5), (1, 2)):
        logits[row, at - 1, batch.input_ids[row, at]] = 50.0
    assert text_loss(logits, batch.input_ids, batch.weight) < 1e-4


def test_an_empty_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no survey records"):
        load_chips(tmp_path, "train")
    with pytest.raises(RecordError, match="no conversations"):
        load_conversations(tmp_path, "train")


def test_what_the_model_sees_of_a_training_answer_parses(data: Path) -> None:
    assert all(parse_answer(item.answer).spans for item in load_conversations(data, "train"))
