"""Low-rank pairs beside the weights of any module, by peft: put in, and read out; the library needs no peft.

After Hu et al., "LoRA" (arXiv 2106.09685). A layer with weight W computes with ``W + scale * B @ A``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

from spex.errors import ConfigError

_QUANTISED = ("Params4bit", "Int8Params")  # of bitsandbytes
_NAME = "default"  # peft can hold several adapters in one model; here is one


def targets(module: nn.Module) -> list[str]:
    """Names of the linear layers and ungrouped convolutions, whatever the architecture calls them.

    Left out are output heads of language models (tied to embeddings, or as large) and the projections within
    ``nn.MultiheadAttention``, whose weights torch reads past the layer.
    """
    heads = {
        id(m.get_output_embeddings())
        for m in module.modules()
        if hasattr(m, "get_output_embeddings")
    }
    within = {
        id(part)
        for m in module.modules()
        if isinstance(m, nn.MultiheadAttention)
        for part in m.modules()
    }
    return [
        name
        for name, layer in module.named_modules()
        if name and id(layer) not in heads | within
        and (isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1))
    ]  # fmt: skip


def inject(
    module: nn.Module, rank: int, names: Iterable[str] | None = None, tokens: Sequence[int] = ()
) -> list[str]:
    """Put pairs of a rank into layers, in place, and freeze all else of the module; its output stays what it was.

    Args:
        module: a model or a part of it. rank: of the pairs, and their scale is 2.
        names: which of :func:`targets`; all if None.
        tokens: of a language model, those whose embeddings are learned in full, in the output layer too; not of one
            whose output layer has a bias, which peft would lose.

    Returns:
        the names of the layers.

    Raises:
        ConfigError: no such layer, or none at all.
    """
    known = targets(module)
    chosen = known if names is None else list(names)
    if unknown := sorted(set(chosen) - set(known)):
        raise ConfigError(
            f"no layer {unknown[0]!r} for low-rank pairs; this module has {', '.join(known[:8])}, ..."
        )
    if not chosen:
        raise ConfigError(
            f"{type(module).__name__} has no linear layer or convolution for low-rank pairs"
        )
    pattern = "|".join(map(re.escape, chosen))  # peft would take names in a list for endings
    learned = None
    if tokens and (head := module.get_output_embeddings()).bias is None:
        own = module.get_input_embeddings()
        tables = (
            [own] if head.weight is own.weight else [own, head]
        )  # peft finds a tied one by itself
        learned = {
            name: sorted(tokens)
            for name, layer in module.named_modules()
            if any(layer is t for t in tables)
        }
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=pattern, trainable_token_indices=learned
    )
    inject_adapter_in_model(config, module, _NAME)
    return chosen


def pairs(module: nn.Module) -> dict[str, tuple[Tensor, Tensor, float]]:
    """The pairs by layer: A (rank, inputs), B (outputs, rank), scale; of a convolution, inputs count its pixels."""
    return {
        name: (
            layer.get_parameter(f"lora_A.{_NAME}.weight").detach().flatten(1),
            layer.get_parameter(f"lora_B.{_NAME}.weight").detach().flatten(1),
            float(layer.scaling[_NAME]),
        )
        for name, layer in module.named_modules()
        if isinstance(layer, LoraLayer)
    }


def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """Weights as the module has them without peft, with pairs and tokens in them; the module itself is not changed.

    Quantised weights are given in float32: what is saved needs neither a GPU nor bitsandbytes.
    """
    state = module.state_dict()
    for name, layer in module.named_modules():
        if (
            not isinstance(layer, LoraLayer)
            and type(getattr(layer, "weight", None)).__name__ in _QUANTISED
        ):
            for key in [key for key in state if key.startswith((f"{name}.weight", f"{name}.SCB"))]:
                del state[key]  # packed weights and their scales
            state[f"{name}.weight"] = dequantize_module_weight(layer).detach().float()
    state = {
        name.replace(".token_adapter.", ".").replace(".base_layer.", "."): value
        for name, value in state.items()
        if ".lora_" not in name and ".trainable_tokens_" not in name
    }
    tables: dict[int, Tensor] = {}  # tied layers stay one tensor
    for name, layer in module.named_modules():
        if isinstance(layer, TrainableTokensLayer):
            table = tables.setdefault(
                layer.weight.data_ptr(), layer.get_merged_weights([_NAME]).detach()
            )
            state[f"{name.removesuffix('.token_adapter')}.weight"] = table
    for name, (a, b, scale) in pairs(module).items():
        weight = state[f"{name}.weight"]
        state[f"{name}.weight"] = weight + scale * (b @ a).view_as(weight).to(weight.dtype)
    return state
