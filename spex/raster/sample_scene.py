"""The small real scene that the spyndex package ships, written as a GeoTIFF."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import rasterio

_BANDS = (("B02", 490, 65), ("B03", 560, 35), ("B04", 665, 30), ("B08", 842, 115))


def write_sample_scene(folder: Path) -> Path:
    """Write the Sentinel-2 sample: 4 bands of 10 m, 300 x 300 pixels, no georeference.

    Its bands are stated in ``<scene>.bands.json`` beside it.

    Args:
        folder: to write to.

    Returns:
        The path of the GeoTIFF.
    """
    stored = json.loads(
        files("spyndex").joinpath("data", "S2_10m.json").read_text(encoding="utf-8")
    )
    values = np.asarray(stored).astype(np.uint16)
    path = folder / "sentinel2_sample.tif"
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "transform": rasterio.Affine.scale(10, -10),
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
    bands = [
        {"name": name, "wavelength_nm": centre, "fwhm_nm": width} for name, centre, width in _BANDS
    ]
    sidecar = {"bands": bands, "scale": 0.0001, "gsd_m": 10, "level": "surface"}
    path.with_name(path.stem + ".bands.json").write_text(json.dumps(sidecar), encoding="utf-8")
    return path
