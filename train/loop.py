"""The loop every stage shares: accelerate, AdamW, a cosine over the budget, logs, checkpoints written aside."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from spex.errors import ModelError
from train.settings import Settings, save_settings

logger = logging.getLogger(__name__)
_WARM_UP = 0.03
_LOG_EVERY = 20


def parameter_groups(model: nn.Module, settings: Settings) -> list[dict[str, Any]]:
    """Parameters by learning-rate factor and weight decay (none on vectors); factor 0 freezes."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = settings.parts.get(name.removeprefix("model.").split(".")[0], 1.0)
        parameter.requires_grad_(factor > 0)
        if factor > 0:
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
    batches: Iterator[Any],
    loss_of: Callable[[nn.Module, Any], dict[str, Tensor]],
    save: Callable[[Path], None],
    save_minutes: float = 10.0,
) -> list[dict[str, float]]:
    """Train until a budget is used up; return the log (one row per ``_LOG_EVERY`` steps).

    Args:
        loss_of: loss terms of a batch, weighted here by ``settings.loss``. save: writes a checkpoint into a folder.

    Raises:
        ModelError: the loss stopped being finite.
    """
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    out = Path(settings.out)
    save_settings(settings, out)
    accelerator = Accelerator(mixed_precision="bf16")
    optimizer = torch.optim.AdamW(parameter_groups(model, settings), betas=(0.9, 0.98), fused=True)
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    began = saved = time.monotonic()
    log: list[dict[str, float]] = []
    sums: dict[str, float] = {}
    with (out / "log.jsonl").open("a", encoding="utf-8") as stream:
        for step in range(settings.steps):
            progress = max(step / settings.steps, (time.monotonic() - began) / 60 / settings.minutes)
            if progress >= 1:
                break
            factor = min(1.0, progress / _WARM_UP + 0.01) * (0.5 + 0.5 * math.cos(math.pi * progress)) * 0.98 + 0.02
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            with accelerator.autocast():
                terms = loss_of(model, next(batches))
            loss = torch.stack([settings.loss.get(name, 1.0) * term for name, term in terms.items()]).sum()
            if not torch.isfinite(loss):
                raise ModelError(
                    f"the loss is {loss.item()} at step {step}; lower learning_rate={settings.learning_rate:g}"
                )
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.item() / _LOG_EVERY
            if (step + 1) % _LOG_EVERY == 0:
                row = {
                    "step": step + 1,
                    "minutes": round((time.monotonic() - began) / 60, 2),
                    **{k: round(v, 4) for k, v in sums.items()},
                }
                log.append(row)
                stream.write(json.dumps(row) + "\n")
                stream.flush()
                sums = {}
            if time.monotonic() - saved > save_minutes * 60:
                _save_aside(save, out)
                saved = time.monotonic()
    _save_aside(save, out)
    return log


def _save_aside(save: Callable[[Path], None], out: Path) -> None:
    aside = out / "checkpoint.part"
    shutil.rmtree(aside, ignore_errors=True)
    save(aside)
    old = out / "checkpoint.old"
    target = out / "checkpoint"
    if target.exists():
        target.rename(old)
    aside.rename(target)
    shutil.rmtree(old, ignore_errors=True)
