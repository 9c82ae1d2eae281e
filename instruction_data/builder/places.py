"""Places of a build: scenes that overlap or lie close together, on one side of the split."""

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
# Row and column (or year and month) at the end of a name.
_TILE_SUFFIX = re.compile(r"([_-][a-zA-Z]{0,3}\d+){2}$")


@dataclass(frozen=True)
class PlacedItem:
    """A scene item with the name of its source, its place and its side of the split."""

    source: str
    item: SceneItem
    place: str
    split: Split


def place_items(items: Sequence[tuple[str, SceneItem]], val_share: float) -> list[PlacedItem]:
    """Assign every (source, item) a place and a split; the order stays.

    Items with the same named place, or less than about 2 km apart whatever their sources, are one
    place. An item with neither place nor footprint shares a place with items whose names differ
    only in the row and column of a tile. The split is a hash of the place's name, so that scenes
    added later move few of the others. Where both sides can be filled, neither stays empty.

    Args:
        items: pairs of source name and item.
        val_share: fraction of the places for validation (0-1).

    Raises:
        RecordError: the sources fix parts of one place on both sides.
    """
    item_names = [_place_name(source, item) for source, item in items]
    numbers = {name: number for number, name in enumerate(sorted(set(item_names)))}
    nodes = np.array([numbers[name] for name in item_names], np.int64)
    first, second = _close_pairs([item.footprint for _, item in items])
    size = len(numbers)
    edges = (np.ones(len(first), bool), (nodes[first], nodes[second]))
    graph = coo_array(edges, shape=(size, size))
    # Components are numbered in order of their first node: a place has the first of its names.
    _, components = connected_components(graph, directed=False)
    place_by_component: dict[int, str] = {}
    for name, number in numbers.items():
        place_by_component.setdefault(int(components[number]), name)
    places = [place_by_component[int(components[node])] for node in nodes]
    splits = _assign_splits(places, [item.split for _, item in items], val_share)
    return [
        PlacedItem(source, item, place, splits[place])
        for (source, item), place in zip(items, places, strict=True)
    ]


def _place_name(source: str, item: SceneItem) -> str:
    if item.place is not None:
        return f"{source}:{item.place}"
    return f"{source}:{item.id if item.footprint else _TILE_SUFFIX.sub('', item.id)}"


def _close_pairs(footprints: Sequence[Box | None]) -> tuple[np.ndarray, np.ndarray]:
    """Indices of pairs of footprints that overlap once each is grown by half of the distance."""
    indices_by_box: dict[Box, list[int]] = defaultdict(list)
    for index, box in enumerate(footprints):
        if box is not None:
            indices_by_box[box].append(index)
    if not indices_by_box:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    owners: list[int] = []
    grown_boxes: list[Box] = []
    for box, indices in indices_by_box.items():
        for grown in _grow(box):
            owners.append(indices[0])
            grown_boxes.append(grown)
    boxes = shapely.box(*np.array(grown_boxes).T)
    overlapping = np.array(owners)[shapely.STRtree(boxes).query(boxes, predicate="intersects")]
    identical: list[tuple[int, int]] = []
    for indices in indices_by_box.values():
        identical += [(indices[0], other) for other in indices[1:]]
    identical_pairs = np.array(identical, np.int64).reshape(-1, 2).T
    first, second = np.concatenate([overlapping, identical_pairs], axis=1)
    return first, second


def _grow(box: Box) -> list[Box]:
    """A box in degrees grown by half of the distance, also shifted across the antimeridian."""
    west, south, east, north = box
    margin = NEAR_KM / 2 / _KM_PER_DEGREE
    cosine = np.cos(np.radians(max(abs(south), abs(north))))
    margin_east = margin / max(cosine, 0.01)
    if east < west:  # across the antimeridian
        east += 360
    grown: list[Box] = []
    for shift in (-360, 0, 360):
        grown_west = west - margin_east + shift
        grown_east = east + margin_east + shift
        if grown_east >= -180 - margin_east and grown_west <= 180 + margin_east:
            grown.append((grown_west, south - margin, grown_east, north + margin))
    return grown


def _assign_splits(
    places: Sequence[str], fixed: Sequence[Split | None], val_share: float
) -> dict[str, Split]:
    """The split of every place.

    Args:
        places: place of every item.
        fixed: split of every item as its source fixes it.
        val_share: fraction of the places for validation.
    """
    splits: dict[str, Split] = {}
    for place, split in zip(places, fixed, strict=True):
        if split is not None and splits.setdefault(place, split) != split:
            raise RecordError(
                f"place {place!r} has scenes fixed for train and for val less than {NEAR_KM:g} km "
                "apart; leave one of them out, or build them separately"
            )
    free = sorted(set(places) - set(splits), key=_hash_fraction)
    for place in free:
        splits[place] = "val" if _hash_fraction(place) < val_share else "train"
    sides = set(splits.values())
    if len(free) > 1 and val_share > 0 and "val" not in sides:
        splits[free[0]] = "val"
    if free and val_share < 1 and "train" not in sides:
        splits[free[-1]] = "train"
    return splits


def _hash_fraction(place: str) -> float:
    """A number from 0 to 1 that depends on the name alone: no seed changes the split."""
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:8], "big") / 2**64
