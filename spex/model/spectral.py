"""Band metadata as tensors, and the spectral code that stands for a band in the networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from spex.raster.scene import Pixels
from spex.sensors import FAMILIES, LEVELS

CONTENT = 5
"""Number of statistics of a band's visible pixels.

They are mean, standard deviation, and the 2nd, 50th and 98th percentile.
"""
_PIXELS_SAMPLED = 4096  # for the percentiles: a sample is good enough for a code
_FWHM_TO_SIGMA = 1.0 / 2.3548
_DEFAULT_FWHM = 20.0  # nm
_HEADS = 4


@dataclass(frozen=True)
class BandBatch:
    """Metadata of a batch of B scenes, padded to the largest number of bands C.

    NaN and -1 stand for unknown.

    Attributes:
        wavelength: centre of each band (B, C), nm.
        fwhm: full width at half maximum of each band (B, C), nm.
        present: bool (B, C), False for padding.
        content: statistics of the scene's visible values (B, C, ``CONTENT``).
        level: processing level (B,), index into ``LEVELS``.
        family: sensor family (B,), index into ``FAMILIES``.
        gsd: ground sampling distance (B,), metres.
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
        moved = {name: getattr(self, name).to(device) for name in self.__dataclass_fields__}
        return replace(self, **moved)


