"""Loss terms: cross-entropy of answers, BCE and Dice of masks, presence of a class.

The text and mask terms follow SPEX (arXiv 2508.05202).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mask_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean binary cross-entropy and Dice loss of masks.

    Masks without a known pixel are left out, and from Dice also masks without a positive pixel.

    Args:
        logits: (S, H, W).
        labels: (S, H, W): 1 yes, 0 no, -1 unknown, which has no influence.

    Returns:
        Both losses, each a scalar.
    """
    known = labels >= 0
    truth = (labels > 0).float()
    known_count = known.flatten(1).sum(1)
    bce = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none") * known
    has_known = known_count > 0
    mean_bce = bce.flatten(1).sum(1)[has_known] / known_count[has_known]
    bce_loss = mean_bce.sum() / has_known.sum().clamp(min=1)

    probability = logits.float().sigmoid() * known
    overlap = (probability * truth).flatten(1).sum(1)
    total = (probability + truth).flatten(1).sum(1)
    has_positive = truth.flatten(1).sum(1) > 0
    dice = 1 - (2 * overlap + 1) / (total + 1)
    dice_loss = dice[has_positive].sum() / has_positive.sum().clamp(min=1)
    return bce_loss, dice_loss


def presence_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of whether a class is anywhere in the scene.

    Absence counts only where more than half of the pixels are known.

    Args:
        logits: (S,).
        labels: (S, H, W): 1 yes, 0 no, -1 unknown.
    """
    flat = labels.flatten(1)
    present = (flat > 0).any(1)
    mostly_known = (flat >= 0).float().mean(1) > 0.5
    counted = present | mostly_known
    loss = F.binary_cross_entropy_with_logits(logits.float(), present.float(), reduction="none")
    return loss[counted].sum() / counted.sum().clamp(min=1)


def text_loss(logits: Tensor, input_ids: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy of the tokens to predict.

    Args:
        logits: (B, T, V).
        input_ids: (B, T).
        weight: (B, T), of each token to predict; 0 elsewhere.
    """
    predicted = logits[:, :-1].flatten(0, 1).float()
    loss = F.cross_entropy(predicted, input_ids[:, 1:].flatten(), reduction="none")
    flat_weight = weight[:, 1:].flatten()
    return (loss * flat_weight).sum() / flat_weight.sum()
