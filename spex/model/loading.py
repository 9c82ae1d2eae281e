"""Loading a checkpoint, the one that ships with SPEX or a folder, and an adapter with it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from spex.errors import ModelError
from spex.model.adapter import read_adapter
from spex.model.config import FORMAT, SpexConfig
from spex.model.predictor import ModelPredictor
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.prompt import IMAGE_TOKEN

SHIPPED = Path(__file__).parents[1] / "checkpoints" / "base"


def load(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    device: str | None = None,
    use_evidence: bool = True,
    adapter: str | os.PathLike[str] | None = None,
) -> ModelPredictor:
    """Load a checkpoint.

    Args:
        name_or_path: its folder; the ``base`` model that ships with SPEX if left out.
        device: as torch names it; a GPU where there is one if left out.
        use_evidence: whether the model is given evidence text and evidence maps.
        adapter: folder of an adapter.

    Raises:
        ModelError: no such folder, files missing, damaged or of another kind, or an adapter of
            another model.
        ConfigError: the adapter brings a class that is already known with another definition.
    """
    folder = SHIPPED if name_or_path in (None, "base") else Path(str(name_or_path))
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelError(
            f"no SPEX checkpoint at {folder} (model.safetensors is missing); "
            "give a folder made by save_pretrained"
        )
    torch_device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        _require_format(folder / "config.json")
        model = SpexModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
        model.to(torch_device)  # type: ignore[arg-type]  # transformers' decorator hides self
        processor = SpexProcessor.from_pretrained(str(folder), model.config)
        assert isinstance(model.config, SpexConfig)
        _require_tokens(processor, model.config)
    except Exception as error:  # whatever the files' readers raise, the cause is the checkpoint
        raise ModelError(f"the checkpoint {folder} cannot be loaded: {error}") from error
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    pairs = None if adapter is None else read_adapter(adapter)
    return ModelPredictor(model, processor, folder.name, digest, use_evidence, pairs)


def _require_format(config_file: Path) -> None:
    """Refuse weights whose meaning this version does not know."""
    config = json.loads(config_file.read_text(encoding="utf-8"))
    stored = config.get("format_version", FORMAT)
    if stored != FORMAT:
        raise ModelError(
            f"it has format {stored}, and this version of SPEX reads format {FORMAT}; "
            "install the matching version"
        )


def _require_tokens(processor: SpexProcessor, config: SpexConfig) -> None:
    """Refuse a tokenizer that writes images or spans with other tokens than the model."""
    required = {
        IMAGE_TOKEN: config.image_token_id,
        "<seg": config.seg_start_id,
        "</seg>": config.seg_end_id,
    }
    vocabulary = processor.tokenizer.get_vocab()
    for token, number in required.items():
        if vocabulary.get(token) != number:
            raise ModelError(
                f"its tokenizer has the special token {token!r} as {vocabulary.get(token)}, not "
                f"{number}; use the tokenizer files that were saved with the weights"
            )
