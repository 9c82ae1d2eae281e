"""Stage align: visual tokens that tell a frozen language model what is in the scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from spex.errors import ConfigError
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.model.config import make_config
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.answer_markup import parse_answer
from spex.query.constraints import HALVES_AND_QUARTERS
from spex.records import BandRef, Rle, SceneRef, SpanTarget, SpieRecord, write_records
from spex.sensors import Band
from tests.scenes import write_synthetic_scene
from train.data.conversations import pad
from train.data.crops import CropStream
from train.data.training_chips import load_chips
from train.run.losses import text_loss
from train.settings import AlignSettings
from train.stages.align import REQUESTS, AlignTrainer, CaptionStream, caption, encode_caption
from train.stages.class_prompts import CLASS_PROMPTS_FILE
from train.stages.launch import run_stage
from train.stages.tokenizer import train_tokenizer

SHOWN = ("water", "vegetation", "bare", "built_up")
BANDS = [("B", 490.0), ("G", 560.0), ("R", 665.0), ("N", 842.0), ("S1", 1610.0)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of a landscape with different land cover, and a model that cannot see them yet."""
    folder = tmp_path_factory.mktemp("spie")
    bands, records = tuple(Band(name, wavelength, 40.0) for name, wavelength in BANDS), []
    truth = write_synthetic_scene(folder / "whole.tif", bands=bands, height=96, width=96, seed=1)
    for number, (row, col) in enumerate([(8, 6), (0, 56), (40, 20), (56, 56), (30, 30), (0, 20)]):
        window = (col, row, 32, 32)
        mask = Rle.encode(truth[row : row + 32, col : col + 32] == 1)
        records.append(
            SpieRecord(
                id=f"s{number}",
                kind="survey",
                split="train" if number < 5 else "val",
                place=str(number),
                source="made",
                sensor="made",
                scene=SceneRef(path="whole.tif", window=window),
                level="surface",
                gsd_m=10.0,
                scale=1e-4,
                bands=[BandRef(name=n, wavelength_nm=w, fwhm_nm=40.0) for n, w in BANDS],
                spans=[SpanTarget(class_name="water", phrase="water", mask=mask)],
            )
        )
    write_records(folder / "survey_made.parquet", records)
    _write_taught_model(folder)
    return folder


def _facts(evidence: SceneEvidence) -> list[float]:
    """Share, presence and location of each class as numbers."""
    numbers: list[float] = []
    for name in SHOWN:
        item = evidence.classes[name]
        numbers += [3 * item.fraction, item.status == "present"]
        numbers += [item.location == place for place in HALVES_AND_QUARTERS]
    return numbers


def _write_taught_model(folder: Path) -> None:
    """Train a language model that writes captions from coded facts, not yet from images."""
    crops, rng = CropStream(load_chips(folder, "train"), 32, {}, 0.0), np.random.default_rng(7)
    evidence = [crops.draw(rng).evidence for _ in range(120)]
    tokenizer = train_tokenizer([caption(one) for one in evidence] * 5, 500)
    torch.manual_seed(0)
    model, processor = SpexModel(make_config("micro", tokenizer)), SpexProcessor(tokenizer, 4, 32)
    facts = torch.tensor([_facts(item) for item in evidence])
    codes = torch.tanh(facts @ torch.randn(facts.shape[1], 4 * 64)).view(len(facts), 4, 64)
    text = pad(
        [encode_caption(processor, REQUESTS[0], caption(one)) for one in evidence], tokenizer
    )
    optimizer = torch.optim.AdamW(model.language.parameters(), lr=3e-3)
    for step in range(150):
        rows = torch.from_numpy(np.random.default_rng(step).integers(len(facts), size=16))
        told = codes[rows] + 0.5 * torch.randn(16, 4, 64)  # near codes mean the same
        out = model.language(
            inputs_embeds=model.embed(text.input_ids[rows], told),
            attention_mask=text.attention_mask[rows],
        )
        loss = text_loss(out.logits, text.input_ids[rows], text.weight[rows])
        loss.backward()
        if step % 50 == 49:
            print(step, loss.item())
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder / "start")
    tokenizer.save_pretrained(str(folder / "start"))


def test_captions_tell_shares_and_places_and_hold_no_span(data: Path) -> None:
    texts = [caption(measure(chip.pixels)) for chip in load_chips(data, "train")]
    assert any("water" in text.split("absent")[0] and "%" in text for text in texts)
    assert not any(parse_answer(text).spans or "<" in text for text in texts)


def test_it_learns_to_read_the_image_and_touches_nothing_else(data: Path, tmp_path: Path) -> None:
    settings = AlignSettings(
        data=str(data),
        out=str(tmp_path),
        init_from=str(data / "start"),
        max_steps=100,
        batch_size=8,
        crop_size=32,
        learning_rate=1e-2,
        threads=1,
        precision="fp32",
        eval_steps=100,
        eval_records=2,
    )
    run_stage(settings)
    before, after = (
        load_file(folder / "model.safetensors")
        for folder in (data / "start", tmp_path / "checkpoint")
    )
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} == {"project", "place", "encoder"}
    assert all("lateral" in name for name in changed if name.startswith("encoder"))
    assert (tmp_path / "checkpoint" / CLASS_PROMPTS_FILE).is_file()
    (sample,) = (tmp_path / "samples").glob("*.md")
    assert (
        sample.read_text().count("wanted `") == 8
        and "absent: " in sample.read_text().split("wrote `")[1]
    )

    model = SpexModel.from_pretrained(tmp_path / "checkpoint").eval()
    processor = SpexProcessor(AutoTokenizer.from_pretrained(data / "start"), 4, 32)
    stream = CaptionStream(CropStream(load_chips(data, "train"), 32, {}, 0.0), processor, settings)
    rng = np.random.default_rng(99)  # crops that no step drew
    samples = [stream.crops.draw(rng, chip) for chip in stream.crops.chips for _ in range(2)]
    others = [samples[(i + 2) % len(samples)] for i in range(len(samples))]  # of another chip
    with torch.no_grad():
        own = stream.batch(samples, [REQUESTS[0]] * len(samples))
        other = stream.batch(others, [REQUESTS[0]] * len(samples))
        trainer = AlignTrainer(model)
        mine, untaught = (
            trainer(own),
            AlignTrainer(SpexModel.from_pretrained(data / "start").eval())(own),
        )
        swapped = trainer(type(own)(other.masks, own.text))
    assert mine < 0.9 * swapped and mine < 0.9 * untaught, (mine, swapped, untaught)


def test_it_needs_a_model_to_start_from(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs init_from"):
        run_stage(
            AlignSettings(
                data=str(data),
                out=str(tmp_path),
                tokenizer=str(data / "start"),
                model_size="micro",
            )
        )
