"""What a run runs on: one process, DDP, FSDP or DeepSpeed (ZeRO-1 to 3), as the launcher says; accelerate tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import (
    DistributedType,
    FullyShardedDataParallelPlugin,
    GradientAccumulationPlugin,
    broadcast,
)
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

from spex.model.precision import has_bfloat16
from train.settings import StageSettings

CLIP = 1.0
"""Norm to which gradients are cut."""


def accelerator(settings: StageSettings) -> Accelerator:
    """The processes there are; with DeepSpeed and no GPU, accelerate has to be told how they talk."""
    handlers: list[Any] = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true" and not torch.cuda.is_available():
        import deepspeed

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = (
            False  # would be compiled at the first start
        )
        handlers.append(InitProcessGroupKwargs(backend="gloo"))
    parts = GradientAccumulationPlugin(
        num_steps=settings.gradient_accumulation_steps, sync_with_dataloader=False
    )
    found = Accelerator(
        mixed_precision="no", gradient_accumulation_plugin=parts, kwargs_handlers=handlers
    )
    if (
        os.environ.get("ACCELERATE_USE_FSDP") == "true"
        and found.distributed_type is DistributedType.MULTI_CPU
    ):
        # accelerate shards on GPUs only; torch does so on CPUs as well
        found.state.distributed_type = DistributedType.FSDP
        found.state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    if plugin := found.state.deepspeed_plugin:
        plugin.deepspeed_config |= {
            "train_micro_batch_size_per_gpu": settings.batch_size,
            "gradient_accumulation_steps": settings.gradient_accumulation_steps,
            "gradient_clipping": CLIP,
            "torch_autocast": {
                "enabled": precision(settings, found.device) == "bf16",
                "dtype": "bfloat16",
            },
        }
    return found


def precision(settings: StageSettings, device: torch.device) -> str:
    """What ``auto`` means on this machine; a run goes on in the precision it began with."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if has_bfloat16(device) else "fp32"


def recompute_activations(model: nn.Module) -> None:
    """Have every part that can do so compute its activations again in the backward pass instead of keeping them."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and module.supports_gradient_checkpointing:
            module.activation_checkpointing_enable({"use_reentrant": False})


def kind(accelerator: Accelerator) -> str:
    """The engine's name; under all but ``plain`` every process keeps the moments of its own part of the weights."""
    if plugin := accelerator.state.deepspeed_plugin:
        return f"ZeRO-{plugin.zero_stage}"
    return "FSDP" if getattr(accelerator.state, "fsdp_plugin", None) else "plain"


def whole(model: nn.Module, accelerator: Accelerator) -> AbstractContextManager[Any]:
    """A context in which every process sees all of the parameters (ZeRO-3 and FSDP keep them in parts)."""
    plugin = accelerator.state.deepspeed_plugin
    if kind(accelerator) == "FSDP":
        return _gathered(model)
    if plugin is None or plugin.zero_stage < 3:
        return nullcontext()
    from deepspeed.runtime.zero import GatheredParameters

    return GatheredParameters(list(model.parameters()))


@contextmanager
def _gathered(model: nn.Module) -> Iterator[None]:
    """Full parameters in the place of FSDP's parts; its own way to them ends when a state_dict is asked for."""
    parts = [
        (m, name, p)
        for m in model.modules()
        for name, p in m._parameters.items()
        if isinstance(p, DTensor)
    ]
    full: dict[int, nn.Parameter] = {}  # tied ones stay tied
    for module, name, part in parts:
        if id(part) not in full:
            full[id(part)] = nn.Parameter(
                part.full_tensor().detach(), requires_grad=part.requires_grad
            )
        module._parameters[name] = full[id(part)]
    try:
        yield
    finally:
        for module, name, part in parts:
            module._parameters[name] = part


@contextmanager
def alone(accelerator: Accelerator) -> Iterator[None]:
    """A context in which one process builds a model for itself alone (under ZeRO-3 it would wait for the others)."""
    plugin = accelerator.state.deepspeed_plugin
    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if plugin and plugin.dschf:
            set_hf_deepspeed_config(plugin.dschf)


def of_main(value: float, accelerator: Accelerator) -> float:
    """The value of the main process, so that all processes have one schedule and stop together."""
    if accelerator.num_processes == 1:
        return value
    return broadcast(torch.tensor(value, device=accelerator.device, dtype=torch.float64)).item()
