"""Tiles over a scene and the weights that blend their predictions without a seam."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Tile:
    """A rectangle of a scene in pixels."""

    row: int
    col: int
    height: int
    width: int


def plan_tiles(height: int, width: int, tile: int, overlap: int) -> list[Tile]:
    """Tiles of at most ``tile`` pixels a side that cover a scene exactly, neighbours sharing at least ``overlap`` pixels.

    Positions are spread evenly, so that no tile is a sliver; a scene no larger than a tile is one tile. Row by row.

    Raises:
        ValueError: ``overlap`` is negative or more than half of ``tile``.
    """
    if not 0 <= overlap <= tile // 2:
        raise ValueError(f"overlap is {overlap} pixels; it must lie between 0 and half of the tile's {tile}")
    rows, cols = _starts(height, tile, overlap), _starts(width, tile, overlap)
    return [Tile(row, col, min(tile, height), min(tile, width)) for row in rows for col in cols]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    if length <= tile:
        return [0]
    steps = math.ceil((length - tile) / (tile - overlap))
    return [(length - tile) * i // steps for i in range(steps + 1)]
