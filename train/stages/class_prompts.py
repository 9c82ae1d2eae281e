"""Prompt tokens per class: a table that stands in for the language model while masks are learned.

The table is kept beside a checkpoint, not in the model. Stage ``masks`` learns it. Stage
``instruct`` replaces it by what the language model condenses from an answer.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from spex.evidence.classes import classes
from spex.model.decoder import mask_logits
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.answer_markup import format_span
from train.data.training_chips import CLASS_NAMES
from train.run.losses import mask_losses, presence_loss

CLASS_PROMPTS_FILE = "class_prompts.safetensors"
_TENSOR = "class_prompts"


def class_prompts_file(class_prompts: Tensor) -> dict[str, dict[str, Tensor]]:
    """The table (classes, K, prompt_dim) as a further file of a checkpoint."""
    return {CLASS_PROMPTS_FILE: {_TENSOR: class_prompts}}


@torch.no_grad()
def load_class_prompts(folder: str | Path) -> Tensor:
    """The table (classes, K, prompt_dim) of a checkpoint.

    A checkpoint without a table, such as the shipped one, condenses it from spans that name each
    class.
    """
    path = Path(folder, CLASS_PROMPTS_FILE)
    if path.exists():
        return load_file(path)[_TENSOR]
    model = SpexModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
    model.eval()
    tokenizer = SpexProcessor.from_pretrained(str(folder), model.config).tokenizer
    text_processor = SpexProcessor(tokenizer, 0, 1)
    prompts = []
    for name in CLASS_NAMES:
        title = classes()[name].title
        ids, start = text_processor.encode(title, "", format_span(name, title))
        input_ids = torch.tensor([ids])
        decoder = model.language.get_decoder()
        hidden = decoder(input_ids=input_ids, use_cache=False).last_hidden_state
        spans = model.spans(input_ids, torch.tensor([start]))
        prompts.append(model.prompts(hidden, spans))
    return torch.cat(prompts)


def class_mask_logits(
    model: SpexModel, class_prompts: Tensor, coarse: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    """Masks and presence of every class.

    Args:
        model: Whose refiner turns prompts into decoder weights.
        class_prompts: (classes, K, prompt_dim).
        coarse: Overviews (B, fusion_dim, h, w).
        features: Pixel features (B, pixel_dim, H, W).

    Returns:
        Mask logits (B, classes, H, W) and presence logits (B, classes).
    """
    size = len(coarse)
    count = len(class_prompts)
    prompts = class_prompts.repeat(size, 1, 1)
    weights = model.refiner(prompts, coarse.repeat_interleave(count, 0)).view(size, count, -1)
    logits = [
        mask_logits(crop_features, crop_weights)
        for crop_features, crop_weights in zip(features, weights, strict=True)
    ]
    return torch.stack(logits), weights[..., -1]


def class_losses(logits: Tensor, presence: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Loss terms of the masks and the presence of every class.

    Args:
        logits: (B, classes, H, W).
        presence: Logits (B, classes).
        labels: (B, classes, H, W): 1 yes, 0 no, -1 unknown.
    """
    flat_labels = labels.flatten(0, 1)
    bce, dice = mask_losses(logits.flatten(0, 1), flat_labels)
    return {"bce": bce, "dice": dice, "presence": presence_loss(presence.flatten(), flat_labels)}
