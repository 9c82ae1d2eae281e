"""The SpecAware encoder: dense features of any sensor's bands at strides 4, 8, 16, 32, aggregated and pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ConvNextConfig, PreTrainedModel
from transformers.models.convnext.modeling_convnext import ConvNextEncoder
from transformers.utils.generic import ModelOutput

from spex.model.config import SpecAwareConfig
from spex.model.embedding import Kernels, SpecAwareEmbedding
from spex.model.spectral import BandBatch, band_batch
from spex.raster.scene import Pixels


@dataclass
class Features(ModelOutput):
    """What the encoder sees in a batch of images.

    Attributes:
        maps: four maps (B, D_s, H/s, W/s), s = 4, 8, 16, 32.
        fused: all strides aggregated at stride 4, (B, fusion_dim, H/4, W/4).
        coarse: the same at stride 16, (B, fusion_dim, H/16, W/16).
    """

    maps: tuple[Tensor, ...] = ()
    fused: Tensor | None = None
    coarse: Tensor | None = None


class SpecAwareEncoder(PreTrainedModel):
    """A foundation encoder for multispectral and hyperspectral images of any sensor.

    A generated embedding is followed by ConvNeXt stages, which hold no statistic over space and no absolute position:
    tiles of a scene agree with the whole. GSD, sensor and content reach every stage as a scale and a shift.
    """

    config_class = SpecAwareConfig
    base_model_prefix = "encoder"
    main_input_name = "values"

    def __init__(self, config: SpecAwareConfig) -> None:
        super().__init__(config)
        sizes = list(config.hidden_sizes)
        self.stride = config.patch_size * 2 ** (len(config.depths) - 1)
        self.embedding = SpecAwareEmbedding(sizes[0], config.hyper_dim, config.rank, config.patch_size)
        self.backbone = ConvNextEncoder(
            ConvNextConfig(hidden_sizes=sizes, depths=list(config.depths), layer_scale_init_value=0.1)
        )
        self.condition = nn.ModuleList(nn.Linear(config.hyper_dim, 2 * size) for size in sizes)
        self.lateral = nn.ModuleList(nn.Conv2d(size, config.fusion_dim, 1) for size in sizes)
        for layer in self.condition:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Parts initialise themselves."""

    def forward(
        self, values: list[Tensor], valid: list[Tensor], kernels: Kernels, visible: Tensor | None = None
    ) -> Features:
        """Features of a batch of equal-sized images whose band counts may differ.

        Args:
            values: one (C_i, H, W) per image. valid: one bool (H, W) per image; H and W multiples of ``stride``.
            kernels: from ``embedding.generate``. visible: bool (B, H/32, W/32), which cells of the coarsest stride
                the encoder may see (all if None); nothing of the others enters any feature.
        """
        kernel, bias = kernels.kernel, kernels.bias
        tokens = torch.stack(
            [
                self.embedding.embed(v, m, kernel[i, : len(v)], bias[i])
                for i, (v, m) in enumerate(zip(values, valid, strict=True))
            ]
        )
        features, maps = tokens.contiguous(memory_format=torch.channels_last), []
        for stage, condition in zip(self.backbone.stages, self.condition, strict=True):
            for layer in stage.downsampling_layer:
                features = layer(features)
            scale, shift = condition(kernels.condition).to(features.dtype)[..., None, None].chunk(2, 1)
            features = features * (1 + scale) + shift
            seen = None if visible is None else _grown(visible, features)
            for layer in stage.layers:
                features = layer(features if seen is None else features * seen)
            features = features if seen is None else features * seen
            maps.append(features)
        fused, coarse = self._aggregate(maps)
        return Features(maps=tuple(maps), fused=fused, coarse=coarse)

    def _aggregate(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Every stride projected and summed top-down, to a map at stride 4 and one at 16."""
        fused, coarse = self.lateral[-1](maps[-1]), None
        for level in range(len(maps) - 2, -1, -1):
            fused = self.lateral[level](maps[level]) + F.interpolate(fused, scale_factor=2.0, mode="bilinear")
            coarse = fused if level == len(maps) - 2 else coarse
        assert coarse is not None
        return fused, coarse

    @torch.inference_mode()
    def encode(self, scenes: list[Pixels]) -> tuple[list[Tensor], Tensor]:
        """Dense features and pooled embeddings of images of any sensors and sizes.

        Returns:
            one (fusion_dim, ceil(h/4), ceil(w/4)) per image, and (B, 2 * fusion_dim): mean and maximum over space.
        """
        self.eval()
        dense, pooled = [], []
        for scene in scenes:
            height, width = scene.valid.shape
            pad = (0, -width % self.stride, 0, -height % self.stride)
            values = F.pad(torch.from_numpy(scene.values), pad).to(self.device)
            valid = F.pad(torch.from_numpy(scene.valid), pad).to(self.device)
            kernels = self.embedding.generate(band_batch([scene]).to(self.device))
            found = self([values], [valid], kernels).fused[0, :, : -(-height // 4), : -(-width // 4)]
            dense.append(found)
            pooled.append(torch.cat([found.mean((1, 2)), found.amax((1, 2))]))
        return dense, torch.stack(pooled)


def _grown(visible: Tensor, like: Tensor) -> Tensor:
    """A mask of coarse cells (B, h, w) on the grid of a feature map, (B, 1, H, W)."""
    factor: Any = like.shape[-1] // visible.shape[-1]
    return visible.repeat_interleave(factor, 1).repeat_interleave(factor, 2)[:, None].to(like.dtype)
