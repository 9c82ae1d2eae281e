"""Reading a damaged scene: parts of which no pixel is needed may be unreadable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.errors import SceneError
from spex.raster.scene import Pixels, Scene


def read_around_damage(scene: Scene, window: Window, needed: NDArray[np.bool_]) -> Pixels:
    """The pixels of a window; unreadable parts without needed pixels are invalid.

    Args:
        scene: to read from.
        window: inside the scene.
        needed: pixels that must be read (h, w); the others were nodata already when the query was
            answered.

    Raises:
        SceneError: a needed pixel cannot be read.
    """
    try:
        return scene.read(window)
    except SceneError:
        height, width = needed.shape
        if not needed.any():
            return _invalid_pixels(scene, height, width)
        if needed.all() or max(height, width) < 2:
            raise
    row = int(window.row_off)
    col = int(window.col_off)
    if height >= width:
        axis, half = 0, height // 2
        first = Window(col, row, width, half)
        second = Window(col, row + half, width, height - half)
    else:
        axis, half = 1, width // 2
        first = Window(col, row, half, height)
        second = Window(col + half, row, width - half, height)
    needed_first, needed_second = np.split(needed, [half], axis)
    start = read_around_damage(scene, first, needed_first)
    end = read_around_damage(scene, second, needed_second)
    return replace(
        start,
        values=np.concatenate([start.values, end.values], axis=axis + 1),
        valid=np.concatenate([start.valid, end.valid], axis=axis),
    )


def _invalid_pixels(scene: Scene, height: int, width: int) -> Pixels:
    return Pixels(
        np.zeros((len(scene.bands), height, width), np.float32),
        np.zeros((height, width), bool),
        scene.bands,
        scene.level,
        scene.gsd_m,
    )
