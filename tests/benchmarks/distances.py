"""Time and peak memory of a distance from a mask in strips, beside scipy on the whole array.

python tests/benchmarks/distances.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import rasterio
from measure import cost, table
from rasterio.transform import from_origin
from rasterio.windows import Window

from spex.raster.working_rasters import bounded_gdal_cache

METRES = 500
WHOLE = f"""
import sys, rasterio
from scipy.ndimage import distance_transform_edt
with rasterio.open(sys.argv[1]) as source:
    mask = source.read(1) > 0
    profile = source.profile
near = distance_transform_edt(~mask, sampling=10) <= {METRES}
with rasterio.open(sys.argv[2], "w", **profile) as out:
    out.write(near.astype("uint8"), 1)
"""
STRIPS = f"""
import sys, tempfile
import numpy as np, rasterio
from spex.postprocess.distances import MaskDistances
from spex.raster.working_rasters import bounded_gdal_cache, row_strips
with bounded_gdal_cache(), rasterio.open(sys.argv[1]) as source, tempfile.TemporaryFile() as store:
    sizes = (np.full(source.height, 10.0), np.full(source.height, 10.0))
    strips = list(row_strips(source.height, source.width, 8))
    mask = lambda window: source.read(1, window=window) > 0
    distances = MaskDistances(sizes, mask, strips, store)
    with rasterio.open(sys.argv[2], "w", **source.profile) as out:
        for window in strips:
            down_columns = distances.column_distances(window, mask(window))
            near = distances.within(window, down_columns, {METRES})
            out.write(near.astype("uint8"), 1, window=window)
"""


def write_mask(path: Path, size: int) -> None:
    """Squares of eight pixels on one cell in two hundred."""
    rng = np.random.default_rng(size)
    place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_300_000, 10, 10)}
    with bounded_gdal_cache(), rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, height=size, width=size,
        blockysize=16, compress="lzw", **place,
    ) as out:  # fmt: skip
        for row in range(0, size, 8):
            cells = (rng.random(size // 8) < 0.005).astype(np.uint8)
            out.write(np.tile(cells.repeat(8), (8, 1)), 1, window=Window(0, row, size, 8))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder, "near.tif"))
        for size in (2048, 8192):
            mask = Path(folder, f"{size}.tif")
            write_mask(mask, size)
            whole = ("scipy on the whole array", cost(["-c", WHOLE, str(mask), target], 1))
            strips = ("in strips", cost(["-c", STRIPS, str(mask), target], 1))
            table(f"pixels within {METRES} m, {size} x {size}", whole, [strips])


if __name__ == "__main__":
    main()
