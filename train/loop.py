"""The loop every stage shares: accelerate, AdamW, a cosine over the budget, logs, checkpoints to go on from.

A batch is drawn from the seed, its step and its process alone, and chance within the model is seeded by the same: a run
that was stopped goes on as if it had not been. Runs on one process, under ``accelerate launch``/``torchrun`` (DDP), and
under DeepSpeed (ZeRO-1 to 3).
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import broadcast, gather_object, send_to_device
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from spex.errors import ModelError
from spex.model.precision import has_bfloat16
from train import resume
from train.settings import Settings, save_settings

logger = logging.getLogger(__name__)
_WARM_UP = 0.03
_LOG_EVERY = 20
_CLIP = 1.0


def rng_at(seed: int, step: int, process: int) -> np.random.Generator:
    """Chance of one step of one process."""
    return np.random.default_rng([seed, step, process])


class _Draws(Dataset[Any]):
    """Batches of one process by step."""

    def __init__(self, draw: Callable[[int, int], Any], process: int) -> None:
        self.draw, self.process = draw, process

    def __getitem__(self, step: int) -> Any:
        return self.draw(step, self.process)


def parameter_groups(model: nn.Module, settings: Settings) -> list[dict[str, Any]]:
    """Trainable parameters by learning-rate factor and weight decay (none on vectors); factor 0 freezes."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = settings.parts.get(name.removeprefix("model.").split(".")[0], 1.0)
        if factor <= 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    return [
        {
            "params": found,
            "lr": settings.learning_rate * factor,
            "weight_decay": decay,
            "peak": settings.learning_rate * factor,
        }
        for (factor, decay), found in groups.items()
    ]


