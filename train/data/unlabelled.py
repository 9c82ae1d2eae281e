"""Unlabelled images of any sensors for pre-training: crops with hidden cells and hidden bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from spex.errors import RecordError
from spex.model.spectral import BandBatch, band_batch
from spex.raster.scene import Pixels
from train.data.crops import sampling_probabilities
from train.data.random_state import rng_at
from train.data.random_windows import cut_square, random_window
from train.data.record_folder import RecordCache, RecordFolder
from train.data.spectral_views import MOST_BANDS, draw_views
from train.data.symmetry import Symmetry
from train.data.training_chips import load_half_precision

CELL = 32
"""Side in pixels of what is hidden as one: the coarsest stride of the encoder."""
_CUBE_WEIGHT = 4.0  # hyperspectral images are drawn more often: they can be seen as by any sensor


@dataclass(frozen=True)
class MaskedCrop:
    """A crop of which parts are hidden.

    Attributes:
        inputs: The crop in the bands that the encoder is given.
        targets: The crop in the bands that it has to reconstruct.
        is_new: bool (bands of ``targets``,), which of them the encoder is not given.
        visible: bool (h / 32, w / 32), which cells the encoder sees.
    """

    inputs: Pixels
    targets: Pixels
    is_new: NDArray[np.bool_]
    visible: NDArray[np.bool_]


@dataclass(frozen=True)
class PretrainBatch:
    """Crops with hidden cells.

    Attributes:
        values: float32 (C_i, H, W) per crop, what the encoder is given.
        valid: bool (H, W) per crop.
        bands: Metadata of the bands of ``values``.
        visible: bool (B, H / 32, W / 32), which cells the encoder sees.
        target_bands: Metadata of the bands to reconstruct.
        target: float32 (B, C, H, W), values to reconstruct; 0 for missing bands.
        loss_mask: bool (B, C, H, W), which values count in the loss.
    """

    values: list[Tensor]
    valid: list[Tensor]
    bands: BandBatch
    visible: Tensor
    target_bands: BandBatch
    target: Tensor
    loss_mask: Tensor


def survey_records(folder: str | Path) -> RecordFolder:
    """The survey records of a folder.

    Raises:
        RecordError: There is none of a training place, or a shard is damaged.
    """
    records = RecordFolder(folder, "survey")
    if not len(records.split("train")):
        raise RecordError(
            f"no survey records of training places in {folder}; build them with: spex spie build"
        )
    return records


def load_images(records: RecordFolder, split: str = "train") -> RecordCache[Pixels]:
    """The images of a split with values as float16, each read when it is indexed.

    Raises:
        RecordError: A raster is missing.
    """
    return RecordCache(
        records.split(split),
        load_half_precision,
        lambda pixels: pixels.values.nbytes + pixels.valid.nbytes,
    )


def image_probabilities(
    images: RecordCache[Pixels], weights: Mapping[str, float]
) -> NDArray[np.float64]:
    """How likely each image is drawn.

    Args:
        images: To draw from; hyperspectral ones count more.
        weights: As for :func:`train.data.crops.sampling_probabilities`.
    """
    is_cube = np.array(images.records.lengths("bands")) > MOST_BANDS
    image_weights = sampling_probabilities(images.sources, weights)
    image_weights = image_weights * np.where(is_cube, _CUBE_WEIGHT, 1.0)
    probabilities: NDArray[np.float64] = image_weights / image_weights.sum()
    return probabilities


class PixelStream:
    """Batches of crops of mixed sensors.

    Args:
        images: To draw from.
        probabilities: float64 (images,), how likely each is drawn.
        size: Side of a crop in pixels, a multiple of 32.
        batch_size: Crops per batch.
        mask_ratio: Share of the cells that are hidden.
        seed: Of all draws.
    """

    def __init__(
        self,
        images: Sequence[Pixels],
        probabilities: NDArray[np.float64],
        size: int,
        batch_size: int,
        mask_ratio: float,
        seed: int,
    ) -> None:
        self.images = images
        self.probabilities = probabilities
        self.size = size
        self.batch_size = batch_size
        self.mask_ratio = mask_ratio
        self.seed = seed

    def draw(self, step: int, process: int) -> PretrainBatch:
        """The batch of a step."""
        rng = rng_at(self.seed, step, process)
        numbers = rng.choice(len(self.images), self.batch_size, p=self.probabilities)
        return self.collate([self.crop(rng, self.images[int(number)]) for number in numbers])

    def crop(self, rng: Generator, pixels: Pixels) -> MaskedCrop:
        """Draw a crop of an image, its bands, and its visible cells."""
        square = _jitter_gain(rng, _random_square(rng, pixels, self.size))
        inputs, targets, is_new = draw_views(rng, square)
        cells_per_side = self.size // CELL
        visible = np.ones(cells_per_side**2, bool)
        visible[rng.permutation(visible.size)[: round(self.mask_ratio * visible.size)]] = False
        return MaskedCrop(inputs, targets, is_new, visible.reshape(cells_per_side, -1))

    def collate(self, crops: list[MaskedCrop]) -> PretrainBatch:
        """Stack crops into a batch.

        A value counts in the loss if it is valid and hidden: by its cell, or because its band is
        not given.
        """
        visible_pixels = [np.kron(crop.visible, np.ones((CELL, CELL), bool)) for crop in crops]
        band_count = max(len(crop.targets.bands) for crop in crops)
        target = np.zeros((len(crops), band_count, self.size, self.size), np.float32)
        loss_mask = np.zeros(target.shape, bool)
        for row, crop in enumerate(crops):
            count = len(crop.is_new)
            hidden = ~visible_pixels[row][None] | crop.is_new[:, None, None]
            target[row, :count] = crop.targets.values
            loss_mask[row, :count] = hidden & crop.targets.valid[None]
        return PretrainBatch(
            values=[torch.from_numpy(crop.inputs.values) for crop in crops],
            valid=[torch.from_numpy(crop.inputs.valid) for crop in crops],
            bands=band_batch([crop.inputs for crop in crops], visible_pixels),
            visible=torch.from_numpy(np.stack([crop.visible for crop in crops])),
            target_bands=band_batch([crop.targets for crop in crops], visible_pixels),
            target=torch.from_numpy(target),
            loss_mask=torch.from_numpy(loss_mask),
        )


def _random_square(rng: Generator, pixels: Pixels, size: int) -> Pixels:
    """A random square, turned and mirrored; smaller images are padded with invalid pixels."""
    window = random_window(rng, pixels.valid.shape, size)
    values = cut_square(pixels.values, window, size).astype(np.float32)
    valid = cut_square(pixels.valid, window, size)
    symmetry = Symmetry(int(rng.integers(4)), bool(rng.random() < 0.5))
    return replace(
        pixels,
        values=np.ascontiguousarray(symmetry.apply(values)),
        valid=np.ascontiguousarray(symmetry.apply(valid)),
    )


def _jitter_gain(rng: Generator, pixels: Pixels) -> Pixels:
    """One gain for all bands and a small one for each, as illumination and calibration vary."""
    gain = np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.03, len(pixels.bands))).astype(np.float32)
    return replace(pixels, values=pixels.values * gain[:, None, None])
