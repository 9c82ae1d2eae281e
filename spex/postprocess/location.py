"""Where pixels lie in a scene, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRID = 6
"""Cells a side: thirds and halves of the extent both follow from it."""


def location_of(cells: NDArray[np.float64]) -> str:
    """The part of the extent that holds most of some pixels.

    It is the ninth of the extent that holds half of them, else the half that holds two thirds of
    them, else all parts.

    Args:
        cells: pixels in each cell of the extent, row by row, ``(GRID ** 2,)``.
    """
    if not cells.any():
        return "nowhere"
    grid = cells.reshape(GRID, GRID) / cells.sum()
    ninths = grid.reshape(3, GRID // 3, 3, GRID // 3).sum(axis=(1, 3))
    if ninths.max() >= 0.5:
        row, column = np.unravel_index(ninths.argmax(), ninths.shape)
        return (("north", "", "south")[row] + ("west", "", "east")[column]) or "center"
    half = GRID // 2
    shares = {
        "north": grid[:half].sum(),
        "south": grid[half:].sum(),
        "west": grid[:, :half].sum(),
        "east": grid[:, half:].sum(),
    }
    side = max(shares, key=lambda name: shares[name])
    return side if shares[side] >= 2 / 3 else "all parts of the scene"
