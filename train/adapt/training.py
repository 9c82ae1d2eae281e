"""Stage ``adapt``: learn a region or a class from a few tiles, as low-rank pairs beside layers.

The pairs are in the parts that make decoder weights. Only masks of the learned classes pass through
them, so the masks of every other class stay identical bit by bit. What the frozen parts make of a
crop is computed once, which makes steps cheap. Where there are no labels, as on half of the sample
scene, a class that the model knew before is held to what the model gave before.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from spex.evidence.class_additions import added_classes
from spex.evidence.classes import classes
from spex.model.adapter import Adapter
from spex.model.decoder import mask_logits
from spex.model.predictor import ModelPredictor
from spex.model.spex import SpexModel
from spex.records import SpieRecord, load_pixels
from train.adapt.region_crops import FrozenCrop, RegionStream, sample_halves
from train.data.training_chips import training_chip, unlabelled_chip
from train.run import lora
from train.run.loop import run
from train.run.losses import mask_losses, presence_loss
from train.settings import AdaptSettings


class AdaptTrainer(nn.Module):
    """Copies of a model's condensation and refiner with low-rank pairs; only the pairs are trained.

    Args:
        model: The base model.
        rank: Rank of the pairs.
    """

    def __init__(self, model: SpexModel, rank: int) -> None:
        super().__init__()
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.condensation = copy.deepcopy(model.condensation)
        self.refiner = copy.deepcopy(model.refiner)
        lora.inject(self, rank)

    def forward(self, crops: Sequence[FrozenCrop]) -> dict[str, Tensor]:
        """Loss terms of a batch.

        Returns:
            ``bce``, ``dice`` and ``presence`` where there are labels; ``keep`` and
            ``keep_presence``, the distance from what the model gave before, where there are none.
        """
        self.steps += 1
        weights = self._decoder_weights(crops)
        before = torch.cat([crop.before for crop in crops])
        labels = torch.cat([crop.labels for crop in crops])
        silent = torch.cat([crop.silent for crop in crops])
        logits = _crop_mask_logits(crops, weights)
        logits_before = _crop_mask_logits(crops, before)
        labelled = (labels >= 0).flatten(1).any(1)
        unlabelled = silent.flatten(1).any(1) & ~labelled
        bce, dice = mask_losses(logits, labels)
        return {
            "bce": bce,
            "dice": dice,
            "presence": presence_loss(weights[labelled, -1], labels[labelled]),
            "keep": _divergence(logits, logits_before, silent),
            "keep_presence": _divergence(weights[:, -1], before[:, -1], unlabelled),
        }

    def _decoder_weights(self, crops: Sequence[FrozenCrop]) -> Tensor:
        """Decoder weights (S, pixel_dim + 2) of the spans of all crops."""
        states = [state for crop in crops for state in crop.states]
        tokens = [torch.ones(len(s), dtype=torch.bool, device=s.device) for s in states]
        coarse = [crop.coarse.expand(len(crop.states), -1, -1, -1) for crop in crops]
        prompts = self.condensation(pad_sequence(states, True), pad_sequence(tokens, True))
        weights: Tensor = self.refiner(prompts, torch.cat(coarse))
        return weights


def _crop_mask_logits(crops: Sequence[FrozenCrop], weights: Tensor) -> Tensor:
    """Mask logits (S, H, W) of the spans of all crops, from their decoder weights."""
    span_weights = torch.split(weights, [len(crop.states) for crop in crops])
    return torch.cat(
        [
            mask_logits(crop.features.float(), crop_weights)
            for crop, crop_weights in zip(crops, span_weights, strict=True)
        ]
    )


def _divergence(logits: Tensor, before: Tensor, where: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of probabilities from those before.

    Args:
        logits: Logits of any shape.
        before: Logits before training, of the same shape.
        where: bool, which of them count.
    """
    target = before.float().sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    entropy = F.binary_cross_entropy_with_logits(before.float(), target, reduction="none")
    return ((cross_entropy - entropy) * where).sum() / where.sum().clamp(min=1)


def train(
    settings: AdaptSettings,
    predictor: ModelPredictor,
    learned: Sequence[SpieRecord],
    replayed: Sequence[SpieRecord] = (),
) -> Path:
    """Train an adapter.

    Args:
        settings: Of the stage.
        predictor: The base model.
        learned: Survey records to learn from.
        replayed: Survey records on which the model must stay as it was.

    Returns:
        The folder of the adapter.

    Raises:
        RecordError: No tile shows a class.
        ConfigError: ``settings.out`` holds a finished run, or one with other settings.
    """
    class_names = tuple(classes())
    base_sha256 = predictor.sha256
    assert base_sha256 is not None
    replayed_pixels = [sample_halves()[0], *map(load_pixels, replayed)]
    stream = RegionStream(
        predictor,
        [training_chip(record, class_names) for record in learned],
        [unlabelled_chip("replayed", pixels, len(class_names)) for pixels in replayed_pixels],
        class_names,
        settings,
    )
    torch.manual_seed(settings.seed)
    trainer = AdaptTrainer(predictor.model, settings.lora_rank)
    out = Path(settings.out)

    def save(folder: Path) -> None:
        pairs = {
            name: (down, scale * up) for name, (down, up, scale) in lora.lora_pairs(trainer).items()
        }
        about = {"steps": int(trainer.steps)}
        adapter = Adapter(out.name, base_sha256, pairs, stream.learned, added_classes(), about)
        adapter.save(folder)

    run(settings, trainer, stream.draw, lambda part, batch: part(batch), save, workers=0)
    return out / "checkpoint"
