"""Scenes of a source before and after reading: scene items, and the labelled chips made from them.

A scene item is listed without reading its pixels; reading it yields labelled chips. The truth of a
class is a pair of bool maps: where the class is, and where the label leaves it unknown. Classes
that a label says nothing about are left out. ``complete_truth`` derives parents from children, and
the absence of children from the absence of their parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spex.evidence.classes import classes
from spex.records import BandRef
from spex.sensors import Level

Mask = NDArray[np.bool_]
Truth = dict[str, tuple[Mask, Mask]]
Split = Literal["train", "val"]
Box = tuple[float, float, float, float]
"""West, south, east and north."""


@dataclass(frozen=True)
class Chip:
    """One labelled raster.

    Args:
        id: unique in a build and valid as a file name.
        sensor: name of the sensor.
        values: pixel values (C, h, w) in the type they are stored in.
        bands: the C bands in order.
        level: processing level of the values.
        truth: per class (mask, unknown), both bool (h, w).
        labels: in words, where the truth comes from.
        gsd_m: pixel width in metres; None if unknown.
        scale: reflectance = value * scale + offset.
        offset: see ``scale``.
        nodata: the value of pixels without data.
        crs: coordinate reference system; None without georeference.
        transform: affine transform of the upper left corner; None without georeference.
        extra: further provenance.
    """

    id: str
    sensor: str
    values: NDArray[Any]
    bands: tuple[BandRef, ...]
    level: Level
    truth: Truth
    labels: str
    gsd_m: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    crs: Any = None
    transform: Any = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SceneItem:
    """One scene of a source, listed without reading its pixels; picklable for worker processes.

    Args:
        id: unique within its source and valid as a file name.
        read: yields the chips of the scene for a split (some labels are read more strictly in
            ``val``). A ``functools.partial`` of a module-level function. Raises a ``SpexError``
            that names the file.
        place: name of the group of scenes that must stay on one side of the split; None: decided
            by the footprint.
        split: fixed by the source; None: decided by the place.
        footprint: extent in degrees; None without georeference.
    """

    id: str
    read: Callable[[Split], Iterator[Chip]]
    place: str | None = None
    split: Split | None = None
    footprint: Box | None = None


@dataclass(frozen=True)
class Layout:
    """A published folder layout of scenes and labels, with what the data card states about it.

    Args:
        name: name of the source in records.
        title: the data set in words.
        licence: licence of imagery and labels.
        url: where the data set is published.
        matches: whether a folder is in this layout.
        items: lists the scenes of a folder in a fixed order.
    """

    name: str
    title: str
    licence: str
    url: str
    matches: Callable[[Path], bool]
    items: Callable[[Path], Iterator[SceneItem]]


def complete_truth(truth: Truth) -> Truth:
    """Add what follows from the hierarchy of classes; drop classes that are unknown everywhere.

    A parent is the union of its children if the truth of all of them is given. A child is absent
    where its parent is absent, and unknown elsewhere.
    """
    completed = {name: (mask & ~unknown, unknown) for name, (mask, unknown) in truth.items()}
    table = classes()
    for name in table:
        children = [child for child, entry in table.items() if entry.parent == name]
        if children and name not in completed and all(child in completed for child in children):
            mask = np.logical_or.reduce([completed[child][0] for child in children])
            unknown = np.logical_or.reduce([completed[child][1] for child in children])
            completed[name] = mask, unknown & ~mask
        for child in children:
            if name in completed and child not in completed:
                mask, unknown = completed[name]
                completed[child] = np.zeros_like(mask), mask | unknown
    return {
        name: (mask, unknown) for name, (mask, unknown) in completed.items() if not unknown.all()
    }


def class_truth(mask: Mask, unknown: Mask | None = None) -> tuple[Mask, Mask]:
    """Truth of one class; known everywhere if ``unknown`` is None."""
    return mask, np.zeros_like(mask) if unknown is None else unknown


def absent_truth(like: Mask, *names: str) -> Truth:
    """Truth of classes that are known to be absent everywhere; ``like`` gives the shape."""
    return {name: (np.zeros_like(like), np.zeros_like(like)) for name in names}
