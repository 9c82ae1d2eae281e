"""The SpecAware encoder: features at strides 4, 8, 16, 32 from any bands, and their multiscale aggregation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ConvNextConfig
from transformers.models.convnext.modeling_convnext import ConvNextEncoder

from spex.model.config import SpexConfig
from spex.model.spectral import BandBatch, SpecAwareEmbedding


class SpecAwareEncoder(nn.Module):
    """Generated band embedding followed by ConvNeXt stages (no spatial statistics, so tiles of a scene agree)."""

    def __init__(self, config: SpexConfig) -> None:
        super().__init__()
        self.stride = config.patch_size * 2 ** (len(config.depths) - 1)
        self.embedding = SpecAwareEmbedding(config.hidden_sizes[0], config.hyper_dim, config.rank, config.patch_size)
        self.backbone = ConvNextEncoder(
            ConvNextConfig(
                hidden_sizes=list(config.hidden_sizes), depths=list(config.depths), layer_scale_init_value=0.1
            )
        )

    def generate(self, bands: BandBatch) -> tuple[Tensor, Tensor]:
        """Embedding kernels and biases of a batch of scenes; see :meth:`SpecAwareEmbedding.generate`."""
        return self.embedding.generate(bands)

    def forward(self, values: list[Tensor], valid: list[Tensor], kernel: Tensor, bias: Tensor) -> list[Tensor]:
        """Features of a batch of equal-sized images whose band counts may differ.

        Args:
            values: one (C_i, H, W) per image; valid: one bool (H, W) per image; H and W multiples of ``stride``.
            kernel: (B, C_max, E, P, P); bias: (B, E).

        Returns:
            four maps (B, D_s, H/s, W/s), s = 4, 8, 16, 32.
        """
        tokens = torch.stack(
            [
                self.embedding.embed(v, m, kernel[i, : len(v)], bias[i])
                for i, (v, m) in enumerate(zip(values, valid, strict=True))
            ]
        )
        features, maps = tokens.contiguous(memory_format=torch.channels_last), []
        for stage in self.backbone.stages:
            features = stage(features)
            maps.append(features)
        return maps


class Aggregation(nn.Module):
    """Multiscale aggregation: every stride projected and summed top-down, to a map at stride 4 and one at 16."""

    def __init__(self, config: SpexConfig) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(size, config.fusion_dim, 1) for size in config.hidden_sizes)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Aggregated maps (B, fusion_dim, H/4, W/4) and (B, fusion_dim, H/16, W/16)."""
        fused, coarse = self.lateral[-1](maps[-1]), None
        for level in range(len(maps) - 2, -1, -1):
            fused = self.lateral[level](maps[level]) + F.interpolate(fused, scale_factor=2.0, mode="bilinear")
            coarse = fused if level == len(maps) - 2 else coarse
        assert coarse is not None
        return fused, coarse
