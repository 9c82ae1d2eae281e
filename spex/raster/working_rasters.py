"""Working rasters: probabilities and masks of a query, in strips with bounded memory.

Probabilities are stored as ``round(250 p)`` in uint8, 255 where there are no data. That is four
times smaller than float32, and the mask (``p >= 0.5``) follows from the file exactly.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from spex.raster.scene import Scene

PROBABILITY_SCALE = 250
"""Stored number of probability 1."""
HALF_PROBABILITY = PROBABILITY_SCALE // 2
"""Stored number of probability 0.5."""
NODATA = 255
"""Stored number of pixels without data, in probability and mask rasters."""


def row_strips(height: int, width: int, planes: int) -> Iterator[Window]:
    """Windows of full width from the top down, each of about 64 MB.

    Args:
        height: rows of the raster.
        width: columns of the raster.
        planes: float32 planes that are held of one window.
    """
    rows = max(16, min(512, (1 << 24) // (width * max(planes, 1)) // 16 * 16))
    for row in range(0, height, rows):
        yield Window(0, row, width, min(rows, height - row))


@contextmanager
def bounded_gdal_cache() -> Iterator[None]:
    """GDAL with a bounded block cache and no warning about a missing georeference.

    A scene has its own warning.     GDAL's default cache is a share of the machine's memory, which
    would make peak memory grow with the scene.
    """
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=128, GDAL_NUM_THREADS="ALL_CPUS"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def working_profile(scene: Scene, count: int) -> dict[str, object]:
    """Creation options of a uint8 raster in strips, so that appended rows rewrite no blocks.

    Args:
        scene: whose size and georeference it has.
        count: number of its bands.
    """
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": count,
        "height": scene.height,
        "width": scene.width,
        "nodata": NODATA,
        "crs": scene.crs,
        "transform": scene.transform,
        "blockysize": 16,
        "compress": "lzw",
        "interleave": "band",
        "bigtiff": "if_safer",
    }
