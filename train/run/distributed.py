"""Processes and devices of a run: one process, DDP, FSDP or DeepSpeed (ZeRO-1 to 3).

The launcher chooses by environment variables, which accelerate reads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

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

MAX_GRADIENT_NORM = 1.0
"""Norm to which gradients are clipped."""


def make_accelerator(settings: StageSettings) -> Accelerator:
    """The accelerator for the processes that the launcher started."""
    handlers: list[Any] = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true" and not torch.cuda.is_available():
        import deepspeed

        # This operation would be compiled at the first start.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        handlers.append(InitProcessGroupKwargs(backend="gloo"))  # accelerate would take nccl
    accumulation = GradientAccumulationPlugin(
        num_steps=settings.gradient_accumulation_steps, sync_with_dataloader=False
    )
    accelerator = Accelerator(
        mixed_precision="no",
        gradient_accumulation_plugin=accumulation,
        kwargs_handlers=handlers,
    )
    on_cpus = accelerator.distributed_type is DistributedType.MULTI_CPU
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and on_cpus:
        # accelerate shards on GPUs only; torch also shards on CPUs.
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    if plugin := accelerator.state.deepspeed_plugin:
        plugin.deepspeed_config |= _deepspeed_config(settings, accelerator.device)
    return accelerator


def _deepspeed_config(settings: StageSettings, device: torch.device) -> dict[str, Any]:
    bfloat16 = resolve_precision(settings, device) == "bf16"
    return {
        "train_micro_batch_size_per_gpu": settings.batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation_steps,
        "gradient_clipping": MAX_GRADIENT_NORM,
        "torch_autocast": {"enabled": bfloat16, "dtype": "bfloat16"},
    }


def resolve_precision(settings: StageSettings, device: torch.device) -> Literal["bf16", "fp32"]:
    """The precision of a run: that of the settings, or what ``auto`` means on this device."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if has_bfloat16(device) else "fp32"


def recompute_activations(model: nn.Module) -> None:
    """Let every part that supports it recompute activations in the backward pass."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and module.supports_gradient_checkpointing:
            module.activation_checkpointing_enable({"use_reentrant": False})


def engine_name(accelerator: Accelerator) -> str:
    """The name of what distributes the weights: ZeRO-1 to 3, FSDP or plain.

    Under all but ``plain`` each process keeps the optimiser moments of its own part of the weights.
    """
    if plugin := accelerator.state.deepspeed_plugin:
        return f"ZeRO-{plugin.zero_stage}"
    return "FSDP" if getattr(accelerator.state, "fsdp_plugin", None) else "plain"


def full_parameters(model: nn.Module, accelerator: Accelerator) -> AbstractContextManager[Any]:
    """A context in which every process has all parameters, which ZeRO-3 and FSDP shard."""
    plugin = accelerator.state.deepspeed_plugin
    if engine_name(accelerator) == "FSDP":
        return _unsharded(model)
    if plugin is None or plugin.zero_stage < 3:
        return nullcontext()
    from deepspeed.runtime.zero import GatheredParameters

    gathered: AbstractContextManager[Any] = GatheredParameters(list(model.parameters()))
    return gathered


@contextmanager
def _unsharded(model: nn.Module) -> Iterator[None]:
    """Put full parameters in place of FSDP's shards.

    FSDP's own context for this ends as soon as a state_dict is asked for.
    """
    sharded: list[tuple[nn.Module, str, Any]] = []
    for module in model.modules():
        parameters: dict[str, Any] = dict(module._parameters)
        for name, parameter in parameters.items():
            if isinstance(parameter, DTensor):
                sharded.append((module, name, parameter))
    full: dict[int, nn.Parameter] = {}  # by the shard's id, so that tied parameters stay tied
    for module, name, shard in sharded:
        if id(shard) not in full:
            values = shard.full_tensor().detach()
            full[id(shard)] = nn.Parameter(values, requires_grad=shard.requires_grad)
        module._parameters[name] = full[id(shard)]
    try:
        yield
    finally:
        for module, name, shard in sharded:
            module._parameters[name] = shard


@contextmanager
def single_process(accelerator: Accelerator) -> Iterator[None]:
    """A context in which one process can build a model; under ZeRO-3 it would wait for the others.

    Args:
        accelerator: Whose DeepSpeed configuration is put aside.
    """
    plugin = accelerator.state.deepspeed_plugin
    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if plugin and plugin.dschf:
            set_hf_deepspeed_config(plugin.dschf)


def main_process_value(value: float, accelerator: Accelerator) -> float:
    """The value that the main process has, so that all processes decide alike."""
    if accelerator.num_processes == 1:
        return value
    tensor = torch.tensor(value, device=accelerator.device, dtype=torch.float64)
    return float(broadcast(tensor).item())
