"""Stage ``language``: the language model learns to read queries and evidence and to answer.

Answers consist of spans and fact slots. The stage sees texts only, no images.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from spex.model.loading import load
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from train.data.batches import to_device
from train.data.conversations import TextBatch, TextStream, load_conversations
from train.run.checkpoints import save_checkpoint
from train.run.logger import LogRow
from train.run.loop import Validation, run
from train.run.losses import text_loss
from train.run.validation import loss_validation, validation_batches
from train.settings import LanguageSettings

_SAMPLES = 8
_SAMPLE_TOKENS = 96
"""Most tokens of a sample."""


class LanguageTrainer(nn.Module):
    """The language model alone, under the name that it has in the whole model."""

    def __init__(self, model: SpexModel) -> None:
        super().__init__()
        self.language = model.language

    def forward(self, batch: TextBatch) -> Tensor:
        """Cross-entropy of the answers."""
        logits = self.language(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
        ).logits
        return text_loss(logits, batch.input_ids, batch.weight)


def train(settings: LanguageSettings, model: SpexModel, processor: SpexProcessor) -> list[LogRow]:
    """Run the stage; return its log."""
    text_processor = SpexProcessor(processor.tokenizer, 0, processor.stride)
    stream = _stream(settings, text_processor, "train")

    def save(folder: Path) -> None:
        save_checkpoint(folder, model, processor=processor)

    def losses(prepared_trainer: nn.Module, batch: TextBatch) -> dict[str, Tensor]:
        return {"text": prepared_trainer(batch)}

    validation = _validation(settings, text_processor) if settings.eval_steps else None
    trainer = LanguageTrainer(model)
    return run(settings, trainer, stream.draw, losses, save, validation=validation, workers=0)


def _stream(settings: LanguageSettings, processor: SpexProcessor, split: str) -> TextStream:
    return TextStream(
        load_conversations(settings.data, split),
        processor,
        settings.batch_size,
        settings.evidence_text_dropout,
        settings.seed,
    )


def _validation(settings: LanguageSettings, processor: SpexProcessor) -> Validation:
    """Cross-entropy on conversations of validation places, and answers to a few of them."""
    stream = _stream(settings, processor, "val")
    conversations = stream.conversations
    shown = conversations[:: max(1, len(conversations) // _SAMPLES)][:_SAMPLES]

    def losses_of(checkpoint: Path) -> Callable[[TextBatch], dict[str, Tensor]]:
        model = load(checkpoint).model
        trainer = LanguageTrainer(model)
        return lambda batch: {"text": trainer(to_device(batch, model.device))}

    def write_samples(checkpoint: Path, stem: Path) -> None:
        language = load(checkpoint).model.language
        tokenizer = processor.tokenizer
        lines = []
        for conversation in shown:
            ids, _ = processor.encode(
                conversation.query, conversation.evidence_text, history=conversation.history
            )
            input_ids = torch.tensor([ids], device=language.device)
            generated = language.generate(
                input_ids,
                attention_mask=torch.ones_like(input_ids),
                do_sample=False,
                max_new_tokens=_SAMPLE_TOKENS,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
            text = tokenizer.decode(generated[0, len(ids) :], clean_up_tokenization_spaces=False)
            lines.append(
                f"- {conversation.query}\n  - wanted `{conversation.answer}`\n  - wrote `{text}`"
            )
        stem.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")

    batches = validation_batches(settings, stream.draw)
    return loss_validation(settings, batches, losses_of, write_samples)
