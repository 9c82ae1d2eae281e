"""Stage ``align``: visual tokens that the language model can read, by captions of the evidence.

Between stages ``masks`` and ``language`` on one side and ``instruct`` on the other: only the projector (``project``,
``place``) and the encoder's aggregation (``lateral``) learn. Captions come from pixels alone, as the prior text does,
and a request for one is no query (its turn has no ``Query:`` line), so what the model answers to queries stays its own.
The language model is frozen unless ``lr_scale`` gives it a rate: one that has only read dialogues writes no captions yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
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
from train.run.loop import Validation, run
from train.run.losses import text_loss
from train.run.validation import loss_validation
from train.settings import AlignSettings
from train.stages.masks import PROMPTS_FILE, load_prompts

REQUESTS = (
    "the land cover",
    "the whole scene",
    "what covers the ground",
    "shares and places of the classes",
)
_LONGEST = 96  # tokens of a caption in a sample
_LEARNED = ("project.", "place", "encoder.lateral.")


@dataclass(frozen=True)
class AlignBatch:
    """Crops with the conversations that caption them."""

    masks: MaskBatch
    text: TextBatch


def caption(evidence: SceneEvidence) -> str:
    """The top classes that the evidence shows, by share (to 5 %), each with its main place; then those it lacks."""
    tops = [item for item in evidence.classes.values() if classes()[item.name].parent is None]
    present = sorted(
        (item for item in tops if item.status == "present"), key=lambda item: -item.fraction
    )
    seen = [f"{one.name} {_share(one.fraction)} {one.location}" for one in present]
    absent = [item.name for item in tops if item.status == "absent"]
    return f"{'; '.join(seen) or 'nothing'}. absent: {', '.join(absent) or 'nothing'}."


def _share(fraction: float) -> str:
    return f"{5 * round(20 * fraction)}%" if fraction >= 0.025 else "under 5%"


def encode(processor: SpexProcessor, request: str, answer: str) -> tuple[list[int], int]:
    """Token ids of a request with its caption, and where the caption begins."""
    tokenizer = processor.tokenizer
    content = f"{IMAGE_TOKEN * processor.visual_tokens}\nCaption: {request}"
    turns = [{"role": "user", "content": content}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    asked, told = (
        tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text, answer)
    )
    return [*asked, *told, tokenizer.eos_token_id], len(asked)


class CaptionStream:
    """Batches of crops with captions of what was measured on them, after every change of their radiometry."""

    def __init__(
        self, crops: CropStream, processor: SpexProcessor, settings: AlignSettings
    ) -> None:
        self.crops, self.processor, self.settings = crops, processor, settings

    def draw(self, step: int, process: int) -> AlignBatch:
        """The batch of a step."""
        rng = rng_at(self.settings.seed, step, process)
        samples = [self.crops.draw(rng) for _ in range(self.settings.batch_size)]
        return self.batch(samples, [REQUESTS[int(rng.integers(len(REQUESTS)))] for _ in samples])

    def batch(self, samples: list[TrainingCrop], requests: list[str]) -> AlignBatch:
        """Crops, each with a request and its caption."""
        texts = [
            encode(self.processor, request, caption(sample.evidence))
            for request, sample in zip(requests, samples, strict=True)
        ]
        return AlignBatch(collate(samples), pad(texts, self.processor.tokenizer))


class AlignTrainer(nn.Module):
    """The model with all but projector and aggregation frozen, and the language model if its tongue is ``known``."""

    def __init__(self, model: SpexModel, *, known: bool = True) -> None:
        super().__init__()
        self.model = model
        learned = _LEARNED if known else (*_LEARNED, "language.")
        for name, parameter in model.named_parameters():
            if not name.startswith(learned):
                parameter.requires_grad_(False)

    def forward(self, batch: AlignBatch) -> Tensor:
        """Cross-entropy of the captions."""
        model, masks, text = self.model, batch.masks, batch.text
        context, _ = model.context(masks.values, masks.valid, masks.bands)
        embeds = model.embed(text.input_ids, context.visual)
        logits = model.language(
            inputs_embeds=embeds, attention_mask=text.attention_mask, use_cache=False
        ).logits
        return text_loss(logits, text.input_ids, text.weight)


def train(
    settings: AlignSettings, model: SpexModel, processor: SpexProcessor
) -> list[dict[str, float]]:
    """Run the stage; the table of class prompts of stage ``masks`` is handed on.

    Raises:
        ConfigError: no model whose language could read captions.
    """
    if settings.init_from is None:
        raise ConfigError(
            "stage align needs init_from=, a checkpoint of stage language or a whole model"
        )
    crops = CropStream(
        load_chips(settings.data, "train"), settings.crop_size, settings.source_weights, 0.0
    )
    table = load_prompts(settings.vision_from or settings.init_from)

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        processor.save_pretrained(str(folder))
        save_file({"class_prompts": table.contiguous()}, folder / PROMPTS_FILE)

    stream = CaptionStream(crops, processor, settings)
    trainer = AlignTrainer(model, known=not settings.lr_scale.get("language"))
    validation = _validation(settings, processor) if settings.eval_steps else None
    return run(
        settings,
        trainer,
        stream.draw,
        lambda part, batch: {"text": part(batch)},
        save,
        validation=validation,
    )


def _validation(settings: AlignSettings, processor: SpexProcessor) -> Validation:
    """Cross-entropy of captions of validation places, and the captions written of a few."""
    stream = CaptionStream(
        CropStream(load_chips(settings.data, "val"), settings.crop_size, {}, 0.0),
        processor,
        settings,
    )
    batches = [
        stream.draw(number, 0) for number in range(-(-settings.eval_records // settings.batch_size))
    ]

    def losses_of(checkpoint: Path) -> Callable[[AlignBatch], dict[str, Tensor]]:
        model = load(checkpoint).model
        trainer = AlignTrainer(model)
        return lambda batch: {"text": trainer(to_device(batch, model.device))}

    def sample(checkpoint: Path, stem: Path) -> None:
        model, words, rows = load(checkpoint).model, processor.tokenizer, []
        batch = to_device(batches[0], model.device)
        context, _ = model.context(batch.masks.values, batch.masks.valid, batch.masks.bands)
        for ids, start, visual in zip(
            batch.text.input_ids, batch.text.start.tolist(), context.visual, strict=True
        ):
            embeds = model.embed(ids[None, :start], visual[None])
            found = model.language.generate(
                inputs_embeds=embeds, attention_mask=torch.ones_like(ids[None, :start]), do_sample=False,
                max_new_tokens=_LONGEST, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
            )  # fmt: skip
            wanted, wrote = (
                words.decode(part, skip_special_tokens=True) for part in (ids[start:], found[0])
            )
            rows.append(f"- wanted `{wanted}`\n  - wrote `{wrote}`")
        stem.with_suffix(".md").write_text("\n".join(rows), encoding="utf-8")

    return loss_validation(settings, batches, losses_of, sample)
