"""Distances on the ground in strips, against those between all pairs of pixels."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pyproj
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from spex.postprocess.distances import MaskDistances
from spex.raster.area import row_pixel_sizes

Mask = NDArray[np.bool_]
Sizes = tuple[NDArray[np.float64], NDArray[np.float64]]


def near(mask: Mask, sizes: Sizes, metres: Sequence[float], rows: int) -> list[Mask]:
    """The pixels within each distance, made in strips of so many rows."""
    height, width = mask.shape
    strips = [Window(0, top, width, min(rows, height - top)) for top in range(0, height, rows)]

    def found(window: Window) -> Mask:
        return mask[window.row_off : window.row_off + window.height]

    with tempfile.TemporaryFile() as store:
        distances = MaskDistances(sizes, found, strips, store)
        parts: list[list[Mask]] = [[] for _ in metres]
        for window in strips:
            down_columns = distances.column_distances(window, found(window))
            for part, limit in zip(parts, metres, strict=True):
                part.append(distances.within(window, down_columns, limit))
    return [np.concatenate(part) for part in parts]


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("epsg", [4326, 3857])
def test_pixels_that_narrow_towards_the_pole(epsg: int, rows: int) -> None:
    to_map = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
    step = 0.02 if epsg == 4326 else 2000.0
    x, y = to_map.transform(20.0, 71.0)
    transform = Affine(step, 0, x, 0, -step, y)
    shape = (64, 40)
    widths, heights = row_pixel_sizes(CRS.from_epsg(epsg), transform, *shape)
    assert widths[-1] > 1.01 * widths[0]
    mask = np.random.default_rng(1).random(shape) < 0.002
    metres = (1500.0, 5000.0, 20000.0)
    within = near(mask, (widths, heights), metres, rows)

    down = np.cumsum(heights) - heights / 2
    row, column = np.mgrid[0 : shape[0], 0 : shape[1]]
    map_x, map_y = transform @ (column + 0.5, row + 0.5)
    to_degrees = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(map_x, map_y)
    flat = np.full(shape, np.inf)
    true = np.full(shape, np.inf)
    for r, c in np.argwhere(mask):
        flat = np.minimum(flat, np.hypot(down[row] - down[r], (column - c) * widths[row]))
        there = (np.full(shape, longitude[r, c]), np.full(shape, latitude[r, c]))
        ground = pyproj.Geod(ellps="WGS84").inv(longitude, latitude, *there)[2]
        true = np.minimum(true, ground)
    for limit, pixels in zip(metres, within, strict=True):
        assert (pixels == (flat <= limit)).all()
        assert pixels[true < limit * 0.99].all() and not pixels[true > limit * 1.01].any()
        assert mask.sum() < pixels.sum() < pixels.size


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_empty_full_and_single_masks(rows: int) -> None:
    sizes = (np.full(40, 10.0), np.full(40, 10.0))
    empty = np.zeros((40, 30), bool)
    assert not np.any(near(empty, sizes, (0, 1e5, 1e300), rows))
    assert np.all(near(~empty, sizes, (0, 1e5, 1e300), rows))
    corner = empty.copy()
    corner[39, 29] = True
    itself, cross, all_pixels = near(corner, sizes, (0, 10, 1e300), rows)
    assert (itself == corner).all() and all_pixels.all()
    assert [*map(tuple, np.argwhere(cross))] == [(38, 29), (39, 28), (39, 29)]


def test_memory_does_not_grow_with_the_scene() -> None:
    peaks = []
    for height in (500, 5000):
        strips = [Window(0, top, 2000, 50) for top in range(0, height, 50)]
        mask = np.random.default_rng(0).random((50, 2000)) < 0.001
        with tempfile.TemporaryFile() as store:
            tracemalloc.start()
            sizes = (np.full(height, 10.0), np.full(height, 10.0))
            distances = MaskDistances(sizes, lambda window, mask=mask: mask, strips, store)
            for window in strips:
                distances.within(window, distances.column_distances(window, mask), 1e6)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
