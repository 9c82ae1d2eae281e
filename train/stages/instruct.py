"""Stage ``instruct``: scenes, conversations and masks together.

The spans of an answer become the prompt tokens of masks. The stage starts from the language model
of stage ``language`` and, as ``vision_from``, a checkpoint of stage ``masks`` with its table of
class prompts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.errors import ConfigError
from spex.evaluate import PredictorMethod
from spex.evidence.indices import OFFERED_INDICES
from spex.evidence.text import evidence_text
from spex.model.decoder import mask_logits
from spex.model.predictor import ModelPredictor
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
from train.run.checkpoints import save_checkpoint
from train.run.logger import LogRow
from train.run.loop import run
from train.run.losses import mask_losses, presence_loss, text_loss
from train.run.validation import mask_validation
from train.settings import InstructSettings
from train.stages.class_prompts import (
    class_losses,
    class_mask_logits,
    class_prompts_file,
    load_class_prompts,
)


@dataclass(frozen=True)
class InstructBatch:
    """Crops with their conversations; ``span_classes`` (S,) of all spans in reading order."""

    masks: MaskBatch
    text: TextBatch
    span_classes: Tensor


class ConversationStream:
    """Batches of crops, each with a conversation about its scene.

    A conversation is turned as its crop is, and gets the evidence text of the crop itself.

    Args:
        crops: Draws the crops.
        conversations: Conversations about the same scenes.
        processor: Encodes the conversations.
        settings: Of the stage.
    """

    def __init__(
        self,
        crops: CropStream,
        conversations: ConversationDataset,
        processor: SpexProcessor,
        settings: InstructSettings,
    ) -> None:
        self.crops = crops
        self.conversations = conversations
        self.processor = processor
        self.settings = settings
        self.encode = ConversationEncoder(processor, len(conversations))
        self.by_scene: dict[str, list[int]] = defaultdict(list)
        for number, scene in enumerate(conversations.scene_ids):
            self.by_scene[scene].append(number)
        self.chips = [row for row, name in enumerate(crops.chips.ids) if name in self.by_scene]
        probabilities = crops.probabilities[self.chips]
        self.probabilities = probabilities / probabilities.sum()

    def draw(self, step: int, part: int) -> InstructBatch:
        """The batch of a step and of a part of the step."""
        rng = rng_at(self.settings.seed, step, part)
        crops: list[TrainingCrop] = []
        encoded: list[tuple[list[int], int]] = []
        span_classes: list[int] = []
        # With or without evidence text by batch, because rows are padded to the longest.
        with_text = bool(rng.random() >= self.settings.evidence_text_dropout)
        while len(crops) < self.settings.batch_size:
            chip = self.crops.chips[int(rng.choice(self.chips, p=self.probabilities))]
            conversation = self._draw_conversation(chip.id, with_text, rng)
            conversation, symmetry = _turned(conversation, Symmetry.draw(rng))
            # An answer may rest on the evidence text: such pixels stay as they were measured.
            crop = self.crops.draw(
                rng,
                chip,
                symmetry=symmetry,
                radiometry=not conversation.evidence_text,
                needed=_indices(conversation),
            )
            text = ""
            if conversation.evidence_text:
                text = evidence_text(crop.evidence, conversation.exchanges[0].query)
            ids_and_start = self.encode(conversation, text)
            if ids_and_start is None:
                continue
            crops.append(crop)
            encoded.append(ids_and_start)
            for span in parse_answer(conversation.answer).spans:
                span_classes.append(CLASS_NAMES.index(span.class_name))
        return InstructBatch(
            collate(crops), pad(encoded, self.processor.tokenizer), torch.tensor(span_classes)
        )

    def _draw_conversation(
        self, scene: str, with_text: bool, rng: np.random.Generator
    ) -> Conversation:
        """A conversation about a scene, with or without evidence text as far as there is one."""
        order = rng.permutation(self.by_scene[scene])
        for number in order:
            if self.conversations.has_evidence[number] == with_text:
                return self.conversations[int(number)]
        return self.conversations[int(order[0])]


def _turned(conversation: Conversation, symmetry: Symmetry) -> tuple[Conversation, Symmetry]:
    """A conversation about the turned scene, and how far the scene may be turned.

    The scene stays as it is where the words cannot follow.
    """
    exchanges = transform_conversation(conversation.exchanges, symmetry)
    if exchanges is None:
        return conversation, Symmetry()
    *history, last = exchanges
    turned = replace(conversation, query=last.query, answer=last.answer, history=tuple(history))
    return turned, symmetry


def _indices(conversation: Conversation) -> list[str]:
    """The spectral indices that a conversation names."""
    text = " ".join(f"{exchange.query} {exchange.answer}" for exchange in conversation.exchanges)
    return [name for name in OFFERED_INDICES if re.search(rf"\b{name}\b", text)]


class InstructTrainer(nn.Module):
    """The whole model with the table of class prompts.

    The table continues to learn, and is what the condensation of answers learns from.

    Args:
        model: The model.
        class_prompts: (classes, K, prompt_dim).
    """

    def __init__(self, model: SpexModel, class_prompts: Tensor) -> None:
        super().__init__()
        self.model = model
        self.class_prompts = nn.Parameter(class_prompts)

    def forward(self, batch: InstructBatch) -> dict[str, Tensor]:
        """All loss terms of a batch."""
        model = self.model
        masks = batch.masks
        text = batch.text
        context, fused = model.context(masks.values, masks.valid, masks.bands)
        output = model(text.input_ids, text.attention_mask, text.start, context)
        features = model.features(fused, masks.evidence)
        class_logits, presence = class_mask_logits(
            model, self.class_prompts, context.coarse, features
        )
        terms = {"text": text_loss(output.logits, text.input_ids, text.weight)}
        for name, term in class_losses(class_logits, presence, masks.labels).items():
            terms[f"class_{name}"] = term
        assert len(output.spans) == len(batch.span_classes)
        if output.spans:
            owner = output.span_owner
            weights = output.decoder_weights
            logits = [
                mask_logits(features[row], span_weights[None])[0]
                for row, span_weights in zip(owner.tolist(), weights, strict=True)
            ]
            labels = masks.labels[owner, batch.span_classes]
            bce, dice = mask_losses(torch.stack(logits), labels)
            terms |= {"bce": bce, "dice": dice, "presence": presence_loss(weights[:, -1], labels)}
            class_prompts = self.class_prompts[batch.span_classes].detach()
            terms["teacher"] = F.mse_loss(output.prompts.float(), class_prompts)
        return terms


def train(settings: InstructSettings, model: SpexModel, processor: SpexProcessor) -> list[LogRow]:
    """Run the stage; return its log.

    Raises:
        ConfigError: There is no checkpoint with class prompts to start from.
    """
    if settings.vision_from is None:
        raise ConfigError(
            "stage instruct needs vision_from, a checkpoint of stage masks or of a whole model"
        )
    chips = load_chips(settings.data, "train")
    crops = CropStream(
        chips, settings.crop_size, settings.source_weights, settings.evidence_map_dropout
    )
    conversations = load_conversations(settings.data, "train")
    stream = ConversationStream(crops, conversations, processor, settings)
    trainer = InstructTrainer(model, load_class_prompts(settings.vision_from))

    def save(folder: Path) -> None:
        table = class_prompts_file(trainer.class_prompts)
        save_checkpoint(folder, model, processor=processor, extra=table)

    def loss_terms(prepared_trainer: nn.Module, batch: InstructBatch) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = prepared_trainer(batch)
        return terms

    def method_of(predictor: ModelPredictor, checkpoint: Path) -> PredictorMethod:
        return PredictorMethod(predictor)

    validation = mask_validation(settings, method_of)
    return run(settings, trainer, stream.draw, loss_terms, save, validation=validation)
