"""Heads on the encoder: class logits per pixel from one date or two, or per scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.model.encoder import SpecAwareEncoder
from spex.model.spectral import band_batch
from spex.raster.scene import Pixels
from train.downstream.downstream_settings import TaskKind
from train.downstream.examples import Example

_STRIDE = 4  # of the encoder's finest map
_BATCH_SIZE = 16  # images per batch when features are computed once and kept


def join_dates(dates: Sequence[Tensor]) -> Tensor:
    """Features of one date; of two dates both and their absolute difference.

    Args:
        dates: One or two tensors (..., D, h, w).

    Returns:
        (..., D, h, w), or (..., 3 D, h, w) for two dates.
    """
    if len(dates) == 1:
        return dates[0]
    before, after = dates
    return torch.cat([before, after, (after - before).abs()], -3)


def pool(maps: Tensor) -> Tensor:
    """Mean and maximum over space: (..., 2 D) from (..., D, h, w)."""
    return torch.cat([maps.mean((-2, -1)), maps.amax((-2, -1))], -1)


def feature_maps(encoder: SpecAwareEncoder, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """The encoder's maps of examples of equal size; those of two dates are joined.

    Two dates are embedded from metadata alone. The content of each date would give it other
    kernels, and the features of unchanged ground would differ.

    Returns:
        Maps of strides 4 and 8 (B, D_4 + D_8, h / 4, w / 4), which a linear layer reads: in them
        fine detail is not yet mixed with context. And maps of all strides aggregated
        (B, D, h / 4, w / 4).
    """
    date_count = len(examples[0].dates)
    images = [
        _to_float32(example.dates[date]) for date in range(date_count) for example in examples
    ]
    height, width = images[0].valid.shape
    padding = (0, -width % encoder.stride, 0, -height % encoder.stride)
    device = encoder.device
    values = [F.pad(torch.from_numpy(image.values), padding).to(device) for image in images]
    valid = [F.pad(torch.from_numpy(image.valid), padding).to(device) for image in images]
    bands = band_batch(images).to(device)
    kernels = encoder.embedding.generate(bands, content=date_count == 1)
    output = encoder(values, valid, kernels)
    stride_8 = F.interpolate(output.maps[1], scale_factor=2.0, mode="bilinear")
    fine = torch.cat([output.maps[0], stride_8], 1)
    rows = -(-height // _STRIDE)
    cols = -(-width // _STRIDE)
    return (
        join_dates(fine[..., :rows, :cols].chunk(date_count)),
        join_dates(output.fused[..., :rows, :cols].chunk(date_count)),
    )


@torch.inference_mode()
def frozen_features(
    encoder: SpecAwareEncoder, kind: TaskKind, examples: Sequence[Example]
) -> dict[str, Tensor]:
    """Features of examples, computed once.

    Returns:
        float16 by id of the example: maps (D, h / 4, w / 4), or vectors (D,) of scenes.
    """
    encoder.train(False)
    features_by_id: dict[str, Tensor] = {}
    for _, group in groupby(examples, lambda example: example.dates[0].valid.shape):
        same_size = list(group)
        for first in range(0, len(same_size), _BATCH_SIZE):
            batch = same_size[first : first + _BATCH_SIZE]
            fine, fused = feature_maps(encoder, batch)
            features = pool(fused) if kind == "scene" else fine
            ids = [example.id for example in batch]
            features_by_id |= dict(zip(ids, features.half().cpu(), strict=True))
    return features_by_id


def _to_float32(pixels: Pixels) -> Pixels:
    return replace(pixels, values=pixels.values.astype(np.float32))


class LinearProbe(nn.Module):
    """One linear layer on standardised features of a frozen encoder; maps are enlarged to pixels.

    Args:
        features: Features of all examples by id, as :func:`frozen_features` gives them.
        examples: Training examples; the mean and deviation of their features standardise.
        class_count: Number of classes K.
    """

    def __init__(
        self, features: Mapping[str, Tensor], examples: Sequence[Example], class_count: int
    ) -> None:
        super().__init__()
        self.features = features
        flat = []
        for example in examples:
            example_features = features[example.id].float()
            flat.append(example_features.reshape(len(example_features), -1))
        columns = torch.cat(flat, 1)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", columns.mean(1))
        self.register_buffer("std", columns.std(1, correction=0) + 1e-3)
        self.layer = nn.Linear(len(columns), class_count)

    def training_cells(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Cells (or scenes) of examples whose class is known.

        Returns:
            Standardised features (N, D) and class numbers (N,); of a map, the class at the middle
            of a cell.
        """
        feature_rows = []
        class_numbers = []
        for example in examples:
            features = self.standardise(self._features_of(example)[None])[0]
            target = torch.from_numpy(example.target)
            if target.ndim:
                target = target[_STRIDE // 2 :: _STRIDE, _STRIDE // 2 :: _STRIDE]
                features = features[:, : len(target), : target.shape[1]].flatten(1).T
            feature_rows.append(features.reshape(-1, len(self.mean)))
            class_numbers.append(target.flatten().to(self.mean.device))
        truth = torch.cat(class_numbers)
        known = truth >= 0
        return torch.cat(feature_rows)[known], truth[known]

    def _features_of(self, example: Example) -> Tensor:
        return self.features[example.id].to(self.mean.device).float()

    def standardise(self, features: Tensor) -> Tensor:
        """Standardise features (B, D, h, w) or (B, D)."""
        shape = (-1, *[1] * (features.ndim - 2))
        return (features - self.mean.view(shape)) / self.std.view(shape)

    def logits(self, standardised: Tensor) -> Tensor:
        """Logits (B, K, 4 h, 4 w) or (B, K) from standardised features."""
        logits: Tensor = self.layer(standardised.movedim(1, -1)).movedim(-1, 1)
        if logits.ndim == 2:
            return logits
        return F.interpolate(logits, scale_factor=float(_STRIDE), mode="bilinear")

    def forward(self, examples: Sequence[Example]) -> list[Tensor]:
        """Logits of each example, (K, h, w) or (K,); images may differ in size."""
        if not examples[0].target.ndim:
            features = torch.stack([self._features_of(example) for example in examples])
            return list(self.logits(self.standardise(features)))
        cropped = []
        for example in examples:
            height, width = example.target.shape
            features = self._features_of(example)[None]
            cropped.append(self.logits(self.standardise(features))[0, :, :height, :width])
        return cropped


class FineTuned(nn.Module):
    """The encoder and its head, trained together from where a linear probe ended.

    So the first steps do not destroy what the encoder has learned (Kumar et al., arXiv 2202.10054).
    For maps there is a second head that starts at zero: it adds the context of all strides, and
    detail finer than the stride.

    Args:
        encoder: The encoder.
        probe: A fitted linear probe on it.
        kind: Kind of the task.
    """

    def __init__(self, encoder: SpecAwareEncoder, probe: LinearProbe, kind: TaskKind) -> None:
        super().__init__()
        self.encoder = encoder
        self.probe = probe
        self.detail: nn.Sequential | None = None
        if kind != "scene":
            width = int(encoder.config.fusion_dim)
            last = nn.Conv2d(width, probe.layer.out_features * _STRIDE**2, 1)
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
            first = nn.Conv2d(width * (3 if kind == "change" else 1), width, 3, padding=1)
            self.detail = nn.Sequential(first, nn.GELU(), last, nn.PixelShuffle(_STRIDE))

    def train(self, mode: bool = True) -> FineTuned:
        """Set the mode, but of the embedding: its metadata dropout is only for pre-training."""
        super().train(mode)
        self.encoder.embedding.train(False)
        return self

    def forward(self, examples: Sequence[Example]) -> list[Tensor]:
        """Logits of each example, (K, h, w) or (K,); the examples are of equal size."""
        fine, fused = feature_maps(self.encoder, examples)
        if self.detail is None:
            return list(self.probe.logits(self.probe.standardise(pool(fused))))
        height, width = examples[0].target.shape
        logits = self.probe.logits(self.probe.standardise(fine)) + self.detail(fused)
        return list(logits[..., :height, :width])
