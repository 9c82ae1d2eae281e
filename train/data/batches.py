"""Batches of any stage: dataclasses of tensors, moved to a device or kept as a file."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from safetensors.torch import save_file
from torch import Tensor


def on_device(batch: Any, device: torch.device) -> Any:
    """A batch on a device."""
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(
            batch, **{f.name: on_device(getattr(batch, f.name), device) for f in fields(batch)}
        )
    if isinstance(batch, list):
        return [on_device(one, device) for one in batch]
    return send_to_device(batch, device)


def save_batch(batch: Any, path: Path) -> None:
    """Write the tensors of a batch, named by where they stand in it."""
    save_file(_named(batch, ""), path)


def _named(value: Any, name: str) -> dict[str, Tensor]:
    if isinstance(value, Tensor):
        return {name: value.contiguous().clone()}  # a crop can be in a batch twice
    parts: list[tuple[str, Any]] = []
    if is_dataclass(value):
        parts = [(f.name, getattr(value, f.name)) for f in fields(value)]
    elif isinstance(value, list | tuple):
        parts = [(str(i), one) for i, one in enumerate(value)]
    return {
        key: one
        for part, inner in parts
        for key, one in _named(inner, f"{name}.{part}".lstrip(".")).items()
    }
