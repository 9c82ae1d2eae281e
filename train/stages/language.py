"""Stage ``language``: the language model learns to read queries and evidence, and to answer in spans and slots."""

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
from train.run.loop import Validation, run
from train.run.lora import merged_state
from train.run.losses import text_loss
from train.run.validation import loss_validation
from train.settings import LanguageSettings

_SHOWN = 8
_LONGEST = 96  # tokens of a sample


class LanguageTrainer(nn.Module):
    """The language model alone, under the name it has in the whole."""

    def __init__(self, model: SpexModel) -> None:
        super().__init__()
        self.language = model.language

    def forward(self, batch: TextBatch) -> Tensor:
        """Cross-entropy of the answers."""
        logits = self.language(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
        ).logits
        return text_loss(logits, batch.input_ids, batch.weight)


def train(
    settings: LanguageSettings, model: SpexModel, processor: SpexProcessor
) -> list[dict[str, float]]:
    """Run the stage."""
    text_only = SpexProcessor(processor.tokenizer, 0, processor.stride)
    dialogues = load_conversations(settings.data, "train")
    stream = TextStream(
        dialogues, text_only, settings.batch_size, settings.evidence_text_dropout, settings.seed
    )

    def save(folder: Path) -> None:
        model.save_pretrained(folder, state_dict=merged_state(model))
        processor.save_pretrained(str(folder))

    def loss(part: nn.Module, batch: TextBatch) -> dict[str, Tensor]:
        return {"text": part(batch)}

    validation = _validation(settings, text_only) if settings.eval_steps else None
    return run(
        settings, LanguageTrainer(model), stream.draw, loss, save, validation=validation, workers=0
    )


def _validation(settings: LanguageSettings, processor: SpexProcessor) -> Validation:
    """Cross-entropy on dialogues of validation places, and answers to a few of them."""
    dialogues = load_conversations(settings.data, "val")
    stream = TextStream(
        dialogues, processor, settings.batch_size, settings.evidence_text_dropout, settings.seed
    )
    batches = [
        stream.draw(number, 0) for number in range(-(-settings.eval_records // settings.batch_size))
    ]
    shown = dialogues[:: max(1, len(dialogues) // _SHOWN)][:_SHOWN]

    def losses_of(checkpoint: Path) -> Callable[[TextBatch], dict[str, Tensor]]:
        model = load(checkpoint).model
        trainer = LanguageTrainer(model)
        return lambda batch: {"text": trainer(to_device(batch, model.device))}

    def sample(checkpoint: Path, stem: Path) -> None:
        language, words, rows = load(checkpoint).model.language, processor.tokenizer, []
        for item in shown:
            ids = torch.tensor(
                [processor.encode(item.query, item.evidence_text, history=item.history)[0]]
            )
            found = language.generate(
                ids.to(language.device), attention_mask=torch.ones_like(ids).to(language.device), do_sample=False,
                max_new_tokens=_LONGEST, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
            )  # fmt: skip
            text = words.decode(found[0, ids.shape[1] :], clean_up_tokenization_spaces=False)
            rows.append(f"- {item.query}\n  - wanted `{item.answer}`\n  - wrote `{text}`")
        stem.with_suffix(".md").write_text("\n".join(rows), encoding="utf-8")

    return loss_validation(settings, batches, losses_of, sample)
