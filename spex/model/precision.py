"""Where bfloat16 pays: on a GPU, and on a processor with units for it.

Without such units it is tens of times slower.
"""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 at least as fast as in float32."""
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast(device: torch.device) -> torch.autocast:
    """A context that computes in bfloat16 where that pays."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))
