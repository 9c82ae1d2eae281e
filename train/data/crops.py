"""Labelled chips, read as they are drawn, and the augmentation that keeps their truth.

A chip is the survey record of one scene: pixels, and per class where it is (1), where it is not (0), where nobody
knows (-1).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spex.errors import ConfigError, RecordError
from spex.evidence.classes import classes
from spex.evidence.indices import available_indices
from spex.evidence.maps import CHANNELS, evidence_maps
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.model.spectral import BandBatch, band_batch
from spex.raster.scene import Pixels
from spex.records import SpieRecord, load_pixels
from spex.sensors import role_weights
from train.data.record_folder import RecordCache, Shards
from train.data.symmetry import Symmetry

CLASS_NAMES = tuple(classes())


@dataclass(frozen=True)
class TrainingChip:
    """Pixels of one scene (values kept as float16) and labels int8 (classes, h, w): 1 yes, 0 no, -1 unknown."""

    id: str
    source: str
    pixels: Pixels
    labels: NDArray[np.int8]

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return self.pixels.values.nbytes + self.pixels.valid.nbytes + self.labels.nbytes


@dataclass(frozen=True)
class TrainingCrop:
    """One augmented crop, ready for the model."""

    pixels: Pixels
    evidence: SceneEvidence
    maps: NDArray[np.float32]
    labels: NDArray[np.int8]


@dataclass(frozen=True)
class MaskBatch:
    """Crops of several sensors: values (C_i, H, W) and valid (H, W) per crop; evidence and labels (B, ., H, W)."""

    values: list[Tensor]
    valid: list[Tensor]
    bands: BandBatch
    evidence: Tensor
    labels: Tensor


def labels_of(
    record: SpieRecord, shape: tuple[int, int], names: Sequence[str] = CLASS_NAMES
) -> NDArray[np.int8]:
    """Label planes of a survey record, one for each of ``names``."""
    labels = np.full((len(names), *shape), -1, np.int8)
    for span in record.spans:
        if span.mask is not None:
            plane = span.mask.decode().astype(np.int8)
            if span.ignore is not None:
                plane[span.ignore.decode()] = -1
            labels[names.index(span.class_name)] = plane
    return labels


Chips = RecordCache[TrainingChip]


def load_chips(folder: str | Path, split: str) -> Chips:
    """The survey chips of a split.

    Raises:
        RecordError: the folder holds none, a shard is damaged, or a raster is missing.
    """
    records = Shards(folder, "survey").of(split)
    if not len(records):
        raise RecordError(
            f"no survey records of split {split!r} in {folder}; build them with: spex spie build"
        )
    return RecordCache(records, _chip, lambda chip: chip.bytes)


def _chip(record: SpieRecord) -> TrainingChip:
    pixels = load_pixels(record)
    stored = replace(pixels, values=pixels.values.astype(np.float16))
    return TrainingChip(record.id, record.source, stored, labels_of(record, pixels.valid.shape))


def crop(
    chip: TrainingChip, size: int, rng: np.random.Generator, symmetry: Symmetry | None = None
) -> tuple[Pixels, NDArray[np.int8]]:
    """A random square of the chip, sometimes at half the resolution; small chips are padded with invalid pixels.

    It is turned by a symmetry, by any of the eight if None.
    """
    values, valid, labels, gsd = (
        chip.pixels.values,
        chip.pixels.valid,
        chip.labels,
        chip.pixels.gsd_m,
    )
    if min(valid.shape) >= 1.5 * size and rng.random() < 0.4:
        rows, cols = (n // 2 * 2 for n in valid.shape)
        half = (
            values[:, :rows, :cols]
            .astype(np.float32)
            .reshape(len(values), rows // 2, 2, cols // 2, 2)
            .mean((2, 4))
        )
        keep = valid[:rows:2, :cols:2] & valid[1:rows:2, 1:cols:2]
        values, valid, labels = np.where(keep, half, 0), keep, labels[:, :rows:2, :cols:2]
        gsd = gsd and 2 * gsd
    row, col = (int(rng.integers(0, max(n - size, 0) + 1)) for n in valid.shape)
    window = (slice(row, row + size), slice(col, col + size))
    values, valid, labels = (
        values[(slice(None), *window)].astype(np.float32),
        valid[window],
        labels[(slice(None), *window)],
    )
    pad = tuple((0, size - n) for n in valid.shape)
    if any(after for _, after in pad):
        values, valid = np.pad(values, ((0, 0), *pad)), np.pad(valid, pad)
        labels = np.pad(labels, ((0, 0), *pad), constant_values=-1)
    symmetry = symmetry or Symmetry.draw(rng)
    values, valid, labels = (symmetry.turned(a) for a in (values, valid, labels))
    pixels = replace(
        chip.pixels,
        values=np.ascontiguousarray(values),
        valid=np.ascontiguousarray(valid),
        gsd_m=gsd,
    )
    return pixels, np.ascontiguousarray(labels)


def jitter(pixels: Pixels, rng: np.random.Generator, needed: Collection[str] = ()) -> Pixels:
    """Radiometry another scene could have had: gain, haze, noise, for display values gamma; then missing bands.

    Args:
        needed: spectral indices that the bands left must still give.
    """
    values, count = pixels.values, len(pixels.bands)
    display = pixels.level == "uncalibrated"
    centre = np.array([b.wavelength_nm or 700.0 for b in pixels.bands], np.float32)
    spread = 0.15 if display else 0.04
    gain = np.exp(rng.normal(0, spread, count) + rng.normal(0, 0.12)).astype(np.float32)
    haze = (
        rng.exponential(0.03 if display else 0.01) * (500.0 / centre) ** rng.uniform(1, 3)
    ).astype(np.float32)
    values = values * gain[:, None, None] + haze[:, None, None]
    if display and rng.random() < 0.6:
        values = np.clip(values, 0, None) ** np.float32(np.exp(rng.normal(0, 0.25)))
    values = values + rng.normal(0, rng.exponential(0.004), values.shape).astype(np.float32)
    if display:
        values = values.clip(
            0, max(1.0, float(pixels.values.max()))
        )  # not all display values end at 1
    pixels = replace(pixels, values=np.where(pixels.valid, values, 0).astype(np.float32))
    fewer = drop_bands(pixels, rng) if count > 4 and rng.random() < 0.4 else pixels
    return fewer if set(needed) <= set(available_indices(role_weights(fewer.bands))) else pixels


def drop_bands(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Keep the visible and near-infrared bands only, or a random subset of at least four."""
    count = len(pixels.bands)
    visible = [
        i
        for i, b in enumerate(pixels.bands)
        if b.wavelength_nm is not None and b.wavelength_nm < 1000
    ]
    if rng.random() < 0.5 and len(visible) >= 3:
        keep = visible
    else:
        keep = sorted(rng.choice(count, int(rng.integers(4, count + 1)), replace=False).tolist())
    return replace(pixels, values=pixels.values[keep], bands=tuple(pixels.bands[i] for i in keep))


