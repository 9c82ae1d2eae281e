"""Tiles over a scene and the weights that blend their predictions without a seam."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Tile:
    """A rectangle of a scene in pixels; ``row`` and ``col`` are those of its upper left pixel."""

    row: int
    col: int
    height: int
    width: int


@dataclass(frozen=True)
class FailedTile:
    """A tile that could not be computed at the second try either.

    Its pixels are nodata unless a neighbour covers them.
    """

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
    """Tiles that cover a scene exactly, row by row.

    They are spread evenly, so that no tile is a sliver. A scene no larger than a tile is one tile.

    Args:
        height: rows of the scene.
        width: columns of the scene.
        tile: pixels a side at most.
        overlap: pixels that neighbours share at least.

    Raises:
        ValueError: ``overlap`` is negative or more than half of ``tile``.
    """
    if not 0 <= overlap <= tile // 2:
        raise ValueError(
            f"overlap is {overlap} pixels; it must lie between 0 and {tile // 2}, half of a tile"
        )
    cols = _starts(width, tile, overlap)
    tiles = []
    for row in _starts(height, tile, overlap):
        tiles += [Tile(row, col, min(tile, height), min(tile, width)) for col in cols]
    return tiles


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """First rows or columns of the tiles along one axis."""
    if length <= tile:
        return [0]
    steps = math.ceil((length - tile) / (tile - overlap))
    return [(length - tile) * step // steps for step in range(steps + 1)]


def blend_weight(tile: Tile, scene_shape: tuple[int, int], overlap: int) -> npt.NDArray[np.float32]:
    """The weight of each pixel of a tile when predictions of tiles are blended.

    It is 1 inside and at the scene's edge, and falls linearly where tiles overlap.
    The weights of all tiles over one pixel sum to 1. Each ramp lies in the middle of what two tiles
    share.

    Args:
        tile: one of the tiles of ``plan_tiles``.
        scene_shape: rows and columns of the scene.
        overlap: width of a ramp in pixels, as given to ``plan_tiles``.

    Returns:
        (h, w), 0-1.
    """
    rows = _ramps(tile.row, tile.height, scene_shape[0], overlap)
    cols = _ramps(tile.col, tile.width, scene_shape[1], overlap)
    return (rows[:, None] * cols).astype(np.float32)


def _ramps(start: int, size: int, length: int, overlap: int) -> npt.NDArray[np.float64]:
    """The weights along one axis (size,)."""
    starts = _starts(length, size, overlap)
    number = starts.index(start)
    centres = np.arange(start, start + size) + 0.5

    def share_past_border(left: int) -> npt.NDArray[np.float64]:
        """How far, 0-1, each pixel lies past the border of tile ``left`` and the next."""
        border = (starts[left] + size + starts[left + 1]) / 2
        if overlap == 0:
            return (centres >= border).astype(np.float64)
        return np.clip((centres - border) / overlap + 0.5, 0.0, 1.0)

    # Each border adds to one tile what it takes from the other, so that the sum is 1 however many
    # tiles meet.
    entered = share_past_border(number - 1) if number > 0 else np.ones(size)
    left = share_past_border(number) if number + 1 < len(starts) else np.zeros(size)
    return entered - left
