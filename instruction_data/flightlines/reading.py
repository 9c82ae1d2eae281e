"""Opening flight lines: wavelengths, bad bands and scale, from ENVI headers, gain files or netCDF.

16-bit radiance of AVIRIS-Classic is divided by the factors of the line's ``*gain`` file, 16-bit
reflectance by 10 000. netCDF files hold ``radiance/radiance`` or ``reflectance/reflectance`` as
(band, row, column) beside ``wavelength`` and ``fwhm``. Radiance is in µW cm⁻² nm⁻¹ sr⁻¹.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import hypot
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from instruction_data.flightlines.flight_line import FlightLine
from instruction_data.flightlines.products import FlightLineProduct
from spex.errors import SceneError
from spex.raster.band_metadata import BandMetadata, check_bands
from spex.raster.band_tags import read_wavelength_tags
from spex.raster.pixel_source import open_raster
from spex.sensors import Band, get_sensor

_REFLECTANCE_BAD_BANDS = {  # first and last band, counted from 1
    "aviris-c": ((104, 114), (153, 168)),
    "aviris-ng": ((1, 1), (195, 211), (281, 319), (421, 425)),
    "aviris-3": ((130, 141), (191, 213)),
}
_GDAL_OPTIONS = {
    "GDAL_CACHEMAX": 256,
    "GDAL_NETCDF_BOTTOMUP": "NO",  # rows of a netCDF without georeference as stored
}


@contextmanager
def open_flight_line(product: FlightLineProduct) -> Iterator[FlightLine]:
    """Open a flight line for reading.

    Raises:
        SceneError: not readable, cut short, another number of bands than the sensor delivers, or
            an unknown scale.
        BandError: wavelengths are missing or impossible.
    """
    with rasterio.Env(**_GDAL_OPTIONS), _open_dataset(product) as dataset:
        expected = len(get_sensor(product.sensor).bands)
        if dataset.count != expected:
            raise SceneError(
                f"{product.path} has {dataset.count} bands, {product.sensor} delivers "
                f"{expected}; it cannot be used"
            )
        metadata = _read_metadata(dataset, product)
        if metadata is None or metadata.bands is None:
            raise SceneError(
                f"{product.path}: its header states no wavelengths; use the .hdr file that was "
                "delivered with it"
            )
        bands = tuple(
            Band(str(number), band.wavelength_nm, band.fwhm_nm)
            for number, band in enumerate(metadata.bands, 1)
        )
        check_bands(bands, str(product.path))
        if dataset.driver == "ENVI":
            _check_file_size(dataset, product.path)
        yield FlightLine(
            product=product,
            dataset=dataset,
            bands=bands,
            bad=_bad_bands(product, metadata),
            scale=np.asarray(_band_scales(dataset, product, metadata), np.float32),
            offset=np.asarray(dataset.offsets, np.float32),
            gsd_m=_gsd_m(dataset),
        )


def _open_dataset(product: FlightLineProduct) -> Any:
    if product.path.suffix != ".nc":
        return open_raster(str(product.path))
    group = _netcdf_group(product)
    return _open_variable(product.path, group, group)


def _netcdf_group(product: FlightLineProduct) -> str:
    return "radiance" if product.level == "radiance" else "reflectance"


def _open_variable(path: Path, group: str, name: str) -> Any:
    try:
        return open_raster(f'NETCDF:"{path}":/{group}/{name}')
    except SceneError as error:
        raise SceneError(
            f"{path} is damaged, or no netCDF file that holds {group}/{name}"
        ) from error


def _read_metadata(dataset: Any, product: FlightLineProduct) -> BandMetadata | None:
    if product.path.suffix == ".nc":
        return _read_netcdf_bands(product.path, _netcdf_group(product))
    return read_wavelength_tags(dataset, dataset.indexes)


def _read_netcdf_bands(path: Path, group: str) -> BandMetadata:
    centres = _read_vector(path, group, "wavelength")
    widths = _read_vector(path, group, "fwhm")
    if centres.shape != widths.shape:
        raise SceneError(
            f"{path} has {len(centres)} wavelengths and {len(widths)} widths; fetch it again"
        )
    nm = 1.0 if centres.max() > 100 else 1e3  # else micrometres
    centres_nm = (centres * nm).round(4).tolist()
    widths_nm = (widths * nm).round(4).tolist()
    bands = tuple(
        Band(str(number), centre_nm, width_nm)
        for number, (centre_nm, width_nm) in enumerate(zip(centres_nm, widths_nm, strict=True), 1)
    )
    return BandMetadata("netCDF", bands=bands)


def _read_vector(path: Path, group: str, name: str) -> NDArray[np.float64]:
    try:
        with _open_variable(path, group, name) as dataset:
            return dataset.read(1).ravel().astype(float)
    except RasterioError as error:
        raise SceneError(f"{path} is damaged: {group}/{name} cannot be read") from error


def _check_file_size(dataset: Any, path: Path) -> None:
    """GDAL reads what is missing at the end of an ENVI file as zeros."""
    header_bytes = int(dataset.tags(ns="ENVI").get("header_offset", 0))
    count = dataset.count * dataset.height * dataset.width
    expected = header_bytes + count * np.dtype(dataset.dtypes[0]).itemsize
    size = path.stat().st_size
    if size < expected:
        raise SceneError(f"{path} is cut short: {size} of {expected} bytes; fetch it again")


def _bad_bands(product: FlightLineProduct, metadata: BandMetadata) -> tuple[int, ...]:
    """Numbers, from 1, of the bands in water absorption and those that the header marks as bad."""
    bad = {index + 1 for index in metadata.bad}
    if product.level == "surface":
        for first, last in _REFLECTANCE_BAD_BANDS[product.sensor]:
            bad.update(range(first, last + 1))
    return tuple(sorted(bad))


def _gsd_m(dataset: Any) -> float | None:
    transform = dataset.transform
    if dataset.crs is None or not dataset.crs.is_projected or transform.is_identity:
        return None
    return round(hypot(transform.a, transform.d), 1)


def _band_scales(
    dataset: Any, product: FlightLineProduct, metadata: BandMetadata
) -> Sequence[float] | NDArray[np.float64]:
    """The factor (C,) on stored numbers."""
    if any(scale != 1 for scale in dataset.scales):
        return dataset.scales
    if metadata.scale is not None:
        return metadata.scale
    if dataset.dtypes[0].startswith("float"):
        return np.ones(dataset.count)
    if product.level == "surface":
        return np.full(dataset.count, 1e-4)
    return _read_gains(dataset, product)


def _read_gains(dataset: Any, product: FlightLineProduct) -> NDArray[np.float64]:
    """The factor (C,) on 16-bit radiance from the gain file beside it."""
    files = sorted(product.path.parent.glob(f"{product.line}*gain"))
    if not files:
        raise SceneError(
            f"{product.path} holds radiance as {dataset.dtypes[0]}; put its gain file "
            f"{product.line}*gain beside it"
        )
    try:
        gains = np.loadtxt(files[0], usecols=0, max_rows=dataset.count).reshape(dataset.count)
        if not (gains > 0).all():
            raise ValueError("one is not above 0")
    except ValueError as error:
        raise SceneError(
            f"{files[0]} does not hold a factor for each of the {dataset.count} bands ({error})"
        ) from error
    return 1 / gains
