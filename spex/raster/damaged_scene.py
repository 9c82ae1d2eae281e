"""Reading a scene that is damaged in places: what was already given up as no data is not read again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.errors import SceneError
from spex.raster.scene import Pixels, Scene


def read_around_damage(scene: Scene, window: Window, wanted: NDArray[np.bool_]) -> Pixels:
    """The pixels of a window; parts without ``wanted`` pixels ``(h, w)`` are invalid where they cannot be read.

    Raises:
        SceneError: a wanted pixel cannot be read.
    """
    try:
        return scene.read(window)
    except SceneError:
        height, width = wanted.shape
        if not wanted.any():
            values = np.zeros((len(scene.bands), height, width), np.float32)
            return Pixels(
                values, np.zeros((height, width), bool), scene.bands, scene.level, scene.gsd_m
            )
        if wanted.all() or max(height, width) < 2:
            raise
    axis = 0 if height >= width else 1
    half = (height, width)[axis] // 2
    row, col = int(window.row_off), int(window.col_off)
    if axis == 0:
        windows = Window(col, row, width, half), Window(col, row + half, width, height - half)
    else:
        windows = Window(col, row, half, height), Window(col + half, row, width - half, height)
    parts = [
        read_around_damage(scene, part, piece)
        for part, piece in zip(windows, np.split(wanted, [half], axis), strict=True)
    ]
    return replace(
        parts[0],
        values=np.concatenate([part.values for part in parts], axis=axis + 1),
        valid=np.concatenate([part.valid for part in parts], axis=axis),
    )
