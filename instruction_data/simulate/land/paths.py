"""Least-cost spreading on a coarse grid: how water drains, where roads run and how far a fire comes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from instruction_data.simulate.land.noise import Plane

_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class Spread:
    """Cost (m * m,) of reaching every cell, the cell before it on the way (-9999 at the start), and cells by cost."""

    cost: NDArray[np.float64]
    before: NDArray[np.intp]
    order: NDArray[np.intp]


@lru_cache(maxsize=8)
def _edges(side: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    cells = np.arange(side * side).reshape(side, side)
    one, two, length = [], [], []
    for down, right in _STEPS:
        a = cells[: side - down, max(0, -right) : side - max(0, right)].ravel()
        b = cells[down:, max(0, right) : side + min(0, right)].ravel()
        one += [a, b]
        two += [b, a]
        length.append(np.full(2 * a.size, np.hypot(down, right), np.float32))
    return np.concatenate(one), np.concatenate(two), np.concatenate(length)


def spread(
    cost: Plane,
    starts: ArrayLike,
    *,
    drift: tuple[float, float] = (0, 0),
    delay: float = 0.0,
) -> Spread:
    """Spread from the cells ``starts`` (flat numbers) over a grid of costs per cell (m, m).

    Args:
        cost: per cell, positive.
        starts: where it begins.
        drift: wind (rows, columns), length under 1: steps with it cost less.
        delay: share of ``cost`` that a start pays before it sets out.
    """
    side = len(cost)
    one, two, length = _edges(side)
    flat, starts = cost.ravel(), np.atleast_1d(np.asarray(starts))
    weight = length * (flat[one] + flat[two]) / 2
    if drift != (0, 0):
        weight = weight * (
            1
            - (drift[0] * (two // side - one // side) + drift[1] * (two % side - one % side))
            / length
        )
    source = side * side
    ones = np.concatenate([one, np.full(starts.size, source)])
    twos = np.concatenate([two, starts])
    graph = csr_matrix(
        (np.concatenate([weight, 1e-6 + delay * flat[starts]]), (ones, twos)),
        shape=(source + 1,) * 2,
    )
    reached, before = dijkstra(graph, indices=source, return_predecessors=True)
    before = before[:-1].astype(np.intp)
    before[before == source] = -9999
    return Spread(reached[:-1], before, np.argsort(reached[:-1], kind="stable"))


def upstream(tree: Spread, own: NDArray[np.float64]) -> NDArray[np.float64]:
    """What gathers in every cell when each gives its ``own`` (m * m,) to the cell before it."""
    total, before = own.tolist(), tree.before.tolist()
    for cell in tree.order[::-1].tolist():
        if before[cell] >= 0:
            total[before[cell]] += total[cell]
    return np.array(total)


def way(tree: Spread, end: int) -> list[int]:
    """The cells from ``end`` back to where the spread began."""
    cells = [end]
    while tree.before[cells[-1]] >= 0:
        cells.append(int(tree.before[cells[-1]]))
    return cells
