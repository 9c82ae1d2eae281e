"""Augmented crops of training chips: random squares, changed radiometry, dropped bands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from spex.errors import ConfigError
from spex.evidence.indices import available_indices
from spex.evidence.maps import CHANNELS, evidence_maps
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.model.spectral import BandBatch, band_batch
from spex.raster.scene import Pixels
from spex.sensors import role_weights
from train.data.random_windows import cut_square, random_window
from train.data.spectral_views import select_bands
from train.data.symmetry import Symmetry
from train.data.training_chips import TrainingChip, TrainingChips

_MIN_BANDS = 4  # a random subset of bands keeps at least this many


@dataclass(frozen=True)
class TrainingCrop:
    """One augmented crop, ready for the model.

    Attributes:
        pixels: Pixels of the crop.
        evidence: What is measured on them.
        maps: float32 (channels, h, w), evidence maps for the pixel decoder; zeros where dropped.
        labels: int8 (classes, h, w): 1, 0, or -1 for unknown.
    """

    pixels: Pixels
    evidence: SceneEvidence
    maps: NDArray[np.float32]
    labels: NDArray[np.int8]


@dataclass(frozen=True)
class MaskBatch:
    """Crops of several sensors.

    Attributes:
        values: float32 (C_i, H, W) per crop.
        valid: bool (H, W) per crop.
        bands: Metadata of the bands.
        evidence: float32 (B, channels, H, W), evidence maps.
        labels: int8 (B, classes, H, W): 1, 0, or -1 for unknown or invalid pixels.
    """

    values: list[Tensor]
    valid: list[Tensor]
    bands: BandBatch
    evidence: Tensor
    labels: Tensor


def random_crop(
    chip: TrainingChip, size: int, rng: Generator, symmetry: Symmetry | None = None
) -> tuple[Pixels, NDArray[np.int8]]:
    """Cut a random square from a chip, sometimes at half the resolution.

    Smaller chips are padded with invalid pixels.

    Args:
        chip: Where to cut.
        size: Side of the square in pixels.
        rng: Source of randomness.
        symmetry: How the square is turned and mirrored; drawn if None.

    Returns:
        The pixels (float32) and the labels of the square.
    """
    pixels = chip.pixels
    labels = chip.labels
    if min(pixels.valid.shape) >= 1.5 * size and rng.random() < 0.4:
        pixels = _half_resolution(pixels)
        rows, cols = (2 * length for length in pixels.valid.shape)
        labels = labels[:, :rows:2, :cols:2]
    window = random_window(rng, pixels.valid.shape, size)
    values = cut_square(pixels.values, window, size).astype(np.float32)
    valid = cut_square(pixels.valid, window, size)
    labels = cut_square(labels, window, size, fill=-1)
    symmetry = symmetry or Symmetry.draw(rng)
    turned = replace(
        pixels,
        values=np.ascontiguousarray(symmetry.apply(values)),
        valid=np.ascontiguousarray(symmetry.apply(valid)),
    )
    return turned, np.ascontiguousarray(symmetry.apply(labels))


def _half_resolution(pixels: Pixels) -> Pixels:
    """Means of 2 x 2 pixels; valid where all four are."""
    rows, cols = (length // 2 * 2 for length in pixels.valid.shape)
    values = pixels.values[:, :rows, :cols].astype(np.float32)
    means = values.reshape(len(values), rows // 2, 2, cols // 2, 2).mean((2, 4))
    valid = pixels.valid[:rows:2, :cols:2] & pixels.valid[1:rows:2, 1:cols:2]
    return replace(
        pixels,
        values=np.where(valid, means, 0),
        valid=valid,
        gsd_m=pixels.gsd_m and 2 * pixels.gsd_m,
    )


def jitter(pixels: Pixels, rng: Generator, needed: Collection[str] = ()) -> Pixels:
    """Give pixels the radiometry that another scene could have.

    Gain, haze and noise change; for display values gamma changes too. At last, bands may be
    dropped.

    Args:
        pixels: What to change.
        rng: Source of randomness.
        needed: Spectral indices that the remaining bands must still provide.
    """
    values = pixels.values
    band_count = len(pixels.bands)
    is_display = pixels.level == "uncalibrated"
    centres = np.array([band.wavelength_nm or 700.0 for band in pixels.bands], np.float32)
    spread = 0.15 if is_display else 0.04
    gain = np.exp(rng.normal(0, spread, band_count) + rng.normal(0, 0.12)).astype(np.float32)
    haze_at_500_nm = rng.exponential(0.03 if is_display else 0.01)
    haze = (haze_at_500_nm * (500.0 / centres) ** rng.uniform(1, 3)).astype(np.float32)
    values = values * gain[:, None, None] + haze[:, None, None]
    if is_display and rng.random() < 0.6:
        values = np.clip(values, 0, None) ** np.float32(np.exp(rng.normal(0, 0.25)))
    values = values + rng.normal(0, rng.exponential(0.004), values.shape).astype(np.float32)
    if is_display:
        # Not all display values end at 1.
        values = values.clip(0, max(1.0, float(pixels.values.max())))
    changed = replace(pixels, values=np.where(pixels.valid, values, 0).astype(np.float32))
    fewer = changed
    if band_count > _MIN_BANDS and rng.random() < 0.4:
        fewer = drop_bands(changed, rng)
    return fewer if set(needed) <= set(available_indices(role_weights(fewer.bands))) else changed


def drop_bands(pixels: Pixels, rng: Generator) -> Pixels:
    """Keep the visible and near-infrared bands only, or a random subset of at least four."""
    count = len(pixels.bands)
    visible = [
        number
        for number, band in enumerate(pixels.bands)
        if band.wavelength_nm is not None and band.wavelength_nm < 1000
    ]
    if rng.random() < 0.5 and len(visible) >= 3:
        return select_bands(pixels, visible)
    size = int(rng.integers(_MIN_BANDS, count + 1))
    return select_bands(pixels, sorted(rng.choice(count, size, replace=False).tolist()))


def sampling_probabilities(
    sources: Sequence[str], weights: Mapping[str, float]
) -> NDArray[np.float64]:
    """How likely each item is drawn, by the weight of its source.

    Args:
        sources: Source of each item.
        weights: Weight by the beginning of a source's name; 1 for sources that none matches.

    Returns:
        float64 (items,), sums to 1.

    Raises:
        ConfigError: All weights are 0, or one is negative.
    """
    item_weights = np.array([_source_weight(source, weights) for source in sources])
    if not item_weights.any() or item_weights.min() < 0:
        raise ConfigError(
            f"the source weights {weights} leave nothing to draw of "
            f"{', '.join(sorted(set(sources)))}; give at least one a weight above 0"
        )
    probabilities: NDArray[np.float64] = item_weights / item_weights.sum()
    return probabilities


def _source_weight(source: str, weights: Mapping[str, float]) -> float:
    for prefix, weight in weights.items():
        if source.startswith(prefix):
            return weight
    return 1.0


class CropStream:
    """Augmented crops of random chips.

    Args:
        chips: To draw from.
        size: Side of a crop in pixels.
        weights: As for :func:`sampling_probabilities`.
        evidence_dropout: Share of crops without evidence maps; of the others, the same share lacks
            the maps that are relative to the scene.

    Attributes:
        probabilities: float64 (chips,), how likely each chip is drawn.
    """

    def __init__(
        self,
        chips: TrainingChips,
        size: int,
        weights: Mapping[str, float],
        evidence_dropout: float,
    ) -> None:
        self.chips = chips
        self.size = size
        self.evidence_dropout = evidence_dropout
        self.probabilities = sampling_probabilities(chips.sources, weights)

    def draw(
        self,
        rng: Generator,
        chip: TrainingChip | None = None,
        *,
        symmetry: Symmetry | None = None,
        radiometry: bool = True,
        needed: Collection[str] = (),
    ) -> TrainingCrop:
        """Draw one crop.

        Args:
            rng: Source of randomness.
            chip: Where to cut; drawn if None.
            symmetry: How the crop is turned and mirrored; drawn if None.
            radiometry: Whether to change the radiometry.
            needed: As for :func:`jitter`.
        """
        if chip is None:
            chip = self.chips[int(rng.choice(len(self.chips), p=self.probabilities))]
        pixels, labels = random_crop(chip, self.size, rng, symmetry)
        if radiometry:
            pixels = jitter(pixels, rng, needed)
        evidence = measure(pixels)
        maps = evidence_maps(pixels, evidence)
        if rng.random() < self.evidence_dropout:
            maps = np.zeros_like(maps)
        elif rng.random() < self.evidence_dropout:
            relative = [index for index, name in enumerate(CHANNELS) if "relative" in name]
            maps[relative] = 0
        return TrainingCrop(pixels, evidence, maps, labels)


def collate(crops: Sequence[TrainingCrop]) -> MaskBatch:
    """Stack crops into a batch; their band counts may differ."""
    labels = [np.where(crop.pixels.valid, crop.labels, -1) for crop in crops]
    return MaskBatch(
        values=[torch.from_numpy(crop.pixels.values) for crop in crops],
        valid=[torch.from_numpy(crop.pixels.valid) for crop in crops],
        bands=band_batch([crop.pixels for crop in crops]),
        evidence=torch.from_numpy(np.stack([crop.maps for crop in crops])),
        labels=torch.from_numpy(np.stack(labels)),
    )
