"""What a run needs to go on exactly where it was, beside the checkpoint: weights, moments, progress; no pickle.

Under DeepSpeed and FSDP every process keeps the moments of its own part, so a run goes on with as many
processes as it had.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from spex.errors import ConfigError
from train.run import distributed as engines
from train.run.checkpoints import STATE, newest
from train.settings import StageSettings

_FORMAT = 3
"""Of what is kept beside a checkpoint; another one is not gone on from."""
_MAY_GROW = ("max_minutes", "max_steps", "early_stopping_patience")
_MAY_DIFFER = ("out", "threads", "save_minutes", "keep_checkpoints")


@dataclass(frozen=True)
class Progress:
    """Where a run is: steps done, minutes used; the best validation and how many came after it (None before one)."""

    step: int = 0
    minutes: float = 0.0
    best: float | None = None
    best_step: int = 0
    stale: int = 0

    def measured(self, value: float, higher: bool) -> Progress:
        """After a validation, of which more is better or less."""
        if self.best is None or (value > self.best if higher else value < self.best):
            return replace(self, best=value, best_step=self.step, stale=0)
        return replace(self, stale=self.stale + 1)

    def ended(self, settings: StageSettings, patience: int) -> bool:
        """Whether a budget is used up, or the run's patience."""
        spent = self.step >= settings.max_steps or self.minutes >= settings.max_minutes
        return spent or bool(patience and self.stale >= patience)


def find(
    out: Path, settings: StageSettings, accelerator: Accelerator, patience: int
) -> tuple[Progress, Path | None]:
    """How far the run in ``out`` has come, and the folder with its state; None at the start of a run.

    Raises:
        ConfigError: a run with other settings or of another version, a finished one, or a checkpoint that no run can
            go on from.
    """
    checkpoint = newest(out)
    if checkpoint is None:
        return Progress(), None
    path = checkpoint / STATE / "state.json"
    if not path.exists():
        raise ConfigError(f"{checkpoint} holds no state of a run to go on from; give another out")
    state = json.loads(path.read_text(encoding="utf-8"))
    if (found := state.get("format")) != _FORMAT:
        raise ConfigError(
            f"{checkpoint} is of a run of another version (format {found}, this one is {_FORMAT}); give another out, "
            f"with init_from={checkpoint} to continue learning"
        )
    for name, value in _shape(settings, accelerator).items():
        before = state["run"].get(name)
        if before != value and not (name in _MAY_GROW and value > before):
            raise ConfigError(
                f"{out} was begun with {name}={before!r}, not {value!r}; go on with that or give another out"
            )
    progress = Progress(**state["progress"])
    if progress.ended(settings, patience):
        raise ConfigError(
            f"the run in {out} is finished ({progress.step} steps, {progress.minutes:.1f} minutes, "
            f"{progress.stale} validations after the best); raise max_steps, max_minutes or early_stopping_patience, or give another out"
        )
    return progress, path.parent


def _shape(settings: StageSettings, accelerator: Accelerator) -> dict[str, Any]:
    """What a run must share with the one it goes on from."""
    run = {name: value for name, value in asdict(settings).items() if name not in _MAY_DIFFER}
    return json.loads(
        json.dumps(
            {**run, "processes": accelerator.num_processes, "engine": engines.kind(accelerator)}
        )
    )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write all weights in full precision; one process does it, within :func:`train.run.distributed.whole`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in _tensors(model).items()},
        folder / "weights.safetensors",
    )


def load_weights(model: nn.Module, folder: Path) -> None:
    """Read them again, before the model is handed to accelerate."""
    saved = load_file(folder / "weights.safetensors")
    with torch.no_grad():
        for name, tensor in _tensors(model).items():
            tensor.copy_(saved[name])


def _moved(optimizer: AcceleratedOptimizer) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """The innermost optimiser, and the tensors that it moves in this process."""
    outer: Any = optimizer.optimizer
    inner = outer
    while hasattr(inner, "optimizer"):
        inner = inner.optimizer
    for partitions in (
        "fp32_partitioned_groups_flat",
        "single_partition_of_fp32_groups",
    ):  # ZeRO-3; ZeRO-1 and 2
        if hasattr(outer, partitions):
            return inner, getattr(outer, partitions)
    return inner, [parameter for group in inner.param_groups for parameter in group["params"]]


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _like(value: Tensor, one: Tensor) -> Tensor:
    """The part of a tensor that belongs to the part of another one in this process."""
    if not isinstance(one, DTensor):
        return value
    return DTensor.from_local(
        value, one.device_mesh, one.placements, shape=one.shape, stride=one.stride()
    )


def _moments(folder: Path, accelerator: Accelerator) -> Path:
    own = 0 if engines.kind(accelerator) == "plain" else accelerator.process_index
    return folder / f"moments_{own}.safetensors"


def save_moments(optimizer: AcceleratedOptimizer, folder: Path, accelerator: Accelerator) -> None:
    """Write the state of the optimiser in this process, if it is not that of the main one too."""
    if not accelerator.is_main_process and engines.kind(accelerator) == "plain":
        return
    inner, moved = _moved(optimizer)
    states = ((i, inner.state.get(one, {})) for i, one in enumerate(moved))
    found = {
        f"{i}.{name}": _local(value).cpu().contiguous()
        for i, state in states
        for name, value in state.items()
    }
    save_file(found, _moments(folder, accelerator))


def load_moments(optimizer: AcceleratedOptimizer, folder: Path, accelerator: Accelerator) -> None:
    """Read the state of the optimiser again."""
    inner, moved = _moved(optimizer)
    for key, value in load_file(_moments(folder, accelerator)).items():
        number, _, name = key.partition(".")
        one = moved[int(number)]
        inner.state[one][name] = value if name == "step" else _like(value.to(one.device), one)


def save_progress(
    progress: Progress, settings: StageSettings, accelerator: Accelerator, folder: Path
) -> None:
    """Write how far the run has come, and what it is."""
    state = {"format": _FORMAT, "progress": asdict(progress), "run": _shape(settings, accelerator)}
    (folder / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
