"""Batches of any stage, as dataclasses of tensors: moved to a device or saved to a file."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from safetensors.torch import save_file
from torch import Tensor


def to_device(batch: Any, device: torch.device) -> Any:
    """Move a batch, which may be nested, to a device."""
    if is_dataclass(batch) and not isinstance(batch, type):
        moved = {part.name: to_device(getattr(batch, part.name), device) for part in fields(batch)}
        return replace(batch, **moved)
    if isinstance(batch, list):
        return [to_device(item, device) for item in batch]
    return send_to_device(batch, device)


def save_batch(batch: Any, path: Path) -> None:
    """Write the tensors of a batch as safetensors; a key is the path of field names and indexes."""
    save_file(_named_tensors(batch, ""), path)


def _named_tensors(value: Any, name: str) -> dict[str, Tensor]:
    if isinstance(value, Tensor):
        return {name: value.contiguous().clone()}  # a crop can be in a batch twice
    parts: list[tuple[str, Any]] = []
    if is_dataclass(value):
        parts = [(part.name, getattr(value, part.name)) for part in fields(value)]
    elif isinstance(value, list | tuple):
        parts = [(str(index), item) for index, item in enumerate(value)]
    tensors: dict[str, Tensor] = {}
    for part_name, part_value in parts:
        tensors |= _named_tensors(part_value, f"{name}.{part_name}".lstrip("."))
    return tensors