def band_batch(scenes: list[Pixels], visible: list[np.ndarray] | None = None) -> BandBatch:
    """Metadata and content statistics of scene overviews (or training chips), padded.

    Args:
        scenes: B images.
        visible: bool (h, w) per image, the pixels that the encoder sees; all valid ones if None.
    """
    count = max(len(scene.bands) for scene in scenes)
    shape = (len(scenes), count)
    wavelength = np.full(shape, np.nan)
    fwhm = np.full(shape, np.nan)
    present = np.zeros(shape, bool)
    content = np.zeros((*shape, CONTENT))
    for row, scene in enumerate(scenes):
        bands = len(scene.bands)
        wavelength[row, :bands] = [_or_nan(band.wavelength_nm) for band in scene.bands]
        fwhm[row, :bands] = [_or_nan(band.fwhm_nm) for band in scene.bands]
        present[row, :bands] = True
        mask = scene.valid if visible is None else scene.valid & visible[row]
        pixels = scene.values[:, mask]
        if pixels.size:
            content[row, :bands] = _statistics(pixels)
    return BandBatch(
        wavelength=torch.tensor(wavelength, dtype=torch.float32),
        fwhm=torch.tensor(fwhm, dtype=torch.float32),
        present=torch.tensor(present),
        content=torch.tensor(content, dtype=torch.float32),
        level=torch.tensor([_index_of(scene.level, LEVELS) for scene in scenes]),
        family=torch.tensor([_index_of(scene.family, FAMILIES) for scene in scenes]),
        gsd=torch.tensor([scene.gsd_m or math.nan for scene in scenes], dtype=torch.float32),
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _index_of(name: str | None, names: Sequence[str]) -> int:
    return names.index(name) if name in names else -1


def _statistics(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """The statistics (C, CONTENT) of the values (C, N) of bands."""
    step = max(1, pixels.shape[1] // _PIXELS_SAMPLED)
    percentiles = np.quantile(pixels[:, ::step], (0.02, 0.5, 0.98), axis=1)
    moments = np.stack([pixels.mean(1), pixels.std(1)], 1)
    return np.concatenate([moments, percentiles.T], 1)


class BandMixing(nn.Module):
    """One pre-norm transformer layer across bands; each key counts by its quadrature weight."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm_mix = nn.LayerNorm(dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.norm_out = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.mix = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, code: Tensor, weight: Tensor, present: Tensor) -> Tensor:
        """Mixed codes (B, C, D).

        Args:
            code: of each band (B, C, D).
            weight: of each band (B, C).
            present: bool (B, C), False for padding.
        """
        batch, count, dim = code.shape
        heads = self.qkv(self.norm_mix(code)).view(batch, count, 3, _HEADS, dim // _HEADS)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        bias = weight.clamp(min=1e-9).log().masked_fill(~present, -1e4)
        bias = bias[:, None, None, :].to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        code = code + self.mix(mixed.transpose(1, 2).reshape(batch, count, dim))
        return self.norm_out(code + self.mlp(self.norm_mlp(code)))


class BandCode(nn.Module):
    """The code of each band from its metadata: response, processing level, sensor family, GSD.

    The Fourier features of wavelength are integrated over a Gaussian response, so one code serves a
    5 nm and a 180 nm band. A learned vector stands for each missing metadatum; metadata dropout
    shows it to the network in training.

    Args:
        dim: width D of a code.
        dropout: how often a metadatum is hidden in training, 0-1.
        shortest: shortest Fourier period, nm. Below 250 nm a network does not know the codes of
            bands between those of its training: with one seed, shifted bands cost 4 % with 250 nm
            and 7 % with 60 nm (``tests/benchmarks/bandshift.py``).
    """

    def __init__(self, dim: int, dropout: float, shortest: float = 250.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.periods: Tensor
        periods = torch.logspace(math.log10(shortest), math.log10(6000.0), dim // 2)
        self.register_buffer("periods", periods)
        self.spectral = nn.Linear(dim, dim)
        self.width = nn.Linear(1, dim)
        self.scale = nn.Linear(2, dim)
        self.level = nn.Embedding(len(LEVELS) + 1, dim)
        self.family = nn.Embedding(len(FAMILIES) + 1, dim)
        self.unknown = nn.Parameter(torch.zeros(3, dim))  # wavelength, fwhm, gsd
        self.mixing = BandMixing(dim)
        # What all bands of a scene share starts small: otherwise all bands begin with nearly the
        # same code.
        nn.init.normal_(self.spectral.weight, std=1.5 * dim**-0.5)
        for layer in (self.width, self.scale, self.level, self.family):
            nn.init.normal_(layer.weight, std=0.1)
        for layer in (self.spectral, self.width, self.scale):
            nn.init.zeros_(layer.bias)

    def _drop(self, known: Tensor, rate: float) -> Tensor:
        """In training, hide some of what is known."""
        if not self.training or not rate:
            return known
        return known & (torch.rand(known.shape, device=known.device) >= rate)

    def forward(self, bands: BandBatch, weight: Tensor) -> Tensor:
        """Codes (B, C, D), mixed across bands by their weights (B, C)."""
        has_wavelength = self._drop(bands.wavelength.isfinite(), self.dropout / 4)[..., None]
        has_fwhm = self._drop(bands.fwhm.isfinite(), self.dropout)[..., None]
        has_gsd = self._drop(bands.gsd.isfinite(), self.dropout)[:, None, None]
        has_level = self._drop(bands.level >= 0, self.dropout)
        has_family = self._drop(bands.family >= 0, 3 * self.dropout)
        fwhm = torch.nan_to_num(bands.fwhm)[..., None]
        spectral = self.spectral(self._fourier(bands.wavelength, fwhm, has_fwhm))
        width = self.width((fwhm + 1).log() - 3)
        log_gsd = torch.nan_to_num(bands.gsd, nan=1.0).clamp(0.05, 5000).log()[:, None, None] / 3
        scale = self.scale(torch.cat([log_gsd, log_gsd.square()], -1))
        no_level = torch.full_like(bands.level, len(LEVELS))
        level = self.level(torch.where(has_level, bands.level, no_level))
        no_family = torch.full_like(bands.family, len(FAMILIES))
        family = self.family(torch.where(has_family, bands.family, no_family))
        code = torch.where(has_wavelength, spectral, self.unknown[0])
        code = code + torch.where(has_fwhm, width, self.unknown[1])
        code = code + torch.where(has_gsd, scale, self.unknown[2])
        code = code + level[:, None] + family[:, None]
        return self.mixing(code, weight, bands.present)

    def _fourier(self, wavelength: Tensor, fwhm: Tensor, has_fwhm: Tensor) -> Tensor:
        """Fourier features (B, C, D) of wavelength, integrated over a Gaussian response.

        Args:
            wavelength: (B, C), nm, NaN where unknown.
            fwhm: (B, C, 1), nm.
            has_fwhm: bool (B, C, 1), whether to use the width or the default.
        """
        width = torch.where(has_fwhm, fwhm, torch.full_like(fwhm, _DEFAULT_FWHM))
        sigma = width * _FWHM_TO_SIGMA
        phase = 2 * math.pi * torch.nan_to_num(wavelength)[..., None] / self.periods
        damping = torch.exp(-2 * (math.pi * sigma / self.periods).square())
        return torch.cat([phase.sin() * damping, phase.cos() * damping], -1)


class Quadrature(nn.Module):
    """Weights of a sum over bands: each band's share of the log-wavelength axis.

    A band's share is what its response covers. Overlapping responses share what they cover, so
    splitting a band or sampling more densely changes no sum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.grid: Tensor
        self.register_buffer("grid", torch.linspace(math.log(340.0), math.log(2600.0), 512))

    def forward(self, bands: BandBatch) -> Tensor:
        """Weights (B, C) that sum to 1 over the bands present."""
        known = bands.present & bands.wavelength.isfinite()
        anywhere = torch.full_like(bands.wavelength, 1000.0)
        centre = torch.where(known, bands.wavelength, anywhere).clamp(min=200.0)
        step = float(self.grid[1] - self.grid[0])
        sigma = torch.nan_to_num(bands.fwhm, nan=_DEFAULT_FWHM) * _FWHM_TO_SIGMA / centre
        distance = (self.grid - centre.log()[..., None]) / sigma.clamp(min=step)[..., None]
        response = torch.exp(-0.5 * distance.square()) * known[..., None]
        weight = (response / response.sum(1, keepdim=True).clamp(min=1.0)).sum(-1)
        # A band of unknown wavelength counts as much as the mean of the others.
        mean = weight.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)
        weight = torch.where(known, weight, mean.clamp(min=1e-6)) * bands.present
        return weight / weight.sum(1, keepdim=True).clamp(min=1e-9)
