"""Masked autoencoding across sensors: some cells of some bands in, any bands everywhere out.

The output head is a hypernetwork like the embedding (SpecAware, arXiv 2510.27219): the code of a
band, whether the encoder saw that band or not, generates the matrix pair that turns a decoded
feature into the band's pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.model.embedding import Kernels
from spex.model.encoder import SpecAwareEncoder, on_grid
from spex.model.spectral import BandBatch, BandCode, Quadrature

_REFERENCE_GSD_M = 10.0
_HEADS = 4


class HyperHead(nn.Module):
    """Pixels of any bands from features.

    Per band it generates a pair V (R x D), U (P * P x R), and a bias.

    Args:
        dim: channels D of a feature.
        hyper_dim: width of a band's code.
        rank: R of the matrix pair.
        patch: P, pixels along a side of a feature's cell.
    """

    def __init__(self, dim: int, hyper_dim: int, rank: int, patch: int) -> None:
        super().__init__()
        self.dim = dim
        self.rank = rank
        self.patch = patch
        self.quadrature = Quadrature()
        self.code = BandCode(hyper_dim, 0.0, shortest=60.0)  # narrow lines matter here
        self.basis = nn.Linear(hyper_dim, rank * dim)
        self.project = nn.Linear(hyper_dim, patch * patch * rank)
        self.bias = nn.Linear(hyper_dim, patch * patch)

    def forward(self, features: Tensor, bands: BandBatch) -> Tensor:
        """Standardised values (B, C, H * P, W * P) of ``bands`` from features (B, D, H, W)."""
        code = self.code(bands, self.quadrature(bands))
        batch, count, _ = code.shape
        project = self.project(code).view(batch, count, -1, self.rank)
        basis = self.basis(code).view(batch, count, self.rank, self.dim)
        matrix = (project @ basis / math.sqrt(self.rank * self.dim)).flatten(1, 2)
        bias = self.bias(code).flatten(1)[..., None]
        flat = matrix.to(features.dtype) @ features.flatten(2) + bias.to(features.dtype)
        return F.pixel_shuffle(flat.view(batch, -1, *features.shape[-2:]), self.patch)


class MaskedAutoencoder(nn.Module):
    """The encoder with what only pretraining needs: mask tokens, a light decoder, the output head.

    The decoder is a two-layer transformer at stride 16, whose positions are sines of metres (after
    Scale-MAE, arXiv 2212.14532), and convolutions at stride 4.
    """

    def __init__(self, encoder: SpecAwareEncoder) -> None:
        super().__init__()
        config = encoder.config
        dim = config.fusion_dim
        self.encoder = encoder
        self.hidden4 = nn.Parameter(torch.randn(dim) * 0.02)
        self.hidden16 = nn.Parameter(torch.randn(dim) * 0.02)
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
        """Reconstruct bands from the visible cells of others.

        Args:
            values: as the encoder takes them.
            valid: likewise.
            bands: of ``values``; their content statistics are of visible pixels only.
            visible: bool (B, H/32, W/32).
            wanted: the bands to reconstruct, of the same places; may be those of another sensor.

        Returns:
            The bands of ``wanted``, standardised (B, C, H, W).
        """
        kernels: Kernels = self.encoder.embedding.generate(bands)
        encoded = self.encoder(values, valid, kernels, visible)
        at4 = _with_mask_token(encoded.fused, visible, self.hidden4)
        at16 = _with_mask_token(encoded.coarse, visible, self.hidden16)
        batch, dim, height, width = at16.shape
        positions = _positions(height, width, dim, bands.gsd).to(at16.dtype)
        tokens = self.layers(at16.flatten(2).transpose(1, 2) + positions)
        wide = tokens.transpose(1, 2).view(batch, dim, height, width)
        wide = F.interpolate(wide, size=at4.shape[-2:], mode="bilinear")
        return self.head(self.merge(torch.cat([at4, wide], 1)), wanted)


def _with_mask_token(features: Tensor, visible: Tensor, token: Tensor) -> Tensor:
    """Features (B, D, H, W) with a token (D,) in place of the cells that are not visible."""
    filled = token.to(features.dtype)[:, None, None]
    return torch.where(on_grid(visible, features), features, filled)


def _positions(height: int, width: int, dim: int, gsd: Tensor) -> Tensor:
    """Sine positions (B, H * W, dim) of tokens at stride 16.

    Their unit is the size of a token at 10 m; the ratio of the GSD to 10 m enters by its root.
    """
    scale = (torch.nan_to_num(gsd, nan=_REFERENCE_GSD_M) / _REFERENCE_GSD_M).sqrt()
    frequencies = 10000 ** (-torch.arange(dim // 4, device=gsd.device) / (dim // 4))
    rows = torch.arange(height, device=gsd.device)[:, None] * frequencies
    cols = torch.arange(width, device=gsd.device)[:, None] * frequencies
    y = (rows[None] * scale[:, None, None])[:, :, None].expand(-1, -1, width, -1)
    x = (cols[None] * scale[:, None, None])[:, None].expand(-1, height, -1, -1)
    return torch.cat([y.sin(), y.cos(), x.sin(), x.cos()], -1).flatten(1, 2)


def reconstruction_loss(
    reconstructed: Tensor, target: Tensor, counted: Tensor, present: Tensor
) -> dict[str, Tensor]:
    """Spectral angle and Charbonnier loss on the pixels that count.

    Args:
        reconstructed: standardised values (B, C, H, W).
        target: likewise.
        counted: bool (B, C, H, W), the pixels that are hidden and valid.
        present: bool (B, C), False for padding.

    Returns:
        ``angle``: mean of 1 - cosine along bands, of reflectance rather than standardised values,
        over pixels with at least two bands that count. ``charbonnier``: mean of sqrt(d * d + 1) - 1
        over what counts.
    """
    weight = (counted & present[..., None, None]).float()
    reconstructed = reconstructed.float()
    target = target.float()
    charbonnier = (((reconstructed - target).square() + 1).sqrt() - 1) * weight
    a = 0.2 * reconstructed + 0.2
    b = 0.2 * target + 0.2
    norms = (a * a * weight).sum(1) * (b * b * weight).sum(1)
    cosine = (a * b * weight).sum(1) / norms.clamp(min=1e-8).sqrt()
    several = (weight.sum(1) >= 2).float()
    return {
        "angle": ((1 - cosine) * several).sum() / several.sum().clamp(min=1),
        "charbonnier": charbonnier.sum() / weight.sum().clamp(min=1),
    }
