"""SpecAware embedding: band metadata and content generate, per sample, the kernel that embeds each band.

After Ji et al., "SpecAware" (arXiv 2510.27219): a hypernetwork generates for each band a pair of matrices, a spatial
pattern
basis V (rank x patch pixels) and a semantic re-projection U (channels x rank). Differences on purpose: the pair is
merged to a
convolution kernel, so no (tokens, bands, channels) tensor exists; the sum over bands is a quadrature over
wavelength, so token
statistics do not depend on the band count; content is two statistics of the whole scene, so every tile of a scene
gets the same
kernel and no masked pixel can leak; every metadatum may be missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.raster.scene import Pixels

LEVELS = ("radiance", "toa", "surface", "uncalibrated")
_FWHM_TO_SIGMA = 1.0 / 2.3548
_DEFAULT_FWHM = 20.0


@dataclass(frozen=True)
class BandBatch:
    """Metadata of a batch of scenes, padded to the largest band count; NaN stands for unknown.

    Attributes:
        wavelength: nm, (B, C). fwhm: nm, (B, C). present: bool (B, C), False for padding and bad bands.
        content: (B, C, 2), mean and standard deviation of the scene's valid reflectance.
        level: (B,) index into ``LEVELS``, -1 unknown. gsd: (B,) metres, NaN unknown.
    """

    wavelength: Tensor
    fwhm: Tensor
    present: Tensor
    content: Tensor
    level: Tensor
    gsd: Tensor

    def to(self, device: torch.device) -> BandBatch:
        """The batch on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in self.__dataclass_fields__})


def band_batch(scenes: list[Pixels]) -> BandBatch:
    """Metadata and content statistics of scene overviews (or training chips), padded."""
    count = max(len(scene.bands) for scene in scenes)
    shape = (len(scenes), count)
    wavelength, fwhm = np.full(shape, np.nan), np.full(shape, np.nan)
    present, content = np.zeros(shape, bool), np.zeros((*shape, 2))
    for i, scene in enumerate(scenes):
        n = len(scene.bands)
        wavelength[i, :n] = [np.nan if b.wavelength_nm is None else b.wavelength_nm for b in scene.bands]
        fwhm[i, :n] = [np.nan if b.fwhm_nm is None else b.fwhm_nm for b in scene.bands]
        present[i, :n] = True
        pixels = scene.values[:, scene.valid]
        if pixels.size:
            content[i, :n] = np.stack([pixels.mean(1), pixels.std(1)], 1)
    return BandBatch(
        wavelength=torch.tensor(wavelength, dtype=torch.float32),
        fwhm=torch.tensor(fwhm, dtype=torch.float32),
        present=torch.tensor(present),
        content=torch.tensor(content, dtype=torch.float32),
        level=torch.tensor([LEVELS.index(s.level) if s.level in LEVELS else -1 for s in scenes]),
        gsd=torch.tensor([s.gsd_m or math.nan for s in scenes], dtype=torch.float32),
    )


