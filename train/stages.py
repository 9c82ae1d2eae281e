"""From settings to a finished stage: build or load the model, then hand over."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from spex.errors import ConfigError
from spex.model.config import make_config
from spex.model.encoder import SpecAwareEncoder
from spex.model.processor import SpexProcessor, extend_tokenizer
from spex.model.spex import SpexModel
from spex.prompts import SPECIAL_TOKENS
from train.settings import Settings


def model_and_processor(settings: Settings) -> tuple[SpexModel, SpexProcessor]:
    """The model and processor a stage starts from.

    Raises:
        ConfigError: a starting checkpoint or tokenizer that is not there.
    """
    folder = settings.start or settings.tokenizer
    if folder is None or not Path(folder, "tokenizer.json").is_file():
        raise ConfigError(f"no tokenizer in {folder!r}; set start or tokenizer (made by: spex train tokenizer)")
    if settings.start:
        model = SpexModel.from_pretrained(settings.start, local_files_only=True, dtype=torch.float32)
    else:
        torch.manual_seed(settings.seed)
        model = SpexModel(make_config(settings.size, AutoTokenizer.from_pretrained(folder, local_files_only=True)))
    if settings.vision:
        weights = load_file(Path(settings.vision) / "model.safetensors")
        seen = {name: value for name, value in weights.items() if not name.startswith("language.")}
        try:
            model.load_state_dict(seen | {n: v for n, v in model.state_dict().items() if n.startswith("language.")})
        except RuntimeError as error:
            raise ConfigError(f"vision={settings.vision} does not fit this model: {error}") from error
    if settings.encoder:
        model.encoder = _encoder(settings.encoder, model)
    processor = SpexProcessor.from_pretrained(folder, model.config)
    add_tokens(model, processor.tokenizer)
    return model, processor


def _encoder(folder: str, model: SpexModel) -> SpecAwareEncoder:
    if not Path(folder, "config.json").is_file():
        raise ConfigError(f"no encoder in {folder!r}; set encoder to a checkpoint of stage pretrain")
    encoder = SpecAwareEncoder.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    if encoder.config.fusion_dim != model.encoder.config.fusion_dim:
        found, wanted = encoder.config.fusion_dim, model.encoder.config.fusion_dim
        raise ConfigError(f"encoder={folder} gives {found} channels and the model takes {wanted}; pre-train this size")
    model.config.vision_config = encoder.config
    return encoder


def add_tokens(model: SpexModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Give a model and its tokenizer the span and slot tokens they lack; returns these.

    A new token begins as the mean of the pieces it was read as, so that the model goes on understanding it.
    """
    known = tokenizer.get_vocab()
    pieces = {
        token: tokenizer(token, add_special_tokens=False)["input_ids"] for token in SPECIAL_TOKENS if token not in known
    }
    if pieces:
        extend_tokenizer(tokenizer)
        embedding = model.language.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            for token, ids in pieces.items():
                embedding.weight[tokenizer.convert_tokens_to_ids(token)] = embedding.weight[ids].mean(0)
        model.config.text_config.vocab_size = len(tokenizer)
    return list(pieces)


def run_settings(settings: Settings) -> list[dict[str, float]]:
    """Run the stage that the settings name; return its log."""
    if settings.stage == "pretrain":
        from train import pretrain

        return pretrain.train(settings)
    model, processor = model_and_processor(settings)
    if settings.stage == "masks":
        from train import masks

        return masks.train(settings, model, processor)
    if settings.stage == "language":
        from train import language

        return language.train(settings, model, processor)
    from train import instruct

    return instruct.train(settings, model, processor)