def rates(sources: Sequence[str], weights: dict[str, float]) -> NDArray[np.float64]:
    """How likely each item is drawn: by the weight of its source, by the beginning of its name; 1 where not given.

    Raises:
        ConfigError: nothing is left to draw.
    """
    rate = np.array(
        [
            next((w for name, w in weights.items() if source.startswith(name)), 1.0)
            for source in sources
        ]
    )
    if not rate.any() or rate.min() < 0:
        raise ConfigError(
            f"weights={weights} leave nothing to draw of {', '.join(sorted(set(sources)))}"
        )
    found: NDArray[np.float64] = rate / rate.sum()
    return found


class CropStream:
    """Augmented crops, sources drawn by weight."""

    def __init__(
        self, chips: Chips, size: int, weights: dict[str, float], evidence_dropout: float
    ) -> None:
        self.chips, self.size, self.evidence_dropout = chips, size, evidence_dropout
        self.rate = rates(chips.sources, weights)

    def draw(
        self,
        rng: np.random.Generator,
        chip: TrainingChip | None = None,
        *,
        symmetry: Symmetry | None = None,
        radiometry: bool = True,
        needed: Collection[str] = (),
    ) -> TrainingCrop:
        """One sample, of a given chip or of a random one; ``needed`` as for :func:`jitter`."""
        chip = chip or self.chips[int(rng.choice(len(self.chips), p=self.rate))]
        pixels, labels = crop(chip, self.size, rng, symmetry)
        if radiometry:
            pixels = jitter(pixels, rng, needed)
        evidence = measure(pixels)
        maps = evidence_maps(pixels, evidence)
        if rng.random() < self.evidence_dropout:
            maps = np.zeros_like(maps)
        elif rng.random() < self.evidence_dropout:
            relative = [i for i, name in enumerate(CHANNELS) if "relative" in name]
            maps[relative] = 0
        return TrainingCrop(pixels, evidence, maps, labels)


def collate(samples: list[TrainingCrop]) -> MaskBatch:
    """Stack samples; band counts may differ."""
    return MaskBatch(
        values=[torch.from_numpy(s.pixels.values) for s in samples],
        valid=[torch.from_numpy(s.pixels.valid) for s in samples],
        bands=band_batch([s.pixels for s in samples]),
        evidence=torch.from_numpy(np.stack([s.maps for s in samples])),
        labels=torch.from_numpy(
            np.stack([np.where(s.pixels.valid, s.labels, -1) for s in samples])
        ),
    )
