"""Downstream tasks from survey records: segmentation, change between two dates, scene classes.

Training and validation places are those of the records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spex.errors import ConfigError, RecordError
from spex.raster.scene import Pixels
from spex.records import SpieRecord, read_records
from train.data.spectral_views import select_bands
from train.data.training_chips import CLASS_NAMES, label_planes, load_half_precision
from train.downstream.downstream_settings import TaskKind, TaskSettings
from train.downstream.examples import Example

_DATED_ID = re.compile(r"(?P<stem>.+)_(?P<date>pre|post|t1|t2|\d{8})")
_DATE_ORDER = {"pre": "0", "post": "1"}
_DOMINANT_SHARE = 0.6  # of a tile's known pixels, for a class to be that of the tile
_MIN_KNOWN_SHARE = 0.1  # of a tile's pixels
_OTHER_CLASSES: dict[TaskKind, tuple[str, ...]] = {
    "segmentation": ("other",),
    "change": ("unchanged",),
    "scene": (),
}


@dataclass(frozen=True)
class DownstreamTask:
    """A task ready to learn.

    Attributes:
        name: Its name in the settings.
        kind: segmentation, change or scene.
        classes: All classes by number, the class of other pixels first.
        bands: Names of the bands of every example.
        train: Training examples.
        val: Validation examples.
    """

    name: str
    kind: TaskKind
    classes: tuple[str, ...]
    bands: tuple[str, ...]
    train: list[Example]
    val: list[Example]

    @property
    def class_numbers(self) -> range:
        """Numbers of the classes of the settings, without that of other pixels."""
        return range(len(_OTHER_CLASSES[self.kind]), len(self.classes))


def load_task(folder: str | Path, name: str, settings: TaskSettings) -> DownstreamTask:
    """Make the examples of a task.

    Args:
        folder: Folder of SPIE records.
        name: Name of the task, for messages.
        settings: What the task is.

    Raises:
        RecordError: There is no example to train or to measure on, or of a class, or a place is in
            both splits.
        ConfigError: A record lacks a band.
    """
    records = _records_of_sources(Path(folder), settings.sources)
    bands = _common_bands(name, records, settings.bands)
    groups = [[record] for record in records]
    if settings.kind == "change":
        groups = list(_date_pairs(records))
    examples: dict[str, list[Example]] = {"train": [], "val": []}
    for group in groups:
        is_held_out = settings.held_out and group[0].id.startswith(settings.held_out)
        split = "val" if is_held_out else group[0].split
        examples[split] += _make_examples(group, bands, settings)
    for split_name, split_examples in examples.items():
        if not split_examples:
            raise RecordError(
                f"task {name}: no {split_name} example from "
                f"{', '.join(settings.sources)} in {folder}"
            )
    if not settings.held_out:
        _require_separate_places(name, examples)
    classes = (*_OTHER_CLASSES[settings.kind], *settings.classes)
    task = DownstreamTask(name, settings.kind, classes, bands, examples["train"], examples["val"])
    _require_all_classes(task)
    return task


def _records_of_sources(folder: Path, sources: Sequence[str]) -> list[SpieRecord]:
    records = []
    for shard in sorted(folder.glob("survey_*.parquet")):
        records += [record for record in read_records(shard) if record.source in sources]
    return records


def _require_separate_places(name: str, examples: dict[str, list[Example]]) -> None:
    train_places = {example.place for example in examples["train"]}
    val_places = {example.place for example in examples["val"]}
    if shared := train_places & val_places:
        raise RecordError(
            f"task {name}: place {min(shared)} is in training and validation; "
            "build the records again"
        )


def _require_all_classes(task: DownstreamTask) -> None:
    for number in task.class_numbers:
        if not any(example.shows(number) for example in task.train):
            raise RecordError(
                f"task {task.name}: no training example shows {task.classes[number]}; "
                "remove the class from the task"
            )


def _common_bands(name: str, records: list[SpieRecord], wanted: Sequence[str]) -> tuple[str, ...]:
    """The bands wanted, or else those that all records have, in the order of the first record."""
    common = [band.name for band in records[0].bands] if records else []
    for record in records:
        available = {band.name for band in record.bands}
        common = [band for band in common if band in available]
        missing = [band for band in wanted if band not in available]
        if missing:
            raise ConfigError(
                f"task {name}: {record.id} has no band {missing[0]!r}; "
                f"it has {', '.join(sorted(available))}"
            )
    if records and not common:
        raise ConfigError(
            f"task {name}: the records have no band name in common; give sources of one sensor"
        )
    return tuple(wanted or common)


def _date_pairs(records: list[SpieRecord]) -> Iterator[list[SpieRecord]]:
    """The first and the last date of every image with several; dates are at the end of ids."""
    by_image: dict[tuple[str, str], list[tuple[str, SpieRecord]]] = {}
    for record in records:
        if match := _DATED_ID.fullmatch(record.id):
            date = _DATE_ORDER.get(match["date"], match["date"])
            by_image.setdefault((record.place, match["stem"]), []).append((date, record))
    for dated_records in by_image.values():
        ordered = [record for _, record in sorted(dated_records, key=lambda pair: pair[0])]
        if len(ordered) > 1:
            yield [ordered[0], ordered[-1]]


def _make_examples(
    group: list[SpieRecord], bands: tuple[str, ...], settings: TaskSettings
) -> Iterator[Example]:
    """Examples of one record or of two dates; those without known pixels are left out."""
    dates = tuple(_load_bands(record, bands) for record in group)
    if dates[0].valid.shape != dates[-1].valid.shape:
        raise RecordError(
            f"{group[0].id} and {group[-1].id} differ in size; build the records again"
        )
    rows = [CLASS_NAMES.index(name) for name in settings.classes]
    planes = [
        label_planes(record, pixels.valid.shape)[rows]
        for record, pixels in zip(group, dates, strict=True)
    ]
    class_planes = _gained(*planes) if settings.kind == "change" else planes[0]
    valid = np.logical_and.reduce([pixels.valid for pixels in dates])
    target = np.where(valid, _class_numbers(class_planes), -1)
    record = group[-1]
    if settings.kind == "scene":
        yield from _scene_examples(record, dates[0], target, settings.tile)
    elif (target >= 0).any():
        yield Example(record.id, record.place, dates, target)


def _load_bands(record: SpieRecord, bands: tuple[str, ...]) -> Pixels:
    pixels = load_half_precision(record)
    names = [band.name for band in pixels.bands]
    return select_bands(pixels, [names.index(band) for band in bands])


def _gained(before: NDArray[np.int8], after: NDArray[np.int8]) -> NDArray[np.int8]:
    """Label planes of what each class gained between two dates; -1 where either is unknown."""
    gained = (after == 1) & (before == 0)
    return np.where((before < 0) | (after < 0), -1, gained).astype(np.int8)


def _class_numbers(planes: NDArray[np.int8]) -> NDArray[np.int64]:
    """One class per pixel from label planes (classes, h, w).

    Returns:
        int64 (h, w): the number of the class from 1, 0 where no class is, -1 where that is unknown
        or two classes are.
    """
    positive_count = (planes == 1).sum(0)
    numbers = np.where(positive_count == 1, planes.argmax(0) + 1, -1)
    return np.where((planes == 0).all(0), 0, numbers)


def _scene_examples(
    record: SpieRecord, pixels: Pixels, target: NDArray[np.int64], side: int
) -> Iterator[Example]:
    """The tiles of an image in which one class dominates."""
    height, width = target.shape
    for row in range(0, height - side + 1, side):
        for col in range(0, width - side + 1, side):
            window = (slice(row, row + side), slice(col, col + side))
            number = _dominant_class(target[window])
            if number > 0:
                tile = replace(
                    pixels, values=pixels.values[(slice(None), *window)], valid=pixels.valid[window]
                )
                tile_id = f"{record.id}/{row}/{col}"
                yield Example(tile_id, record.place, (tile,), np.array(number - 1))


def _dominant_class(target: NDArray[np.int64]) -> int:
    """The class of a tile; -1 if none dominates or too little is known."""
    known = target[target >= 0]
    if known.size < _MIN_KNOWN_SHARE * target.size:
        return -1
    counts = np.bincount(known)
    return int(counts.argmax()) if counts.max() > _DOMINANT_SHARE * known.size else -1
