"""Stage ``align``: projector and aggregation learn from captions of the evidence.

Afterwards the language model can read the visual tokens. The stage runs after ``masks`` and
``language`` and before ``instruct``. Captions come from the pixels alone, as the evidence text
does. A request for a caption is no query (its turn has no ``Query:`` line), so answers to queries
do not change. The language model is frozen unless ``lr_scale`` gives it a factor: one that has only
read conversations cannot write captions yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spex.errors import ConfigError
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import SceneEvidence
from spex.model.loading import load
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.prompt import IMAGE_TOKEN
from train.data.batches import to_device
from train.data.conversations import TextBatch, pad
from train.data.crops import CropStream, MaskBatch, TrainingCrop, collate
from train.data.random_state import rng_at
from train.data.training_chips import load_chips
from train.run.checkpoints import save_checkpoint
from train.run.logger import LogRow
from train.run.loop import Validation, run
from train.run.losses import text_loss
from train.run.validation import loss_validation, validation_batches
from train.settings import AlignSettings
from train.stages.class_prompts import class_prompts_file, load_class_prompts

REQUESTS = (
    "the land cover",
    "the whole scene",
    "what covers the ground",
    "shares and places of the classes",
)
_SAMPLE_TOKENS = 96
"""Most tokens of a caption in a sample."""
_TRAINED = ("project.", "place", "encoder.lateral.")


@dataclass(frozen=True)
class AlignBatch:
    """Crops with the conversations that caption them."""

    masks: MaskBatch
    text: TextBatch


def caption(evidence: SceneEvidence) -> str:
    """What the evidence shows, in words.

    First the top-level classes that are present, by share (to 5 %), each with its main location,
    then those that are absent.
    """
    top_level = [item for item in evidence.classes.values() if classes()[item.name].parent is None]
    present = [item for item in top_level if item.status == "present"]
    present.sort(key=lambda item: -item.fraction)
    absent = [item.name for item in top_level if item.status == "absent"]
    parts = [f"{item.name} {_rounded_share(item.fraction)} {item.location}" for item in present]
    return f"{'; '.join(parts) or 'nothing'}. absent: {', '.join(absent) or 'nothing'}."


def _rounded_share(fraction: float) -> str:
    return f"{5 * round(20 * fraction)}%" if fraction >= 0.025 else "under 5%"


def encode_caption(
    processor: SpexProcessor, request: str, caption_text: str
) -> tuple[list[int], int]:
    """Token ids of a request with its caption, and the index at which the caption begins."""
    tokenizer = processor.tokenizer
    content = f"{IMAGE_TOKEN * processor.visual_tokens}\nCaption: {request}"
    turns = [{"role": "user", "content": content}]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    caption_ids = tokenizer(caption_text, add_special_tokens=False)["input_ids"]
    return [*prompt_ids, *caption_ids, tokenizer.eos_token_id], len(prompt_ids)


class CaptionStream:
    """Batches of crops with captions of what is measured on them after augmentation.

    Args:
        crops: Draws the crops.
        processor: Encodes requests and captions.
        settings: Of the stage.
    """

    def __init__(
        self, crops: CropStream, processor: SpexProcessor, settings: AlignSettings
    ) -> None:
        self.crops = crops
        self.processor = processor
        self.settings = settings

    def draw(self, step: int, part: int) -> AlignBatch:
        """The batch of a step and of a part of the step."""
        rng = rng_at(self.settings.seed, step, part)
        crops = [self.crops.draw(rng) for _ in range(self.settings.batch_size)]
        requests = [REQUESTS[int(rng.integers(len(REQUESTS)))] for _ in crops]
        return self.batch(crops, requests)

    def batch(self, crops: list[TrainingCrop], requests: Sequence[str]) -> AlignBatch:
        """A batch of crops, each with a request and its caption."""
        conversations = [
            encode_caption(self.processor, request, caption(crop.evidence))
            for request, crop in zip(requests, crops, strict=True)
        ]
        return AlignBatch(collate(crops), pad(conversations, self.processor.tokenizer))


class AlignTrainer(nn.Module):
    """The model with all but projector and aggregation frozen.

    Args:
        model: The model.
        train_language: Whether the language model is trained, too.
    """

    def __init__(self, model: SpexModel, *, train_language: bool = False) -> None:
        super().__init__()
        self.model = model
        trained = (*_TRAINED, "language.") if train_language else _TRAINED
        for name, parameter in model.named_parameters():
            if not name.startswith(trained):
                parameter.requires_grad_(False)

    def forward(self, batch: AlignBatch) -> Tensor:
        """Cross-entropy of the captions."""
        model = self.model
        masks = batch.masks
        text = batch.text
        context, _ = model.context(masks.values, masks.valid, masks.bands)
        embeddings = model.embed(text.input_ids, context.visual)
        logits = model.language(
            inputs_embeds=embeddings, attention_mask=text.attention_mask, use_cache=False
        ).logits
        return text_loss(logits, text.input_ids, text.weight)


def train(settings: AlignSettings, model: SpexModel, processor: SpexProcessor) -> list[LogRow]:
    """Run the stage; return its log. The table of class prompts is handed on.

    Raises:
        ConfigError: There is no model whose language model could read captions.
    """
    if settings.init_from is None:
        raise ConfigError(
            "stage align needs init_from, a checkpoint of stage language or of a whole model"
        )
    class_prompts = load_class_prompts(settings.vision_from or settings.init_from)
    chips = load_chips(settings.data, "train")
    crops = CropStream(chips, settings.crop_size, settings.source_weights, 0.0)
    stream = CaptionStream(crops, processor, settings)
    trainer = AlignTrainer(model, train_language=bool(settings.lr_scale.get("language")))

    def save(folder: Path) -> None:
        table = class_prompts_file(class_prompts)
        save_checkpoint(folder, model, processor=processor, extra=table)

    def losses(prepared_trainer: nn.Module, batch: AlignBatch) -> dict[str, Tensor]:
        return {"text": prepared_trainer(batch)}

    validation = _validation(settings, processor) if settings.eval_steps else None
    return run(settings, trainer, stream.draw, losses, save, validation=validation)


def _validation(settings: AlignSettings, processor: SpexProcessor) -> Validation:
    """Cross-entropy of captions of validation places, and the captions written for a few."""
    crops = CropStream(load_chips(settings.data, "val"), settings.crop_size, {}, 0.0)
    batches = validation_batches(settings, CaptionStream(crops, processor, settings).draw)

    def losses_of(checkpoint: Path) -> Callable[[AlignBatch], dict[str, Tensor]]:
        model = load(checkpoint).model
        trainer = AlignTrainer(model)
        return lambda batch: {"text": trainer(to_device(batch, model.device))}

    def write_samples(checkpoint: Path, stem: Path) -> None:
        model = load(checkpoint).model
        captions = _written_captions(model, processor, to_device(batches[0], model.device))
        lines = [f"- wanted `{wanted}`\n  - wrote `{written}`" for wanted, written in captions]
        stem.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")

    return loss_validation(settings, batches, losses_of, write_samples)


def _written_captions(
    model: SpexModel, processor: SpexProcessor, batch: AlignBatch
) -> list[tuple[str, str]]:
    """The caption of each crop of a batch, and what the model writes instead."""
    tokenizer = processor.tokenizer
    context, _ = model.context(batch.masks.values, batch.masks.valid, batch.masks.bands)
    language: Any = model.language  # generate() comes from a mixin
    captions = []
    for ids, start, visual in zip(
        batch.text.input_ids, batch.text.start.tolist(), context.visual, strict=True
    ):
        prompt = ids[None, :start]
        generated = language.generate(
            inputs_embeds=model.embed(prompt, visual[None]),
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=_SAMPLE_TOKENS,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        wanted = tokenizer.decode(ids[start:], skip_special_tokens=True)
        written = tokenizer.decode(generated[0], skip_special_tokens=True)
        captions.append((str(wanted), str(written)))
    return captions
