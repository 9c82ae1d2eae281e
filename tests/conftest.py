"""What every test shares: real rasters made from a seed, and quiet libraries."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("DS_ACCELERATOR", "cpu")

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

# A shell ignores it for jobs in the background; processes started here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

WATER, FIELD, SOIL = 0, 1, 2
# Reflectance of blue, green, red, near infrared: plausible, and far enough apart for any index.
SPECTRA = np.array([[0.06, 0.07, 0.04, 0.02], [0.03, 0.07, 0.04, 0.42], [0.10, 0.14, 0.19, 0.27]])


@pytest.fixture(scope="session")
def truth() -> np.ndarray:
    """Classes of ``scene_file`` (120, 160): a lake in the north-west, fields, soil in the east."""
    row, col = np.mgrid[0:120, 0:160]
    kinds = np.full((120, 160), FIELD)
    kinds[:, 120:] = SOIL
    kinds[(row - 40) ** 2 + (col - 50) ** 2 < 25**2] = WATER
    return kinds


@pytest.fixture
def write_scene(tmp_path: Path) -> Callable[..., Path]:
    """Write an array (band, row, column) as a raster; any rasterio profile key can be given."""

    def write(
        values: np.ndarray,
        name: str = "scene.tif",
        tags: dict[str, str] | None = None,
        **profile: object,
    ) -> Path:
        options = {
            "driver": "GTiff",
            "crs": CRS.from_epsg(32633),
            "transform": from_origin(500_000, 5_300_000, 10, 10),
            "dtype": values.dtype,
            "count": len(values),
            "height": values.shape[1],
            "width": values.shape[2],
        }
        options.update(profile)
        path = tmp_path / name
        with rasterio.open(path, "w", **options) as dst:
            dst.write(values)
            dst.update_tags(**(tags or {}))
        return path

    return write


@pytest.fixture
def scene_file(truth: np.ndarray, write_scene: Callable[..., Path]) -> Path:
    """A four-band Sentinel-2-like scene of ``truth``: uint16, scale 1e-4, 10 m, no nodata."""
    noise = np.random.default_rng(7).normal(0, 0.004, (4, *truth.shape))
    values = SPECTRA[truth].transpose(2, 0, 1) + noise
    return write_scene(np.clip(values * 10_000, 1, 65_535).astype("uint16"))


@pytest.fixture(scope="session")
def scene_bands() -> str:
    """The ``--bands`` text of ``scene_file``."""
    return "B02=490/65,B03=560/35,B04=665/30,B08=842/115"
