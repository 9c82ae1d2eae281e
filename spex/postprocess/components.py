"""Connected regions of a mask that arrives in strips of rows, so that memory does not grow with the scene.

Each strip is labelled on its own (8-connected); labels that touch across the seam of two strips are joined at the end.
Labelling the same strips again gives the same provisional labels, so a second sweep can look up a pixel's final region.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class RegionTable:
    """Regions of one mask, numbered from 1. ``sums`` holds each quantity added up over the region's pixels."""

    final: NDArray[np.int64]  # provisional label -> region number; 0 stays 0
    sums: Mapping[str, NDArray[np.float64]]  # each (regions,)
    strips: tuple[int, ...]  # rows of each strip that was swept

    @property
    def count(self) -> int:
        """Number of regions."""
        return len(self.sums["pixels"])

    def mean(self, name: str) -> NDArray[np.float64]:
        """Mean of a quantity over each region's finite values, (regions,); NaN where there are none."""
        counted = self.sums.get(f"{name}:n", np.zeros(self.count))
        return np.divide(
            self.sums.get(name, np.nan), counted, out=np.full(self.count, np.nan), where=counted > 0
        )


class RegionSweep:
    """Labels one mask strip by strip, from the top row down."""

    def __init__(self) -> None:
        self._offset = 0
        self._last: NDArray[np.int64] | None = None
        self._edges: list[NDArray[np.int64]] = []
        self._sums: dict[str, list[NDArray[np.float64]]] = {"pixels": []}
        self._strips: list[int] = []

    def add(
        self, mask: NDArray[np.bool_], values: Mapping[str, NDArray[np.floating[Any]]] | None = None
    ) -> NDArray[np.int64]:
        """Label the next strip ``(h, w)``; returns provisional labels, 0 outside the mask.

        ``values`` are maps of the strip to add up per region; ``NAME:n`` counts the finite values, others are left out.
        """
        from scipy import ndimage

        labels, count = ndimage.label(mask, structure=_EIGHT, output=np.int32)
        flat = labels.ravel()
        self._sums["pixels"].append(np.bincount(flat, minlength=count + 1)[1:].astype(np.float64))
        self._strips.append(mask.shape[0])
        inside = np.flatnonzero(flat)
        for name, value in (values or {}).items():
            plane = np.broadcast_to(value, mask.shape).ravel()[inside].astype(np.float64)
            finite = np.isfinite(plane)
            owner = flat[inside]
            if not finite.all():
                plane, owner = plane[finite], owner[finite]
            self._sums.setdefault(name, []).append(
                np.bincount(owner, plane, minlength=count + 1)[1:].astype(np.float64)
            )
            self._sums.setdefault(f"{name}:n", []).append(
                np.bincount(owner, minlength=count + 1)[1:].astype(np.float64)
            )
        provisional = np.where(labels > 0, labels.astype(np.int64) + self._offset, 0)
        if self._last is not None and mask.shape[0]:
            self._join(self._last, provisional[0])
        self._offset += count
        self._last = provisional[-1]
        return provisional

    def _join(self, above: NDArray[np.int64], below: NDArray[np.int64]) -> None:
        for shift in (-1, 0, 1):
            a = above[max(0, -shift) : len(above) - max(0, shift)]
            b = below[max(0, shift) : len(below) + min(0, shift)]
            touching = (a > 0) & (b > 0)
            if touching.any():
                self._edges.append(np.unique(np.stack([a[touching], b[touching]], axis=1), axis=0))

    def finish(self) -> RegionTable:
        """Join what touches across seams and add up each region."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        edges = np.concatenate(self._edges) - 1 if self._edges else np.zeros((0, 2), np.int64)
        graph = coo_matrix(
            (np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])),
            shape=(self._offset, self._offset),
        )
        count, component = (
            connected_components(graph, directed=False)
            if self._offset
            else (0, np.zeros(0, np.int64))
        )
        final = np.concatenate([[0], component.astype(np.int64) + 1])
        sums = {
            name: np.bincount(component, np.concatenate(parts), minlength=count).astype(np.float64)
            for name, parts in self._sums.items()
        }
        return RegionTable(final, sums, tuple(self._strips))
