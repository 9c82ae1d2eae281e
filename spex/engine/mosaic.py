"""Tiled inference: tiles to one probability raster, blended where they overlap, memory bounded by one row of tiles."""

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


@dataclass(frozen=True)
class Mosaic:
    """What came of the tiles: how many, which failed, and per map the pixels of probability 0.5 or more."""

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
    """Decode every tile and write the blended probabilities of ``count`` maps to ``path``.

    Args:
        decode: number of the tile and the tile to probabilities ``(count, h, w)`` and validity ``(h, w)``.
        progress: called with tiles done and tiles in all.

    A pixel whose probability is not finite is no data. If every tile fails, the last error is raised.
    """
    tiles = plan_tiles(scene.height, scene.width, tile, overlap)
    rows = [
        (row, list(group)) for row, group in groupby(enumerate(tiles), key=lambda item: item[1].row)
    ]
    depth = max(item.height for item in tiles)
    total = np.zeros((count, depth, scene.width), np.float32)
    weight = np.zeros((depth, scene.width), np.float32)
    likely = np.zeros(count, np.int64)
    failed: list[FailedTile] = []
    done = 0
    with rasterio.open(path, "w", **working_profile(scene, count)) as out:
        for place, (top, members) in enumerate(rows):
            for number, item in members:
                result = _twice(decode, number, item, failed)
                if result is not None:
                    probability, valid = result
                    assert probability.shape == (count, item.height, item.width), probability.shape
                    usable = valid & np.isfinite(probability).all(axis=0)
                    share = blend_weight(item, (scene.height, scene.width), overlap) * usable
                    columns = slice(item.col, item.col + item.width)
                    total[:, : item.height, columns] += np.nan_to_num(probability) * share
                    weight[: item.height, columns] += share
                done += 1
                if progress:
                    progress(done, len(tiles))
            finished = (rows[place + 1][0] if place + 1 < len(rows) else scene.height) - top
            for row in range(0, finished, _ROWS):
                rows_of = slice(row, min(row + _ROWS, finished))
                window = Window(0, top + row, scene.width, rows_of.stop - row)
                levels = _levels(total[:, rows_of], weight[rows_of])
                likely += ((levels >= HALF_PROBABILITY) & (levels != NODATA)).sum(axis=(1, 2))
                out.write(levels, window=window)
            left = depth - finished
            total[:, :left], weight[:left] = total[:, finished:].copy(), weight[finished:].copy()
            total[:, left:], weight[left:] = 0, 0
    if len(failed) == len(tiles):
        raise failed[-1].error
    return Mosaic(len(tiles), tuple(failed), tuple(likely.tolist()))


def _levels(total: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.uint8]:
    some = weight > 0
    mean = total / np.where(some, weight, 1)
    return np.where(some, np.rint(np.clip(mean, 0, 1) * PROBABILITY_SCALE), NODATA).astype(np.uint8)


def _twice(
    decode: Decode, number: int, tile: Tile, failed: list[FailedTile]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    """Compute a tile, once more if it fails; what fails twice is logged and listed, never silent background."""
    try:
        return decode(number, tile)
    except Exception as first:
        log.warning(
            "tile %d (row %d, col %d) failed and is tried again: %s",
            number,
            tile.row,
            tile.col,
            first,
        )
    try:
        return decode(number, tile)
    except Exception as error:
        log.error("tile %d (row %d, col %d) failed twice: %s", number, tile.row, tile.col, error)
        failed.append(FailedTile(tile.row, tile.col, tile.height, tile.width, error))
        return None
