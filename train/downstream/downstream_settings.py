"""Settings of a downstream comparison: tasks, arms, budgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from spex.errors import ConfigError
from train.data.training_chips import CLASS_NAMES
from train.settings_file import read_settings

ARMS = (
    "probe/pretrained",
    "probe/scratch",
    "finetune/pretrained",
    "finetune/scratch",
    "finetune/unet",
)
"""What is compared: a mode (``probe``: a linear layer on the frozen encoder, ``finetune``: all
weights trained) and where the weights start."""
LEARNING_RATES = {"probe": 1e-2, "pretrained": 5e-4, "scratch": 1e-3, "unet": 1e-3}
_MIN_CROP = 32  # the coarsest stride still divides it

TaskKind = Literal["segmentation", "change", "scene"]


@dataclass(frozen=True)
class TaskSettings:
    """One downstream task."""

    kind: TaskKind
    """segmentation, change (what a class gained between two dates of a place) or scene (one class
    per tile)."""
    sources: list[str]
    """Sources of SPIE records."""
    classes: list[str]
    """Classes to distinguish, which must exclude each other. Pixels of none of them form a class of
    their own; tiles of none of them are left out of scene classification."""
    bands: list[str] = field(default_factory=list)
    """Bands that every arm is given; if empty, those that all records have."""
    tile: int = 64
    """Side of a scene to classify, pixels."""
    held_out: str = ""
    """For a source without validation places: records whose id begins so are held out of training
    and measured on instead."""
    arms: list[str] = field(default_factory=list)
    """Arms to compare on this task; those of the file if empty."""
    shots: list[int | str] = field(default_factory=list)
    """Training examples per class in this task; those of the file if empty."""

    def __post_init__(self) -> None:
        """Check classes and kind.

        Raises:
            ConfigError: A class or the kind is unknown.
        """
        if unknown := sorted(set(self.classes) - set(CLASS_NAMES)):
            raise ConfigError(f"no class {unknown[0]!r}; known: {', '.join(CLASS_NAMES)}")
        if self.kind not in get_args(TaskKind):
            raise ConfigError(
                f"no task of kind {self.kind!r}; give one of {', '.join(get_args(TaskKind))}"
            )


@dataclass(frozen=True)
class DownstreamSettings:
    """Settings of one comparison."""

    data: str
    """Folder of SPIE records, as ``spex spie build`` writes it."""
    out: str
    """Folder of results.json and curves.png. A run with the same settings resumes there."""
    tasks: dict[str, Any]
    """Tasks by name; see :class:`TaskSettings`."""
    encoder: str | None = None
    """Folder of a pre-trained encoder."""
    size: str = "base"
    """Size of the encoder from scratch if there is no pre-trained one, of
    ``spex.model.config.SIZES``."""
    arms: list[str] = field(default_factory=lambda: list(ARMS))
    """Which of ``ARMS`` to compare."""
    shots: list[int | str] = field(default_factory=lambda: [1, 4, 16, "all"])
    """Training examples per class, or all."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Seeds of the subsets, the weights and the batches."""
    steps: int = 400
    """Optimiser steps when all weights are trained, of the encoder as of the U-Net."""
    probe_steps: int = 300
    """Optimiser steps of a linear layer on frozen features."""
    batch: int = 8
    """Examples per step."""
    crop: int = 128
    """Side of the training crops, pixels (the probe is given whole images)."""
    rates: dict[str, float] = field(default_factory=lambda: dict(LEARNING_RATES))
    """Peak learning rates: of the probe, and of fine-tuning by where the weights start."""
    threads: int = 2
    """CPU threads of torch."""


def load_downstream(path: str | Path, overrides: list[str] | None = None) -> DownstreamSettings:
    """Settings from a YAML file and ``name=value`` overrides.

    Args:
        path: The YAML file.
        overrides: Take precedence over the file.

    Raises:
        ConfigError: A name or value is unknown, or the encoder is missing.
    """
    settings = read_settings(DownstreamSettings, path, overrides)
    arms = list(settings.arms)
    shots = list(settings.shots)
    for name, values in settings.tasks.items():
        try:
            task = TaskSettings(**values)
        except TypeError as error:
            raise ConfigError(f"task {name} in {path}: {error}") from error
        arms += task.arms
        shots += task.shots
    _check(settings, arms, shots, path)
    return settings


def _check(
    settings: DownstreamSettings, arms: list[str], shots: list[int | str], path: str | Path
) -> None:
    """Check the settings together with the arms and shots of all tasks."""
    if unknown := sorted(set(arms) - set(ARMS)):
        raise ConfigError(f"no arm {unknown[0]!r} in {path}; known: {', '.join(ARMS)}")
    for count in shots:
        if count != "all" and not (isinstance(count, int) and count > 0):
            raise ConfigError(f"shots {count!r} in {path}; give numbers above 0, or all")
    if settings.crop < _MIN_CROP:
        raise ConfigError(f"crop={settings.crop} in {path}; give {_MIN_CROP} or more")
    if missing := sorted(set(LEARNING_RATES) - set(settings.rates)):
        raise ConfigError(
            f"rates in {path} lack {missing[0]!r}; give a rate for {', '.join(LEARNING_RATES)}"
        )
    needs_encoder = any(arm.endswith("/pretrained") for arm in arms)
    has_encoder = settings.encoder is not None and Path(settings.encoder, "config.json").is_file()
    if needs_encoder and not has_encoder:
        raise ConfigError(
            f"no encoder in {settings.encoder!r}; give encoder=FOLDER (from stage pretrain) or "
            "other arms"
        )
