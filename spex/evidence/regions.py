"""Connected regions of a mask: size, centroid, location in words, oriented box, index means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import shapely

Array = np.ndarray[Any, Any]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_BLOCK = 1 << 17  # pixels worked on at once, few enough to stay in the processor's cache
_PLACES = (
    ("northwest", "north", "northeast"),
    ("west", "center", "east"),
    ("southwest", "south", "southeast"),
)


@dataclass(frozen=True)
class Region:
    """One 8-connected region.

    ``centroid`` is (x, y) and ``box`` the four corners of the smallest enclosing rectangle, both in
    shares of the scene's width and height from its upper left corner. ``area_m2`` is None where
    pixels have no known size. ``stats`` holds the means of the index maps.
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
    """Where most of a mask lies, in words.

    It is "everywhere" if no ninth of the scene holds a quarter of the mask.
    """
    rows, cols = (np.linspace(0, size, 4).astype(int) for size in mask.shape)
    pixels = np.zeros((3, 3), np.int64)
    for row in range(3):
        for col in range(3):
            ninth = mask[rows[row] : rows[row + 1], cols[col] : cols[col + 1]]
            pixels[row, col] = ninth.sum()
    total = pixels.sum()
    if not total or pixels.max() < 0.25 * total:
        return "everywhere"
    row, col = divmod(int(pixels.argmax()), 3)
    return _PLACES[row][col]


