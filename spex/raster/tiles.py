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


@dataclass(frozen=True)
class FailedTile:
    """A tile that could not be computed, twice, and why; its pixels are nodata unless a neighbour covers them."""

    row: int
    col: int
    height: int
    width: int
    error: Exception

    @property
    def reason(self) -> str:
        """Kind and message of the error."""
        return f"{type(self.error).__name__}: {self.error}"


def plan_tiles(height: int, width: int, tile: int, overlap: int) -> list[Tile]:
    """Tiles of at most ``tile`` pixels a side that cover a scene exactly; neighbours share at least ``overlap`` pixels.

    Positions are spread evenly, so that no tile is a sliver; a scene no larger than a tile is one tile. Row by row.

    Raises:
        ValueError: ``overlap`` is negative or more than half of ``tile``.
    """
    if not 0 <= overlap <= tile // 2:
        raise ValueError(
            f"overlap is {overlap} pixels; it must lie between 0 and half of the tile's {tile}"
        )
    rows, cols = _starts(height, tile, overlap), _starts(width, tile, overlap)
    return [Tile(row, col, min(tile, height), min(tile, width)) for row in rows for col in cols]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    if length <= tile:
        return [0]
    steps = math.ceil((length - tile) / (tile - overlap))
    return [(length - tile) * i // steps for i in range(steps + 1)]


def blend_weight(tile: Tile, scene_shape: tuple[int, int], overlap: int) -> npt.NDArray[np.float32]:
    """The weight of each pixel of a tile of ``plan_tiles`` (h, w): 1 inside and at the scene's edge, else linear ramps.

    The weights of all tiles over one pixel sum to 1. Each ramp is ``overlap`` wide, in the middle of what two
    tiles share.
    """
    rows = _profile(tile.row, tile.height, scene_shape[0], overlap)
    cols = _profile(tile.col, tile.width, scene_shape[1], overlap)
    return (rows[:, None] * cols).astype(np.float32)


def _profile(start: int, size: int, length: int, overlap: int) -> npt.NDArray[np.float64]:
    starts = _starts(length, size, overlap)
    here = starts.index(start)
    centres = np.arange(start, start + size) + 0.5

    def passed(left: int) -> npt.NDArray[np.float64]:
        """How far each pixel lies past the border between tile ``left`` and the next, from 0 to 1."""
        border = (starts[left] + size + starts[left + 1]) / 2
        if overlap == 0:
            return (centres >= border).astype(np.float64)
        return np.clip((centres - border) / overlap + 0.5, 0.0, 1.0)

    # Each border adds to one tile what it takes from the other, so that the sum is 1 however many tiles meet.
    entered = passed(here - 1) if here > 0 else np.ones(size)
    left = passed(here) if here + 1 < len(starts) else np.zeros(size)
    return entered - left
