"""Stage ``masks``: encoder, aggregation, refiner and mask decoder learn all labelled classes.

A table of prompt tokens per class stands in for the language model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from spex.model.predictor import ModelPredictor
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from train.data.crops import CropStream, MaskBatch, collate
from train.data.random_state import rng_at
from train.data.training_chips import CLASS_NAMES, load_chips
from train.run.checkpoints import save_checkpoint
from train.run.logger import LogRow
from train.run.loop import run
from train.run.validation import ClassPromptMethod, mask_validation
from train.settings import MaskSettings
from train.stages.class_prompts import (
    class_losses,
    class_mask_logits,
    class_prompts_file,
    load_class_prompts,
)

_FROZEN = {"language": 0.0, "condensation": 0.0, "project": 0.0, "place": 0.0}
_PROMPT_SPREAD = 0.5
"""Standard deviation of new prompt tokens."""


class MaskTrainer(nn.Module):
    """The model with a table of prompt tokens per class."""

    def __init__(self, model: SpexModel) -> None:
        super().__init__()
        shape = (len(CLASS_NAMES), model.config.prompt_tokens, model.config.prompt_dim)
        self.model = model
        self.class_prompts = nn.Parameter(torch.randn(shape) * _PROMPT_SPREAD)

    def forward(self, batch: MaskBatch) -> tuple[Tensor, Tensor]:
        """Mask logits (B, classes, H, W) and presence logits (B, classes)."""
        context, fused = self.model.context(batch.values, batch.valid, batch.bands)
        features = self.model.features(fused, batch.evidence)
        return class_mask_logits(self.model, self.class_prompts, context.coarse, features)


def train(settings: MaskSettings, model: SpexModel, processor: SpexProcessor) -> list[LogRow]:
    """Run the stage; return its log."""
    torch.manual_seed(settings.seed)
    trainer = MaskTrainer(model)
    if settings.init_from:
        trainer.class_prompts.data.copy_(load_class_prompts(settings.init_from))
    settings = replace(settings, lr_scale={**settings.lr_scale, **_FROZEN})
    chips = load_chips(settings.data, "train")
    stream = CropStream(
        chips, settings.crop_size, settings.source_weights, settings.evidence_map_dropout
    )

    def draw(step: int, part: int) -> MaskBatch:
        rng = rng_at(settings.seed, step, part)
        return collate([stream.draw(rng) for _ in range(settings.batch_size)])

    def losses(prepared_trainer: nn.Module, batch: MaskBatch) -> dict[str, Tensor]:
        logits, presence = prepared_trainer(batch)
        return class_losses(logits, presence, batch.labels)

    def save(folder: Path) -> None:
        table = class_prompts_file(trainer.class_prompts)
        save_checkpoint(folder, model, processor=processor, extra=table)

    def method_of(predictor: ModelPredictor, checkpoint: Path) -> ClassPromptMethod:
        return ClassPromptMethod(predictor, load_class_prompts(checkpoint))

    validation = mask_validation(settings, method_of)
    return run(settings, trainer, draw, losses, save, validation=validation)
