"""Connected regions of a mask that arrives in strips, so that memory does not grow with the scene.

Each strip is labelled on its own (8-connected). Labels that touch across the seam of two strips are
joined at the end. Labelling the same strips again gives the same provisional labels, so a second
sweep can look up the region of a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class RegionTable:
    """Regions of one mask, numbered from 1.

    Attributes:
        final: region of each provisional label, ``(labels + 1,)``; 0 stays 0.
        sums: each quantity summed over the pixels of a region, ``(regions,)``.
        strips: rows of each strip that was swept.
    """

    final: NDArray[np.int64]
    sums: Mapping[str, NDArray[np.float64]]
    strips: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of regions."""
        return len(self.sums["pixels"])

    def mean(self, name: str) -> NDArray[np.float64]:
        """Mean of the finite values of a quantity, ``(regions,)``; NaN where there are none."""
        counts = self.sums.get(f"{name}:n", np.zeros(self.count))
        totals = self.sums.get(name, np.nan)
        return np.divide(totals, counts, out=np.full(self.count, np.nan), where=counts > 0)


class RegionSweep:
    """Labels one mask strip by strip, from the top row down."""

    def __init__(self) -> None:
        self._labels_so_far = 0
        self._last_row: NDArray[np.int64] | None = None
        self._edges: list[NDArray[np.int64]] = []  # pairs of labels that touch across a seam
        self._sums: dict[str, list[NDArray[np.float64]]] = {"pixels": []}
        self._strips: list[int] = []

    def add(
        self, mask: NDArray[np.bool_], values: Mapping[str, NDArray[np.floating[Any]]] | None = None
    ) -> NDArray[np.int64]:
        """Label the next strip.

        Args:
            mask: the strip, ``(h, w)``.
            values: maps of the strip to sum per region, each broadcast to ``(h, w)``. ``NAME:n``
                counts the finite values; the others are left out.

        Returns:
            Provisional labels ``(h, w)``, 0 outside the mask.
        """
        from scipy import ndimage

        labels, count = ndimage.label(mask, structure=_EIGHT_CONNECTED, output=np.int32)
        flat = labels.ravel()
        self._append("pixels", flat, None, count)
        self._strips.append(mask.shape[0])
        inside = np.flatnonzero(flat)
        for name, value in (values or {}).items():
            plane = np.broadcast_to(value, mask.shape).ravel()[inside].astype(np.float64)
            owner = flat[inside]
            finite = np.isfinite(plane)
            if not finite.all():
                plane = plane[finite]
                owner = owner[finite]
            self._append(name, owner, plane, count)
            self._append(f"{name}:n", owner, None, count)
        provisional = np.where(labels > 0, labels.astype(np.int64) + self._labels_so_far, 0)
        if self._last_row is not None and mask.shape[0]:
            self._join(self._last_row, provisional[0])
        self._labels_so_far += count
        self._last_row = provisional[-1]
        return provisional

    def _append(
        self,
        name: str,
        owner: NDArray[np.int32],
        weights: NDArray[np.float64] | None,
        count: int,
    ) -> None:
        """Keep a sum per label of this strip; without weights, the number of pixels."""
        per_label = np.bincount(owner, weights, minlength=count + 1)[1:].astype(np.float64)
        self._sums.setdefault(name, []).append(per_label)

    def _join(self, above: NDArray[np.int64], below: NDArray[np.int64]) -> None:
        for shift in (-1, 0, 1):
            upper = above[max(0, -shift) : len(above) - max(0, shift)]
            lower = below[max(0, shift) : len(below) + min(0, shift)]
            touching = (upper > 0) & (lower > 0)
            if touching.any():
                pairs = np.stack([upper[touching], lower[touching]], axis=1)
                self._edges.append(np.unique(pairs, axis=0))

    def finish(self) -> RegionTable:
        """Join the labels that touch across seams, and sum each region."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        count = 0
        component = np.zeros(0, np.int64)
        if self._labels_so_far:
            edges = np.concatenate([np.zeros((0, 2), np.int64), *self._edges]) - 1
            ones = np.ones(len(edges), np.int8)
            shape = (self._labels_so_far, self._labels_so_far)
            graph = coo_matrix((ones, (edges[:, 0], edges[:, 1])), shape=shape)
            count, component = connected_components(graph, directed=False)
        final = np.concatenate([[0], component.astype(np.int64) + 1])
        sums = {
            name: np.bincount(component, np.concatenate(parts), minlength=count).astype(np.float64)
            for name, parts in self._sums.items()
        }
        return RegionTable(final, sums, tuple(self._strips))
