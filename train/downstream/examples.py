"""Examples of downstream tasks from survey records: images or pairs of dates, one class per pixel or per tile.

Training and validation places are those of the records. Few-shot subsets are nested, and spread over places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spex.errors import ConfigError, RecordError
from spex.raster.scene import Pixels
from spex.records import SpieRecord, load_pixels, read_records
from train.data.training_chips import CLASS_NAMES, label_planes

Kind = Literal["segmentation", "change", "scene"]
_DATE = re.compile(r"(?P<stem>.+)_(?P<date>pre|post|t1|t2|\d{8})")
_DOMINANT = 0.6  # share of a tile's known pixels that gives it its class
_KNOWN = 0.1  # share of a tile that must be known
_SHOWN = 0.02  # share of the known pixels from which an example shows a class


@dataclass(frozen=True)
class TaskSettings:
    """One downstream task."""

    kind: Kind
    """segmentation, change (what a class gained between two dates of a place) or scene (one class per tile)."""
    sources: list[str]
    """Sources of SPIE records."""
    classes: list[str]
    """Classes to tell apart, which must exclude each other; what is none of them is a class of its own (not in
    scene classification, which leaves such tiles out)."""
    bands: list[str] = field(default_factory=list)
    """Bands that every arm sees; those that all records share if empty."""
    tile: int = 64
    """Side of a scene to classify, pixels."""
    held_out: str = ""
    """For a source without validation places: ids that begin so are held out of training and measured on instead."""
    arms: list[str] = field(default_factory=list)
    """Which arms to compare on this task; those of the file if empty."""
    shots: list[int | str] = field(default_factory=list)
    """Training examples per class in this task; those of the file if empty."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.classes) - set(CLASS_NAMES))
        if unknown:
            raise ConfigError(f"no class {unknown[0]!r}; known: {', '.join(CLASS_NAMES)}")
        if self.kind not in ("segmentation", "change", "scene"):
            raise ConfigError(f"no task of kind {self.kind!r}; one of segmentation, change, scene")


@dataclass(frozen=True)
class Example:
    """Images of one place and their truth.

    Attributes:
        dates: one image, or two of equal size. target: int64 (h, w), for a scene (); class number, -1 unknown.
    """

    id: str
    place: str
    dates: tuple[Pixels, ...]
    target: NDArray[np.int64]

    def shows(self, number: int) -> bool:
        """Whether a class is on at least some of the known pixels."""
        return bool((self.target == number).sum() >= _SHOWN * max(1, (self.target >= 0).sum()))


@dataclass(frozen=True)
class DownstreamTask:
    """A task ready to learn; ``named`` are the numbers of the classes asked for, without the rest."""

    name: str
    kind: Kind
    classes: tuple[str, ...]
    bands: tuple[str, ...]
    train: list[Example]
    val: list[Example]

    @property
    def named(self) -> range:
        """Numbers of the classes asked for."""
        return range(0 if self.kind == "scene" else 1, len(self.classes))


def load_task(folder: str | Path, name: str, about: TaskSettings) -> DownstreamTask:
    """The examples of a task.

    Raises:
        RecordError: no example to train or to measure on, or of a class, or a place in both splits.
        ConfigError: bands that a record does not have.
    """
    records = [
        record
        for shard in sorted(Path(folder).glob("survey_*.parquet"))
        for record in read_records(shard)
        if record.source in about.sources
    ]
    bands = _bands(name, records, about.bands)
    split: dict[str, list[Example]] = {"train": [], "val": []}
    for group in _pairs(records) if about.kind == "change" else [[record] for record in records]:
        held_out = about.held_out and group[0].id.startswith(about.held_out)
        split["val" if held_out else group[0].split].extend(_examples(group, bands, about))
    for part, found in split.items():
        if not found:
            raise RecordError(
                f"task {name}: no {part} example from {', '.join(about.sources)} in {folder}"
            )
    torn = {example.place for example in split["train"]} & {
        example.place for example in split["val"]
    }
    if torn and not about.held_out:
        raise RecordError(
            f"task {name}: place {min(torn)} is in training and validation; build the records again"
        )
    rest = {"segmentation": ("other",), "change": ("unchanged",), "scene": ()}[about.kind]
    task = DownstreamTask(
        name, about.kind, (*rest, *about.classes), bands, split["train"], split["val"]
    )
    for number in task.named:
        if not any(example.shows(number) for example in task.train):
            raise RecordError(
                f"task {name}: no training example shows {task.classes[number]}; leave the class out"
            )
    return task


def _bands(name: str, records: list[SpieRecord], wanted: list[str]) -> tuple[str, ...]:
    """Names of the bands that all records have, in the order of the first record."""
    shared = [b.name for b in records[0].bands] if records else []
    for record in records:
        here = {b.name for b in record.bands}
        shared = [band for band in shared if band in here]
        missing = [band for band in wanted if band not in here]
        if missing:
            raise ConfigError(
                f"task {name}: {record.id} has no band {missing[0]!r}; it has {', '.join(sorted(here))}"
            )
    if records and not shared:
        raise ConfigError(
            f"task {name}: its records share no band by name; name sources of one sensor"
        )
    return tuple(wanted or shared)


