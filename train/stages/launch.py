"""From settings to a finished stage: build or load the model, then hand over."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from spex.errors import ConfigError
from spex.model.config import SIZES, SpexConfig, make_config
from spex.model.encoder import SpecAwareEncoder
from spex.model.language_model import add_tokens, load_language
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.prompt import SPECIAL_TOKENS
from train.run import lora
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


def model_and_processor(settings: ModelSettings) -> tuple[SpexModel, SpexProcessor]:
    """The model and processor a stage starts from.

    Raises:
        ConfigError: a starting checkpoint or tokenizer that is not there, or settings that do not go together.
        ModelError: a language model that cannot be loaded.
    """
    torch.manual_seed(settings.seed)
    model, tokenizer = _started(settings) if settings.init_from else _new(settings)
    if settings.vision_from:
        _take_vision(settings.vision_from, model)
    if settings.encoder_from:
        model.encoder = _encoder(settings.encoder_from, model)
    if isinstance(settings, TunedSettings) and settings.tune != "all":
        model.language.requires_grad_(False)
    if isinstance(settings, TunedSettings) and settings.tune == "lora":
        lora.inject(
            model.language,
            settings.lora_rank,
            tokens=tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)),
        )
    return model, SpexProcessor.of(tokenizer, model.config)


def _started(settings: ModelSettings) -> tuple[SpexModel, PreTrainedTokenizerBase]:
    if not Path(settings.init_from, "tokenizer.json").is_file():
        raise ConfigError(
            f"no tokenizer in init_from={settings.init_from}; give a folder that a stage wrote"
        )
    model = SpexModel.from_pretrained(
        settings.init_from, local_files_only=True, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(settings.init_from, local_files_only=True)
    add_tokens(model.language, tokenizer)
    model.config.text_config.vocab_size = model.language.config.vocab_size
    return model, tokenizer


def _new(settings: ModelSettings) -> tuple[SpexModel, PreTrainedTokenizerBase]:
    """A new model of a size, around a language model there is or with one of the tokenizer's vocabulary."""
    own = SIZES[settings.model_size]["text_config"]
    if name := settings.language_model or (own if isinstance(own, str) else None):
        language, tokenizer = load_language(name, settings.quantization_bits)
        add_tokens(language, tokenizer)
        return SpexModel(
            make_config(settings.model_size, tokenizer, language.config), language
        ), tokenizer
    folder = settings.tokenizer
    if folder is None or not Path(folder, "tokenizer.json").is_file():
        raise ConfigError(
            f"no tokenizer in {folder!r}; set init_from, language_model, or tokenizer (made by: spex train tokenizer)"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return SpexModel(make_config(settings.model_size, tokenizer)), tokenizer


def _take_vision(folder: str, model: SpexModel) -> None:
    """All parts of a checkpoint but its language model, and but those of its width where this model's is another."""
    left = ["language."]
    if (
        SpexConfig.from_pretrained(folder).text_config.hidden_size
        != model.config.text_config.hidden_size
    ):
        left += ["project.", "place", "condensation."]
    found = load_file(Path(folder) / "model.safetensors").items()
    kept = {
        name: value for name, value in model.state_dict().items() if name.startswith(tuple(left))
    }
    try:
        model.load_state_dict(
            kept | {name: value for name, value in found if not name.startswith(tuple(left))}
        )
    except RuntimeError as error:
        raise ConfigError(f"vision_from={folder} does not fit this model: {error}") from error


def _encoder(folder: str, model: SpexModel) -> SpecAwareEncoder:
    if not Path(folder, "config.json").is_file():
        raise ConfigError(
            f"no encoder in {folder!r}; set encoder_from to a checkpoint of stage pretrain"
        )
    encoder = SpecAwareEncoder.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    if encoder.config.fusion_dim != model.encoder.config.fusion_dim:
        found, wanted = encoder.config.fusion_dim, model.encoder.config.fusion_dim
        raise ConfigError(
            f"encoder_from={folder} gives {found} channels and the model takes {wanted}; pre-train this size"
        )
    model.config.vision_config = encoder.config
    return encoder


def run_stage(settings: StageSettings) -> list[dict[str, float]]:
    """Run the stage of the settings; return its log.

    Raises:
        ConfigError: Stage adapt, which has a command of its own.
    """
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
