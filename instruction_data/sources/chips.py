"""What a source hands over: items found without reading pixels, and the labelled chips that reading one of them gives.

The truth of a class is a pair of bool maps: where it is, and where the label cannot tell. Classes that a label never
speaks of are left out; ``complete`` derives parents from children and the absence of children from parents.
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


@dataclass(frozen=True)
class Chip:
    """One labelled raster; values (C, h, w) in their own type, truth per class as (mask, unknown), both bool (h, w).

    ``id`` is unique in a build and fit for a file name; ``labels`` says where the truth comes from.
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
    """One scene of a source, found without reading its pixels; picklable, so that any process can read it.

    Args:
        id: unique within its source, fit for a file name.
        read: the chips of the scene for a split (some labels are read more strictly where they measure); a
            ``functools.partial`` of a function at module level. Raises a ``SpexError`` that names the file.
        place: what must stay on one side of the split together; None: decided by the footprint.
        split: fixed by the source; None: decided by place.
        footprint: west, south, east, north in degrees, where the scene is georeferenced.
    """

    id: str
    read: Callable[[Split], Iterator[Chip]]
    place: str | None = None
    split: Split | None = None
    footprint: Box | None = None


@dataclass(frozen=True)
class Layout:
    """A collection of scenes in one layout, with what its data card must say.

    ``holds`` tells whether a folder is in this layout, ``items`` lists its scenes in a fixed order.
    """

    name: str
    title: str
    licence: str
    url: str
    holds: Callable[[Path], bool]
    items: Callable[[Path], Iterator[SceneItem]]


def complete(truth: Truth) -> Truth:
    """Parents as the union of known children, children absent where their parent is; wholly unknown classes dropped."""
    found = {name: (mask & ~unknown, unknown) for name, (mask, unknown) in truth.items()}
    table = classes()
    for name in table:
        children = [child for child, about in table.items() if about.parent == name]
        if children and name not in found and all(child in found for child in children):
            mask = np.logical_or.reduce([found[child][0] for child in children])
            found[name] = (
                mask,
                np.logical_or.reduce([found[child][1] for child in children]) & ~mask,
            )
        for child in children:
            if name in found and child not in found:
                mask, unknown = found[name]
                found[child] = np.zeros_like(mask), mask | unknown
    return {name: (mask, unknown) for name, (mask, unknown) in found.items() if not unknown.all()}


def known(mask: Mask, unknown: Mask | None = None) -> tuple[Mask, Mask]:
    """A class's truth; known everywhere unless ``unknown`` says otherwise."""
    return mask, np.zeros_like(mask) if unknown is None else unknown


def absent(like: Mask, *names: str) -> Truth:
    """Classes known to be nowhere."""
    return {name: (np.zeros_like(like), np.zeros_like(like)) for name in names}
