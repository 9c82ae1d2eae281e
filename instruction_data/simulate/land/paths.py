"""Least-cost paths on a coarse grid: how water drains, roads run and a fire spreads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from instruction_data.simulate.land.noise import Plane

_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
_NO_PREDECESSOR = -9999  # as scipy marks it


@dataclass(frozen=True)
class LeastCostTree:
    """Cheapest paths from some start cells to every cell of a grid of m x m cells.

    Attributes:
        cost: (m * m,) cost of reaching every cell.
        predecessor: (m * m,) the cell before it on its path; negative at a start.
        order: (m * m,) cells by rising cost.
    """

    cost: NDArray[np.float64]
    predecessor: NDArray[np.intp]
    order: NDArray[np.intp]


@lru_cache(maxsize=8)
def _edges(side: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Both directions of every edge between neighbouring cells: from, to, length in cells."""
    cells = np.arange(side * side).reshape(side, side)
    sources = []
    targets = []
    lengths = []
    for down, right in _NEIGHBOURS:
        first = cells[: side - down, max(0, -right) : side - max(0, right)].ravel()
        second = cells[down:, max(0, right) : side + min(0, right)].ravel()
        sources += [first, second]
        targets += [second, first]
        lengths.append(np.full(2 * first.size, np.hypot(down, right), np.float32))
    return np.concatenate(sources), np.concatenate(targets), np.concatenate(lengths)


def least_cost_tree(
    cell_cost: Plane,
    starts: ArrayLike,
    *,
    wind: tuple[float, float] = (0, 0),
    start_delay: float = 0.0,
) -> LeastCostTree:
    """Find the cheapest path from the nearest start to every cell.

    Args:
        cell_cost: (m, m) cost of crossing a cell, above 0.
        starts: flat numbers of the start cells.
        wind: (rows, columns) of length under 1; steps along it cost less.
        start_delay: share of a start's own cost that it pays at the beginning.
    """
    side = len(cell_cost)
    sources, targets, lengths = _edges(side)
    costs = cell_cost.ravel()
    starts = np.atleast_1d(np.asarray(starts))
    weights = lengths * (costs[sources] + costs[targets]) / 2
    if wind != (0, 0):
        down = targets // side - sources // side
        right = targets % side - sources % side
        weights = weights * (1 - (wind[0] * down + wind[1] * right) / lengths)
    root = side * side  # one more node, from which all starts are reached
    rows = np.concatenate([sources, np.full(starts.size, root)])
    columns = np.concatenate([targets, starts])
    weights = np.concatenate([weights, 1e-6 + start_delay * costs[starts]])
    graph = csr_matrix((weights, (rows, columns)), shape=(root + 1,) * 2)
    reached, predecessor = dijkstra(graph, indices=root, return_predecessors=True)
    predecessor = predecessor[:-1].astype(np.intp)
    predecessor[predecessor == root] = _NO_PREDECESSOR
    return LeastCostTree(reached[:-1], predecessor, np.argsort(reached[:-1], kind="stable"))


def accumulate_flow(tree: LeastCostTree, runoff: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the ``runoff`` (m * m,) of every cell and of all cells whose paths pass through it."""
    totals = runoff.tolist()
    predecessor = tree.predecessor.tolist()
    for cell in tree.order[::-1].tolist():
        if predecessor[cell] >= 0:
            totals[predecessor[cell]] += totals[cell]
    return np.array(totals)


def trace_path(tree: LeastCostTree, end: int) -> list[int]:
    """The cells from ``end`` back to its start."""
    cells = [end]
    while tree.predecessor[cells[-1]] >= 0:
        cells.append(int(tree.predecessor[cells[-1]]))
    return cells
