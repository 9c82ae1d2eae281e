"""Scores of a downstream task: confusion counts, IoU and F1 per class, accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from train.downstream.examples import Example


@torch.no_grad()
def confusion_counts(network: nn.Module, examples: Sequence[Example], class_count: int) -> Tensor:
    """Count known pixels (or scenes) by true and predicted class.

    Args:
        network: Gives logits of a list of examples.
        examples: What to predict.
        class_count: Number of classes K.

    Returns:
        int64 (K, K): true class by predicted class.
    """
    network.eval()
    counts = torch.zeros(class_count**2, dtype=torch.long)
    for example in examples:
        truth = torch.from_numpy(example.target.ravel())
        predicted = network([example])[0].argmax(0).ravel().cpu()
        known = truth >= 0
        pairs = truth[known] * class_count + predicted[known]
        counts += torch.bincount(pairs, minlength=class_count**2)
    return counts.view(class_count, class_count)


def scores(counts: Tensor, classes: Sequence[str], class_numbers: Sequence[int]) -> dict[str, Any]:
    """Scores from confusion counts.

    Args:
        counts: int64 (K, K), true class by predicted class.
        classes: Names of the K classes.
        class_numbers: Classes that the means are over, if they are in the truth.

    Returns:
        Per class ``iou`` and ``f1`` (None where it is neither true nor predicted) and ``support``;
        ``mean_iou`` and ``mean_f1``; overall accuracy ``oa``.
    """
    hits = counts.diag().double()
    true = counts.sum(1).double()
    predicted = counts.sum(0).double()
    rows: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(classes):
        total = true[number] + predicted[number]
        rows[name] = {
            "iou": float(hits[number] / (total - hits[number])) if total else None,
            "f1": float(2 * hits[number] / total) if total else None,
            "support": int(true[number]),
        }
    measured = [rows[classes[number]] for number in class_numbers if true[number]]
    return {
        "classes": rows,
        "mean_iou": _mean(measured, "iou"),
        "mean_f1": _mean(measured, "f1"),
        "oa": float(hits.sum() / true.sum()),
    }


def _mean(rows: Sequence[dict[str, Any]], score: str) -> float | None:
    return sum(row[score] or 0.0 for row in rows) / len(rows) if rows else None
