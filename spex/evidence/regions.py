"""Connected regions of a mask and their attributes: size, centroid, place in words, oriented box, index means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import shapely

Array = np.ndarray[Any, Any]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_PLACES = (("northwest", "north", "northeast"), ("west", "center", "east"), ("southwest", "south", "southeast"))


@dataclass(frozen=True)
class Region:
    """One 8-connected region.

    ``centroid`` is (x, y) and ``box`` the four corners of the smallest enclosing rectangle, both in shares of the
    scene's width and height from its upper left corner. ``area_m2`` is None where pixels have no known size. ``stats``
    holds the means of the index maps.
    """

    label: int
    pixels: int
    area_m2: float | None
    centroid: tuple[float, float]
    location: str
    box: tuple[tuple[float, float], ...]
    stats: Mapping[str, float] = field(default_factory=dict)


def location_word(x: float, y: float) -> str:
    """The ninth of the scene, in words, in which a point of 0-1 coordinates lies."""
    return _PLACES[min(int(y * 3), 2)][min(int(x * 3), 2)]


def main_location(mask: Mask) -> str:
    """Where most of a mask lies: a place word, or "everywhere" if no ninth of the scene holds a quarter of it."""
    rows, cols = (np.linspace(0, size, 4).astype(int) for size in mask.shape)
    shares = np.array([[mask[r0:r1, c0:c1].sum() for c0, c1 in pairwise(cols)] for r0, r1 in pairwise(rows)])
    total = shares.sum()
    if not total or shares.max() < 0.25 * total:
        return "everywhere"
    row, col = np.unravel_index(int(shares.argmax()), shares.shape)
    return _PLACES[int(row)][int(col)]


def label_regions(mask: Mask) -> tuple[np.ndarray[Any, np.dtype[np.int32]], int]:
    """Number the 8-connected regions of a mask ``(h, w)``: labels 1..n (0 outside) and n."""
    from scipy import ndimage

    labels = np.empty(mask.shape, np.int32)
    count = ndimage.label(mask, structure=np.ones((3, 3), np.int8), output=labels)
    return labels, int(count)


@dataclass(frozen=True)
class _Runs:
    """Horizontal runs of a label image: row, first column, column after the last, label."""

    row: Array
    start: Array
    stop: Array
    label: Array

    def of(self, chosen: Array) -> _Runs:
        return _Runs(self.row[chosen], self.start[chosen], self.stop[chosen], self.label[chosen])


def _runs(labels: Array) -> _Runs:
    # Regions that touch are one region, so within a row a run ends only where the mask does.
    inside = np.zeros((labels.shape[0], labels.shape[1] + 2), np.int8)
    np.greater(labels, 0, out=inside[:, 1:-1], casting="unsafe")
    edges = np.diff(inside, axis=1)
    row, start = np.nonzero(edges == 1)
    stop = np.nonzero(edges == -1)[1]
    return _Runs(row, start, stop, labels[row, start])


def _boxes(runs: _Runs, order: Array, shape: tuple[int, int]) -> Array:
    """Corners ``(n, 4, 2)`` of the smallest rectangles around the regions of the labels ``order``, in that order."""
    position = np.full(int(order.max()) + 1, -1)
    position[order] = np.arange(len(order))
    runs = runs.of(np.argsort(position[runs.label], kind="stable"))
    x = np.stack([runs.start, runs.stop, runs.start, runs.stop], axis=1).ravel()
    y = np.stack([runs.row, runs.row, runs.row + 1, runs.row + 1], axis=1).ravel()
    # One line through all corners of a region's runs: the same hull as their points, and far cheaper to build.
    lines = shapely.linestrings(np.column_stack([x, y]).astype(float), indices=np.repeat(position[runs.label], 4))
    corners: Array = shapely.get_coordinates(shapely.oriented_envelope(lines)).reshape(len(order), 5, 2)[:, :4]
    height, width = shape
    return corners / (width, height)


def regions(
    mask: Mask,
    *,
    area_m2: Array | float | None = None,
    planes: Mapping[str, Array] | None = None,
    limit: int | None = None,
    labelled: tuple[Array, int] | None = None,
) -> list[Region]:
    """The 8-connected regions of a mask, largest first.

    Args:
        mask: ``(h, w)`` bool.
        area_m2: area of a pixel, one number or one per row ``(h,)``; None gives regions without an area.
        planes: index maps ``(h, w)`` by name whose means inside each region are wanted; NaN is left out of a mean.
        limit: attributes are worked out for this many of the largest regions only; None for all.
        labelled: what ``label_regions(mask)`` gave, if it is at hand.
    """
    labels, count = labelled if labelled is not None else label_regions(mask)
    if not count:
        return []
    runs = _runs(labels)
    length = runs.stop - runs.start
    pixels = np.bincount(runs.label, length, count + 1).astype(np.int64)
    order = np.argsort(-pixels[1:], kind="stable")[:limit] + 1
    if len(order) < count:
        keep = np.zeros(count + 1, bool)
        keep[order] = True
        runs = runs.of(keep[runs.label])
        length = runs.stop - runs.start
    sum_x = np.bincount(runs.label, length * (runs.start + runs.stop) / 2, count + 1)[order]
    sum_y = np.bincount(runs.label, length * (runs.row + 0.5), count + 1)[order]
    size = pixels[order]
    height, width = mask.shape
    x, y = sum_x / size / width, sum_y / size / height
    areas: list[float | None] = [None] * len(order)
    if area_m2 is not None:
        per_row = np.broadcast_to(np.asarray(area_m2, np.float64), (height,))
        areas = np.bincount(runs.label, length * per_row[runs.row], count + 1)[order].tolist()
    means = {name: _run_means(plane, runs, count)[order].tolist() for name, plane in (planes or {}).items()}
    boxes = _boxes(runs, order, (height, width)).tolist()
    return [
        Region(
            label=int(label),
            pixels=int(size[i]),
            area_m2=areas[i],
            centroid=(float(x[i]), float(y[i])),
            location=location_word(x[i], y[i]),
            box=tuple((float(cx), float(cy)) for cx, cy in boxes[i]),
            stats={name: values[i] for name, values in means.items()},
        )
        for i, label in enumerate(order)
    ]


def _run_means(plane: Array, runs: _Runs, count: int) -> Array:
    """Mean of a plane over each label ``(count + 1,)``, NaN pixels left out."""
    width = plane.shape[1]
    bounds = np.stack([runs.row * width + runs.start, runs.row * width + runs.stop], axis=1).ravel()
    defined = np.isfinite(plane)

    def total(values: Array) -> Array:
        flat = np.append(values.ravel(), 0)  # a run may end at the last pixel
        sums: Array = np.bincount(runs.label, np.add.reduceat(flat, bounds)[::2], count + 1)
        return sums

    with np.errstate(invalid="ignore"):
        means: Array = total(np.where(defined, plane, 0).astype(np.float64)) / total(defined.astype(np.int64))
    return means
