"""Settings of a training stage: one YAML file, one frozen dataclass; saved beside the checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from spex.errors import ConfigError

LOG_EVERY = 20
"""Steps of a row of the log."""
LOSS_WEIGHTS = {"text": 1.0, "bce": 2.0, "dice": 1.0, "presence": 0.2, "teacher": 1.0,
                "class_bce": 2.0, "class_dice": 1.0, "class_presence": 0.2}  # fmt: skip

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Settings:
    """What one run of a stage needs."""

    stage: str
    """pretrain (the encoder, from pixels alone), masks (encoder and decoder from labels), language (the language model
    from dialogues), align (projector and aggregation from captions of the evidence) or instruct (all, jointly)."""
    data: str
    """Folder of SPIE records, as ``spex spie build`` writes it."""
    out: str
    """Folder of the resulting checkpoint; a run that was stopped goes on from there."""
    start: str | None = None
    """Checkpoint to start from; None initialises a model of ``size``."""
    vision: str | None = None
    """Checkpoint whose parts other than the language model replace those of ``start``."""
    encoder: str | None = None
    """Checkpoint of stage pretrain whose encoder replaces that of ``start`` or of a new model."""
    tokenizer: str | None = None
    """Folder of the tokenizer of a new model."""
    language: str | None = None
    """Language model of a new model: a local folder or hub id of any causal one; None takes that of ``size``."""
    tune: str = "all"
    """What is learned of the language model: all, lora (low-rank pairs beside its layers) or none."""
    lora: int = 16
    """Rank of the pairs."""
    bits: int | None = None
    """4 or 8: the frozen weights of ``language`` are quantised (a CUDA device and bitsandbytes)."""
    size: str = "base"
    """A size of ``spex.model.config.SIZES``."""
    minutes: float = 60.0
    """Wall-clock budget; the learning rate follows a cosine over it, so a run ends by itself on any machine."""
    steps: int = 1_000_000
    """Upper bound on optimiser steps (the schedule ends with whichever bound comes first)."""
    batch: int = 8
    """Records per step, process and part of a step."""
    accumulate: int = 1
    """Parts of a step, whose gradients are averaged before the optimiser moves: ``accumulate`` times ``batch`` records
    for the memory of ``batch``. A term that is a mean over what a batch holds (tokens, known pixels) is averaged part
    by part."""
    checkpointing: bool = False
    """Whether activations are computed again in the backward pass instead of kept: less memory, a third more time."""
    learning_rate: float = 6e-4
    """Peak learning rate."""
    parts: dict[str, float] = field(default_factory=dict)
    """Factors on the learning rate by the first name of a parameter (``language: 0.1``); 0 freezes the part."""
    weight_decay: float = 0.02
    """AdamW weight decay."""
    crop: int = 128
    """Side of the training crops, pixels."""
    hidden: float = 0.6
    """Share of the image hidden from the encoder in stage pretrain."""
    weights: dict[str, float] = field(default_factory=dict)
    """How often a source is drawn, by the beginning of its name; 1 where not given."""
    prior_dropout: float = 0.5
    """Share of conversations drawn from those built without prior text, and (a third of it) of crops without
    evidence maps."""
    rank: int = 16
    """Of the low-rank pairs of stage adapt."""
    loss: dict[str, float] = field(default_factory=lambda: dict(LOSS_WEIGHTS))
    """Weights of the loss terms."""
    threads: int = 2
    """CPU threads of torch."""
    precision: str = "auto"
    """bf16 (weights stay in full precision), fp32, or auto: bf16 where the machine has units for it."""
    save_minutes: float = 10.0
    """Least time between checkpoints."""
    keep: int = 1
    """Checkpoints kept: the newest as ``checkpoint``, those before by their step."""
    validate: int = 0
    """Steps between validations, a multiple of 20, each with a checkpoint and samples; 0 for none. The best checkpoint
    is kept as ``best``."""
    validate_on: int = 32
    """Records of validation places that a validation measures on."""
    patience: int = 0
    """Validations without a new best after which the run ends; 0 for never."""
    seed: int = 0
    """Seed of everything random."""


def read_settings(kind: type[Kind], path: str | Path, overrides: list[str] | None = None) -> Kind:
    """Read a dataclass from a YAML file and ``name=value`` overrides.

    Raises:
        ConfigError: a file that cannot be read, or an unknown or missing name.
    """
    try:
        values: dict[str, Any] = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the settings {path}: {error}") from error
    for text in overrides or []:
        name, _, value = text.partition("=")
        values[name] = yaml.safe_load(value)
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0]!r} in {path}; known: {', '.join(known)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from error


def load_settings(path: str | Path, overrides: list[str] | None = None) -> Settings:
    """Settings of a stage from a YAML file and ``name=value`` overrides.

    Raises:
        ConfigError: a file that cannot be read, an unknown name, or a value of the wrong type.
    """
    settings = read_settings(Settings, path, overrides)
    stages = ("pretrain", "masks", "language", "align", "instruct", "adapt")
    if settings.stage not in stages:
        raise ConfigError(f"stage {settings.stage!r} in {path}; one of {', '.join(stages)}")
    if settings.precision not in ("auto", "bf16", "fp32"):
        raise ConfigError(f"precision {settings.precision!r} in {path}; one of auto, bf16, fp32")
    if settings.tune not in ("all", "lora", "none"):
        raise ConfigError(f"tune {settings.tune!r} in {path}; one of all, lora, none")
    if settings.bits and settings.tune == "all":
        raise ConfigError(
            f"bits={settings.bits} in {path}: quantised weights cannot be tuned; set tune: lora or none"
        )
    numbers = {"minutes": settings.minutes, "learning_rate": settings.learning_rate}
    for name, value in numbers.items():
        if not isinstance(value, int | float) or value <= 0:
            raise ConfigError(
                f"{name}={value!r} in {path}; give a number above 0 (YAML reads 1e-4 as text, write 1.0e-4)"
            )
    _require_counts(settings, path)
    return replace(
        settings, minutes=float(settings.minutes), learning_rate=float(settings.learning_rate)
    )


def _require_counts(settings: Settings, path: str | Path) -> None:
    least = {
        "steps": 1,
        "batch": 1,
        "accumulate": 1,
        "keep": 1,
        "validate": 0,
        "validate_on": 1,
        "patience": 0,
    }
    for name, low in least.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ConfigError(f"{name}={value!r} in {path}; give a whole number from {low}")
    if settings.validate % LOG_EVERY:
        raise ConfigError(
            f"validate={settings.validate} in {path}; give a multiple of {LOG_EVERY} steps"
        )
    if settings.patience and not settings.validate:
        raise ConfigError(
            f"patience={settings.patience} in {path}, and validate=0; give the steps between validations"
        )


def save_settings(settings: Settings, folder: str | Path) -> None:
    """Write the resolved settings to ``training.yaml`` in the checkpoint folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, "training.yaml").write_text(
        yaml.safe_dump(asdict(settings), sort_keys=False), encoding="utf-8"
    )
