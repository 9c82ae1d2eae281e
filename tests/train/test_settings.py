"""Settings of the stages: every shipped file loads, and a bad one is one clear error."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from spex.errors import ConfigError
from train.settings import STAGES, InstructSettings, MaskSettings
from train.settings_file import RENAMED, load_settings, save_settings
from train.stages.launch import model_and_processor

FOLDER = Path(__file__).parents[2] / "train" / "configs"
CONFIGS = sorted(path for path in FOLDER.glob("*.yaml") if path.stem != "downstream")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_file_loads_and_survives_being_saved(path: Path, tmp_path: Path) -> None:
    settings = load_settings(path)
    assert type(settings) is STAGES[path.stem]
    save_settings(settings, tmp_path)
    assert load_settings(tmp_path / "training.yaml") == settings


def test_every_stage_ships_a_file() -> None:
    assert [path.stem for path in CONFIGS] == sorted(STAGES)


def test_overrides_win_over_the_file() -> None:
    overrides = ["max_minutes=1", "out=elsewhere", "source_weights={simulated: 2}"]
    settings = load_settings(FOLDER / "masks.yaml", overrides)
    assert isinstance(settings, MaskSettings)
    assert settings.max_minutes == 1.0
    assert settings.out == "elsewhere"
    assert settings.source_weights == {"simulated": 2.0}
    assert settings.batch_size == 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batches=8", "unknown setting 'batches' in .*; did you mean batch_size"),
        ("temperature=8", "unknown setting 'temperature' in .*; known: stage, data, out"),
        ("mask_ratio=0.5", "setting 'mask_ratio' in .* has no effect in stage masks"),
        ("stage=cook", "stage='cook' in .*; give pretrain, masks,"),
        ("learning_rate=1e-4", r"YAML reads 1e-4 as text; write 1\.0e-4"),
        ("max_minutes=-1", "max_minutes=-1 in .*; give a number above 0"),
        ("batch_size=true", "batch_size=True in .*; give a whole number"),
        ("batch_size=0", "batch_size=0 in .*; give a number of at least 1"),
        ("evidence_map_dropout=2", "at most 1"),
        ("eval_steps=30", "multiple of 20"),
        ("precision=fp8", "give 'auto', 'bf16' or 'fp32'"),
        ("lr_scale={encoder: slow}", "lr_scale.encoder='slow' in .*; give a number"),
        ("source_weights=[1]", "give names with values"),
        ("loss_weights={bec: 1}", "no term 'bec' in stage masks; give bce, dice, presence"),
        ("model_size=huge", "model_size='huge'; give micro, base"),
        ("data=null", "data=None in .*; give a text"),
        ("minutes", "cannot read the setting 'minutes'; give name=value"),
    ],
)
def test_a_bad_value_is_one_clear_error(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(FOLDER / "masks.yaml", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stage: masks\nout: o\n", "gives no data; add it"),
        ("stage: [masks\n", "cannot read"),
        ("masks\n", "holds no settings"),
        ("data: d\nout: o\n", "stage=None in"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(tmp_path / "bad.yaml")


@pytest.mark.parametrize("old", RENAMED)
def test_a_name_of_an_earlier_version_is_refused_with_the_new_one(old: str) -> None:
    new = RENAMED[old]
    stage = next(
        name for name, kind in STAGES.items() if new in [field.name for field in fields(kind)]
    )
    with pytest.raises(ConfigError, match=f"setting '{old}' in .* is now called '{new}'"):
        load_settings(FOLDER / f"{stage}.yaml", [f"{old}=1"])


def test_the_old_dropout_is_refused_with_both_new_ones() -> None:
    message = r"evidence_text_dropout \(the same value\) and evidence_map_dropout \(a third"
    with pytest.raises(ConfigError, match=message):
        load_settings(FOLDER / "instruct.yaml", ["prior_dropout=0.75"])


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="quantised weights cannot be trained"):
        InstructSettings(data="d", out="o", quantization_bits=4)
    with pytest.raises(ConfigError, match="early_stopping_patience=2 needs validations"):
        InstructSettings(data="d", out="o", early_stopping_patience=2)


def test_a_missing_file_or_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="no tokenizer"):
        model_and_processor(MaskSettings(data="d", out="o", tokenizer=str(tmp_path)))
