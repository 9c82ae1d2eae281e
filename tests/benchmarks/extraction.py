"""Time and peak memory of one extraction, beside a bare copy of the same scene: `make bench`.

The scenes are four bands of uint16 like the sample of `make run`: its 300 x 300 pixels, and 1024
x 1024.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import rasterio
from measure import cost, table
from rasterio.transform import from_origin

QUERY = "Where is open water, and where is vegetation?"
BANDS = "B02=490/65,B03=560/35,B04=665/30,B08=842/115"
SPECTRA = np.array([[0.06, 0.07, 0.04, 0.02], [0.03, 0.07, 0.04, 0.42], [0.10, 0.14, 0.19, 0.27]])
COPY = """
import sys, rasterio
source = rasterio.open(sys.argv[1])
with source, rasterio.open(sys.argv[2], "w", **source.profile) as copy:
    copy.write(source.read())
"""


def write_scene(path: Path, size: int) -> None:
    """Patches of water, vegetation and soil of many sizes, with noise."""
    rng = np.random.default_rng(size)
    cells = rng.integers(0, len(SPECTRA), (size // 32 + 1, size // 32 + 1))
    kinds = np.kron(cells, np.ones((32, 32), int))[:size, :size]
    values = SPECTRA[kinds].transpose(2, 0, 1) + rng.normal(0, 0.004, (4, size, size))
    transform = from_origin(500_000, 5_300_000, 10, 10)
    profile = {
        "count": 4,
        "height": size,
        "width": size,
        "dtype": "uint16",
        "crs": "EPSG:32633",
        "transform": transform,
    }
    with rasterio.open(path, "w", driver="GTiff", tiled=True, **profile) as target:
        target.write(np.clip(values * 10_000, 1, 65_535).astype("uint16"))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for size in (300, 1024):
            scene = Path(folder) / f"{size}.tif"
            write_scene(scene, size)
            extract = ["-m", "spex", "extract", str(scene), QUERY, "--bands", BANDS, "--overwrite"]
            extract += ["-o", str(Path(folder) / "out")]
            baseline = (
                "rasterio read and write",
                cost(["-c", COPY, str(scene), str(Path(folder) / "copy.tif")]),
            )
            rows = [
                (f"spex extract --method {m}", cost([*extract, "--method", m], 2))
                for m in ("rules", "model")
            ]
            table(f"Extraction, {size} x {size} x 4", baseline, rows)


if __name__ == "__main__":
    main()