@dataclass(frozen=True)
class Runs:
    """A mask as horizontal runs of pixels in raster order.

    Attributes:
        shape: rows and columns of the mask.
        count: number of 8-connected regions, which are labelled 1..``count`` by their first pixels.
        row: of each run.
        start: first column of each run.
        stop: column after the last of each run.
        label: of the region of each run.
    """

    shape: tuple[int, int]
    count: int
    row: Array
    start: Array
    stop: Array
    label: Array

    def sizes(self) -> Array:
        """Pixels of every region, ``(count + 1,)``; the first is no region."""
        return np.bincount(self.label, self.stop - self.start, self.count + 1).astype(np.int64)

    def of(self, chosen: Array) -> Runs:
        """The runs at some positions."""
        return replace(
            self,
            row=self.row[chosen],
            start=self.start[chosen],
            stop=self.stop[chosen],
            label=self.label[chosen],
        )

    def labels(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """The label of every pixel, ``(h, w)``, 0 outside."""
        start = self.row * self.shape[1] + self.start
        stop = self.row * self.shape[1] + self.stop
        borders = np.stack([start, stop], axis=1).ravel()
        lengths = np.diff(borders, prepend=0, append=self.shape[0] * self.shape[1])
        values = np.zeros(len(lengths), np.int32)
        values[1::2] = self.label
        return np.repeat(values, lengths).reshape(self.shape)


def label_runs(mask: Mask) -> Runs:
    """The runs of a mask ``(h, w)``, labelled by 8-connected region.

    Runs are far fewer than pixels, of which each is only compared with its neighbour.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    height, width = mask.shape
    line = width + 1  # an empty column on the right separates the runs of two rows
    rows = max(1, _BLOCK // line)
    framed = np.zeros((rows, width + 2), bool)
    block_edges = []
    for first in range(0, height, rows):
        part = framed[: min(rows, height - first)]
        part[:, 1:-1] = mask[first : first + rows]
        block_edges.append(np.flatnonzero(part[:, 1:] != part[:, :-1]) + first * line)
    edges = np.concatenate(block_edges) if block_edges else np.empty(0, np.int64)
    start = edges[::2]
    stop = edges[1::2]
    # The runs of the row above that touch a run, if only by a corner, follow one another.
    above = np.searchsorted(stop, start - line, "left")
    touching = np.maximum(np.searchsorted(start, stop - line, "right") - above, 0)
    ends = np.concatenate([[0], np.cumsum(touching)])
    neighbours = np.arange(ends[-1]) + np.repeat(above - ends[:-1], touching)
    data = np.ones(len(neighbours))
    graph = csr_array(
        (data, neighbours.astype(np.int32), ends.astype(np.int32)), shape=(len(start), len(start))
    )
    count, label = connected_components(graph, directed=False)
    row = start // line
    return Runs(
        (height, width),
        int(count),
        row,
        start - row * line,
        stop - row * line,
        label.astype(np.int64) + 1,
    )


def label_regions(mask: Mask) -> tuple[np.ndarray[Any, np.dtype[np.int32]], int]:
    """Number the 8-connected regions of a mask ``(h, w)``: labels 1..n (0 outside) and n."""
    runs = label_runs(mask)
    return runs.labels(), runs.count


def _boxes(runs: Runs, order: Array, shape: tuple[int, int]) -> Array:
    """Corners ``(n, 4, 2)`` of the smallest rectangles around regions, in shares of the scene.

    Args:
        runs: of the regions.
        order: labels of the regions, in the order of the result.
        shape: rows and columns of the scene.
    """
    position = np.full(int(order.max()) + 1, -1)
    position[order] = np.arange(len(order))
    runs = runs.of(np.argsort(position[runs.label], kind="stable"))
    x = np.stack([runs.start, runs.stop, runs.start, runs.stop], axis=1).ravel()
    y = np.stack([runs.row, runs.row, runs.row + 1, runs.row + 1], axis=1).ravel()
    # One line through all corners of a region's runs: the same hull as their points, and far
    # cheaper to build.
    lines = shapely.linestrings(
        np.column_stack([x, y]).astype(float), indices=np.repeat(position[runs.label], 4)
    )
    corners: Array = shapely.get_coordinates(shapely.oriented_envelope(lines)).reshape(
        len(order), 5, 2
    )[:, :4]
    height, width = shape
    return corners / (width, height)


def regions(
    mask: Mask,
    *,
    area_m2: Array | float | None = None,
    planes: Mapping[str, Array] | None = None,
    limit: int | None = None,
    runs: Runs | None = None,
) -> list[Region]:
    """The 8-connected regions of a mask, largest first.

    Args:
        mask: ``(h, w)`` bool.
        area_m2: area of a pixel, one number or one per row ``(h,)``; None gives regions without an
            area.
        planes: index maps ``(h, w)`` by name whose means inside each region are wanted; NaN is left
            out of a mean.
        limit: only this many of the largest regions are measured; None for all.
        runs: those of ``label_runs(mask)``, if they are computed already.
    """
    runs = label_runs(mask) if runs is None else runs
    count = runs.count
    if not count:
        return []
    pixels = runs.sizes()
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
    x = sum_x / size / width
    y = sum_y / size / height
    areas: list[float | None] = [None] * len(order)
    if area_m2 is not None:
        per_row = np.broadcast_to(np.asarray(area_m2, np.float64), (height,))
        areas = np.bincount(runs.label, length * per_row[runs.row], count + 1)[order].tolist()
    means = {
        name: _run_means(plane, runs)[order].tolist() for name, plane in (planes or {}).items()
    }
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


def _run_means(plane: Array, runs: Runs) -> Array:
    """Mean of a plane over each label ``(count + 1,)``, NaN pixels left out."""
    height, width = runs.shape
    sums = np.zeros(len(runs.row))
    defined = (runs.stop - runs.start).astype(np.float64)
    rows = max(1, _BLOCK // width)
    borders = np.searchsorted(runs.row, np.arange(0, height + rows, rows))
    for first, (begin, end) in zip(range(0, height, rows), pairwise(borders), strict=True):
        if begin == end:
            continue
        block = slice(begin, end)
        offset = (runs.row[block] - first) * width
        bounds = np.stack([offset + runs.start[block], offset + runs.stop[block]], axis=1).ravel()
        # A run may end at the last pixel, so that one more value is needed.
        values = np.append(plane[first : first + rows].ravel().astype(np.float64), 0)
        finite = np.isfinite(values)
        if not finite.all():
            values[~finite] = 0
            defined[block] = np.add.reduceat(finite, bounds, dtype=np.int64)[::2]
        sums[block] = np.add.reduceat(values, bounds)[::2]
    with np.errstate(invalid="ignore"):
        means: Array = np.bincount(runs.label, sums, runs.count + 1) / np.bincount(
            runs.label, defined, runs.count + 1
        )
    return means
