"""From the settings of a stage to its finished run: build or load the model, then run the stage."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from spex.errors import ConfigError
from spex.model.config import SIZES, SpexConfig, make_config
from spex.model.encoder import SpecAwareEncoder
from spex.model.language_model import add_tokens, load_language
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.prompt import SPECIAL_TOKENS
from train.run import lora
from train.run.logger import LogRow
from train.settings import (
    AlignSettings,
    InstructSettings,
    LanguageSettings,
    MaskSettings,
    ModelSettings,
    PretrainSettings,
    StageSettings,
    TunedSettings,
)


def run_stage(settings: StageSettings) -> list[LogRow]:
    """Run the stage of the settings; return its log.

    Raises:
        ConfigError: Stage adapt, which has a command of its own.
    """
    # Each stage is imported only when it runs.
    if isinstance(settings, PretrainSettings):
        from train.stages import pretrain

        return pretrain.train(settings)
    if not isinstance(settings, ModelSettings):
        raise ConfigError(
            "stage adapt has a command of its own: spex train adapt --data DIR --out ADAPTER"
        )
    model, processor = model_and_processor(settings)
    if isinstance(settings, MaskSettings):
        from train.stages import masks

        return masks.train(settings, model, processor)
    if isinstance(settings, LanguageSettings):
        from train.stages import language

        return language.train(settings, model, processor)
    if isinstance(settings, AlignSettings):
        from train.stages import align

        return align.train(settings, model, processor)
    assert isinstance(settings, InstructSettings)
    from train.stages import instruct

    return instruct.train(settings, model, processor)


def model_and_processor(settings: ModelSettings) -> tuple[SpexModel, SpexProcessor]:
    """The model and the processor from which a stage starts.

    Raises:
        ConfigError: A checkpoint or tokenizer is missing, or a checkpoint does not fit.
        ModelError: The language model cannot be loaded.
    """
    torch.manual_seed(settings.seed)
    if settings.init_from:
        model, tokenizer = _load_model(settings.init_from)
    else:
        model, tokenizer = _new_model(settings)
    if settings.vision_from:
        _load_vision(settings.vision_from, model)
    if settings.encoder_from:
        _load_encoder(settings.encoder_from, model)
    if isinstance(settings, TunedSettings):
        _prepare_language(settings, model, tokenizer)
    return model, SpexProcessor.of(tokenizer, model.config)


def _load_model(folder: str) -> tuple[SpexModel, PreTrainedTokenizerBase]:
    """The model of a checkpoint, with the special tokens that its tokenizer may lack."""
    if not Path(folder, "tokenizer.json").is_file():
        raise ConfigError(f"no tokenizer in init_from={folder}; give a checkpoint of a stage")
    model = SpexModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    add_tokens(model.language, tokenizer)
    model.config.text_config.vocab_size = model.language.config.vocab_size
    return model, tokenizer


def _new_model(settings: ModelSettings) -> tuple[SpexModel, PreTrainedTokenizerBase]:
    """A new model, around a given language model or with a new one for the tokenizer."""
    text_config = SIZES[settings.model_size]["text_config"]
    name = settings.language_model or (text_config if isinstance(text_config, str) else None)
    if name:
        language, tokenizer = load_language(name, settings.quantization_bits)
        add_tokens(language, tokenizer)
        config = make_config(settings.model_size, tokenizer, language.config)
        return SpexModel(config, language), tokenizer
    folder = settings.tokenizer
    if folder is None or not Path(folder, "tokenizer.json").is_file():
        raise ConfigError(
            f"no tokenizer in {folder!r}; set init_from, language_model or tokenizer "
            "(spex train tokenizer makes one)"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return SpexModel(make_config(settings.model_size, tokenizer)), tokenizer


def _load_vision(folder: str, model: SpexModel) -> None:
    """Take all parts of a checkpoint but its language model.

    Parts that depend on the width of the language model are left out, too, if this model's has
    another width.
    """
    left_out = ["language."]
    if _text_width(SpexConfig.from_pretrained(folder)) != _text_width(model.config):
        left_out += ["project.", "place", "condensation."]
    weights = {}
    for name, tensor in model.state_dict().items():
        if name.startswith(tuple(left_out)):
            weights[name] = tensor
    for name, tensor in load_file(Path(folder) / "model.safetensors").items():
        if not name.startswith(tuple(left_out)):
            weights[name] = tensor
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"vision_from={folder} does not fit this model: {error}") from error


def _text_width(config: PreTrainedConfig) -> int:
    """Width of the hidden states of the language model."""
    width: int = config.get_text_config().hidden_size
    return width


def _load_encoder(folder: str, model: SpexModel) -> None:
    """Take the encoder of a checkpoint of stage pretrain."""
    if not Path(folder, "config.json").is_file():
        raise ConfigError(
            f"no encoder in {folder!r}; set encoder_from to a checkpoint of stage pretrain"
        )
    encoder = SpecAwareEncoder.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    channels = encoder.config.fusion_dim
    expected = model.encoder.config.fusion_dim
    if channels != expected:
        raise ConfigError(
            f"encoder_from={folder} gives {channels} channels and the model takes {expected}; "
            "pre-train an encoder of this model_size"
        )
    model.config.vision_config = encoder.config
    model.encoder = encoder


def _prepare_language(
    settings: TunedSettings, model: SpexModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Freeze the language model, or put low-rank pairs into it, as the settings want."""
    if settings.tune != "all":
        model.language.requires_grad_(False)
    if settings.tune == "lora":
        tokens = tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))
        assert isinstance(tokens, list)
        lora.inject(model.language, settings.lora_rank, tokens=tokens)
