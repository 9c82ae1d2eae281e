"""What a run needs to go on exactly where it was, beside the checkpoint: weights, moments, step and minutes; no pickle.

Under DeepSpeed every process keeps the moments of its own partition, so a run goes on with as many processes as it had.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spex.errors import ConfigError
from train.settings import Settings

FOLDER = "training"
_MAY_GROW = ("minutes", "steps")
_MAY_DIFFER = ("out", "threads", "save_minutes")


@dataclass(frozen=True)
class Progress:
    """Steps done and minutes used; ``folder`` holds the state they were read from, None at the start of a run."""

    step: int = 0
    minutes: float = 0.0
    folder: Path | None = None


def find(out: Path, settings: Settings, accelerator: Accelerator) -> Progress:
    """How far the run in ``out`` has come.

    Raises:
        ConfigError: a run with other settings, a finished one, or a checkpoint that no run can go on from.
    """
    checkpoint, old = out / "checkpoint", out / "checkpoint.old"
    if old.exists() and not checkpoint.exists():  # stopped between two renames
        checkpoint = old
    if not checkpoint.exists():
        return Progress()
    path = checkpoint / FOLDER / "state.json"
    if not path.exists():
        raise ConfigError(f"{checkpoint} holds no state of a run to go on from; give another out")
    state = json.loads(path.read_text(encoding="utf-8"))
    for name, value in _shape(settings, accelerator).items():
        before = state["run"].get(name)
        if before != value and not (name in _MAY_GROW and value > before):
            raise ConfigError(
                f"{out} was begun with {name}={before!r}, not {value!r}; go on with that or give another out"
            )
    if state["step"] >= settings.steps or state["minutes"] >= settings.minutes:
        raise ConfigError(
            f"the run in {out} is finished ({state['step']} steps, {state['minutes']:.1f} minutes); "
            "give more steps or minutes, or another out"
        )
    return Progress(state["step"], state["minutes"], path.parent)


def _shape(settings: Settings, accelerator: Accelerator) -> dict[str, Any]:
    """What a run must share with the one it goes on from."""
    plugin = accelerator.state.deepspeed_plugin
    run = {name: value for name, value in asdict(settings).items() if name not in _MAY_DIFFER}
    return json.loads(json.dumps({**run, "processes": accelerator.num_processes, "zero": plugin and plugin.zero_stage}))


def whole(model: nn.Module, accelerator: Accelerator) -> AbstractContextManager[Any]:
    """A context in which every process sees all of the parameters (ZeRO-3 keeps them in partitions)."""
    plugin = accelerator.state.deepspeed_plugin
    if plugin is None or plugin.zero_stage < 3:
        return nullcontext()
    from deepspeed.runtime.zero import GatheredParameters

    return GatheredParameters(list(model.parameters()))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write all weights in full precision; one process does it, within :func:`whole`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous() for k, v in _tensors(model).items()}, folder / "weights.safetensors")


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
    for partitions in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups"):  # ZeRO-3; ZeRO-1 and 2
        if hasattr(outer, partitions):
            return inner, getattr(outer, partitions)
    return inner, [parameter for group in inner.param_groups for parameter in group["params"]]


def save_moments(optimizer: AcceleratedOptimizer, folder: Path, process: int) -> None:
    """Write the state of the optimiser in this process."""
    inner, moved = _moved(optimizer)
    states = ((i, inner.state.get(one, {})) for i, one in enumerate(moved))
    found = {f"{i}.{name}": value.cpu().contiguous() for i, state in states for name, value in state.items()}
    save_file(found, folder / f"moments_{process}.safetensors")


def load_moments(optimizer: AcceleratedOptimizer, folder: Path, process: int) -> None:
    """Read the state of the optimiser again."""
    inner, moved = _moved(optimizer)
    for key, value in load_file(folder / f"moments_{process}.safetensors").items():
        number, _, name = key.partition(".")
        one = moved[int(number)]
        inner.state[one][name] = value if name == "step" else value.to(one.device)


def save_progress(step: int, minutes: float, settings: Settings, accelerator: Accelerator, folder: Path) -> None:
    """Write how far the run has come, and what it is."""
    state = {"step": step, "minutes": minutes, "run": _shape(settings, accelerator)}
    (folder / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
