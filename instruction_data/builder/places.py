"""Places of a build: scenes whose footprints overlap or lie close together, on one side of the split as a whole."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from instruction_data.sources.chips import Box, SceneItem, Split
from spex.errors import RecordError

NEAR_KM = 2.0
_KM_PER_DEGREE = 111.32
_TILE = re.compile(
    r"([_-][a-zA-Z]{0,3}\d+){2}$"
)  # row and column (or year and month) at the end of a name


@dataclass(frozen=True)
class PlacedItem:
    """An item of a build with its source's name, its place and its side of the split."""

    source: str
    item: SceneItem
    place: str
    split: Split


def place_items(found: Sequence[tuple[str, SceneItem]], val_share: float) -> list[PlacedItem]:
    """Give every (source, item) its place and its split; the order stays.

    Items of one named place, or less than about 2 km apart whatever their sources, are one place. An item that has
    neither place nor footprint is a place of its own, with those whose names differ in a tile's row and column only.
    The split is a hash of the place's name, so that scenes added later move few of the others; where both sides can be
    filled neither stays empty.

    Raises:
        RecordError: the sources put parts of one place on both sides.
    """
    own = [_name(source, item) for source, item in found]
    numbers = {name: number for number, name in enumerate(sorted(set(own)))}
    node = np.array([numbers[name] for name in own], np.int64)
    a, b = _near([item.footprint for _, item in found])
    size = len(numbers)
    graph = coo_array((np.ones(len(a), bool), (node[a], node[b])), shape=(size, size))
    # Components are numbered in the order of their first node, so a place is called after its first name.
    _, component = connected_components(graph, directed=False)
    names: dict[int, str] = {}
    for name, number in numbers.items():
        names.setdefault(int(component[number]), name)
    places = [names[int(component[number])] for number in node]
    splits = _splits(places, [item.split for _, item in found], val_share)
    return [
        PlacedItem(source, item, place, splits[place])
        for (source, item), place in zip(found, places, strict=True)
    ]


def _name(source: str, item: SceneItem) -> str:
    if item.place is not None:
        return f"{source}:{item.place}"
    return f"{source}:{item.id if item.footprint else _TILE.sub('', item.id)}"


def _near(footprints: Sequence[Box | None]) -> tuple[np.ndarray, np.ndarray]:
    """Indices of pairs of footprints that overlap once each has grown by half of the distance."""
    alike: dict[Box, list[int]] = defaultdict(list)
    for number, box in enumerate(footprints):
        if box is not None:
            alike[box].append(number)
    if not alike:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    first = np.array([numbers[0] for numbers in alike.values()])
    owner, grown = [], []
    for number, (west, south, east, north) in enumerate(alike):
        margin = NEAR_KM / 2 / _KM_PER_DEGREE
        wide = margin / max(np.cos(np.radians(max(abs(south), abs(north)))), 0.01)
        east = east + 360 if east < west else east  # across the antimeridian
        for turn in (-360, 0, 360):
            if -180 - wide <= east + wide + turn and west - wide + turn <= 180 + wide:
                owner.append(number)
                grown.append(
                    (west - wide + turn, south - margin, east + wide + turn, north + margin)
                )
    boxes = shapely.box(*np.array(grown).T)
    pairs = first[np.array(owner)[shapely.STRtree(boxes).query(boxes, predicate="intersects")]]
    same = [(numbers[0], other) for numbers in alike.values() for other in numbers[1:]]
    a, b = np.concatenate([pairs, np.array(same, np.int64).reshape(-1, 2).T], axis=1)
    return a, b


def _splits(
    places: Sequence[str], fixed: Sequence[Split | None], val_share: float
) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for place, split in zip(places, fixed, strict=True):
        if split is not None and splits.setdefault(place, split) != split:
            raise RecordError(
                f"place {place!r} holds scenes fixed for train and for val less than {NEAR_KM:g} km apart; "
                "leave one of them out or build them apart"
            )
    free = sorted(set(places) - set(splits), key=_hash)
    splits |= {place: "val" if _hash(place) < val_share else "train" for place in free}
    sides = set(splits.values())
    if len(free) > 1 and val_share > 0 and "val" not in sides:
        splits[free[0]] = "val"
    if free and val_share < 1 and "train" not in sides:
        splits[free[-1]] = "train"
    return splits


def _hash(place: str) -> float:
    """A number of 0-1 that depends on the name alone: another seed moves no place to the other side."""
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:8], "big") / 2**64
