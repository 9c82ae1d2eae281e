"""Stage ``language``: the language model learns to read queries and evidence, and to answer in spans and slots."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from train.dialogues import TextBatch, TextStream, load_dialogues
from train.loop import run
from train.losses import text_loss
from train.settings import Settings


class LanguageTrainer(nn.Module):
    """The language model alone, under the name it has in the whole."""

    def __init__(self, model: SpexModel) -> None:
        super().__init__()
        self.language = model.language

    def forward(self, batch: TextBatch) -> Tensor:
        """Cross-entropy of the answers."""
        logits = self.language(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).logits
        return text_loss(logits, batch.input_ids, batch.weight)


def train(settings: Settings, model: SpexModel, processor: SpexProcessor) -> list[dict[str, float]]:
    """Run the stage."""
    text_only = SpexProcessor(processor.tokenizer, 0, processor.stride)
    dialogues = load_dialogues(settings.data, "train")
    stream = TextStream(dialogues, text_only, settings.batch, settings.prior_dropout, settings.seed)

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        processor.save_pretrained(str(folder))

    trainer = LanguageTrainer(model)
    return run(settings, trainer, stream.draw, lambda part, batch: {"text": part(batch)}, save, workers=0)
