"""Masked autoencoding across sensors: from what the encoder saw of some bands to any bands everywhere.

The output head is a hypernetwork like the embedding (SpecAware, arXiv 2510.27219): the code of a band, whether the
encoder saw that band or not, generates the matrix pair that turns a decoded feature into the band's pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.model.embedding import Kernels
from spex.model.encoder import SpecAwareEncoder
from spex.model.spectral import BandBatch, BandCode, Quadrature

_REFERENCE_GSD_M = 10.0
_HEADS = 4


class HyperHead(nn.Module):
    """Pixels of any band set from features: per band a generated pair V (R x D), U (P * P x R), and a bias."""

    def __init__(self, dim: int, hyper_dim: int, rank: int, patch: int) -> None:
        super().__init__()
        self.dim, self.rank, self.patch = dim, rank, patch
        self.quadrature, self.code = (
            Quadrature(),
            BandCode(hyper_dim, 0.0, shortest=60.0),
        )  # narrow lines matter here
        self.basis, self.project = (
            nn.Linear(hyper_dim, rank * dim),
            nn.Linear(hyper_dim, patch * patch * rank),
        )
        self.bias = nn.Linear(hyper_dim, patch * patch)

    def forward(self, features: Tensor, bands: BandBatch) -> Tensor:
        """Standardised values (B, C, H * P, W * P) of ``bands`` from features (B, D, H, W)."""
        code = self.code(bands, self.quadrature(bands))
        b, c, _ = code.shape
        pair = self.project(code).view(b, c, -1, self.rank) @ self.basis(code).view(
            b, c, self.rank, self.dim
        )
        pair = (pair / math.sqrt(self.rank * self.dim)).flatten(1, 2)
        flat = pair.to(features.dtype) @ features.flatten(2) + self.bias(code).flatten(1)[
            ..., None
        ].to(features.dtype)
        return F.pixel_shuffle(flat.view(b, -1, *features.shape[-2:]), self.patch)


class MaskedAutoencoder(nn.Module):
    """The encoder with what only pre-training needs: mask tokens, a light decoder, the output head.

    The decoder is a two-layer transformer at stride 16, whose positions are sines of metres (after Scale-MAE,
    arXiv 2212.14532), and convolutions at stride 4.
    """

    def __init__(self, encoder: SpecAwareEncoder) -> None:
        super().__init__()
        config = encoder.config
        dim = config.fusion_dim
        self.encoder = encoder
        self.hidden4, self.hidden16 = (nn.Parameter(torch.randn(dim) * 0.02) for _ in range(2))
        layer = nn.TransformerEncoderLayer(
            dim, _HEADS, 2 * dim, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.merge = nn.Sequential(
            nn.Conv2d(2 * dim, dim, 1), nn.GELU(), nn.Conv2d(dim, dim, 3, padding=1), nn.GELU(),
            nn.Conv2d(dim, dim, 3, padding=1),
        )  # fmt: skip
        self.head = HyperHead(dim, config.hyper_dim, config.rank, config.patch_size)

    def forward(
        self,
        values: list[Tensor],
        valid: list[Tensor],
        bands: BandBatch,
        visible: Tensor,
        wanted: BandBatch,
    ) -> Tensor:
        """Reconstruct the bands of ``wanted`` (B, C, H, W), standardised, from the visible cells of ``bands``.

        Args:
            values, valid: as the encoder takes them. visible: bool (B, H/32, W/32).
            bands: what the encoder is given; its content statistics are of visible pixels only.
            wanted: the bands to reconstruct, of the same places; may be those of another sensor.
        """
        kernels: Kernels = self.encoder.embedding.generate(bands)
        found = self.encoder(values, valid, kernels, visible)
        at4 = _shown(found.fused, visible, self.hidden4)
        at16 = _shown(found.coarse, visible, self.hidden16)
        b, d, h, w = at16.shape
        tokens = at16.flatten(2).transpose(1, 2) + _positions(h, w, d, bands.gsd).to(at16.dtype)
        wide = self.layers(tokens).transpose(1, 2).view(b, d, h, w)
        wide = F.interpolate(wide, size=at4.shape[-2:], mode="bilinear")
        return self.head(self.merge(torch.cat([at4, wide], 1)), wanted)


def _shown(features: Tensor, visible: Tensor, token: Tensor) -> Tensor:
    factor = features.shape[-1] // visible.shape[-1]
    seen = visible.repeat_interleave(factor, 1).repeat_interleave(factor, 2)[:, None]
    return torch.where(seen, features, token.to(features.dtype)[:, None, None])


def _positions(height: int, width: int, dim: int, gsd: Tensor) -> Tensor:
    """Sine positions (B, H * W, dim) of stride-16 tokens in units of their size at 10 m, compressed by the root."""
    scale = (torch.nan_to_num(gsd, nan=_REFERENCE_GSD_M) / _REFERENCE_GSD_M).sqrt()
    frequencies = 10000 ** (-torch.arange(dim // 4, device=gsd.device) / (dim // 4))
    rows, cols = (
        torch.arange(n, device=gsd.device)[:, None] * frequencies for n in (height, width)
    )
    y = (rows[None] * scale[:, None, None])[:, :, None].expand(-1, -1, width, -1)
    x = (cols[None] * scale[:, None, None])[:, None].expand(-1, height, -1, -1)
    return torch.cat([y.sin(), y.cos(), x.sin(), x.cos()], -1).flatten(1, 2)


def reconstruction_loss(
    found: Tensor, target: Tensor, counted: Tensor, present: Tensor
) -> dict[str, Tensor]:
    """Spectral angle and Charbonnier loss on the pixels that count.

    Args:
        found, target: standardised values (B, C, H, W). counted: bool (B, C, H, W), what is hidden and valid.
        present: bool (B, C), padding is False.

    Returns:
        ``angle``: mean of 1 - cosine along bands over pixels with two bands or more that count (of reflectance, not of
        standardised values), ``charbonnier``: mean of sqrt(d * d + 1) - 1 over what counts.
    """
    weight = (counted & present[..., None, None]).float()
    found, target = found.float(), target.float()
    charbonnier = (((found - target).square() + 1).sqrt() - 1) * weight
    a, b = (0.2 * x + 0.2 for x in (found, target))
    cosine = (a * b * weight).sum(1) / ((a * a * weight).sum(1) * (b * b * weight).sum(1)).clamp(
        min=1e-8
    ).sqrt()
    several = (weight.sum(1) >= 2).float()
    return {
        "angle": ((1 - cosine) * several).sum() / several.sum().clamp(min=1),
        "charbonnier": charbonnier.sum() / weight.sum().clamp(min=1),
    }
