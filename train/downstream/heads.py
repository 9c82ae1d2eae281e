"""Heads on the encoder: class logits per pixel from one date or two, or per scene; linear on frozen features or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.model.encoder import SpecAwareEncoder
from spex.model.spectral import band_batch
from spex.raster.scene import Pixels
from train.downstream.examples import Example, Kind

_STRIDE = 4  # of the encoder's finest map
_AT_ONCE = 16  # images to a batch whose features are kept


def joined(dates: Sequence[Tensor]) -> Tensor:
    """Features of one date; of two dates both and their absolute difference, along channels (dimension -3)."""
    if len(dates) == 1:
        return dates[0]
    before, after = dates
    return torch.cat([before, after, (after - before).abs()], -3)


def pooled(maps: Tensor) -> Tensor:
    """Mean and maximum over space, (..., 2 D) from (..., D, h, w)."""
    return torch.cat([maps.mean((-2, -1)), maps.amax((-2, -1))], -1)


def feature_maps(encoder: SpecAwareEncoder, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """What a linear layer reads of examples of equal size, and the aggregated maps; of two dates joined.

    Two dates are embedded from metadata alone: the content of each would give it kernels of its own, and what has not
    changed would differ.

    Returns:
        strides 4 and 8 (B, D_4 + D_8, h / 4, w / 4), in which what is fine is not mixed with what tells places apart,
        and all strides aggregated (B, D, h / 4, w / 4).
    """
    images = [
        _float(pixels) for date in zip(*(e.dates for e in examples), strict=True) for pixels in date
    ]
    height, width = images[0].valid.shape
    pad = (0, -width % encoder.stride, 0, -height % encoder.stride)
    values = [F.pad(torch.from_numpy(image.values), pad).to(encoder.device) for image in images]
    valid = [F.pad(torch.from_numpy(image.valid), pad).to(encoder.device) for image in images]
    dates = len(examples[0].dates)
    kernels = encoder.embedding.generate(band_batch(images).to(encoder.device), content=dates == 1)
    found = encoder(values, valid, kernels)
    fine = torch.cat(
        [found.maps[0], F.interpolate(found.maps[1], scale_factor=2.0, mode="bilinear")], 1
    )
    rows, cols = -(-height // _STRIDE), -(-width // _STRIDE)
    return joined(fine[..., :rows, :cols].chunk(dates)), joined(
        found.fused[..., :rows, :cols].chunk(dates)
    )


@torch.inference_mode()
def frozen_features(
    encoder: SpecAwareEncoder, kind: Kind, examples: Sequence[Example]
) -> dict[str, Tensor]:
    """Features of examples by id, computed once: maps (D, h / 4, w / 4), for scenes vectors (D,); kept as float16."""
    encoder.eval()
    found = {}
    for _, alike in groupby(examples, lambda e: e.dates[0].valid.shape):
        rest = list(alike)
        while rest:
            batch, rest = rest[:_AT_ONCE], rest[_AT_ONCE:]
            fine, fused = feature_maps(encoder, batch)
            features = pooled(fused) if kind == "scene" else fine
            found |= zip((e.id for e in batch), features.half().cpu(), strict=True)
    return found


def _float(pixels: Pixels) -> Pixels:
    return Pixels(**{**vars(pixels), "values": pixels.values.astype(np.float32)})


class LinearProbe(nn.Module):
    """One linear layer on standardised features of a frozen encoder, enlarged to the pixels where there is a map.

    Args:
        features: of all examples, by id. examples: training examples, whose features give mean and deviation.
    """

    def __init__(
        self, features: Mapping[str, Tensor], examples: Sequence[Example], classes: int
    ) -> None:
        super().__init__()
        self.features = features
        seen = torch.cat(
            [features[e.id].float().reshape(len(features[e.id]), -1) for e in examples], 1
        )
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", seen.mean(1))
        self.register_buffer("std", seen.std(1, correction=0) + 1e-3)
        self.layer = nn.Linear(len(seen), classes)

    def cells(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Standardised features (N, D) and truth (N,) where it is known; of a map, at the middle of its cells."""
        found, truth, half = [], [], _STRIDE // 2
        for example in examples:
            features = self.standardised(
                self.features[example.id].to(self.mean.device).float()[None]
            )[0]
            target = torch.from_numpy(example.target)
            if target.ndim:
                target = target[half::_STRIDE, half::_STRIDE]
                features = features[:, : len(target), : target.shape[1]].flatten(1).T
            found.append(features.reshape(-1, len(self.mean)))
            truth.append(target.flatten().to(self.mean.device))
        known = torch.cat(truth) >= 0
        return torch.cat(found)[known], torch.cat(truth)[known]

    def standardised(self, features: Tensor) -> Tensor:
        """Features (B, D, h, w) or (B, D) as the linear layer wants them."""
        shape = (-1, *[1] * (features.ndim - 2))
        return (features - self.mean.view(shape)) / self.std.view(shape)

    def logits(self, standardised: Tensor) -> Tensor:
        """Logits (B, K, 4 h, 4 w) or (B, K) from standardised features."""
        found = self.layer(standardised.movedim(1, -1)).movedim(-1, 1)
        return (
            found
            if found.ndim == 2
            else F.interpolate(found, scale_factor=float(_STRIDE), mode="bilinear")
        )

    def forward(self, examples: Sequence[Example]) -> list[Tensor]:
        """Logits of examples, (K, h, w) or (K,) each."""
        found = [self.features[e.id].to(self.mean.device).float() for e in examples]
        if found[0].ndim == 1:
            return list(self.logits(self.standardised(torch.stack(found))))
        maps = [
            self.logits(self.standardised(one[None]))[0] for one in found
        ]  # images may differ in size
        return [
            one[:, : len(e.target), : e.target.shape[1]]
            for one, e in zip(maps, examples, strict=True)
        ]


class FineTuned(nn.Module):
    """The encoder and its head, trained together from where a linear probe ended.

    So the first steps do not undo what the encoder knows (Kumar et al., arXiv 2202.10054). Where there is a map, a
    second head that starts at zero adds what all strides together tell, and what is finer than the stride.
    """

    def __init__(self, encoder: SpecAwareEncoder, probe: LinearProbe, kind: Kind) -> None:
        super().__init__()
        self.encoder, self.probe = encoder, probe
        self.detail: nn.Sequential | None = None
        if kind != "scene":
            width = int(encoder.config.fusion_dim)
            last = nn.Conv2d(width, probe.layer.out_features * _STRIDE**2, 1)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            first = nn.Conv2d(width * (3 if kind == "change" else 1), width, 3, padding=1)
            self.detail = nn.Sequential(first, nn.GELU(), last, nn.PixelShuffle(_STRIDE))

    def train(self, mode: bool = True) -> FineTuned:
        """Leave the embedding as it is: metadata dropout is for pre-training, here the sensor is known."""
        super().train(mode)
        self.encoder.embedding.eval()
        return self

    def forward(self, examples: Sequence[Example]) -> list[Tensor]:
        """Logits of examples, (K, h, w) or (K,) each; examples of a batch are of equal size."""
        fine, fused = feature_maps(self.encoder, examples)
        if self.detail is None:
            return list(self.probe.logits(self.probe.standardised(pooled(fused))))
        height, width = examples[0].target.shape
        logits = self.probe.logits(self.probe.standardised(fine)) + self.detail(fused)
        return list(logits[..., :height, :width])
