"""Training chips: the pixels of a survey record and its label planes.

The label of a class at a pixel is 1 (the class is there), 0 (it is not there) or -1 (unknown).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spex.errors import RecordError
from spex.evidence.classes import classes
from spex.raster.scene import Pixels
from spex.records import SpieRecord, load_pixels
from train.data.record_folder import RecordCache, RecordFolder

CLASS_NAMES = tuple(classes())
"""The classes of SPEX in the order of the label planes."""


@dataclass(frozen=True)
class TrainingChip:
    """The pixels of one survey record and its labels.

    Attributes:
        id: Id of the record.
        source: Source of the record.
        pixels: Values as float16.
        labels: int8 (classes, h, w): 1, 0, or -1 for unknown.
    """

    id: str
    source: str
    pixels: Pixels
    labels: NDArray[np.int8]

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.pixels.values.nbytes + self.pixels.valid.nbytes + self.labels.nbytes


TrainingChips = RecordCache[TrainingChip]


def load_chips(folder: str | Path, split: str) -> TrainingChips:
    """The training chips of a split, each made when it is indexed.

    Args:
        folder: A folder of SPIE records.
        split: ``train`` or ``val``.

    Raises:
        RecordError: The folder holds no survey record of the split, a shard is damaged, or a
            raster is missing.
    """
    records = RecordFolder(folder, "survey").split(split)
    if not len(records):
        raise RecordError(
            f"no survey records of split {split!r} in {folder}; build them with: spex spie build"
        )
    return RecordCache(records, training_chip, lambda chip: chip.nbytes)


def training_chip(record: SpieRecord, class_names: Sequence[str] = CLASS_NAMES) -> TrainingChip:
    """Read the chip of a survey record.

    Args:
        record: A survey record.
        class_names: Classes in the order of the label planes.
    """
    pixels = load_half_precision(record)
    labels = label_planes(record, pixels.valid.shape, class_names)
    return TrainingChip(record.id, record.source, pixels, labels)


def unlabelled_chip(name: str, pixels: Pixels, class_count: int) -> TrainingChip:
    """A chip whose labels are all unknown.

    Args:
        name: Its id and source.
        pixels: Its pixels.
        class_count: Number of label planes.
    """
    labels: NDArray[np.int8] = np.full((class_count, *pixels.valid.shape), -1, np.int8)
    return TrainingChip(name, name, pixels, labels)


def load_half_precision(record: SpieRecord) -> Pixels:
    """The pixels of a record with values as float16, which takes half the memory."""
    pixels = load_pixels(record)
    return replace(pixels, values=pixels.values.astype(np.float16))


def label_planes(
    record: SpieRecord, shape: tuple[int, ...], class_names: Sequence[str] = CLASS_NAMES
) -> NDArray[np.int8]:
    """The labels of a survey record.

    Args:
        record: A survey record.
        shape: Height and width of its image.
        class_names: Classes in the order of the planes.

    Returns:
        int8 (classes, h, w): 1, 0, or -1 for unknown.
    """
    labels: NDArray[np.int8] = np.full((len(class_names), *shape), -1, np.int8)
    for span in record.spans:
        if span.mask is not None:
            plane = span.mask.decode().astype(np.int8)
            if span.ignore is not None:
                plane[span.ignore.decode()] = -1
            labels[class_names.index(span.class_name)] = plane
    return labels
