"""SpecAware embedding: metadata and content of a band generate the kernel that embeds it.

After Ji et al., "SpecAware" (arXiv 2510.27219, doi:10.48550/arXiv.2510.27219): for each band a
hypernetwork generates a pair of matrices, a spatial pattern basis V (rank x patch pixels) and a
semantic re-projection U (channels x rank). Differences on purpose:

- The pair is merged to a convolution kernel, so no (tokens, bands, channels) tensor exists.
- The sum over bands is a quadrature over wavelength, so token statistics do not depend on the
  number of bands.
- The pair comes from metadata alone and can be kept per sensor. Content corrects it by a gain per
  band and rank, and by a bias.
- Content is a few statistics of the scene's visible pixels, so every tile of a scene gets the same
  kernel and no masked pixel leaks.
- Every metadatum may be missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.model.spectral import CONTENT, BandBatch, BandCode, BandMixing, Quadrature

# Standardised copies of pixels that exist at a time: between standardising and convolving they
# stay in the processor's cache.
_BANDS_AT_ONCE = 8
_VALUES_AT_ONCE = 2**20


@dataclass(frozen=True)
class Factors:
    """What metadata alone determines, worth keeping per sensor.

    Attributes:
        weight: of each band in the sum over bands (B, C).
        code: of each band (B, C, D).
        basis: V of each band (B, C, R, P * P).
        project: U of each band (B, C, E, R).
    """

    weight: Tensor
    code: Tensor
    basis: Tensor
    project: Tensor


@dataclass(frozen=True)
class Kernels:
    """What embeds a batch of B scenes.

    Attributes:
        kernel: of each band (B, C, E, P, P), times its weight in the sum over bands.
        bias: of each scene (B, E).
        condition: code of each scene (B, D), with which the encoder's stages are modulated.
    """

    kernel: Tensor
    bias: Tensor
    condition: Tensor


class SpecAwareEmbedding(nn.Module):
    """Any bands in, tokens at one stride out.

    Args:
        dim: channels E of a token.
        hyper_dim: width D of a band's code.
        rank: R of the matrix pair, below P * P.
        patch: stride P, pixels.
        metadata_dropout: how often a metadatum is hidden in training, 0-1.
    """

    def __init__(
        self, dim: int, hyper_dim: int, rank: int, patch: int, metadata_dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.dim = dim
        self.rank = rank
        self.patch = patch
        self.quadrature = Quadrature()
        self.code = BandCode(hyper_dim, metadata_dropout)
        self.basis = nn.Linear(hyper_dim, rank * patch * patch)
        self.project = nn.Linear(hyper_dim, dim * rank)
        self.content = nn.Sequential(
            nn.Linear(CONTENT + 2, hyper_dim), nn.GELU(), nn.Linear(hyper_dim, hyper_dim)
        )
        self.fusion = BandMixing(hyper_dim)
        self.gain = nn.Linear(hyper_dim, rank)
        self.bias = nn.Linear(hyper_dim, dim)
        self.norm = nn.LayerNorm(dim)
        nn.init.zeros_(self.gain.weight)
        nn.init.zeros_(self.gain.bias)

    def factors(self, bands: BandBatch) -> Factors:
        """The part of the kernels that metadata alone determines."""
        weight = self.quadrature(bands)
        code = self.code(bands, weight)
        batch, count, _ = code.shape
        basis = self.basis(code).view(batch, count, self.rank, self.patch**2)
        project = self.project(code).view(batch, count, self.dim, self.rank)
        return Factors(weight, code, basis, project)

    def generate(
        self, bands: BandBatch, factors: Factors | None = None, content: bool = True
    ) -> Kernels:
        """The kernels of a batch of scenes.

        Args:
            bands: their metadata and content.
            factors: what :meth:`factors` returned for the same bands, where it was kept.
            content: whether the scenes' own statistics correct the kernels (off: an ablation).
        """
        factors = factors or self.factors(bands)
        code = factors.code
        if content:
            code = code + self.content(_scaled(bands.content))
        fused = self.fusion(code, factors.weight, bands.present)
        share = factors.weight[..., None]
        gain = (1 + self.gain(fused)) * share / math.sqrt(self.rank) * bands.present[..., None]
        kernel = (factors.project * gain[:, :, None]) @ factors.basis
        batch, count = gain.shape[:2]
        return Kernels(
            kernel=kernel.view(batch, count, self.dim, self.patch, self.patch),
            bias=(self.bias(fused) * share).sum(1),
            condition=(fused * share).sum(1),
        )

    def embed(self, values: Tensor, valid: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """Tokens (E, H/P, W/P) of one scene or tile.

        Args:
            values: reflectance (C, H, W), H and W multiples of the stride.
            valid: bool (H, W).
            kernel: of the scene's bands (C, E, P, P).
            bias: of the scene (E,).
        """
        counted = valid.to(values.dtype)
        weight = kernel.transpose(0, 1).to(values.dtype)
        part_size = min(len(values), _BANDS_AT_ONCE) * self.patch * valid.shape[1]
        rows = max(1, _VALUES_AT_ONCE // part_size) * self.patch
        strips = []
        for top in range(0, len(valid), rows):
            strip = slice(top, top + rows)
            tokens = bias[:, None, None]
            for first in range(0, len(values), _BANDS_AT_ONCE):
                part = slice(first, first + _BANDS_AT_ONCE)
                pixels = standardise(values[part, strip]).nan_to_num_().mul_(counted[strip])
                tokens = tokens + F.conv2d(pixels[None], weight[:, part], stride=self.patch)[0]
            strips.append(tokens)
        return self.norm(torch.cat(strips, 1).permute(1, 2, 0)).permute(2, 0, 1)


def standardise(values: Tensor) -> Tensor:
    """Reflectance centred on 0.2, so that pixels set to zero have no influence."""
    return (values - 0.2).div_(0.2).clamp_(-1.5, 6.5)


def _scaled(content: Tensor) -> Tensor:
    """Statistics (..., CONTENT) on scales that suit a network; brightness also as logarithms."""
    mean = content[..., :1]
    std = content[..., 1:2]
    log_std = (std + 1e-3).log() / 2 + 1.5
    log_mean = (mean.clamp(min=0) + 1e-2).log() / 2 + 1
    return torch.cat([(content - 0.2) / 0.2, log_std, log_mean], -1).clamp(-5, 5)