class SpecAwareEmbedding(nn.Module):
    """Any bands in, tokens at one stride out.

    ``generate`` makes the kernels of a batch of scenes from metadata and content; ``embed`` applies one to pixels.

    Args:
        dim: channels E of a token. hyper_dim: width of the metadata code. rank: R of the matrix pair. patch: stride
        P, pixels.
    """

    def __init__(self, dim: int, hyper_dim: int, rank: int, patch: int, metadata_dropout: float = 0.1) -> None:
        super().__init__()
        self.dim, self.rank, self.patch, self.metadata_dropout = dim, rank, patch, metadata_dropout
        periods = torch.logspace(math.log10(60.0), math.log10(5000.0), hyper_dim // 2)
        grid = torch.linspace(math.log(340.0), math.log(2600.0), 512)
        self.periods: Tensor
        self.grid: Tensor
        self.register_buffer("periods", periods)
        self.register_buffer("grid", grid)
        self.spectral = nn.Linear(hyper_dim, hyper_dim)
        self.width = nn.Linear(1, hyper_dim)
        self.scale = nn.Linear(2, hyper_dim)
        self.content = nn.Sequential(nn.Linear(3, hyper_dim), nn.GELU(), nn.Linear(hyper_dim, hyper_dim))
        self.level = nn.Embedding(len(LEVELS) + 1, hyper_dim)
        self.unknown = nn.Parameter(torch.zeros(3, hyper_dim))  # wavelength, fwhm, gsd
        self.norm_mix, self.norm_mlp, self.norm_out = (nn.LayerNorm(hyper_dim) for _ in range(3))
        self.heads = 4
        self.qkv = nn.Linear(hyper_dim, 3 * hyper_dim)
        self.mix = nn.Linear(hyper_dim, hyper_dim)
        self.mlp = nn.Sequential(nn.Linear(hyper_dim, 2 * hyper_dim), nn.GELU(), nn.Linear(2 * hyper_dim, hyper_dim))
        self.basis = nn.Linear(hyper_dim, rank * patch * patch)
        self.project = nn.Linear(hyper_dim, dim * rank)
        self.bias = nn.Linear(hyper_dim, dim)
        self.norm = nn.LayerNorm(dim)

    def quadrature(self, bands: BandBatch) -> Tensor:
        """Weights (B, C) that sum to 1: the share of the log-wavelength axis each band's response covers.

        Overlapping responses share what they cover, so splitting a band or sampling more densely changes no sum over
        bands.
        """
        known = bands.present & bands.wavelength.isfinite()
        centre = torch.where(known, bands.wavelength, torch.full_like(bands.wavelength, 1000.0)).clamp(min=200.0)
        step = float(self.grid[1] - self.grid[0])
        sigma = torch.nan_to_num(bands.fwhm, nan=_DEFAULT_FWHM) * _FWHM_TO_SIGMA / centre
        distance = (self.grid - centre.log()[..., None]) / sigma.clamp(min=step)[..., None]
        response = torch.exp(-0.5 * distance.square()) * known[..., None]
        total = response.sum(1, keepdim=True)
        weight = (response / total.clamp(min=1.0)).sum(-1)
        # A band of unknown wavelength counts as much as the mean of the others.
        mean = weight.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)
        weight = torch.where(known, weight, mean.clamp(min=1e-6)) * bands.present
        return weight / weight.sum(1, keepdim=True).clamp(min=1e-9)

    def _drop(self, known: Tensor, rate: float) -> Tensor:
        return known & (torch.rand(known.shape, device=known.device) >= rate) if self.training and rate else known

    def code(self, bands: BandBatch, weight: Tensor) -> Tensor:
        """Meta-content code of each band, (B, C, hyper_dim)."""
        known = self._drop(bands.wavelength.isfinite(), self.metadata_dropout / 4)[..., None]
        wide = self._drop(bands.fwhm.isfinite(), self.metadata_dropout)[..., None]
        scaled = self._drop(bands.gsd.isfinite(), self.metadata_dropout)[:, None, None]
        rated = self._drop(bands.level >= 0, self.metadata_dropout)
        wavelength, fwhm = torch.nan_to_num(bands.wavelength)[..., None], torch.nan_to_num(bands.fwhm)[..., None]
        # The Fourier code is integrated over a Gaussian response: one code serves a 5 nm and a 180 nm band.
        sigma = torch.where(wide, fwhm, torch.full_like(fwhm, _DEFAULT_FWHM)) * _FWHM_TO_SIGMA
        phase = 2 * math.pi * wavelength / self.periods
        damp = torch.exp(-2 * (math.pi * sigma / self.periods).square())
        spectral = self.spectral(torch.cat([phase.sin() * damp, phase.cos() * damp], -1))
        gsd = torch.nan_to_num(bands.gsd, nan=1.0).clamp(0.05, 5000).log()[:, None, None]
        level = torch.where(rated, bands.level, torch.full_like(bands.level, len(LEVELS)))
        mean, std = bands.content.unbind(-1)
        stats = torch.stack([(mean - 0.2) / 0.2, (std + 1e-3).log() / 2 + 1.5, (mean + 1e-2).log() / 2 + 1], -1)
        code = torch.where(known, spectral, self.unknown[0])
        code = code + torch.where(wide, self.width((fwhm + 1).log() - 3), self.unknown[1])
        code = code + torch.where(scaled, self.scale(torch.cat([gsd / 3, (gsd / 3).square()], -1)), self.unknown[2])
        code = code + self.level(level)[:, None] + self.content(stats)
        # Attention across bands, each key weighted by its quadrature share.
        b, c, d = code.shape
        q, k, v = self.qkv(self.norm_mix(code)).view(b, c, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        bias = weight.clamp(min=1e-9).log().masked_fill(~bands.present, -1e4)[:, None, None, :].to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        code = code + self.mix(mixed.transpose(1, 2).reshape(b, c, d))
        return self.norm_out(code + self.mlp(self.norm_mlp(code)))

    def generate(self, bands: BandBatch) -> tuple[Tensor, Tensor]:
        """Kernels (B, C, E, P, P), already weighted over bands, and biases (B, E) of a batch of scenes."""
        weight = self.quadrature(bands)
        code = self.code(bands, weight)
        b, c, _ = code.shape
        basis = self.basis(code).view(b, c, self.rank, self.patch**2)
        project = self.project(code).view(b, c, self.dim, self.rank)
        kernel = (project @ basis) * (weight / (self.rank * self.patch) * bands.present)[..., None, None]
        bias = (self.bias(code) * weight[..., None]).sum(1)
        return kernel.view(b, c, self.dim, self.patch, self.patch), bias

    def embed(self, values: Tensor, valid: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """Tokens (E, H/P, W/P) of one scene or tile.

        Args:
            values: reflectance (C, H, W), H and W multiples of the stride; valid: bool (H, W); kernel (C, E, P, P);
            bias (E,).
        """
        # Reflectance is centred on 0.2; invalid pixels then count as zero and have no influence.
        pixels = torch.where(valid, (values - 0.2) / 0.2, torch.zeros_like(values)).clamp(-1.5, 6.5)
        tokens = F.conv2d(
            pixels[None], kernel.transpose(0, 1).to(pixels.dtype), bias.to(pixels.dtype), stride=self.patch
        )
        return self.norm(tokens[0].permute(1, 2, 0)).permute(2, 0, 1)
