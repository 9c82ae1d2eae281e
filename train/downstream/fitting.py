"""Training of downstream networks: a linear layer on frozen features, or all weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.model.precision import autocast
from train.downstream.downstream_settings import DownstreamSettings
from train.downstream.examples import Example, augment
from train.downstream.heads import LinearProbe

_PROBE_BATCH = 4096  # cells of frozen maps (or scenes) per step of a linear layer


def fit_probe(
    probe: LinearProbe, examples: Sequence[Example], settings: DownstreamSettings, seed: int
) -> None:
    """Train a linear layer on random cells of frozen maps, or on frozen scenes.

    Args:
        probe: The layer.
        examples: Training examples.
        settings: Steps and learning rate.
        seed: Of the draws.
    """
    features, truth = probe.training_cells(examples)
    generator = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        chosen = torch.randint(len(truth), (_PROBE_BATCH,), generator=generator).to(truth.device)
        return F.cross_entropy(probe.layer(features[chosen]), truth[chosen])

    _optimise(probe, loss, settings.rates["probe"], settings.probe_steps)


def fit_network(
    network: nn.Module,
    examples: Sequence[Example],
    settings: DownstreamSettings,
    learning_rate: float,
    seed: int,
) -> None:
    """Train all weights on the cross-entropy over known pixels (or scenes) of augmented crops.

    Args:
        network: Gives logits of a list of examples.
        examples: Training examples.
        settings: Steps, batch size and crop size.
        learning_rate: Peak learning rate.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    device = next(network.parameters()).device
    batch_size = min(settings.batch, len(examples))

    def loss() -> Tensor:
        numbers = rng.choice(len(examples), batch_size, replace=False)
        batch = [examples[int(number)] for number in numbers]
        is_dense = batch[0].target.ndim > 0
        side = settings.crop if is_dense else len(batch[0].dates[0].valid)
        batch = [augment(example, side, rng) for example in batch]
        with autocast(device):
            logits = network(batch)
        return _cross_entropy(logits, batch)

    _optimise(network, loss, learning_rate, settings.steps)


def _optimise(
    network: nn.Module, loss_of_step: Callable[[], Tensor], learning_rate: float, steps: int
) -> None:
    """AdamW with a short warm-up and a cosine decay."""
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=learning_rate, weight_decay=0.02, fused=True
    )
    warmup_steps = max(1, steps // 20)

    def factor(step: int) -> float:
        warmup = min(1.0, (step + 1) / warmup_steps)
        return warmup * (0.51 + 0.49 * math.cos(math.pi * step / steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    network.train()
    for _ in range(steps):
        loss = loss_of_step()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def _cross_entropy(logits: Sequence[Tensor], examples: Sequence[Example]) -> Tensor:
    """Mean over known pixels (or scenes) of a batch."""
    flat_logits = torch.cat([item.float().reshape(len(item), -1) for item in logits], 1).T
    flat_targets = np.concatenate([example.target.ravel() for example in examples])
    truth = torch.from_numpy(flat_targets).to(flat_logits.device)
    loss = F.cross_entropy(flat_logits, truth, ignore_index=-1, reduction="sum")
    return loss / (truth >= 0).sum().clamp(min=1)
