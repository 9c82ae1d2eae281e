"""Downstream comparison: linear probe and fine-tuning, few-shot curves, from scratch and a U-Net.

Every arm sees the same examples and the same bands. Fine-tuning has as many steps as the U-Net,
after those of the linear layer that it starts from. Nothing is chosen on validation places: budgets
are fixed, and the last weights are measured.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spex.errors import ConfigError
from spex.model.config import SIZES, SpecAwareConfig
from spex.model.encoder import SpecAwareEncoder
from train.downstream.class_scores import confusion_counts, scores
from train.downstream.curves import plot_curves, require_matplotlib, score_by_curve
from train.downstream.downstream_settings import DownstreamSettings, TaskSettings
from train.downstream.examples import Example, few_shot_examples
from train.downstream.fitting import fit_network, fit_probe
from train.downstream.heads import FineTuned, LinearProbe, frozen_features
from train.downstream.tasks import DownstreamTask, load_task
from train.downstream.unet import unet_of_size

log = logging.getLogger(__name__)
# Settings that may differ when a comparison is resumed: which runs are wanted, not how they are
# made.
_FREE_SETTINGS = {"arms", "shots", "seeds", "threads", "out", "tasks"}
_FREE_TASK_SETTINGS = {"arms", "shots"}


class ExperimentRun(NamedTuple):
    """One network to train and measure.

    Attributes:
        task: What to learn.
        mode: ``probe`` or ``finetune``.
        init: Where the weights start: ``pretrained``, ``scratch`` or ``unet``.
        shots: Training examples per class; None for all.
        seed: Of subset, weights and batches.
    """

    task: DownstreamTask
    mode: str
    init: str
    shots: int | None
    seed: int

    @property
    def key(self) -> dict[str, Any]:
        """What identifies the run in the results."""
        return {
            "task": self.task.name,
            "mode": self.mode,
            "init": self.init,
            "shots": "all" if self.shots is None else self.shots,
            "seed": self.seed,
        }


@dataclass
class FrozenEncoderCache:
    """What the runs of a task share of the frozen encoder that was used last.

    Attributes:
        encoder: Which encoder it was.
        features: Features by id of the example.
        layers: Weights of the fitted linear layers by shots and seed.
    """

    encoder: str = ""
    features: dict[str, Tensor] = field(default_factory=dict)
    layers: dict[tuple[int | None, int], dict[str, Tensor]] = field(default_factory=dict)


def run_downstream(settings: DownstreamSettings) -> dict[str, Any]:
    """Train and measure every arm on every task.

    Writes ``results.json`` after each run, and ``curves.png`` at the end.

    Returns:
        The content of ``results.json``.

    Raises:
        ConfigError: ``settings.out`` holds results of other settings, or matplotlib is missing.
        RecordError: The records do not fit a task.
    """
    require_matplotlib()
    torch.set_num_threads(settings.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results_file = Path(settings.out) / "results.json"
    results = _begin(results_file, settings)
    for name, values in settings.tasks.items():
        task_settings = TaskSettings(**values)
        task = load_task(settings.data, name, task_settings)
        results["tasks"][name] = _task_summary(task)
        cache = FrozenEncoderCache()
        arms = task_settings.arms or settings.arms
        shots = task_settings.shots or settings.shots
        for run in _runs(task, arms, shots, settings.seeds):
            if any(run.key.items() <= finished.items() for finished in results["runs"]):
                continue
            results["runs"].append(measure(run, settings, cache, device))
            log.info("%s", results["runs"][-1])
            _write(results_file, results)
    plot_curves(results, Path(settings.out) / "curves.png")
    return results


def _task_summary(task: DownstreamTask) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "kind": task.kind,
        "classes": list(task.classes),
        "bands": list(task.bands),
    }
    for split, examples in (("train", task.train), ("val", task.val)):
        summary[f"{split}_examples"] = len({example.id for example in examples})
        summary[f"{split}_places"] = _place_count(examples)
    return summary


def _place_count(examples: Sequence[Example]) -> int:
    return len({example.place for example in examples})


def _runs(
    task: DownstreamTask, arms: list[str], shots: list[int | str], seeds: list[int]
) -> Iterator[ExperimentRun]:
    """All runs of a task; those of one frozen encoder follow each other."""
    modes_by_init: dict[str, list[str]] = {}
    for arm in arms:
        mode, init = arm.split("/")
        modes_by_init.setdefault(init, []).append(mode)
    for init, modes in modes_by_init.items():
        for seed in seeds:
            for mode in modes:
                for count in shots:
                    run_shots = None if count == "all" else int(count)
                    yield ExperimentRun(task, mode, init, run_shots, seed)


def measure(
    run: ExperimentRun,
    settings: DownstreamSettings,
    cache: FrozenEncoderCache,
    device: torch.device,
) -> dict[str, Any]:
    """Train one network and score it on the validation places.

    Args:
        run: What to train.
        settings: How to train it.
        cache: Kept between the runs of a task.
        device: Where to train.

    Returns:
        The entry of the run in ``results.json``.
    """
    began = time.monotonic()
    torch.manual_seed(run.seed)
    task = run.task
    examples = few_shot_examples(task.train, task.class_numbers, run.shots, run.seed)
    encoder = _make_encoder(settings, run.init)
    nn.Module.to(encoder, device)
    encoder_size = _parameter_count(encoder)
    class_count = len(task.classes)
    network: nn.Module
    if run.init == "unet":
        dense = task.kind != "scene"
        network = unet_of_size(task.train, class_count, dense, encoder_size).to(device)
    else:
        probe = _fitted_probe(run, encoder, examples, settings, cache, device)
        network = probe
        if run.mode == "finetune":
            network = FineTuned(encoder, probe, task.kind).to(device)
    if run.mode == "finetune":
        fit_network(network, examples, settings, settings.rates[run.init], run.seed)
    train_seconds = time.monotonic() - began
    counts = confusion_counts(network, task.val, class_count)
    measure_seconds = time.monotonic() - began - train_seconds
    trained_size = _parameter_count(network)
    return {
        **run.key,
        "kind": task.kind,
        "examples": len(examples),
        "places": _place_count(examples),
        **scores(counts, task.classes, task.class_numbers),
        "parameters": trained_size + (encoder_size if run.mode == "probe" else 0),
        "trained_parameters": trained_size,
        "seconds": {"train": round(train_seconds, 1), "measure": round(measure_seconds, 1)},
    }


def _fitted_probe(
    run: ExperimentRun,
    encoder: SpecAwareEncoder,
    examples: Sequence[Example],
    settings: DownstreamSettings,
    cache: FrozenEncoderCache,
    device: torch.device,
) -> LinearProbe:
    """A linear layer fitted on the frozen encoder; features and layers are taken from the cache."""
    task = run.task
    # Every seed gives another encoder from scratch.
    encoder_name = run.init if run.init == "pretrained" else f"{run.init} {run.seed}"
    if cache.encoder != encoder_name:
        cache.features = frozen_features(encoder, task.kind, [*task.train, *task.val])
        cache.encoder = encoder_name
        cache.layers = {}
    probe = LinearProbe(cache.features, task.train, len(task.classes)).to(device)
    layer = cache.layers.get((run.shots, run.seed))
    if layer is None:
        fit_probe(probe, examples, settings, run.seed)
        state = {name: value.clone() for name, value in probe.state_dict().items()}
        cache.layers[run.shots, run.seed] = state
    else:
        probe.load_state_dict(layer)
    return probe


def _parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _make_encoder(settings: DownstreamSettings, init: str) -> SpecAwareEncoder:
    """The pre-trained encoder, or a new one of the same or of the given size."""
    if init == "pretrained":
        return SpecAwareEncoder.from_pretrained(
            settings.encoder, local_files_only=True, dtype=torch.float32
        )
    if settings.encoder:
        config = SpecAwareConfig.from_pretrained(settings.encoder, local_files_only=True)
        return SpecAwareEncoder(config)
    return SpecAwareEncoder(SpecAwareConfig(**SIZES[settings.size]["vision_config"]))


def _begin(path: Path, settings: DownstreamSettings) -> dict[str, Any]:
    """New results, or those of an earlier run to resume.

    Raises:
        ConfigError: The earlier run trained with other settings.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recorded = json.loads(json.dumps(asdict(settings)))
    weights = Path(settings.encoder, "model.safetensors") if settings.encoder else None
    recorded["encoder_sha256"] = (
        hashlib.sha256(weights.read_bytes()).hexdigest() if weights else None
    )
    with torch.device("meta"):
        recorded["encoder_parameters"] = _parameter_count(_make_encoder(settings, "scratch"))
    if not path.is_file():
        return {"schema": 1, "settings": recorded, "tasks": {}, "runs": []}
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if changed := _changed_settings(results, recorded):
        raise ConfigError(
            f"{path} holds results of another {changed[0]}; give another out, or remove the file"
        )
    return results | {"settings": recorded}


