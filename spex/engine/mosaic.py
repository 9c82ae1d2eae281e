"""Tiled inference: from tiles to one probability raster, blended where tiles overlap.

Memory is bounded by one row of tiles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.raster.scene import Scene
from spex.raster.tiles import FailedTile, Tile, blend_weight, plan_tiles
from spex.raster.working_rasters import (
    HALF_PROBABILITY,
    NODATA,
    PROBABILITY_SCALE,
    working_profile,
)

_ROWS = 64  # written at a time

log = logging.getLogger(__name__)

Decode = Callable[[int, Tile], tuple[NDArray[np.float32], NDArray[np.bool_]]]
"""Number of a tile and the tile -> probabilities ``(maps, h, w)`` and validity ``(h, w)``."""


@dataclass(frozen=True)
class Mosaic:
    """How the tiles fared.

    Attributes:
        tiles: how many there are.
        failed: those that could not be computed.
        likely: per map, the number of pixels with a probability of 0.5 or more.
    """

    tiles: int
    failed: tuple[FailedTile, ...]
    likely: tuple[int, ...]


def write_probability(
    scene: Scene,
    count: int,
    decode: Decode,
    path: Path,
    *,
    tile: int,
    overlap: int,
    progress: Callable[[int, int], None] | None = None,
) -> Mosaic:
    """Decode every tile and write the blended probabilities.

    A pixel whose probability is not finite is no data. If every tile fails, the last error is
    raised.

    Args:
        scene: gives the size and the georeference.
        count: number of maps.
        decode: computes one tile.
        path: of the raster to write, one band per map.
        tile: side of a tile in pixels.
        overlap: pixels that neighbouring tiles share and blend over.
        progress: called with the number of finished tiles and of all tiles.
    """
    tiles = plan_tiles(scene.height, scene.width, tile, overlap)
    tile_rows = [
        (top, list(members)) for top, members in groupby(enumerate(tiles), key=_top_of_member)
    ]
    next_tops = [top for top, _ in tile_rows[1:]] + [scene.height]
    blend = _TileRowBlend(scene, count, max(item.height for item in tiles), overlap)
    likely = np.zeros(count, np.int64)
    failed: list[FailedTile] = []
    done = 0
    with rasterio.open(path, "w", **working_profile(scene, count)) as out:
        for (top, members), next_top in zip(tile_rows, next_tops, strict=True):
            for number, item in members:
                decoded = _decode_twice(decode, number, item, failed)
                if decoded is not None:
                    blend.add(item, *decoded)
                done += 1
                if progress:
                    progress(done, len(tiles))
            finished = next_top - top
            for row in range(0, finished, _ROWS):
                rows = slice(row, min(row + _ROWS, finished))
                window = Window(0, top + row, scene.width, rows.stop - row)
                levels = blend.levels(rows)
                likely += ((levels >= HALF_PROBABILITY) & (levels != NODATA)).sum(axis=(1, 2))
                out.write(levels, window=window)
            blend.drop(finished)
    if len(failed) == len(tiles):
        raise failed[-1].error
    return Mosaic(len(tiles), tuple(failed), tuple(likely.tolist()))


def _top_of_member(member: tuple[int, Tile]) -> int:
    return member[1].row


class _TileRowBlend:
    """Weighted sums of the probabilities of one row of tiles.

    Args:
        scene: gives the size.
        count: number of maps.
        depth: rows of the highest tile.
        overlap: pixels that neighbouring tiles share.
    """

    def __init__(self, scene: Scene, count: int, depth: int, overlap: int) -> None:
        self._size = (scene.height, scene.width)
        self._overlap = overlap
        self._total = np.zeros((count, depth, scene.width), np.float32)
        self._weight = np.zeros((depth, scene.width), np.float32)

    def add(self, tile: Tile, probability: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Add a tile: probabilities ``(maps, h, w)``, where ``valid`` (h, w) and finite."""
        assert probability.shape == (len(self._total), tile.height, tile.width), probability.shape
        usable = valid & np.isfinite(probability).all(axis=0)
        share = blend_weight(tile, self._size, self._overlap) * usable
        columns = slice(tile.col, tile.col + tile.width)
        self._total[:, : tile.height, columns] += np.nan_to_num(probability) * share
        self._weight[: tile.height, columns] += share

    def levels(self, rows: slice) -> NDArray[np.uint8]:
        """Stored probabilities of some rows, ``(maps, rows, width)``; no data where no tile is."""
        weight = self._weight[rows]
        covered = weight > 0
        mean = self._total[:, rows] / np.where(covered, weight, 1)
        levels = np.rint(np.clip(mean, 0, 1) * PROBABILITY_SCALE)
        return np.where(covered, levels, NODATA).astype(np.uint8)

    def drop(self, rows: int) -> None:
        """Drop the first rows and move the others up."""
        left = len(self._weight) - rows
        self._total[:, :left] = self._total[:, rows:].copy()
        self._weight[:left] = self._weight[rows:].copy()
        self._total[:, left:] = 0
        self._weight[left:] = 0


def _decode_twice(
    decode: Decode, number: int, tile: Tile, failed: list[FailedTile]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    """Compute a tile, once more if it fails; a tile that fails twice is logged and listed."""
    try:
        return decode(number, tile)
    except Exception as error:
        log.warning(
            "tile %d (row %d, column %d) failed and is computed again: %s",
            number,
            tile.row,
            tile.col,
            error,
        )
    try:
        return decode(number, tile)
    except Exception as error:
        log.error("tile %d (row %d, column %d) failed twice: %s", number, tile.row, tile.col, error)
        failed.append(FailedTile(tile.row, tile.col, tile.height, tile.width, error))
        return None
