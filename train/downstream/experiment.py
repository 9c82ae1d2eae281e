"""Downstream tasks of the encoder: linear probe and fine-tuning, few-shot curves, from scratch and U-Net beside them.

Every arm sees the same examples and the same bands. Fine-tuning has as many steps as the U-Net, after those of the
linear layer it starts from. Nothing is chosen on validation places: budgets are fixed, the last weights are measured.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.errors import ConfigError
from spex.model.config import SIZES, SpecAwareConfig
from spex.model.encoder import SpecAwareEncoder
from spex.model.precision import autocast
from train.downstream.curves import curves, plot, require_matplotlib
from train.downstream.examples import (
    DownstreamTask,
    Example,
    TaskSettings,
    augmented,
    few,
    load_task,
)
from train.downstream.heads import FineTuned, LinearProbe, frozen_features
from train.downstream.unet import sized_unet
from train.settings_file import read_settings

logger = logging.getLogger(__name__)
ARMS = (
    "probe/pretrained",
    "probe/scratch",
    "finetune/pretrained",
    "finetune/scratch",
    "finetune/unet",
)
"""Mode (encoder frozen under a linear layer, or all weights trained) and where the weights start."""
_SMALLEST = 32  # crop that the coarsest stride still divides
_CELLS = 4096  # of frozen maps (or scenes) to a step of a linear layer
RATES = {"probe": 1e-2, "pretrained": 5e-4, "scratch": 1e-3, "unet": 1e-3}


@dataclass(frozen=True)
class DownstreamSettings:
    """What one comparison needs."""

    data: str
    """Folder of SPIE records, as ``spex spie build`` writes it."""
    out: str
    """Folder of results.json and curves.png; a run with the same settings goes on where it stopped."""
    tasks: dict[str, Any]
    """Tasks by name; see :class:`train.downstream.examples.TaskSettings`."""
    encoder: str | None = None
    """Folder of a pre-trained encoder."""
    size: str = "base"
    """Size of the encoder from scratch where there is no pre-trained one, of ``spex.model.config.SIZES``."""
    arms: list[str] = field(default_factory=lambda: list(ARMS))
    """Which of ``ARMS`` to compare."""
    shots: list[int | str] = field(default_factory=lambda: [1, 4, 16, "all"])
    """Training examples per class, or all."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Seeds of the subsets, the weights and the batches."""
    steps: int = 400
    """Optimiser steps of all weights, of the encoder as of the U-Net."""
    probe_steps: int = 300
    """Optimiser steps of a linear layer on what is frozen."""
    batch: int = 8
    """Examples per step."""
    crop: int = 128
    """Side of the training crops, pixels (the probe sees whole images)."""
    rates: dict[str, float] = field(default_factory=lambda: dict(RATES))
    """Peak learning rates of the probe, and of fine-tuning by where the weights start."""
    threads: int = 2
    """CPU threads of torch."""


class Run(NamedTuple):
    """One thing to train and measure; ``shots`` None are all examples."""

    task: DownstreamTask
    mode: str
    init: str
    shots: int | None
    seed: int

    @property
    def key(self) -> dict[str, Any]:
        """What identifies it in the results."""
        shots = "all" if self.shots is None else self.shots
        return {
            "task": self.task.name,
            "mode": self.mode,
            "init": self.init,
            "shots": shots,
            "seed": self.seed,
        }


def load_downstream(path: str | Path, overrides: list[str] | None = None) -> DownstreamSettings:
    """Settings from a YAML file and ``name=value`` overrides.

    Raises:
        ConfigError: an unknown name or value, or an encoder that is not there.
    """
    settings = read_settings(DownstreamSettings, path, overrides)
    arms, shots = list(settings.arms), list(settings.shots)
    for name, values in settings.tasks.items():
        try:
            about = TaskSettings(**values)
        except TypeError as error:
            raise ConfigError(f"task {name} in {path}: {error}") from error
        arms, shots = arms + about.arms, shots + about.shots
    if unknown := sorted(set(arms) - set(ARMS)):
        raise ConfigError(f"no arm {unknown[0]!r} in {path}; known: {', '.join(ARMS)}")
    if wrong := [s for s in shots if s != "all" and not (isinstance(s, int) and s > 0)]:
        raise ConfigError(f"shots {wrong[0]!r} in {path}; give numbers above 0, or all")
    if settings.crop < _SMALLEST:
        raise ConfigError(f"crop={settings.crop} in {path}; give {_SMALLEST} or more")
    if missing := sorted(set(RATES) - set(settings.rates)):
        raise ConfigError(f"rates in {path} lack {missing[0]!r}; give {', '.join(RATES)}")
    if any(arm.endswith("/pretrained") for arm in arms) and (
        settings.encoder is None or not Path(settings.encoder, "config.json").is_file()
    ):
        raise ConfigError(
            f"no encoder in {settings.encoder!r}; give encoder=FOLDER (from stage pretrain) or other arms"
        )
    return settings


