"""A small copy of the data folders' layout, made from a seed, and a spectral library of bell curves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from instruction_data.simulate import Library

HLS_BANDS = (
    ("coastal", 443),
    ("blue", 482),
    ("green", 561),
    ("red", 655),
    ("nir", 865),
    ("swir1", 1609),
    ("swir2", 2201),
)
WATER, FIELD = (900, 800, 700, 500, 200, 100, 50), (500, 600, 900, 700, 4200, 2400, 1400)
WOOD = (200, 250, 450, 300, 3000, 1200, 500)


def write_raster(path: Path, values: np.ndarray, nodata: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype, nodata=nodata
    ) as raster:
        raster.write(values)


def hls_labels() -> np.ndarray:
    """Left: water to both; then flood on fields; then fields; right: wood. A cloud in the lower right corner."""
    flood, cover, quality = np.zeros((3, 32, 32), np.int16)
    flood[:, :16], cover[:, :8], cover[:, 8:24], cover[:, 24:] = 1, 80, 40, 10
    quality[24:, 28:] = 1 << 1
    return np.stack([flood, cover, quality, flood, flood])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two places of ``hls_flood_wc``, one for training and one for validation,
    and one chip of ``naip_ohio_landcover``."""
    rng, root = np.random.default_rng(0), tmp_path / "data"
    spectra = np.array([WATER] * 16 + [FIELD] * 8 + [WOOD] * 8, np.int16).T[:, None, :]
    for number in range(3):
        values = (spectra + rng.normal(0, 20, (7, 32, 32))).astype(np.int16)
        write_raster(root / f"hls_flood_wc/images/{number:03d}.tif", values, -9999)
        write_raster(root / f"hls_flood_wc/labels/{number:03d}.tif", hls_labels())
    bands = [{"name": name, "center_nm": centre, "fwhm_nm": 40} for name, centre in HLS_BANDS]
    (root / "hls_flood_wc/meta.json").write_text(json.dumps({"bands": bands, "location_group": [7, 8, 8]}))

    label = np.zeros((1, 32, 32), np.uint8)
    label[0, :4], label[0, 4:8], label[0, 8:12], label[0, 12:20] = 1, 2, 3, 4
    write_raster(root / "naip_ohio_landcover/images/11.tif", rng.integers(0, 255, (4, 32, 32)).astype(np.uint8))
    write_raster(root / "naip_ohio_landcover/labels/11.tif", label)
    bands = [{"name": n, "center_nm": c, "fwhm_nm": 60} for n, c in (("R", 640), ("G", 550), ("B", 470), ("NIR", 850))]
    chips = [{"id": "11", "location_group": 0}]
    (root / "naip_ohio_landcover/meta.json").write_text(json.dumps({"bands": bands, "chips": chips}))
    split = {"hls_flood_wc": {"train": [0], "val": [1, 2]}, "naip_ohio_landcover": {"train": ["11"], "val": []}}
    (root / "split.json").write_text(json.dumps(split))
    return root


@pytest.fixture(scope="session")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library in the layout of ``spectra_named``: plants with a red edge, water and snow dark in SWIR."""
    rng, wavelengths = np.random.default_rng(1), np.arange(400, 2501, 5)
    edge, swir = 1 / (1 + np.exp(-(wavelengths - 715) / 12)), np.exp(-np.maximum(wavelengths - 1300, 0) / 500)
    shapes = {
        "water": 0.04 * np.exp(-np.maximum(wavelengths - 550, 0) / 80), "tree": 0.03 + 0.4 * edge * swir,
        "grass_crop": 0.06 + 0.5 * edge * swir, "dry_vegetation": 0.1 + 0.2 * wavelengths / 2500,
        "soil": 0.08 + 0.35 * wavelengths / 2500, "sand": 0.2 + 0.3 * wavelengths / 2500, "rock": 0.15 + 0.1 * edge,
        "roof": 0.15 + 0.05 * edge, "other_manmade": 0.3 + 0 * edge, "concrete": 0.28 + 0 * edge,
        "asphalt": 0.1 + 0 * edge,
        "snow_ice": 0.85 * np.exp(-np.maximum(wavelengths - 900, 0) / 200), "burned": 0.04 + 0.1 * wavelengths / 2500,
        "shrub": 0.05 + 0.25 * edge * swir, "marsh_mixed": 0.04 + 0.2 * edge * swir,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("spectra_named")
    for name, extra in (("spectra", False), ("spectra_extra_vegetation", True)):
        kept = [k for k in shapes if (k in ("shrub", "marsh_mixed")) == extra]
        rows = [np.clip(shapes[k] * rng.uniform(0.9, 1.1), 0, 1) for k in kept for _ in range(3)]
        classes = np.repeat(kept, 3)
        reflectance = np.array(rows, np.float32)
        reflectance[np.ix_(classes == "water", wavelengths > 900)] = np.nan  # as in-situ water spectra are
        np.savez(
            folder / f"{name}.npz", wavelengths_nm=wavelengths.astype(np.float32), reflectance=reflectance,
            subclass=classes,
            names=classes, source=classes, flag=classes, **{"class": classes},
        )  # fmt: skip
    return folder / "spectra.npz"


@pytest.fixture(scope="session")
def library(spectra: Path) -> Library:
    return Library(spectra)
