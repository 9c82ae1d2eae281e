"""Training state beside a checkpoint, from which a run resumes exactly: weights, moments, progress.

Under DeepSpeed and FSDP every process keeps the moments of its own part of the weights, so a run
resumes with as many processes as it had. Nothing is pickled.
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
from train.run.checkpoints import STATE, newest_checkpoint
from train.run.distributed import engine_name
from train.settings import StageSettings

_FORMAT = 3
"""Version of the training state; a run does not resume from another one."""
_MAY_GROW = ("max_minutes", "max_steps", "early_stopping_patience")
_MAY_DIFFER = ("out", "threads", "save_minutes", "keep_checkpoints")


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        step: Optimiser steps done.
        minutes: Minutes used.
        best: Score of the best validation; None before the first.
        best_step: Its step.
        stale: Number of validations after it.
    """

    step: int = 0
    minutes: float = 0.0
    best: float | None = None
    best_step: int = 0
    stale: int = 0

    def after_validation(self, score: float, higher_is_better: bool) -> RunProgress:
        """The progress after a validation at this step."""
        if self.best is None or (score > self.best if higher_is_better else score < self.best):
            return replace(self, best=score, best_step=self.step, stale=0)
        return replace(self, stale=self.stale + 1)

    def is_finished(self, settings: StageSettings, patience: int) -> bool:
        """Whether a budget is used up, or the patience (in validations; 0 has no end)."""
        if self.step >= settings.max_steps or self.minutes >= settings.max_minutes:
            return True
        return bool(patience and self.stale >= patience)


def find_training_state(
    out: Path, settings: StageSettings, accelerator: Accelerator, patience: int
) -> tuple[RunProgress, Path | None]:
    """Find the state from which the run in a folder resumes.

    Args:
        out: Folder of the run.
        settings: Of the run that is to resume.
        accelerator: Of the run that is to resume.
        patience: Validations without a new best after which it ends; 0 for never.

    Returns:
        How far the run is, and the folder of its state; None at the start of a run.

    Raises:
        ConfigError: The run has other settings, is of another version or finished, or there is a
            checkpoint without training state.
    """
    checkpoint = newest_checkpoint(out)
    if checkpoint is None:
        return RunProgress(), None
    path = checkpoint / STATE / "state.json"
    if not path.exists():
        raise ConfigError(
            f"{checkpoint} has no training state to resume from; give another out, "
            f"with init_from={checkpoint} to continue learning"
        )
    state = json.loads(path.read_text(encoding="utf-8"))
    if (state_format := state.get("format")) != _FORMAT:
        raise ConfigError(
            f"{checkpoint} has training state of another version (format {state_format}; this "
            f"version reads {_FORMAT}); give another out, with init_from={checkpoint} to continue "
            "learning"
        )
    _require_same_run(state["run"], _run_identity(settings, accelerator), out)
    progress = RunProgress(**state["progress"])
    if progress.is_finished(settings, patience):
        raise ConfigError(
            f"the run in {out} is finished ({progress.step} steps, {progress.minutes:.1f} minutes, "
            f"{progress.stale} validations after the best); raise max_steps, max_minutes or "
            "early_stopping_patience, or give another out"
        )
    return progress, path.parent


def _require_same_run(saved: dict[str, Any], current: dict[str, Any], out: Path) -> None:
    for name, value in current.items():
        before = saved.get(name)
        if before != value and not (name in _MAY_GROW and value > before):
            raise ConfigError(
                f"{out} was started with {name}={before!r}, not {value!r}; resume with that value "
                "or give another out"
            )


def _run_identity(settings: StageSettings, accelerator: Accelerator) -> dict[str, Any]:
    """What a run must share with the one that it resumes, as JSON gives it back."""
    identity = {name: value for name, value in asdict(settings).items() if name not in _MAY_DIFFER}
    identity["processes"] = accelerator.num_processes
    identity["engine"] = engine_name(accelerator)
    as_read: dict[str, Any] = json.loads(json.dumps(identity))
    return as_read


def save_progress(
    progress: RunProgress, settings: StageSettings, accelerator: Accelerator, folder: Path
) -> None:
    """Write how far the run is, and what identifies it."""
    identity = _run_identity(settings, accelerator)
    state = {"format": _FORMAT, "progress": asdict(progress), "run": identity}
    (folder / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write all parameters and buffers in full precision.

    One process does this, within :func:`train.run.distributed.full_parameters`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in _parameters_and_buffers(model).items()
    }
    save_file(tensors, folder / "weights.safetensors")


def load_weights(model: nn.Module, folder: Path) -> None:
    """Read the weights into a model, before accelerate prepares it."""
    saved = load_file(folder / "weights.safetensors")
    with torch.no_grad():
        for name, tensor in _parameters_and_buffers(model).items():
            tensor.copy_(saved[name])


def _parameters_and_buffers(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def save_moments(optimizer: AcceleratedOptimizer, folder: Path, accelerator: Accelerator) -> None:
    """Write the optimiser's moments of this process, unless the main process has the same."""
    if not accelerator.is_main_process and engine_name(accelerator) == "plain":
        return
    inner, optimized = _optimized_tensors(optimizer)
    moments: dict[str, Tensor] = {}
    for number, tensor in enumerate(optimized):
        for name, value in inner.state.get(tensor, {}).items():
            moments[f"{number}.{name}"] = _local_shard(value).cpu().contiguous()
    save_file(moments, _moments_path(folder, accelerator))


def load_moments(optimizer: AcceleratedOptimizer, folder: Path, accelerator: Accelerator) -> None:
    """Read the optimiser's moments of this process."""
    inner, optimized = _optimized_tensors(optimizer)
    for key, value in load_file(_moments_path(folder, accelerator)).items():
        number, _, name = key.partition(".")
        tensor = optimized[int(number)]
        if name != "step":
            value = _sharded_like(value.to(tensor.device), tensor)
        inner.state[tensor][name] = value


def _moments_path(folder: Path, accelerator: Accelerator) -> Path:
    shared = engine_name(accelerator) == "plain"
    return folder / f"moments_{0 if shared else accelerator.process_index}.safetensors"


def _optimized_tensors(
    optimizer: AcceleratedOptimizer,
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """The innermost optimiser, and the tensors that it updates in this process."""
    outer: Any = optimizer.optimizer
    inner = outer
    while hasattr(inner, "optimizer"):
        inner = inner.optimizer
    # Names of DeepSpeed's flat partitions: under ZeRO-3, and under ZeRO-1 and 2.
    for partitions in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups"):
        if hasattr(outer, partitions):
            return inner, getattr(outer, partitions)
    return inner, [parameter for group in inner.param_groups for parameter in group["params"]]


def _local_shard(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _sharded_like(shard: Tensor, reference: Tensor) -> Tensor:
    """A local shard as part of a distributed tensor, if the reference is one."""
    if not isinstance(reference, DTensor):
        return shard
    return DTensor.from_local(
        shard,
        reference.device_mesh,
        reference.placements,
        shape=reference.shape,
        stride=reference.stride(),
    )
