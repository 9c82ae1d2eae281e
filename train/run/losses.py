"""Losses: cross-entropy on the answer's tokens, 2 BCE + Dice on masks (SPEX, arXiv 2508.05202), presence of a class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mask_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean BCE and Dice of masks.

    Args:
        logits: (S, H, W). labels: (S, H, W), 1 yes, 0 no, -1 unknown (no influence). Masks with no known pixel are
        left out;
            Dice also leaves out masks without a positive.
    """
    known = labels >= 0
    truth = (labels > 0).float()
    counts = known.flatten(1).sum(1)
    bce = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none") * known
    some = counts > 0
    bce = (bce.flatten(1).sum(1)[some] / counts[some]).sum() / some.sum().clamp(min=1)
    chance = logits.float().sigmoid() * known
    overlap, total = (chance * truth).flatten(1).sum(1), (chance + truth).flatten(1).sum(1)
    positive = truth.flatten(1).sum(1) > 0
    dice = (1 - (2 * overlap + 1) / (total + 1))[positive].sum() / positive.sum().clamp(min=1)
    return bce, dice


def presence_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """BCE of 'the class is somewhere in the scene' (S,); absence only counts where most pixels are known."""
    flat = labels.flatten(1)
    present = (flat > 0).any(1)
    told = present | ((flat >= 0).float().mean(1) > 0.5)
    loss = F.binary_cross_entropy_with_logits(logits.float(), present.float(), reduction="none")
    return loss[told].sum() / told.sum().clamp(min=1)


def text_loss(logits: Tensor, input_ids: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of answers: logits (B, T, V), ids (B, T), weight of each token to predict (B, T), 0 elsewhere."""
    loss = F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), input_ids[:, 1:].flatten(), reduction="none"
    )
    flat = weight[:, 1:].flatten()
    return (loss * flat).sum() / flat.sum()