def _changed_settings(results: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """Settings that decide how runs are made and differ from those of earlier results."""
    free = set(_FREE_SETTINGS)
    if not any(run["init"] == "pretrained" for run in results["runs"]):
        free |= {"encoder", "encoder_sha256"}
    earlier = results["settings"]
    changed = [
        name for name in recorded if name not in free and earlier.get(name) != recorded[name]
    ]
    for name in recorded["tasks"]:
        if name in results["tasks"] and _task_data(earlier, name) != _task_data(recorded, name):
            changed.append(f"task {name}")
    return changed


def _task_data(settings: dict[str, Any], task: str) -> dict[str, Any]:
    """The settings of a task that decide its examples."""
    values = settings["tasks"].get(task, {})
    return {name: value for name, value in values.items() if name not in _FREE_TASK_SETTINGS}


def _write(path: Path, results: dict[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def summary(results: dict[str, Any]) -> str:
    """A table of task, arm, shots, and the mean and range over seeds of the measured score."""
    lines = []
    for (task, arm, shots), values in score_by_curve(results).items():
        score_range = f"({min(values):.3f}-{max(values):.3f})"
        lines.append(f"{task:<24} {arm:<20} {shots:>4}  {np.mean(values):.3f} {score_range}")
    return "\n".join(lines)
