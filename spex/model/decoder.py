"""From an answer's hidden states to masks: condensation, refinement on the overview, full-resolution decoding.

Language works once per query: condensation and refinement see the overview. What a tile pays is the pixel decoder,
whose features do not depend on the query, and one dot product per span.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.model.config import SpecAwareConfig, SpexConfig


class Condensation(nn.Module):
    """Token context condensation (SPEX, arXiv 2508.05202): the hidden states of one span become K prompt tokens."""

    def __init__(self, config: SpexConfig, text_dim: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(config.prompt_tokens, config.prompt_dim) * 0.5)
        self.norm = nn.LayerNorm(text_dim)
        self.attend = nn.MultiheadAttention(
            config.prompt_dim, 4, kdim=text_dim, vdim=text_dim, batch_first=True
        )
        self.out = nn.Sequential(
            nn.LayerNorm(config.prompt_dim), nn.Linear(config.prompt_dim, config.prompt_dim)
        )

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Prompt tokens (S, K, prompt_dim) from hidden states (S, T, text_dim); mask bool (S, T), True on the span."""
        states = self.norm(hidden)
        queries = self.queries.expand(len(hidden), -1, -1).to(states.dtype)
        tokens, _ = self.attend(queries, states, states, key_padding_mask=~mask, need_weights=False)
        return self.out(tokens)


class Pooling(nn.Module):
    """Condensation as the paper has it: hidden states averaged in K even stretches of the span, then an MLP."""

    def __init__(self, config: SpexConfig, text_dim: int) -> None:
        super().__init__()
        self.count = config.prompt_tokens
        self.mlp = nn.Sequential(
            nn.LayerNorm(text_dim), nn.Linear(text_dim, config.prompt_dim), nn.GELU(),
            nn.Linear(config.prompt_dim, config.prompt_dim),
        )  # fmt: skip

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """As :class:`Condensation`."""
        spans = [states[own].T for states, own in zip(hidden, mask, strict=True)]
        pooled = torch.stack([F.adaptive_avg_pool1d(states, self.count).T for states in spans])
        return self.mlp(pooled)


class PromptRefiner(nn.Module):
    """Prompt tokens look at the overview and become the weights of one mask: pixel weights, bias, presence."""

    def __init__(self, config: SpexConfig) -> None:
        super().__init__()
        assert isinstance(config.vision_config, SpecAwareConfig)
        self.context = nn.Linear(config.vision_config.fusion_dim, config.prompt_dim)
        layer = nn.TransformerDecoderLayer(
            config.prompt_dim,
            4,
            2 * config.prompt_dim,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerDecoder(layer, 2, norm=nn.LayerNorm(config.prompt_dim))
        flat = config.prompt_tokens * config.prompt_dim
        self.head = nn.Sequential(
            nn.Linear(flat, 128), nn.GELU(), nn.Linear(128, config.pixel_dim + 2)
        )

    def forward(self, prompts: Tensor, coarse: Tensor) -> Tensor:
        """Weights (S, pixel_dim + 2) from prompts (S, K, prompt_dim) and the overview maps (S, fusion_dim, h, w).

        The last two columns are the mask's bias and the presence logit.
        """
        pooled = F.adaptive_avg_pool2d(coarse, 8) if max(coarse.shape[-2:]) > 8 else coarse
        context = self.context(pooled.flatten(2).transpose(1, 2))
        return self.head(self.layers(prompts, context).flatten(1))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.GELU())


class PixelDecoder(nn.Module):
    """Full-resolution features from the aggregated map (stride 4) and the evidence maps (stride 1); no query enters."""

    def __init__(self, config: SpexConfig) -> None:
        super().__init__()
        assert isinstance(config.vision_config, SpecAwareConfig)
        width, middle, fusion = (
            config.pixel_dim,
            config.pixel_dim * 3 // 2,
            config.vision_config.fusion_dim,
        )
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
        """Pixel features (B, pixel_dim, H, W) from fused (B, fusion_dim, H/4, W/4) and evidence (B, E, H, W)."""
        at1 = self.stem1(
            evidence.contiguous(memory_format=torch.channels_last)
        )  # twice as fast on a CPU
        at2 = self.stem2(at1)
        at4 = self.stem4(at2)
        fused = self.norm(fused.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.up4(torch.cat([fused, at4], 1))
        x = self.up2(torch.cat([F.interpolate(x, scale_factor=2.0, mode="bilinear"), at2], 1))
        return self.out(
            self.up1(torch.cat([F.interpolate(x, scale_factor=2.0, mode="bilinear"), at1], 1))
        )


def mask_logits(features: Tensor, weights: Tensor) -> Tensor:
    """Mask logits (S, H, W) of S spans on features (D, H, W) with weights (S, D + 2)."""
    weight, bias = weights[:, :-2], weights[:, -2]
    return (
        torch.einsum("dhw,sd->shw", features, weight.to(features.dtype))
        + bias.to(features.dtype)[:, None, None]
    )
