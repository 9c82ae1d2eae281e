"""Band metadata as tensors, and the spectral code of a band: what was measured, how, and where in the spectrum."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spex.raster.scene import Pixels
from spex.sensors import FAMILIES, LEVELS

CONTENT = 5
"""Statistics of a band's visible pixels: mean, standard deviation, and the 2nd, 50th and 98th percentile."""
_FWHM_TO_SIGMA = 1.0 / 2.3548
_DEFAULT_FWHM = 20.0
_HEADS = 4


@dataclass(frozen=True)
class BandBatch:
    """Metadata of a batch of scenes, padded to the largest band count; NaN or -1 stand for unknown.

    Attributes:
        wavelength: nm, (B, C). fwhm: nm, (B, C). present: bool (B, C), False for padding and bad bands.
        content: (B, C, ``CONTENT``), statistics of the scene's visible values.
        level: (B,) index into ``LEVELS``. family: (B,) index into ``FAMILIES``. gsd: (B,) metres.
    """

    wavelength: Tensor
    fwhm: Tensor
    present: Tensor
    content: Tensor
    level: Tensor
    family: Tensor
    gsd: Tensor

    def to(self, device: torch.device) -> BandBatch:
        """The batch on another device."""
        return replace(
            self, **{name: getattr(self, name).to(device) for name in self.__dataclass_fields__}
        )


def band_batch(scenes: list[Pixels], visible: list[np.ndarray] | None = None) -> BandBatch:
    """Metadata and content statistics of scene overviews (or training chips), padded.

    Args:
        scenes: B images.
        visible: bool (h, w) per image, the pixels that the encoder sees; all valid ones if None.
    """
    count = max(len(scene.bands) for scene in scenes)
    shape = (len(scenes), count)
    wavelength, fwhm = np.full(shape, np.nan), np.full(shape, np.nan)
    present, content = np.zeros(shape, bool), np.zeros((*shape, CONTENT))
    for i, scene in enumerate(scenes):
        n = len(scene.bands)
        wavelength[i, :n] = [
            np.nan if b.wavelength_nm is None else b.wavelength_nm for b in scene.bands
        ]
        fwhm[i, :n] = [np.nan if b.fwhm_nm is None else b.fwhm_nm for b in scene.bands]
        present[i, :n] = True
        seen = scene.valid if visible is None else scene.valid & visible[i]
        pixels = scene.values[:, seen]
        if pixels.size:
            step = max(
                1, pixels.shape[1] // 4096
            )  # percentiles of a sample are good enough for a code
            content[i, :n, :2] = np.stack([pixels.mean(1), pixels.std(1)], 1)
            content[i, :n, 2:] = np.quantile(pixels[:, ::step], (0.02, 0.5, 0.98), axis=1).T
    return BandBatch(
        wavelength=torch.tensor(wavelength, dtype=torch.float32),
        fwhm=torch.tensor(fwhm, dtype=torch.float32),
        present=torch.tensor(present),
        content=torch.tensor(content, dtype=torch.float32),
        level=torch.tensor([LEVELS.index(s.level) if s.level in LEVELS else -1 for s in scenes]),
        family=torch.tensor(
            [FAMILIES.index(s.family) if s.family in FAMILIES else -1 for s in scenes]
        ),
        gsd=torch.tensor([s.gsd_m or math.nan for s in scenes], dtype=torch.float32),
    )


