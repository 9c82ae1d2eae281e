"""Optimiser of a run: parameter groups of AdamW, and the course of the learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from train.settings import StageSettings

_WARM_UP = 0.03
"""Share of the budget over which the learning rate rises."""
_LEAST = 0.02
"""Factor on the learning rate at the end of the budget."""


def make_optimizer(model: nn.Module, settings: StageSettings) -> torch.optim.AdamW:
    """AdamW over the parameters that are trained."""
    return torch.optim.AdamW(parameter_groups(model, settings), betas=(0.9, 0.98), fused=True)


def parameter_groups(model: nn.Module, settings: StageSettings) -> list[dict[str, Any]]:
    """Parameters grouped by peak learning rate and weight decay (none on vectors).

    A part with ``lr_scale`` 0 is frozen here; parameters that are frozen already stay so.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        part = name.removeprefix("model.").split(".")[0]
        scale = settings.lr_scale.get(part, 1.0)
        if scale <= 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.learning_rate * scale,
            "weight_decay": decay,
            "peak": settings.learning_rate * scale,
        }
        for (scale, decay), parameters in groups.items()
    ]


def set_learning_rate(optimizer: torch.optim.Optimizer, done: float) -> None:
    """Set the learning rate of each group: a linear warm-up, then a cosine.

    Args:
        optimizer: With groups of :func:`parameter_groups`.
        done: Share of the budget that is used, 0 to 1.
    """
    warm_up = min(1.0, done / _WARM_UP + 0.01)
    cosine = 0.5 + 0.5 * math.cos(math.pi * done)
    factor = warm_up * cosine * (1 - _LEAST) + _LEAST
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor
