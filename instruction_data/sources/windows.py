"""One scene with its labels, streamed as chips: memory holds one window, whatever the size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from instruction_data.sources.chips import Chip, Mask, Truth, complete_truth
from instruction_data.sources.labels import Labels
from spex.errors import RecordError
from spex.raster.scene import Scene
from spex.records import BandRef

MIN_VALID = 0.3
"""Minimum fraction of valid pixels in a window."""


def scene_windows(height: int, width: int, side: int) -> list[Window]:
    """Windows that cover a scene once, row by row, and differ in size by one pixel at most.

    Args:
        height: rows of the scene.
        width: columns of the scene.
        side: maximum side of a window in pixels.
    """
    windows: list[Window] = []
    for top, bottom in pairwise(_edges(height, side)):
        for left, right in pairwise(_edges(width, side)):
            windows.append(Window(left, top, right - left, bottom - top))
    return windows


def _edges(length: int, side: int) -> list[int]:
    parts = -(-length // side)
    return [length * part // parts for part in range(parts + 1)]


def scene_chips(
    scene: Scene, labels: Labels, name: str, side: int, extra: Mapping[str, str]
) -> Iterator[Chip]:
    """Cut a scene into chips, leaving out windows without valid pixels or without known labels.

    Args:
        scene: the opened scene.
        labels: its labels, on its grid.
        name: prefix of the chips' ids.
        side: maximum side of a chip in pixels.
        extra: provenance that every chip carries.

    Yields:
        Chips in the data type and scale of the file.

    Raises:
        SceneError: a part of the file is damaged.
        RecordError: a label cannot be read, or no window of the scene can be used.
    """
    usable = 0
    for window in scene_windows(scene.height, scene.width, side):
        stored, valid = scene.read_stored(window)
        if valid.mean() < MIN_VALID:
            continue
        truth: Truth = {}
        for class_name, (mask, unknown) in labels.truth(window).items():
            truth[class_name] = mask & valid, unknown | ~valid
        if not complete_truth(truth):
            continue
        usable += 1
        yield _window_chip(scene, window, stored, valid, truth, labels.described, name, extra)
    if not usable:
        raise RecordError(
            f"{scene.path}: no window of {side} pixels has {MIN_VALID:.0%} of valid pixels and a "
            "known label; leave the scene out"
        )


def _window_chip(
    scene: Scene,
    window: Window,
    stored: NDArray[Any],
    valid: Mask,
    truth: Truth,
    labels: str,
    name: str,
    extra: Mapping[str, str],
) -> Chip:
    """The chip of one window; ``stored`` (C, h, w) and ``valid`` (h, w) are its pixels."""
    scalings = set(zip(scene.scale.tolist(), scene.offset.tolist(), strict=True))
    same_scaling = len(scalings) == 1
    # A chip has one scale: bands with different ones are written as reflectance.
    values, nodata = mark_nodata(stored if same_scaling else scene.read(window).values, valid)
    row = int(window.row_off)
    col = int(window.col_off)
    size = f"{values.shape[2]} x {values.shape[1]} pixels"
    return Chip(
        id=f"{name}_{row:05d}_{col:05d}",
        sensor=scene.sensor.key if scene.sensor else "unnamed",
        values=values,
        bands=tuple(
            BandRef(name=band.name, wavelength_nm=band.wavelength_nm, fwhm_nm=band.fwhm_nm)
            for band in scene.bands
        ),
        level=scene.level,
        truth=truth,
        labels=labels,
        gsd_m=scene.gsd_m,
        scale=float(scene.scale[0]) if same_scaling else 1.0,
        offset=float(scene.offset[0]) if same_scaling else 0.0,
        nodata=nodata,
        crs=scene.crs,
        transform=None if scene.crs is None else window_transform(window, scene.transform),
        extra={**extra, "window": f"column {col}, row {row}, {size}"},
    )


def mark_nodata(values: NDArray[Any], valid: Mask) -> tuple[NDArray[Any], float | None]:
    """Set invalid pixels to a nodata value that no valid pixel has.

    Args:
        values: pixel values (C, h, w).
        valid: bool (h, w).

    Returns:
        The values, in a wider type if theirs has no free value, and the nodata value (None if all
        pixels are valid).

    Raises:
        RecordError: no value is free.
    """
    if valid.all():
        return values, None
    if np.issubdtype(values.dtype, np.floating):
        return np.where(valid, values, np.nan).astype(values.dtype), float("nan")
    for dtype in (values.dtype, np.promote_types(values.dtype, np.int16), np.dtype(np.int32)):
        limits = np.iinfo(dtype)
        for nodata in (limits.min, limits.max):
            if not (values == nodata)[:, valid].any():
                return np.where(valid, values, dtype.type(nodata)).astype(dtype), float(nodata)
    raise RecordError(
        f"values of {values.dtype} have no free value for nodata; store the scene as floats"
    )
