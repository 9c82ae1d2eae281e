"""One scene with its labels, streamed as chips: memory is that of one window, however large the scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from instruction_data.sources.chips import Chip, Mask, complete
from instruction_data.sources.labels import Labels
from spex.errors import RecordError
from spex.raster.scene import Scene
from spex.records import BandRef

MIN_VALID = 0.3


def scene_windows(height: int, width: int, side: int) -> list[Window]:
    """Windows of at most ``side`` pixels that cover a scene once, row by row, and are alike in size to a pixel."""

    def edges(length: int) -> list[int]:
        parts = -(-length // side)
        return [length * part // parts for part in range(parts + 1)]

    return [
        Window(left, top, right - left, bottom - top)
        for top, bottom in pairwise(edges(height))
        for left, right in pairwise(edges(width))
    ]


def scene_chips(
    scene: Scene, labels: Labels, name: str, side: int, extra: Mapping[str, str]
) -> Iterator[Chip]:
    """Chips of a scene whose pixels and labels say something, in the type and scale of the file.

    Args:
        scene: the opened scene.
        labels: its labels, on its grid.
        name: what the chips' ids begin with.
        side: pixels of a chip's side at most.
        extra: provenance that every chip carries.

    Raises:
        SceneError: a part of the file is damaged.
        RecordError: a label that cannot be read, or a scene of which no window is of use.
    """
    useful = 0
    uniform = len({*zip(scene.scale.tolist(), scene.offset.tolist(), strict=True)}) == 1
    for window in scene_windows(scene.height, scene.width, side):
        stored, valid = scene.read_stored(window)
        if valid.mean() < MIN_VALID:
            continue
        truth = {
            n: (mask & valid, unknown | ~valid)
            for n, (mask, unknown) in labels.truth(window).items()
        }
        if not complete(truth):
            continue
        useful += 1
        values, nodata = marked(stored if uniform else scene.read(window).values, valid)
        row, col = int(window.row_off), int(window.col_off)
        yield Chip(
            id=f"{name}_{row:05d}_{col:05d}",
            sensor=scene.sensor.key if scene.sensor else "unnamed",
            values=values,
            bands=tuple(
                BandRef(name=b.name, wavelength_nm=b.wavelength_nm, fwhm_nm=b.fwhm_nm)
                for b in scene.bands
            ),
            level=scene.level,
            truth=truth,
            labels=labels.described,
            gsd_m=scene.gsd_m,
            scale=float(scene.scale[0]) if uniform else 1.0,
            offset=float(scene.offset[0]) if uniform else 0.0,
            nodata=nodata,
            crs=scene.crs,
            transform=None if scene.crs is None else window_transform(window, scene.transform),
            extra={
                **extra,
                "window": f"column {col}, row {row}, {values.shape[2]} x {values.shape[1]} pixels",
            },
        )
    if not useful:
        wanted = f"{MIN_VALID:.0%} of valid pixels and a label that says something"
        raise RecordError(
            f"{scene.path}: no window of {side} pixels has {wanted}; leave the scene out"
        )


def marked(values: NDArray[Any], valid: Mask) -> tuple[NDArray[Any], float | None]:
    """Values with a number for nodata where not ``valid`` that no valid pixel has, and that number."""
    if valid.all():
        return values, None
    if np.issubdtype(values.dtype, np.floating):
        return np.where(valid, values, np.nan).astype(values.dtype), float("nan")
    for wide in (values.dtype, np.promote_types(values.dtype, np.int16), np.dtype(np.int32)):
        limits = np.iinfo(wide)
        for nodata in (limits.min, limits.max):
            if not (values == nodata)[:, valid].any():
                return np.where(valid, values, wide.type(nodata)).astype(wide), float(nodata)
    raise RecordError(
        f"values of {values.dtype} leave no number for nodata; store the scene as floats"
    )