def run(
    settings: Settings,
    model: nn.Module,
    draw: Callable[[int, int], Any],
    loss_of: Callable[[nn.Module, Any], dict[str, Tensor]],
    save: Callable[[Path], None],
    *,
    picture: Callable[[Path, Path], None] | None = None,
    workers: int = 1,
) -> list[dict[str, float]]:
    """Train until a budget is used up, from where ``settings.out`` has come to; return the log.

    Args:
        draw: the batch of a step and a process. loss_of: loss terms of a batch, weighted here by ``settings.loss``.
        save: writes a checkpoint into a folder. picture: draws a checkpoint into a PNG file, after each checkpoint.
        workers: processes that draw batches.

    Returns:
        one row per ``_LOG_EVERY`` steps, means over these and over processes; also in ``log.jsonl``.

    Raises:
        ModelError: the loss or its gradient stopped being finite; the batch is kept beside the log.
        ConfigError: ``settings.out`` holds a finished run, or one with other settings.
    """
    torch.set_num_threads(settings.threads)
    accelerator = _accelerator(settings)
    settings = replace(settings, precision=_precision(settings, accelerator.device))
    main, process, out = accelerator.is_main_process, accelerator.process_index, Path(settings.out)
    start = resume.find(out, settings, accelerator)
    if start.folder:
        logger.warning("going on with %s at step %d", out, start.step)
        resume.load_weights(model, start.folder)
    log = _rows(out / "log.jsonl", start.step)
    optimizer: Any = torch.optim.AdamW(parameter_groups(model, settings), betas=(0.9, 0.98), fused=True)
    plain = model
    model, optimizer = accelerator.prepare(model, optimizer)
    if start.folder:
        resume.load_moments(optimizer, start.folder, process)
    if main:
        save_settings(settings, out)
        (out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
    accelerator.wait_for_everyone()
    model.train()
    began = 0.0
    step, minutes, saved = start.step, start.minutes, start.minutes
    sums: dict[str, list[float]] = {}

    def keep() -> None:
        target = _save_aside(accelerator, plain, optimizer, save, out, settings, step, minutes)
        if picture and main:
            (out / "pictures").mkdir(exist_ok=True)
            picture(target, out / "pictures" / f"step_{step:06d}.png")
        accelerator.wait_for_everyone()

    for batch in _batches(draw, process, range(start.step, settings.steps), workers):
        began = began or time.monotonic() - 60 * start.minutes  # with the first batch
        minutes = _of_main((time.monotonic() - began) / 60, accelerator)
        progress = max(step / settings.steps, minutes / settings.minutes)
        if progress >= 1:
            break
        factor = min(1.0, progress / _WARM_UP + 0.01) * (0.5 + 0.5 * math.cos(math.pi * progress)) * 0.98 + 0.02
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        torch.manual_seed(int(rng_at(settings.seed, step, process).integers(2**63)))
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            terms = loss_of(model, _on(batch, accelerator.device))
        loss = torch.stack([settings.loss.get(name, 1.0) * term for name, term in terms.items()]).sum()
        aside = out / f"not_finite_step_{step}_process_{process}.safetensors"
        _require_finite("loss", loss.detach(), batch, aside, settings)
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(model.parameters(), _CLIP)
        _require_finite("norm of the gradient", norm, batch, aside, settings)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        for name, term in terms.items():
            sums.setdefault(name, []).append(term.item())
        if step % _LOG_EVERY == 0:
            row = {"step": step, "minutes": round(minutes, 2), **_means(gather_object([sums]))}
            log.append(row)
            if main:
                with (out / "log.jsonl").open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")
            sums = {}
            if minutes - saved > settings.save_minutes and step < settings.steps:
                keep()
                saved = minutes
    keep()
    return log


def _accelerator(settings: Settings) -> Accelerator:
    """The processes there are; with DeepSpeed and no GPU, accelerate has to be told how they talk."""
    handlers: list[Any] = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true" and not torch.cuda.is_available():
        import deepspeed

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # would be compiled at the first start
        handlers.append(InitProcessGroupKwargs(backend="gloo"))
    accelerator = Accelerator(mixed_precision="no", kwargs_handlers=handlers)
    if plugin := accelerator.state.deepspeed_plugin:
        plugin.deepspeed_config |= {
            "train_micro_batch_size_per_gpu": settings.batch,
            "gradient_clipping": _CLIP,
            "torch_autocast": {"enabled": _precision(settings, accelerator.device) == "bf16", "dtype": "bfloat16"},
        }
    return accelerator


def _precision(settings: Settings, device: torch.device) -> str:
    """What ``auto`` means on this machine; a run goes on in the precision it began with."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if has_bfloat16(device) else "fp32"


def _batches(draw: Callable[[int, int], Any], process: int, steps: range, workers: int) -> Iterator[Any]:
    ahead = {"prefetch_factor": 4} if workers else {}
    return iter(DataLoader(_Draws(draw, process), batch_size=None, sampler=steps, num_workers=workers, **ahead))


def _of_main(value: float, accelerator: Accelerator) -> float:
    """The value of the main process, so that all processes have one schedule and stop together."""
    if accelerator.num_processes == 1:
        return value
    return broadcast(torch.tensor(value, device=accelerator.device, dtype=torch.float64)).item()


def _on(batch: Any, device: torch.device) -> Any:
    """A batch, of dataclasses of tensors, on a device."""
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{f.name: _on(getattr(batch, f.name), device) for f in fields(batch)})
    return send_to_device(batch, device)


def _means(sums: list[dict[str, list[float]]]) -> dict[str, float]:
    """Means of the terms over steps and processes, in the order they came."""
    values = {name: [v for part in sums for v in part.get(name, [])] for part in sums for name in part}
    return {name: round(sum(found) / len(found), 7) for name, found in values.items()}


def _rows(path: Path, last: int) -> list[dict[str, float]]:
    """Rows of an earlier log up to a step."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["step"] <= last]


def _require_finite(what: str, value: Tensor | float | None, batch: Any, path: Path, settings: Settings) -> None:
    """Else keep the batch, as tensors by name, and say where it is."""
    if value is None or math.isfinite(value):
        return

    def named(value: Any, name: str) -> dict[str, Tensor]:
        if isinstance(value, Tensor):
            return {name: value.contiguous()}
        parts: list[tuple[str, Any]] = []
        if is_dataclass(value):
            parts = [(f.name, getattr(value, f.name)) for f in fields(value)]
        elif isinstance(value, list | tuple):
            parts = [(str(i), one) for i, one in enumerate(value)]
        return {key: one for part, inner in parts for key, one in named(inner, f"{name}.{part}".lstrip(".")).items()}

    save_file(named(batch, ""), path)
    raise ModelError(
        f"the {what} is {float(value)}; its batch is in {path}; begin again in another out "
        f"with a lower learning_rate than {settings.learning_rate:g}"
    )


def _save_aside(
    accelerator: Accelerator,
    plain: nn.Module,
    optimizer: AcceleratedOptimizer,
    save: Callable[[Path], None],
    out: Path,
    settings: Settings,
    step: int,
    minutes: float,
) -> Path:
    """Write a checkpoint and the state of the run, and put both in the place of the last ones; return their folder."""
    aside, old, target = out / "checkpoint.part", out / "checkpoint.old", out / "checkpoint"
    state = aside / resume.FOLDER
    with resume.whole(plain, accelerator):
        if accelerator.is_main_process:
            shutil.rmtree(aside, ignore_errors=True)
            save(aside)
            resume.save_weights(plain, state)
            resume.save_progress(step, minutes, settings, accelerator, state)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process or accelerator.state.deepspeed_plugin:
        resume.save_moments(optimizer, state, accelerator.process_index)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        aside.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    return target
