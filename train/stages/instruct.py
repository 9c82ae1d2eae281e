"""Stage ``instruct``: scenes, conversations and masks together; answers become prompt tokens.

Starts from the language model of stage ``language`` and, as ``vision``, a checkpoint of stage ``masks`` with its
table of class prompts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from spex.errors import ConfigError
from spex.evaluate import QueryMethod
from spex.evidence.indices import OFFERED_INDICES
from spex.evidence.text import evidence_text
from spex.model.decoder import mask_logits
from spex.model.processor import SpexProcessor
from spex.model.spex import SpexModel
from spex.query.answer_markup import parse_answer
from train.data.conversations import (
    Conversation,
    ConversationDataset,
    ConversationEncoder,
    TextBatch,
    load_conversations,
    pad,
)
from train.data.crops import CropStream, MaskBatch, TrainingCrop, collate
from train.data.random_state import rng_at
from train.data.symmetry import Symmetry, transform_conversation
from train.data.training_chips import CLASS_NAMES, load_chips
from train.run.loop import run
from train.run.lora import merged_state
from train.run.losses import mask_losses, presence_loss, text_loss
from train.run.validation import mask_validation
from train.settings import InstructSettings
from train.stages.masks import PROMPTS_FILE, all_classes, class_losses, load_prompts


@dataclass(frozen=True)
class InstructBatch:
    """Crops with their conversations; the class of every span in reading order."""

    masks: MaskBatch
    text: TextBatch
    span_classes: Tensor


class ConversationStream:
    """Batches of crops, each with a dialogue of its scene, turned as it is, and the prior text of the crop itself."""

    def __init__(
        self,
        crops: CropStream,
        dialogues: ConversationDataset,
        processor: SpexProcessor,
        settings: InstructSettings,
    ) -> None:
        self.crops, self.dialogues, self.processor, self.settings = (
            crops,
            dialogues,
            processor,
            settings,
        )
        self.encode = ConversationEncoder(processor, len(dialogues))
        self.by_scene: dict[str, list[int]] = defaultdict(list)
        for number, scene in enumerate(dialogues.scene_ids):
            self.by_scene[scene].append(number)
        self.chips = [i for i, name in enumerate(crops.chips.ids) if name in self.by_scene]
        self.rate = crops.probabilities[self.chips] / crops.probabilities[self.chips].sum()

    def draw(self, step: int, process: int) -> InstructBatch:
        """The batch of a step."""
        rng = rng_at(self.settings.seed, step, process)
        samples: list[TrainingCrop] = []
        conversations, names = [], []
        told = (
            rng.random() >= self.settings.evidence_text_dropout
        )  # by batch: rows are padded to the longest
        while len(samples) < self.settings.batch_size:
            chip = self.crops.chips[int(rng.choice(self.chips, p=self.rate))]
            talk = rng.permutation(self.by_scene[chip.id])
            item = self.dialogues[
                int(next((i for i in talk if self.dialogues.has_evidence[i] == told), talk[0]))
            ]
            item, symmetry = _turned(item, Symmetry.draw(rng))
            # An answer beside a prior text may rest on it: those pixels stay as they were measured.
            sample = self.crops.draw(
                rng,
                chip,
                symmetry=symmetry,
                radiometry=not item.evidence_text,
                needed=_indices(item),
            )
            prior = (
                evidence_text(sample.evidence, item.exchanges[0].query)
                if item.evidence_text
                else ""
            )
            conversation = self.encode(item, prior)
            if conversation is None:
                continue
            samples.append(sample)
            conversations.append(conversation)
            names += [span.class_name for span in parse_answer(item.answer).spans]
        text = pad(conversations, self.processor.tokenizer)
        return InstructBatch(
            collate(samples), text, torch.tensor([CLASS_NAMES.index(name) for name in names])
        )


def _turned(item: Conversation, symmetry: Symmetry) -> tuple[Conversation, Symmetry]:
    """A conversation about the scene turned; the scene is left as it is where the words cannot follow."""
    if (exchanges := transform_conversation(item.exchanges, symmetry)) is None:
        return item, Symmetry()
    *history, last = exchanges
    return replace(item, query=last.query, answer=last.answer, history=tuple(history)), symmetry


def _indices(item: Conversation) -> list[str]:
    """The spectral indices that a conversation speaks of."""
    text = " ".join(f"{one.query} {one.answer}" for one in item.exchanges)
    return [name for name in OFFERED_INDICES if re.search(rf"\b{name}\b", text)]


class InstructTrainer(nn.Module):
    """The whole model, and the table of class prompts, which goes on learning and teaches the condensation."""

    def __init__(self, model: SpexModel, class_prompts: Tensor) -> None:
        super().__init__()
        self.model = model
        self.class_prompts = nn.Parameter(class_prompts)

    def forward(self, batch: InstructBatch) -> dict[str, Tensor]:
        """All loss terms of a batch."""
        model, masks, text = self.model, batch.masks, batch.text
        context, fused = model.context(masks.values, masks.valid, masks.bands)
        embeds = model.embed(text.input_ids, context.visual)
        hidden = model.language.get_decoder()(
            inputs_embeds=embeds, attention_mask=text.attention_mask, use_cache=False
        ).last_hidden_state
        logits = model.language.get_output_embeddings()(hidden)
        features = model.features(fused, masks.evidence)
        table = class_losses(
            *all_classes(model, self.class_prompts, context.coarse, features), masks.labels
        )
        terms = {"text": text_loss(logits, text.input_ids, text.weight)}
        terms |= {f"class_{name}": term for name, term in table.items()}
        spans = model.spans(text.input_ids, text.start)
        assert len(spans) == len(batch.span_classes)
        if spans:
            owner = torch.tensor([row for row, _, _ in spans])
            prompts = model.prompts(hidden, spans)
            weights = model.refiner(prompts, context.coarse[owner])
            found = torch.stack(
                [
                    mask_logits(features[row], w[None])[0]
                    for row, w in zip(owner.tolist(), weights, strict=True)
                ]
            )
            labels = masks.labels[owner, batch.span_classes]
            bce, dice = mask_losses(found, labels)
            terms |= {"bce": bce, "dice": dice, "presence": presence_loss(weights[:, -1], labels)}
            terms["teacher"] = F.mse_loss(
                prompts.float(), self.class_prompts[batch.span_classes].detach()
            )
        return terms


def train(
    settings: InstructSettings, model: SpexModel, processor: SpexProcessor
) -> list[dict[str, float]]:
    """Run the stage."""
    if settings.vision_from is None:
        raise ConfigError(
            "stage instruct needs vision_from=, a checkpoint of stage masks or a whole model"
        )
    chips = load_chips(settings.data, "train")
    crops = CropStream(
        chips, settings.crop_size, settings.source_weights, settings.evidence_map_dropout
    )
    stream = ConversationStream(
        crops, load_conversations(settings.data, "train"), processor, settings
    )
    trainer = InstructTrainer(model, load_prompts(settings.vision_from))

    def save(folder: Path) -> None:
        model.save_pretrained(folder, state_dict=merged_state(model))
        processor.save_pretrained(str(folder))
        save_file(
            {"class_prompts": trainer.class_prompts.detach().contiguous()}, folder / PROMPTS_FILE
        )

    validation = mask_validation(settings, lambda predictor, _: QueryMethod(predictor))
    return run(
        settings, trainer, stream.draw, lambda part, batch: part(batch), save, validation=validation
    )
