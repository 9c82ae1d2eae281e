"""Working rasters: the intermediate rasters of a query, read and written in strips with bounded memory.

Probabilities are stored as ``round(250 p)`` in uint8, 255 where there is none: four times smaller than float32, and
the mask (``p >= 0.5``) follows from the file exactly.
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
NODATA = 255
HALF_PROBABILITY = PROBABILITY_SCALE // 2


def row_strips(height: int, width: int, planes: int) -> Iterator[Window]:
    """Full-width windows from the top down, sized so that ``planes`` float32 planes of one take about 64 MB."""
    rows = max(16, min(512, (1 << 24) // (width * max(planes, 1)) // 16 * 16))
    for row in range(0, height, rows):
        yield Window(0, row, width, min(rows, height - row))


@contextmanager
def bounded_gdal_cache() -> Iterator[None]:
    """GDAL with a bounded block cache, and no warning about a missing georeference (a scene says that itself)."""
    # The default cache is a share of the machine's memory, which would make peak memory grow with the scene.
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=128, GDAL_NUM_THREADS="ALL_CPUS"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def working_profile(scene: Scene, count: int) -> dict[str, object]:
    """Creation options of an intermediate uint8 raster: strips, so that appended rows rewrite no blocks."""
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
