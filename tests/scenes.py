"""Small seeded scenes of known land cover for tests: files, plausible spectra, and the truth."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from spex.sensors import Band, get_sensor

CLASSES = ("water", "vegetation", "bare", "built_up")  # values 1..4 of the truth

_WAVELENGTHS = (
    *(400, 450, 490, 560, 620, 665, 705, 740, 783, 842, 945, 1100, 1300, 1450, 1610),
    *(1800, 1950, 2200, 2400),
)
# Reflectance in % at these wavelengths (nm), one row per class.
_SPECTRA = np.array(
    [
        # clear water
        [5.5, 5, 5.2, 5, 3, 2.4, 2, 1.4, 1.2, 1, 0.8, 0.6, 0.5, 0.3, 0.4, 0.4, 0.3, 0.3, 0.3],
        # green grass
        [2.5, 2.8, 3.2, 7.5, 5.0, 3.5, 11, 29, 38, 41, 40, 41, 37, 14, 24, 20, 6.0, 12, 8.0],
        # dry loam
        [6.0, 8.5, 11, 15.5, 19, 21.5, 23, 24.5, 26, 28, 29.5, 32, 35, 32, 38, 38.5, 32, 35, 31],
        # roofs and asphalt
        [
            *(10, 11.5, 12.5, 14.5, 16, 17, 17.8, 18.4, 19, 19.6),
            *(20, 21, 22, 21, 23.5, 23.5, 22, 23, 22),
        ],
    ]
) / 100.0  # fmt: skip


def even_bands(count: int, first_nm: float = 420.0, last_nm: float = 2400.0) -> tuple[Band, ...]:
    """``count`` bands of equal spacing, as wide as they are apart but at most 100 nm."""
    step = (last_nm - first_nm) / max(count - 1, 1)
    return tuple(
        Band(str(i + 1), round(first_nm + i * step, 2), round(min(step, 100.0), 2))
        for i in range(count)
    )


def synthetic_scene(
    bands: Sequence[Band], height: int = 96, width: int = 96, *, seed: int = 0, noise: float = 0.01
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """A landscape: reflectance (C, h, w) and its truth (h, w), 1-4 as in ``CLASSES``.

    A lake in the north-west, a town in the south-east, bare fields in the north-east, a pond in the
    south-west, grass elsewhere.
    """
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[0:height, 0:width] + 0.5) / np.array([height, width])[:, None, None]
    truth = np.full((height, width), 2, dtype=np.uint8)
    truth[(x > 0.62) & (y < 0.3)] = 3
    truth[(x > 0.55) & (x < 0.92) & (y > 0.6) & (y < 0.95)] = 4
    truth[((x - 0.28) / 0.2) ** 2 + ((y - 0.3) / 0.18) ** 2 < 1] = 1
    truth[((x - 0.18) / 0.07) ** 2 + ((y - 0.8) / 0.06) ** 2 < 1] = 1
    centres = [band.wavelength_nm or 560.0 for band in bands]
    spectra = np.array(
        [np.interp(centres, _WAVELENGTHS, spectrum) for spectrum in _SPECTRA]
    )  # (4, C)
    brightness = (
        1
        + 0.12 * np.sin(9 * x + 1.7 * seed) * np.cos(7 * y)
        + 0.08 * rng.standard_normal((height, width))
    )
    values = spectra[truth - 1].transpose(2, 0, 1) * brightness
    values = values + noise * rng.standard_normal(values.shape) * values.mean()
    return np.clip(values, 1e-4, 1).astype(np.float32), truth


def write_synthetic_scene(
    path: str | os.PathLike[str],
    *,
    sensor: str = "sentinel-2a",
    bands: Sequence[Band] | int | None = None,
    height: int = 96,
    width: int = 96,
    seed: int = 0,
    dtype: str = "uint16",
    nodata: float | None = None,
    crs: str | None = "EPSG:32632",
    gsd_m: float = 10.0,
    rotation: float = 0.0,
    described: bool = True,
    driver: str = "GTiff",
    **options: Any,
) -> npt.NDArray[np.uint8]:
    """Write a synthetic scene and return its truth (h, w): 1-4 as in ``CLASSES``, 0 for nodata.

    Integers are stored as the sensor does (else reflectance x 10 000), 8 bits as a display stretch,
    floats as reflectance.

    Args:
        path: the file to write.
        sensor: takes this sensor's bands, described by their names.
        bands: instead, these bands or that many equal ones, described by wavelength.
        height: rows.
        width: columns.
        seed: same seed, same pixels.
        dtype: type of the stored numbers.
        nodata: given, the south-east corner has no data.
        crs: None writes no georeference.
        gsd_m: size of a pixel in the units of ``crs``.
        rotation: degrees that the grid is turned by.
        described: False leaves out every band description.
        driver: a GDAL driver that can create files.
        **options: further creation options, for example ``tiled=True``.
    """
    named = bands is None
    chosen = (
        get_sensor(sensor).bands
        if bands is None
        else even_bands(bands)
        if isinstance(bands, int)
        else tuple(bands)
    )
    values, truth = synthetic_scene(chosen, height, width, seed=seed)
    integer = np.issubdtype(np.dtype(dtype), np.integer)
    known = get_sensor(sensor)
    scale, offset = (known.scale, known.offset) if named and dtype in known.dtypes else (1e-4, 0.0)
    stored = (
        np.clip(values * 2.2 * 255, 1, 255)
        if dtype == "uint8"
        else (values - offset) / scale
        if integer
        else values
    )
    stored = (np.round(stored) if integer else stored).astype(dtype)
    if nodata is not None:
        y, x = np.mgrid[0:height, 0:width]
        empty = x / width + y / height > 1.75
        stored[:, empty] = nodata
        truth[empty] = 0
    place: dict[str, Any] = {}
    if crs is not None:
        origin = (9.0, 46.0) if CRS.from_user_input(crs).is_geographic else (500_000.0, 5_100_000.0)
        along, across = (
            gsd_m * math.cos(math.radians(rotation)),
            gsd_m * math.sin(math.radians(rotation)),
        )
        place = {
            "crs": crs,
            "transform": Affine(along, across, origin[0], across, -along, origin[1]),
        }
    profile = {
        "driver": driver,
        "height": height,
        "width": width,
        "count": len(chosen),
        "dtype": dtype,
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile, **place, **options) as dataset:
        dataset.write(stored)
        if driver == "GTiff":
            dataset.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(chosen) - 1)
        for i, band in enumerate(chosen if described else (), 1):
            dataset.set_band_description(i, band.name)
            if not named:
                dataset.update_tags(
                    i, wavelength=band.wavelength_nm, fwhm=band.fwhm_nm, wavelength_units="nm"
                )
    return truth
