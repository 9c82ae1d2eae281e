"""Low-rank pairs beside the weights of any module, put in and read out by peft.

After Hu et al., "LoRA" (arXiv 2106.09685). A layer with weight W computes with W + scale * B @ A.
The library needs no peft: what is saved are plain weights or plain pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn
from transformers import PreTrainedModel

from spex.errors import ConfigError

_QUANTISED = ("Params4bit", "Int8Params")  # classes of bitsandbytes
_NAME = "default"  # peft can keep several adapters in one model; here there is one


def lora_layers(module: nn.Module) -> list[str]:
    """Names of the layers that can take pairs: linear layers and ungrouped convolutions.

    Left out are output heads of language models (tied to embeddings, or as large) and the
    projections within ``nn.MultiheadAttention``, whose weights torch reads past the layer.
    """
    excluded: set[int] = set()
    for part in module.modules():
        if isinstance(part, PreTrainedModel):
            excluded.add(id(part.get_output_embeddings()))
        elif isinstance(part, nn.MultiheadAttention):
            excluded.update(id(inner) for inner in part.modules())
    names = []
    for name, layer in module.named_modules():
        if name and id(layer) not in excluded and _takes_pairs(layer):
            names.append(name)
    return names


def _takes_pairs(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1
    return isinstance(layer, nn.Linear)


def inject(
    module: nn.Module, rank: int, names: Iterable[str] | None = None, tokens: Sequence[int] = ()
) -> list[str]:
    """Put pairs into layers, in place, and freeze the rest of the module.

    The output of the module stays the same until the pairs are trained.

    Args:
        module: A model or a part of it.
        rank: Rank of the pairs; their scale is 2.
        names: Which of :func:`lora_layers`; all if None.
        tokens: For a language model, ids of tokens whose embeddings are trained in full, in the
            output layer too. Ignored if the output layer has a bias, which peft would lose.

    Returns:
        The names of the layers.

    Raises:
        ConfigError: There is no such layer, or none at all.
    """
    available = lora_layers(module)
    chosen = available if names is None else list(names)
    if unknown := sorted(set(chosen) - set(available)):
        raise ConfigError(
            f"no layer {unknown[0]!r} for low-rank pairs; this module has "
            f"{', '.join(available[:8])}, ..."
        )
    if not chosen:
        raise ConfigError(
            f"{type(module).__name__} has no linear layer or convolution for low-rank pairs"
        )
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        # A pattern, because peft takes names in a list for endings.
        target_modules="|".join(map(re.escape, chosen)),
        trainable_token_indices=_token_tables(module, tokens) if tokens else None,
    )
    inject_adapter_in_model(config, module, _NAME)
    return chosen


def _token_tables(module: nn.Module, tokens: Sequence[int]) -> dict[str, list[int]] | None:
    """The trained tokens by name of the embedding layers of a language model, as peft takes them.

    None if the output layer has a bias.
    """
    assert isinstance(module, PreTrainedModel)
    output = module.get_output_embeddings()
    if output.bias is not None:
        return None
    embeddings = module.get_input_embeddings()
    tables = [embeddings]
    if output.weight is not embeddings.weight:  # peft finds a tied layer by itself
        tables.append(output)
    return {
        name: sorted(tokens)
        for name, layer in module.named_modules()
        if any(layer is table for table in tables)
    }


def lora_pairs(module: nn.Module) -> dict[str, tuple[Tensor, Tensor, float]]:
    """The pairs of a module by layer.

    Returns:
        A (rank, inputs), B (outputs, rank) and the scale; for a convolution, inputs count the
        pixels of its kernel.
    """
    pairs = {}
    layer: Any  # peft annotates its layers as plain modules
    for name, layer in module.named_modules():
        if isinstance(layer, LoraLayer):
            down = layer.lora_A[_NAME].weight.detach().flatten(1)
            up = layer.lora_B[_NAME].weight.detach().flatten(1)
            pairs[name] = (down, up, float(layer.scaling[_NAME]))
    return pairs


def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """The weights that the module would have without peft, with pairs and tokens merged in.

    The module itself does not change. Quantised weights are given in float32, so what is saved
    needs neither a GPU nor bitsandbytes.
    """
    state = _dequantised_state(module)
    state = {
        name.replace(".token_adapter.", ".").replace(".base_layer.", "."): value
        for name, value in state.items()
        if ".lora_" not in name and ".trainable_tokens_" not in name
    }
    tables: dict[int, Tensor] = {}  # by address, so that tied layers stay one tensor
    for name, layer in module.named_modules():
        if isinstance(layer, TrainableTokensLayer):
            address = layer.weight.data_ptr()
            if address not in tables:
                tables[address] = layer.get_merged_weights([_NAME]).detach()
            state[f"{name.removesuffix('.token_adapter')}.weight"] = tables[address]
    for name, (down, up, scale) in lora_pairs(module).items():
        weight = state[f"{name}.weight"]
        change = scale * (up @ down).view_as(weight).to(weight.dtype)
        state[f"{name}.weight"] = weight + change
    return state


def _dequantised_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict with float32 in place of packed weights and their scales."""
    state: dict[str, Tensor] = module.state_dict()
    for name, layer in module.named_modules():
        if isinstance(layer, LoraLayer):
            continue
        if type(getattr(layer, "weight", None)).__name__ in _QUANTISED:
            packed = (f"{name}.weight", f"{name}.SCB")
            for key in [key for key in state if key.startswith(packed)]:
                del state[key]
            state[f"{name}.weight"] = dequantize_module_weight(layer).detach().float()
    return state