def run_downstream(settings: DownstreamSettings) -> dict[str, Any]:
    """Train and measure every arm on every task; write ``results.json`` after each run, ``curves.png`` at the end.

    Raises:
        ConfigError: ``out`` holds results of other settings, or a task is described wrongly.
    """
    require_matplotlib()
    torch.set_num_threads(settings.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    out = Path(settings.out)
    results = _begin(out / "results.json", settings)
    for name, values in settings.tasks.items():
        about = TaskSettings(**values)
        task = load_task(settings.data, name, about)
        results["tasks"][name] = {
            "kind": task.kind, "classes": list(task.classes), "bands": list(task.bands),
            **{f"{part}_{what}": len({of(e) for e in found})
               for part, found in (("train", task.train), ("val", task.val))
               for what, of in (("examples", lambda e: e.id), ("places", lambda e: e.place))},
        }  # fmt: skip
        frozen = Frozen()
        for run in _runs(
            task, about.arms or settings.arms, about.shots or settings.shots, settings.seeds
        ):
            if any(run.key.items() <= found.items() for found in results["runs"]):
                continue
            results["runs"].append(measure(run, settings, frozen, device))
            logger.info("%s", results["runs"][-1])
            _write(out / "results.json", results)
    plot(results, out / "curves.png")
    return results


def _runs(
    task: DownstreamTask, arms: list[str], shots: list[int | str], seeds: list[int]
) -> Iterator[Run]:
    """All runs of a task; those of one frozen encoder follow each other."""
    for init in dict.fromkeys(arm.split("/")[1] for arm in arms):
        for seed in seeds:
            for arm in arms:
                mode, start = arm.split("/")
                for number in shots if start == init else []:
                    yield Run(task, mode, init, None if number == "all" else int(number), seed)


@dataclass
class Frozen:
    """The frozen encoder met last: features by example, and the layers fitted on them by shots and seed."""

    name: str = ""
    features: dict[str, Tensor] = field(default_factory=dict)
    layers: dict[tuple[int | None, int], dict[str, Tensor]] = field(default_factory=dict)


def measure(
    run: Run, settings: DownstreamSettings, frozen: Frozen, device: torch.device
) -> dict[str, Any]:
    """Train one network and score it on the validation places.

    Args:
        frozen: kept from run to run of a task.
    """
    began = time.monotonic()
    torch.manual_seed(run.seed)
    task = run.task
    examples = few(task, run.shots, run.seed)
    encoder = _encoder(settings, run.init).to(device)
    classes, dense = len(task.classes), task.kind != "scene"
    size = sum(p.numel() for p in encoder.parameters())
    network: nn.Module
    if run.init == "unet":
        network = sized_unet(task.train, classes, dense, size).to(device)
    else:
        name = run.init if run.init == "pretrained" else f"{run.init} {run.seed}"
        if frozen.name != name:
            found = frozen_features(encoder, task.kind, [*task.train, *task.val])
            frozen.name, frozen.features, frozen.layers = name, found, {}
        network = probe = LinearProbe(frozen.features, task.train, classes).to(device)
        if (layer := frozen.layers.get((run.shots, run.seed))) is None:
            fit_probe(probe, examples, settings, run.seed)
            frozen.layers[run.shots, run.seed] = {
                k: v.clone() for k, v in probe.state_dict().items()
            }
        else:
            probe.load_state_dict(layer)
        if run.mode == "finetune":
            network = FineTuned(encoder, probe, task.kind).to(device)
    if run.mode == "finetune":
        fit(network, examples, settings, settings.rates[run.init], run.seed)
    trained = time.monotonic() - began
    own = sum(p.numel() for p in network.parameters())
    return {
        **run.key, "kind": task.kind, "examples": len(examples), "places": len({e.place for e in examples}),
        **scores(confusion(network, task.val, classes), task),
        "parameters": own + size if run.mode == "probe" else own, "trained_parameters": own,
        "seconds": {"train": round(trained, 1), "measure": round(time.monotonic() - began - trained, 1)},
    }  # fmt: skip


def _encoder(settings: DownstreamSettings, init: str) -> SpecAwareEncoder:
    if init == "pretrained":
        return SpecAwareEncoder.from_pretrained(
            settings.encoder, local_files_only=True, dtype=torch.float32
        )
    if settings.encoder:
        return SpecAwareEncoder(
            SpecAwareConfig.from_pretrained(settings.encoder, local_files_only=True)
        )
    return SpecAwareEncoder(SpecAwareConfig(**SIZES[settings.size]["vision_config"]))


def fit_probe(
    probe: LinearProbe, examples: Sequence[Example], settings: DownstreamSettings, seed: int
) -> None:
    """Train a linear layer on random cells of frozen maps, or on frozen scenes."""
    features, truth = probe.cells(examples)
    generator = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        chosen = torch.randint(len(truth), (_CELLS,), generator=generator).to(truth.device)
        return F.cross_entropy(probe.layer(features[chosen]), truth[chosen])

    _descend(probe, loss, settings.rates["probe"], settings.probe_steps)


def fit(
    network: nn.Module,
    examples: Sequence[Example],
    settings: DownstreamSettings,
    rate: float,
    seed: int,
) -> None:
    """Train all weights; cross-entropy over known pixels (or scenes) of augmented crops."""
    rng = np.random.default_rng(seed)
    device = next(network.parameters()).device

    def loss() -> Tensor:
        chosen = rng.choice(len(examples), min(settings.batch, len(examples)), replace=False)
        batch = [examples[int(i)] for i in chosen]
        side = settings.crop if batch[0].target.ndim else len(batch[0].dates[0].valid)
        batch = [augmented(e, side, rng) for e in batch]
        with autocast(device):
            logits = network(batch)
        return _cross_entropy(logits, batch)

    _descend(network, loss, rate, settings.steps)


def _descend(network: nn.Module, loss_of: Callable[[], Tensor], rate: float, steps: int) -> None:
    """AdamW under a cosine."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02, fused=True)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: min(1.0, (s + 1) / warm) * (0.51 + 0.49 * math.cos(math.pi * s / steps)),
    )
    network.train()
    for _ in range(steps):
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def _cross_entropy(logits: Sequence[Tensor], examples: Sequence[Example]) -> Tensor:
    """Mean over what is known."""
    flat = torch.cat([one.float().reshape(len(one), -1) for one in logits], 1).T
    truth = torch.from_numpy(np.concatenate([e.target.ravel() for e in examples])).to(flat.device)
    loss = F.cross_entropy(flat, truth, ignore_index=-1, reduction="sum")
    return loss / (truth >= 0).sum().clamp(min=1)


@torch.no_grad()
def confusion(network: nn.Module, examples: Sequence[Example], classes: int) -> Tensor:
    """Known pixels (or scenes) by true class (rows) and found class (columns)."""
    network.eval()
    counts = torch.zeros(classes * classes, dtype=torch.long)
    for example in examples:
        truth = torch.from_numpy(example.target.ravel())
        found = network([example])[0].argmax(0).ravel().cpu()
        known = truth >= 0
        counts += torch.bincount(truth[known] * classes + found[known], minlength=classes**2)
    return counts.view(classes, classes)


def scores(counts: Tensor, task: DownstreamTask) -> dict[str, Any]:
    """IoU and F1 per class (None where it is neither true nor found), their means over named classes, accuracy."""
    hit, true, found = counts.diag().double(), counts.sum(1).double(), counts.sum(0).double()
    rows = {
        name: {
            "iou": float(hit[i] / (true[i] + found[i] - hit[i])) if true[i] + found[i] else None,
            "f1": float(2 * hit[i] / (true[i] + found[i])) if true[i] + found[i] else None,
            "support": int(true[i]),
        }
        for i, name in enumerate(task.classes)
    }
    named = [rows[task.classes[i]] for i in task.named if true[i]]
    return {
        "classes": rows,
        **{
            f"mean_{m}": sum(row[m] or 0.0 for row in named) / len(named) if named else None
            for m in ("iou", "f1")
        },
        "oa": float(hit.sum() / true.sum()),
    }


def _begin(path: Path, settings: DownstreamSettings) -> dict[str, Any]:
    """New results, or those to go on with; which runs are wanted may have changed, how they are made may not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stated = json.loads(json.dumps(asdict(settings)))
    weights = Path(settings.encoder, "model.safetensors") if settings.encoder else None
    stated["encoder_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest() if weights else None
    with torch.device("meta"):
        stated["encoder_parameters"] = sum(
            p.numel() for p in _encoder(settings, "scratch").parameters()
        )
    if not path.is_file():
        return {"schema": 1, "settings": stated, "tasks": {}, "runs": []}
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    free = {"arms", "shots", "seeds", "threads", "out", "tasks"}
    if not any(run["init"] == "pretrained" for run in results["runs"]):
        free |= {"encoder", "encoder_sha256"}
    before = results["settings"]
    changed = [
        name for name, value in stated.items() if name not in free and before.get(name) != value
    ]
    changed += [
        f"task {name}"
        for name in settings.tasks
        if name in results["tasks"] and _data(before, name) != _data(stated, name)
    ]
    if changed:
        raise ConfigError(
            f"{path} holds results of another {changed[0]}; give another out, or remove it"
        )
    return results | {"settings": stated}


def _data(settings: dict[str, Any], task: str) -> dict[str, Any]:
    """What a task learns from, whatever is compared on it."""
    return {
        name: value
        for name, value in settings["tasks"].get(task, {}).items()
        if name not in ("arms", "shots")
    }


def _write(path: Path, results: dict[str, Any]) -> None:
    aside = path.with_name(f"{path.name}.part")
    aside.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    os.replace(aside, path)


def summary(results: dict[str, Any]) -> str:
    """A table: task, arm, shots, and the mean and range over seeds of what the curves show."""
    lines = []
    for (task, arm, shots), values in curves(results).items():
        lines.append(
            f"{task:<24} {arm:<20} {shots:>4}  {np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"
        )
    return "\n".join(lines)