class BandMixing(nn.Module):
    """One pre-norm transformer layer across bands; each key counts by its quadrature share."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm_mix, self.norm_mlp, self.norm_out = (nn.LayerNorm(dim) for _ in range(3))
        self.qkv, self.mix = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, code: Tensor, weight: Tensor, present: Tensor) -> Tensor:
        """Mixed codes (B, C, D) from codes (B, C, D), weights (B, C) and presence (B, C)."""
        b, c, d = code.shape
        q, k, v = (
            self.qkv(self.norm_mix(code)).view(b, c, 3, _HEADS, d // _HEADS).permute(2, 0, 3, 1, 4)
        )
        bias = (
            weight.clamp(min=1e-9).log().masked_fill(~present, -1e4)[:, None, None, :].to(q.dtype)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        code = code + self.mix(mixed.transpose(1, 2).reshape(b, c, d))
        return self.norm_out(code + self.mlp(self.norm_mlp(code)))


class BandCode(nn.Module):
    """The code of each band from its metadata alone: spectral response, processing level, sensor family, GSD.

    The Fourier features of wavelength are integrated over a Gaussian response, so one code serves a 5 nm and a 180 nm
    band. Whatever is missing has a learned unknown, met in training through metadata dropout.
    """

    def __init__(self, dim: int, dropout: float, shortest: float = 250.0) -> None:
        """Args: width of a code, how often a metadatum is hidden in training, and the shortest Fourier period in nm.

        Below 250 nm the codes of bands between those met in training are not what a network expects: with one seed,
        shifted bands cost 4 % with 250 nm and 7 % with 60 nm (``tests/benchmarks/bandshift.py``).
        """
        super().__init__()
        self.dropout = dropout
        self.periods: Tensor
        self.register_buffer(
            "periods", torch.logspace(math.log10(shortest), math.log10(6000.0), dim // 2)
        )
        self.spectral, self.width, self.scale = (
            nn.Linear(dim, dim),
            nn.Linear(1, dim),
            nn.Linear(2, dim),
        )
        self.level, self.family = (
            nn.Embedding(len(LEVELS) + 1, dim),
            nn.Embedding(len(FAMILIES) + 1, dim),
        )
        self.unknown = nn.Parameter(torch.zeros(3, dim))  # wavelength, fwhm, gsd
        self.mixing = BandMixing(dim)
        # What all bands of a scene share is a hint at first: else every band begins with nearly the same code.
        nn.init.normal_(self.spectral.weight, std=1.5 * dim**-0.5)
        for layer in (self.width, self.scale, self.level, self.family):
            nn.init.normal_(layer.weight, std=0.1)
        for layer in (self.spectral, self.width, self.scale):
            nn.init.zeros_(layer.bias)

    def _drop(self, known: Tensor, rate: float) -> Tensor:
        return (
            known & (torch.rand(known.shape, device=known.device) >= rate)
            if self.training and rate
            else known
        )

    def forward(self, bands: BandBatch, weight: Tensor) -> Tensor:
        """Codes (B, C, D), mixed across bands."""
        known = self._drop(bands.wavelength.isfinite(), self.dropout / 4)[..., None]
        wide = self._drop(bands.fwhm.isfinite(), self.dropout)[..., None]
        scaled = self._drop(bands.gsd.isfinite(), self.dropout)[:, None, None]
        rated, kin = (
            self._drop(bands.level >= 0, self.dropout),
            self._drop(bands.family >= 0, 3 * self.dropout),
        )
        wavelength, fwhm = (
            torch.nan_to_num(bands.wavelength)[..., None],
            torch.nan_to_num(bands.fwhm)[..., None],
        )
        sigma = torch.where(wide, fwhm, torch.full_like(fwhm, _DEFAULT_FWHM)) * _FWHM_TO_SIGMA
        phase = 2 * math.pi * wavelength / self.periods
        damp = torch.exp(-2 * (math.pi * sigma / self.periods).square())
        spectral = self.spectral(torch.cat([phase.sin() * damp, phase.cos() * damp], -1))
        gsd = torch.nan_to_num(bands.gsd, nan=1.0).clamp(0.05, 5000).log()[:, None, None]
        level = torch.where(rated, bands.level, torch.full_like(bands.level, len(LEVELS)))
        family = torch.where(kin, bands.family, torch.full_like(bands.family, len(FAMILIES)))
        code = torch.where(known, spectral, self.unknown[0])
        code = code + torch.where(wide, self.width((fwhm + 1).log() - 3), self.unknown[1])
        code = code + torch.where(
            scaled, self.scale(torch.cat([gsd / 3, (gsd / 3).square()], -1)), self.unknown[2]
        )
        code = code + self.level(level)[:, None] + self.family(family)[:, None]
        return self.mixing(code, weight, bands.present)


class Quadrature(nn.Module):
    """Weights of a sum over bands: the share of the log-wavelength axis that each band's response covers.

    Overlapping responses share what they cover, so splitting a band or sampling more densely changes no sum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.grid: Tensor
        self.register_buffer("grid", torch.linspace(math.log(340.0), math.log(2600.0), 512))

    def forward(self, bands: BandBatch) -> Tensor:
        """Weights (B, C) that sum to 1 over the bands present."""
        known = bands.present & bands.wavelength.isfinite()
        centre = torch.where(
            known, bands.wavelength, torch.full_like(bands.wavelength, 1000.0)
        ).clamp(min=200.0)
        step = float(self.grid[1] - self.grid[0])
        sigma = torch.nan_to_num(bands.fwhm, nan=_DEFAULT_FWHM) * _FWHM_TO_SIGMA / centre
        distance = (self.grid - centre.log()[..., None]) / sigma.clamp(min=step)[..., None]
        response = torch.exp(-0.5 * distance.square()) * known[..., None]
        weight = (response / response.sum(1, keepdim=True).clamp(min=1.0)).sum(-1)
        # A band of unknown wavelength counts as much as the mean of the others.
        mean = weight.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)
        weight = torch.where(known, weight, mean.clamp(min=1e-6)) * bands.present
        return weight / weight.sum(1, keepdim=True).clamp(min=1e-9)
