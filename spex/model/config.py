"""Configuration of the SPEX model, saved as ``config.json`` beside the weights."""

# Annotations are not postponed here: a strict dataclass checks values against types, not strings.

from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from spex.evidence.maps import CHANNELS
from spex.query.prompt import IMAGE_TOKEN

STRIDES = (4, 8, 16, 32)


@strict
class SpecAwareConfig(PreTrainedConfig):
    """Sizes of :class:`spex.model.encoder.SpecAwareEncoder`.

    Attributes:
        hidden_sizes: channels of the encoder at strides 4, 8, 16, 32.
        depths: ConvNeXt blocks at each stride.
        hyper_dim: width of a band's code and of the hypernetwork.
        rank: rank of the generated matrix pair of a band.
        patch_size: stride of the embedding, pixels.
        fusion_dim: channels of the aggregated maps.
        fused_strides: which strides are summed to the map at stride 4, from which pixel features
            are made.
        coarse_strides: which strides are summed to the map at stride 16, from which visual tokens
            and prompts are made. The default is for checkpoints without this field; new models
            take all four.
    """

    model_type = "specaware"
    base_config_key = "vision_config"  # the encoder also loads from a folder of the whole model

    hidden_sizes: list[int] | tuple[int, ...] = (64, 128, 256, 512)
    depths: list[int] | tuple[int, ...] = (2, 2, 6, 2)
    hyper_dim: int = 128
    rank: int = 8
    patch_size: int = 4
    fusion_dim: int = 128
    fused_strides: list[int] | tuple[int, ...] = STRIDES
    coarse_strides: list[int] | tuple[int, ...] = (16, 32)


FORMAT = 2
"""Format of checkpoints, the meaning of their weights; another one cannot be loaded."""


@strict
class SpexConfig(PreTrainedConfig):
    """Sizes of every part of :class:`spex.model.spex.SpexModel`.

    Attributes:
        text_config: configuration of the language model, any ``AutoModelForCausalLM``.
        vision_config: :class:`SpecAwareConfig` of the encoder.
        visual_grid: the overview becomes ``visual_grid ** 2`` visual tokens.
        prompt_tokens: K, condensed tokens per ``<seg>`` span.
        prompt_dim: width of a prompt token.
        condensation: how a span becomes K tokens: by ``attention`` of learned queries, or by
            adaptive average ``pooling`` and an MLP, as in the paper.
        pixel_dim: channels of the full-resolution pixel features.
        evidence_channels: number of evidence maps that the decoder reads.
        overview_size: longest side of the overview that the encoder sees, pixels.
        prior_in_answer: whether the answer is generated from query and evidence text, or from the
            query alone. The evidence text is then read with the answer, when its spans become
            prompt tokens.
        presence_threshold: a span whose class is less likely to be in the scene than this, 0-1,
            has no mask.
        temperature: divides the mask logits (calibration).
        format_version: ``FORMAT`` of the version that wrote it.
        image_token_id: placeholder of a visual token.
        seg_start_id: token that opens a span.
        seg_end_id: token that closes a span.
        initializer_range: of the language model's own initialisation.
        tie_word_embeddings: whether the language model shares its input and output embeddings.
    """

    model_type = "spex"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="qwen3"),
        "vision_config": SubConfigSpec(config_class=SpecAwareConfig),
    }

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    visual_grid: int = 4
    prompt_tokens: int = 4
    prompt_dim: int = 128
    condensation: Literal["attention", "pooling"] = "attention"
    pixel_dim: int = 40
    evidence_channels: int = len(CHANNELS)
    overview_size: int = 256
    prior_in_answer: bool = True
    presence_threshold: float = 0.2
    temperature: float = 1.0
    format_version: int = FORMAT
    image_token_id: int = 3
    seg_start_id: int = 4
    seg_end_id: int = 5
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True


# Otherwise the tokenizer's loader warns of an unknown model.
AutoConfig.register(SpexConfig.model_type, SpexConfig)

SIZES: dict[str, dict[str, Any]] = {
    "micro": {
        "vision_config": {
            "hidden_sizes": (16, 24, 32, 48), "depths": (1, 1, 1, 1), "hyper_dim": 32, "rank": 4,
            "fusion_dim": 24, "coarse_strides": STRIDES,
        },
        "visual_grid": 2, "prompt_tokens": 2, "prompt_dim": 32, "pixel_dim": 16,
        "overview_size": 64,
        "text_config": {
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32,
        },
    },
    "base": {
        "vision_config": {"coarse_strides": STRIDES},
        "text_config": {
            "hidden_size": 320, "intermediate_size": 960, "num_hidden_layers": 8,
            "num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": 64,
        },
    },
    "qwen": {  # an encoder of the size of ViT-B
        "vision_config": {
            "hidden_sizes": (128, 256, 512, 1024), "depths": (3, 3, 27, 3), "hyper_dim": 256,
            "rank": 8, "fusion_dim": 256, "coarse_strides": STRIDES,
        },
        "visual_grid": 8, "prompt_tokens": 4, "prompt_dim": 256, "pixel_dim": 64,
        "overview_size": 512,
        "text_config": "Qwen/Qwen3-1.7B",
    },
}  # fmt: skip
"""Sizes of new models.

``text_config`` is the size of a new language model, or the name of a pretrained one.
"""


def make_config(
    size: str, tokenizer: Any, text_config: PreTrainedConfig | None = None, **overrides: Any
) -> SpexConfig:
    """A config of a named size.

    Args:
        size: one of ``SIZES``.
        tokenizer: of the language model, with span and slot tokens.
        text_config: of a pretrained language model; if left out, the language model is a new Qwen3
            of the size's dimensions and the tokenizer's vocabulary.
        overrides: further fields of the config.
    """
    values = {**SIZES[size], **overrides}
    dimensions = values.pop("text_config")
    if text_config:
        text = text_config.to_dict()  # a copy: a model changes the config it is given
    else:
        text = {
            "model_type": "qwen3",
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 4096,
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            **dimensions,
        }
    image_token, seg_start, seg_end = tokenizer.convert_tokens_to_ids(
        [IMAGE_TOKEN, "<seg", "</seg>"]
    )
    return SpexConfig(
        text_config=text,
        image_token_id=image_token,
        seg_start_id=seg_start,
        seg_end_id=seg_end,
        dtype="float32",
        **values,
    )
