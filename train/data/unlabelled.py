"""Unlabelled pixels of any sensors for pre-training: crops, hidden cells, and which bands are seen and asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spex.errors import RecordError
from spex.model.spectral import BandBatch, band_batch
from spex.raster.scene import Pixels
from spex.records import SpieRecord, load_pixels
from train.data.crops import rates
from train.data.random_state import rng_at
from train.data.record_folder import RecordCache, Shards
from train.data.spectral_views import MOST_BANDS, views

CELL = 32  # pixels a side of what is hidden at once: the coarsest stride
_CUBES = 4.0
"""How much more often hyperspectral images are drawn: each can be seen as by any sensor."""


@dataclass(frozen=True)
class Drawn:
    """A crop as it is given and asked for, which bands asked for are new, and the visible cells (h / 32, w / 32)."""

    given: Pixels
    wanted: Pixels
    new: NDArray[np.bool_]
    visible: NDArray[np.bool_]


@dataclass(frozen=True)
class PretrainBatch:
    """Crops with hidden cells: what the encoder is given and what it is asked for."""

    values: list[Tensor]
    valid: list[Tensor]
    bands: BandBatch
    visible: Tensor
    wanted: BandBatch
    target: Tensor
    counted: Tensor


def survey_records(folder: str | Path) -> Shards:
    """The survey records of a folder.

    Raises:
        RecordError: none is of a training place, or a shard is damaged.
    """
    records = Shards(folder, "survey")
    if not len(records.of("train")):
        raise RecordError(
            f"no survey records of training places in {folder}; build them with: spex spie build"
        )
    return records


def load_images(records: Shards, split: str = "train") -> RecordCache[Pixels]:
    """The images of the places of a split, values as float16.

    Raises:
        RecordError: a raster is missing.
    """
    return RecordCache(
        records.of(split), _image, lambda pixels: pixels.values.nbytes + pixels.valid.nbytes
    )


def _image(record: SpieRecord) -> Pixels:
    pixels = load_pixels(record)
    return replace(pixels, values=pixels.values.astype(np.float16))


def image_rates(images: RecordCache[Pixels], weights: dict[str, float]) -> NDArray[np.float64]:
    """How likely each image is drawn: by the weight of its source, and more often if it is hyperspectral."""
    cubes = np.array(images.records.lengths("bands")) > MOST_BANDS
    rate = rates(images.sources, weights) * np.where(cubes, _CUBES, 1.0)
    found: NDArray[np.float64] = rate / rate.sum()
    return found


class PixelStream:
    """Batches of mixed sensors.

    Args:
        images: to draw from. rate: how likely each is drawn. size: side of a crop, a multiple of 32. batch: crops per
            batch. hidden: share of cells hidden. seed: of everything drawn.
    """

    def __init__(
        self,
        images: Sequence[Pixels],
        rate: NDArray[np.float64],
        size: int,
        batch: int,
        hidden: float,
        seed: int,
    ) -> None:
        self.images, self.rate, self.size, self.batch = images, rate, size, batch
        self.hidden, self.seed = hidden, seed

    def draw(self, step: int, process: int) -> PretrainBatch:
        """The batch of a step."""
        rng = rng_at(self.seed, step, process)
        chosen = rng.choice(len(self.images), self.batch, p=self.rate)
        return self.collate([self.crop(rng, self.images[int(i)]) for i in chosen])

    def crop(self, rng: np.random.Generator, pixels: Pixels) -> Drawn:
        """A crop as it is given and asked for, and the cells that stay visible."""
        given, wanted, new = views(rng, _jitter(rng, _crop(rng, pixels, self.size)))
        cells = (self.size // CELL) ** 2
        visible = np.ones(cells, bool)
        visible[rng.permutation(cells)[: round(self.hidden * cells)]] = False
        return Drawn(given, wanted, new, visible.reshape(self.size // CELL, -1))

    def collate(self, drawn: list[Drawn]) -> PretrainBatch:
        """Stack crops; what is counted is valid and hidden, by its cell or because its band was not given."""
        shown = [np.kron(one.visible, np.ones((CELL, CELL), bool)) for one in drawn]
        most = max(len(one.wanted.bands) for one in drawn)
        target = np.zeros((len(drawn), most, self.size, self.size), np.float32)
        counted = np.zeros(target.shape, bool)
        for i, one in enumerate(drawn):
            target[i, : len(one.new)] = one.wanted.values
            counted[i, : len(one.new)] = (
                ~shown[i][None] | one.new[:, None, None]
            ) & one.wanted.valid[None]
        return PretrainBatch(
            values=[torch.from_numpy(one.given.values) for one in drawn],
            valid=[torch.from_numpy(one.given.valid) for one in drawn],
            bands=band_batch([one.given for one in drawn], shown),
            visible=torch.from_numpy(np.stack([one.visible for one in drawn])),
            wanted=band_batch([one.wanted for one in drawn], shown),
            target=torch.from_numpy(target),
            counted=torch.from_numpy(counted),
        )


def _crop(rng: np.random.Generator, pixels: Pixels, size: int) -> Pixels:
    """A random square, flipped and turned; smaller images are padded with invalid pixels."""
    row, col = (int(rng.integers(0, max(n - size, 0) + 1)) for n in pixels.valid.shape)
    values = pixels.values[:, row : row + size, col : col + size].astype(np.float32)
    valid = pixels.valid[row : row + size, col : col + size]
    pad = tuple((0, size - n) for n in valid.shape)
    values, valid = np.pad(values, ((0, 0), *pad)), np.pad(valid, pad)
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    values, valid = np.rot90(values, turns, (1, 2)), np.rot90(valid, turns)
    if mirrored:
        values, valid = values[..., ::-1], valid[..., ::-1]
    return replace(pixels, values=np.ascontiguousarray(values), valid=np.ascontiguousarray(valid))


def _jitter(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """One gain for all bands, and a small one for each: illumination and calibration differ from scene to scene."""
    gain = np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.03, len(pixels.bands))).astype(np.float32)
    return replace(pixels, values=pixels.values * gain[:, None, None])
