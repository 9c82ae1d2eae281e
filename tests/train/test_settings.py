"""Settings of the stages: every file we ship loads, bad ones are one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from spex.errors import ConfigError
from train.settings import Settings, load_settings, save_settings
from train.stages.launch import model_and_processor

CONFIGS = sorted(
    p
    for p in (Path(__file__).parents[2] / "train" / "configs").glob("*.yaml")
    if p.stem != "downstream"
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_file_loads_and_survives_being_saved(path: Path, tmp_path: Path) -> None:
    settings = load_settings(path)
    assert settings.stage == path.stem
    save_settings(settings, tmp_path)
    assert load_settings(tmp_path / "training.yaml") == settings


def test_overrides_win_over_the_file() -> None:
    settings = load_settings(CONFIGS[0], ["minutes=1.5", "out=elsewhere", "weights={simulated: 2}"])
    assert (settings.minutes, settings.out, settings.weights) == (
        1.5,
        "elsewhere",
        {"simulated": 2},
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stage: masks\ndata: d\nout: o\nbatches: 8\n", "unknown setting 'batches'"),
        ("stage: cook\ndata: d\nout: o\n", "stage 'cook'"),
        ("stage: masks\nout: o\n", "data"),
        ("stage: masks\ndata: d\nout: o\nlearning_rate: 1e-4\n", "1.0e-4"),
        ("stage: masks\ndata: d\nout: o\nminutes: -1\n", "minutes=-1"),
        ("stage: [masks\n", "cannot read"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(tmp_path / "bad.yaml")
    assert isinstance(caught.value, ConfigError)


def test_a_missing_file_or_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="no tokenizer"):
        model_and_processor(Settings("masks", "d", "o", tokenizer=str(tmp_path)))