def _pairs(records: list[SpieRecord]) -> Iterator[list[SpieRecord]]:
    """The first and the last date of every image with several, told from the end of their ids."""
    dated: dict[tuple[str, str], list[tuple[str, SpieRecord]]] = {}
    for record in records:
        if found := _DATE.fullmatch(record.id):
            date = {"pre": "0", "post": "1"}.get(found["date"], found["date"])
            dated.setdefault((record.place, found["stem"]), []).append((date, record))
    for group in dated.values():
        ordered = [record for _, record in sorted(group, key=lambda one: one[0])]
        if len(ordered) > 1:
            yield [ordered[0], ordered[-1]]


def _examples(
    group: list[SpieRecord], bands: tuple[str, ...], about: TaskSettings
) -> Iterator[Example]:
    """Examples of one record or of a pair; those of which nothing is known are left out."""
    dates = tuple(_pixels(record, bands) for record in group)
    rows = [CLASS_NAMES.index(name) for name in about.classes]
    planes = [
        label_planes(record, image.valid.shape)[rows]
        for record, image in zip(group, dates, strict=True)
    ]
    if dates[0].valid.shape != dates[-1].valid.shape:
        raise RecordError(
            f"{group[0].id} and {group[-1].id} differ in size; build the records again"
        )
    known = np.logical_and.reduce([image.valid for image in dates])
    here = planes[0]
    if about.kind == "change":
        before, after = planes
        here = np.where((before < 0) | (after < 0), -1, (after == 1) & (before == 0)).astype(
            np.int8
        )
    target = np.where(known, _one_class(here), -1)
    record = group[-1]
    if about.kind == "scene":
        for row in range(0, target.shape[0] - about.tile + 1, about.tile):
            for col in range(0, target.shape[1] - about.tile + 1, about.tile):
                part = (slice(row, row + about.tile), slice(col, col + about.tile))
                number = _dominant(target[part])
                if number > 0:
                    tile = _window(dates[0], part)
                    yield Example(
                        f"{record.id}/{row}/{col}", record.place, (tile,), np.array(number - 1)
                    )
    elif (target >= 0).any():
        yield Example(record.id, record.place, dates, target)


def _pixels(record: SpieRecord, bands: tuple[str, ...]) -> Pixels:
    pixels = load_pixels(record)
    names = [band.name for band in pixels.bands]
    chosen = [names.index(band) for band in bands]
    values, kept = pixels.values[chosen].astype(np.float16), tuple(pixels.bands[i] for i in chosen)
    return replace(pixels, values=values, bands=kept)


def _window(pixels: Pixels, part: tuple[slice, slice]) -> Pixels:
    return replace(pixels, values=pixels.values[(slice(None), *part)], valid=pixels.valid[part])


def _one_class(planes: NDArray[np.int8]) -> NDArray[np.int64]:
    """Class numbers (h, w) from planes (classes, h, w): 0 where every class is denied, -1 where two or none is sure."""
    positive = (planes == 1).sum(0)
    numbers = np.where(positive == 1, planes.argmax(0) + 1, -1)
    return np.where((planes == 0).all(0), 0, numbers)


def _dominant(target: NDArray[np.int64]) -> int:
    """The class of a tile, -1 where none dominates or too little is known."""
    known = target[target >= 0]
    if known.size < _KNOWN * target.size:
        return -1
    counts = np.bincount(known)
    return int(counts.argmax()) if counts.max() > _DOMINANT * known.size else -1


def few(task: DownstreamTask, shots: int | None, seed: int) -> list[Example]:
    """For every class asked for, the first ``shots`` training examples that show it; all of them if None.

    The order is drawn by the seed and takes every place once before it comes back to one, so larger subsets hold the
    smaller ones.
    """
    if shots is None:
        return task.train
    rng = np.random.default_rng(seed)
    turn: dict[str, int] = {}
    ordered: list[tuple[int, Example]] = []
    for i in rng.permutation(len(task.train)).tolist():
        place = task.train[i].place
        ordered.append((turn.get(place, 0), task.train[i]))
        turn[place] = turn.get(place, 0) + 1
    ranked = [example for _, example in sorted(ordered, key=lambda one: one[0])]
    chosen = [
        example
        for number in task.named
        for example in [e for e in ranked if e.shows(number)][:shots]
    ]
    return list({example.id: example for example in chosen}.values())


def augmented(example: Example, size: int, rng: np.random.Generator) -> Example:
    """A random square of an example, flipped and turned, the same of all its dates; smaller images are padded."""
    shape = example.dates[0].valid.shape
    row, col = (int(rng.integers(0, max(n - size, 0) + 1)) for n in shape)
    part, pad = (
        (slice(row, row + size), slice(col, col + size)),
        tuple((0, max(size - n, 0)) for n in shape),
    )
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))

    def cut(plane: NDArray[np.generic], fill: int) -> NDArray[np.generic]:
        still = ((0, 0),) * (plane.ndim - 2)
        found = np.rot90(
            np.pad(plane[(..., *part)], (*still, *pad), constant_values=fill), turns, (-2, -1)
        )
        return np.ascontiguousarray(found[..., ::-1] if mirrored else found)

    dates = tuple(replace(d, values=cut(d.values, 0), valid=cut(d.valid, 0)) for d in example.dates)
    return replace(
        example,
        dates=dates,
        target=cut(example.target, -1) if example.target.ndim else example.target,
    )
