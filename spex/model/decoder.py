"""From an answer's hidden states to masks: condensation, refinement, full-resolution decoding.

Language works once per query: condensation and refinement read the overview. A tile costs the pixel
decoder, whose features do not depend on the query, and one dot product per span.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.model.config import SpecAwareConfig, SpexConfig

_HEADS = 4
_GRID = 8
"""The refiner reads at most this many cells of the overview along each side."""


class Condensation(nn.Module):
    """Token context condensation: the hidden states of one span become K prompt tokens.

    After SPEX, arXiv 2508.05202; by attention of learned queries.
    """

    def __init__(self, config: SpexConfig, text_dim: int) -> None:
        super().__init__()
        width = config.prompt_dim
        self.queries = nn.Parameter(torch.randn(config.prompt_tokens, width) * 0.5)
        self.norm = nn.LayerNorm(text_dim)
        self.attend = nn.MultiheadAttention(
            width, _HEADS, kdim=text_dim, vdim=text_dim, batch_first=True
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Prompt tokens (S, K, prompt_dim) of S spans.

        Args:
            hidden: hidden states (S, T, text_dim).
            mask: bool (S, T), True on the span.
        """
        states = self.norm(hidden)
        queries = self.queries.expand(len(hidden), -1, -1).to(states.dtype)
        tokens, _ = self.attend(queries, states, states, key_padding_mask=~mask, need_weights=False)
        return self.out(tokens)


class Pooling(nn.Module):
    """Condensation as in the paper: hidden states averaged in K stretches of the span, then an MLP.

    SPEX, arXiv 2508.05202.
    """

    def __init__(self, config: SpexConfig, text_dim: int) -> None:
        super().__init__()
        width = config.prompt_dim
        self.count = config.prompt_tokens
        self.mlp = nn.Sequential(
            nn.LayerNorm(text_dim), nn.Linear(text_dim, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """As :class:`Condensation`."""
        pooled = [
            F.adaptive_avg_pool1d(states[on_span].T, self.count).T
            for states, on_span in zip(hidden, mask, strict=True)
        ]
        return self.mlp(torch.stack(pooled))


class PromptRefiner(nn.Module):
    """Prompt tokens attend to the overview and become the decoder weights of one mask."""

    def __init__(self, config: SpexConfig) -> None:
        super().__init__()
        assert isinstance(config.vision_config, SpecAwareConfig)
        width = config.prompt_dim
        self.context = nn.Linear(config.vision_config.fusion_dim, width)
        layer = nn.TransformerDecoderLayer(
            width,
            _HEADS,
            2 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerDecoder(layer, 2, norm=nn.LayerNorm(width))
        self.head = nn.Sequential(
            nn.Linear(config.prompt_tokens * width, 128),
            nn.GELU(),
            nn.Linear(128, config.pixel_dim + 2),
        )

    def forward(self, prompts: Tensor, coarse: Tensor) -> Tensor:
        """Decoder weights (S, pixel_dim + 2) of S spans.

        Args:
            prompts: prompt tokens (S, K, prompt_dim).
            coarse: aggregated overview of each span (S, fusion_dim, h, w).

        Returns:
            Weights of the pixel features, then the mask's bias, then the presence logit.
        """
        pooled = F.adaptive_avg_pool2d(coarse, _GRID) if max(coarse.shape[-2:]) > _GRID else coarse
        context = self.context(pooled.flatten(2).transpose(1, 2))
        return self.head(self.layers(prompts, context).flatten(1))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.GELU())


def _doubled(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="bilinear")


class PixelDecoder(nn.Module):
    """Full-resolution features from the aggregated map (stride 4) and the evidence maps (stride 1).

    No query enters.
    """

    def __init__(self, config: SpexConfig) -> None:
        super().__init__()
        assert isinstance(config.vision_config, SpecAwareConfig)
        width = config.pixel_dim
        middle = config.pixel_dim * 3 // 2
        fusion = config.vision_config.fusion_dim
        self.stem1 = _convolution(config.evidence_channels, width)
        self.stem2 = _convolution(width, middle, stride=2)
        self.stem4 = _convolution(middle, fusion, stride=2)
        self.norm = nn.LayerNorm(fusion)
        self.up4 = nn.Sequential(_convolution(2 * fusion, fusion), _convolution(fusion, fusion))
        self.up2 = nn.Sequential(
            _convolution(fusion + middle, middle), _convolution(middle, middle)
        )
        self.up1 = _convolution(middle + width, width)
        self.out = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, fused: Tensor, evidence: Tensor) -> Tensor:
        """Pixel features (B, pixel_dim, H, W).

        Args:
            fused: aggregated map (B, fusion_dim, H/4, W/4).
            evidence: evidence maps (B, evidence_channels, H, W).
        """
        # Channels last is twice as fast on a CPU.
        at1 = self.stem1(evidence.contiguous(memory_format=torch.channels_last))
        at2 = self.stem2(at1)
        at4 = self.stem4(at2)
        fused = self.norm(fused.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        features = self.up4(torch.cat([fused, at4], 1))
        features = self.up2(torch.cat([_doubled(features), at2], 1))
        return self.out(self.up1(torch.cat([_doubled(features), at1], 1)))


def mask_logits(features: Tensor, weights: Tensor) -> Tensor:
    """Mask logits (S, H, W) of S spans.

    Args:
        features: pixel features (D, H, W).
        weights: decoder weights (S, D + 2); the last column, presence, is not used.
    """
    weight = weights[:, :-2].to(features.dtype)
    bias = weights[:, -2].to(features.dtype)
    return torch.einsum("dhw,sd->shw", features, weight) + bias[:, None, None]
