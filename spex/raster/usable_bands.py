"""Which bands of a raster a scene uses: no alpha, thermal, empty or bad bands."""

from __future__ import annotations

from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from spex.errors import BandError, SceneError
from spex.raster.band_metadata import THERMAL_FROM_NM, BandMetadata
from spex.raster.radiometry import PixelSample

MAX_BANDS = 500
_MIN_GRADED = (
    0.05  # share of an alpha band's pixels that are neither its lowest nor its highest value
)


def check_raster(dataset: Any, name: str) -> None:
    """Refuse an open raster that cannot be a scene.

    Args:
        dataset: an open raster.
        name: of the raster, for messages.

    Raises:
        SceneError: it has no bands, or complex numbers.
        BandError: it is a palette image.
    """
    if dataset.count == 0:
        subdatasets = dataset.subdatasets
        if not subdatasets:
            raise SceneError(f"{name} has no bands; a scene needs at least one")
        raise SceneError(
            f"{name} is a container of {len(subdatasets)} rasters; "
            f"name one of them, for example {subdatasets[0]}"
        )
    complex_dtype = next((dtype for dtype in dataset.dtypes if "complex" in dtype), None)
    if complex_dtype:
        raise SceneError(
            f"{name} has values of type {complex_dtype}; convert them to integers or floats"
        )
    if dataset.colorinterp[0] == ColorInterp.palette:
        raise BandError(
            f"{name} is a palette image: its values are colours or classes, not reflectance; "
            "use the original image"
        )


def find_spectral_bands(
    dataset: Any, sample: PixelSample, name: str
) -> tuple[list[int], list[str]]:
    """Indexes, from 1, of the bands that are not alpha, and warnings for the user.

    A NIR band that the file marks as alpha, as writers of four 8-bit bands do, is a spectral band.

    Args:
        dataset: an open raster.
        sample: of all its bands.
        name: of the raster, for messages.

    Raises:
        BandError: no spectral band, or too many.
    """
    spectral = []
    notes = []
    for index, colour in zip(dataset.indexes, dataset.colorinterp, strict=True):
        if colour == ColorInterp.alpha:
            values = sample.values[index - 1]
            between = (values > values.min()) & (values < values.max())
            if float(np.mean(between)) <= _MIN_GRADED:
                continue
            notes.append(
                f"band {index} is marked as alpha but holds an image: used as a spectral band"
            )
        spectral.append(index)
    if not 1 <= len(spectral) <= MAX_BANDS:
        raise BandError(
            f"{name} has {len(spectral)} spectral bands; a scene has 1 to {MAX_BANDS}, "
            "write a file with the bands to use"
        )
    return spectral, notes


def find_usable_bands(metadata: BandMetadata, sample: PixelSample) -> tuple[list[int], list[str]]:
    """Positions, from 0, of the bands to use, and warnings that name the others.

    Left out are bands that are stated as bad, thermal bands, and empty bands where others hold
    values.

    Args:
        metadata: of the spectral bands.
        sample: of the same bands.

    Raises:
        BandError: no band is left.
    """
    bands = metadata.bands
    assert bands is not None
    positions = range(len(bands))
    thermal = {i for i in positions if (bands[i].wavelength_nm or 0) > THERMAL_FROM_NM}
    empty: set[int] = set()
    if sample.valid.any():
        empty = {i for i in positions if not sample.valid[i].any()} - metadata.bad
    notes = []
    for reason, left_out in (("thermal", thermal), ("empty", empty), ("marked bad", metadata.bad)):
        if left_out:
            names = ", ".join(bands[i].name for i in sorted(left_out))
            notes.append(f"bands left out as {reason}: {names}")
    usable = [i for i in positions if i not in metadata.bad | thermal | empty]
    if not usable:
        raise BandError(
            "no usable band: all bands are marked bad, thermal or empty; check the band metadata"
        )
    return usable, notes
