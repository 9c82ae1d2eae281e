"""AVIRIS flight lines: which product a file is, how it is read, and the rules that make tiles of it.

Read are the calibrated radiance (L1B) and surface reflectance (L2, L2A) of three airborne sensors, as JPL and the ORNL
DAAC hand them out:

- AVIRIS-Classic: ENVI, ``f*rdn_*_img``, ``f*_corr_*``, ``f*_rfl_*``; 16-bit radiance is divided by the factors of the
  line's ``*gain`` file, 16-bit reflectance by 10 000;
- AVIRIS-NG: ENVI, ``ang*_rdn_*_img``, ``ang*_corr_*_img``, ``ang*_rfl_*_img``; netCDF, ``ang*_L2A_OE_*_RFL_ORT.nc``;
- AVIRIS-3: ENVI or netCDF, ``AV3*_L1B_RDN_*``, ``AV3*_L2A_OE_*_RFL_ORT`` (DOI 10.3334/ORNLDAAC/2356 and 2357).

Those netCDF files hold ``radiance/radiance`` or ``reflectance/reflectance`` as (band, row, column) beside
``wavelength`` and ``fwhm``. Radiance is in µW cm⁻² nm⁻¹ sr⁻¹.

The rules are those of Hyper-400K (Ji et al., arXiv 2510.27219): a grid of tiles from the top left, the last ones
padded; a pixel with a band above the ceiling is invalid, so is a value that is negative, not finite or fill; invalid
values become 0; a tile with more than a fifth of its values invalid is dropped. Bands in water absorption are 0 in
reflectance; here they are marked bad as well, and neither read nor counted. A pixel with no value above 0 has no data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product as grid
from math import hypot
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from spex.errors import SceneError
from spex.raster.band_metadata import BandMetadata, check_bands
from spex.raster.band_tags import read_wavelength_tags
from spex.raster.pixel_source import open_raster
from spex.sensors import Band, Level, get_sensor

MAX_INVALID = 0.2
CAUSES = ("beyond the edge", "no data", "above the ceiling", "negative")

_FILL = -9999
_CEILING = {"aviris-c": 30.0, "aviris-ng": 100.0, "aviris-3": 100.0}  # of radiance
_REFLECTANCE_CEILING = 2.5
_REFLECTANCE_BAD = {  # first and last band, counted from 1
    "aviris-c": ((104, 114), (153, 168)),
    "aviris-ng": ((1, 1), (195, 211), (281, 319), (421, 425)),
    "aviris-3": ((130, 141), (191, 213)),
}
_LINES = {
    "aviris-c": re.compile(r"f\d{6}t\d{2}p\d{2}r\d{2}", re.IGNORECASE),
    "aviris-ng": re.compile(r"ang\d{8}t\d{6}", re.IGNORECASE),
    "aviris-3": re.compile(r"av3\d{8}t\d{6}", re.IGNORECASE),
}
_LEVELS: dict[str, Level] = {
    "rdn": "radiance",
    "rfl": "surface",
    "refl": "surface",
    "corr": "surface",
}
_COMPANIONS = {
    "glt",
    "igm",
    "obs",
    "loc",
    "unc",
    "h2o",
    "atm",
    "ql",
    "mask",
    "bandmask",
    "lonlat",
    "eph",
}
_GDAL = {
    "GDAL_CACHEMAX": 256,
    "GDAL_NETCDF_BOTTOMUP": "NO",
}  # rows of a netCDF without georeference as stored


@dataclass(frozen=True)
class FlightLineProduct:
    """A file of a flight line; ``line`` is the flight line's name, ``name`` the file's without ``.nc`` or ``.img``."""

    path: Path
    name: str
    line: str
    sensor: str
    level: Level


def identify(path: Path) -> FlightLineProduct | None:
    """What a file is by its name; None for what is delivered beside the pixels (lookup tables, observation angles).

    Raises:
        SceneError: not a file of an AVIRIS flight line.
    """
    for sensor, pattern in _LINES.items():
        if match := pattern.match(path.name):
            name = path.name.removesuffix(".nc").removesuffix(".img")
            words = re.split(r"[_.]", name[match.end() :].lower())
            level = next((_LEVELS[word] for word in words if word in _LEVELS), None)
            companion = level is None or _COMPANIONS.intersection(words)
            return None if companion else FlightLineProduct(path, name, match[0], sensor, level)
    examples = "f130329t01p00r06, ang20170706t180635 or AV320231005t181518"
    raise SceneError(f"{path} is no AVIRIS flight line by its name; those begin like {examples}")


def find(inputs: Sequence[Path]) -> tuple[list[FlightLineProduct], dict[str, str]]:
    """The products among files and in folders, by name, and what is wrong with the other rasters there."""
    found: dict[str, FlightLineProduct] = {}
    wrong: dict[str, str] = {}
    for path in (
        file for given in inputs for file in (_rasters(given) if given.is_dir() else [given])
    ):
        try:
            if not path.is_file():
                raise SceneError(f"{path}: no such file")
            item = identify(path)
            if item is None and path in inputs:
                raise SceneError(
                    f"{path} holds neither radiance (rdn) nor reflectance (rfl, corr) by its name"
                )
            if item and found.setdefault(item.name, item).path != path:
                raise SceneError(
                    f"{path}: a file of this name is already among the inputs, {found[item.name].path}"
                )
        except SceneError as error:
            wrong[str(path)] = str(error)
    return [found[name] for name in sorted(found)], wrong


def _rasters(folder: Path) -> Iterator[Path]:
    """Files in netCDF, and those with an ENVI header beside them."""
    for path in sorted(folder.rglob("*")):
        headers = (Path(f"{path}.hdr"), path.with_suffix(".hdr"))
        if (
            path.is_file()
            and path.suffix != ".hdr"
            and (path.suffix == ".nc" or any(h.is_file() for h in headers))
        ):
            yield path


@dataclass(frozen=True)
class Cut:
    """One tile: ``values`` float32 (C, size, size), 0 where invalid; ``valid`` pixels (size, size).

    ``lost`` is the share of its values that each of ``CAUSES`` made invalid, among the bands that are not bad.
    """

    row: int
    col: int
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    lost: tuple[float, ...]

    @property
    def rejected(self) -> str | None:
        """The cause that most of its invalid values have, None for a tile to keep."""
        return CAUSES[int(np.argmax(self.lost))] if sum(self.lost) > MAX_INVALID else None


@dataclass(frozen=True)
class FlightLine:
    """An open flight line; values are stored numbers x ``scale`` (C,) + ``offset``, ``bad`` bands counted from 1."""

    product: FlightLineProduct
    dataset: Any
    bands: tuple[Band, ...]
    bad: tuple[int, ...]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    gsd_m: float | None

    @property
    def georeferenced(self) -> bool:
        """Whether the file says where its pixels lie."""
        return self.dataset.crs is not None and not self.dataset.transform.is_identity

    def cuts(self, size: int) -> Iterator[Cut]:
        """Every tile of the grid, row by row; one is in memory at a time.

        Raises:
            SceneError: a part of the file is damaged.
        """
        good = [i for i in range(1, len(self.bands) + 1) if i not in self.bad]
        height, width = self.dataset.shape
        for row, col in grid(range(0, height, size), range(0, width, size)):
            window = Window(col, row, min(size, width - col), min(size, height - row))
            try:
                stored = self.dataset.read(good, window=window)
            except RasterioError as error:
                raise SceneError(
                    f"{self.product.path} is damaged: the tile at row {row}, column {col} cannot be read ({error})"
                ) from error
            yield self._cut(stored, np.array(good) - 1, row, col, size)

    def _cut(
        self, stored: NDArray[Any], good: NDArray[np.int_], row: int, col: int, size: int
    ) -> Cut:
        missing = (stored == _FILL) | ~np.isfinite(stored)
        if self.dataset.nodata is not None:
            missing |= stored == self.dataset.nodata
        values = stored.astype(np.float32)
        values *= self.scale[good, None, None]
        values += self.offset[good, None, None]
        over = ((values > _ceiling(self.product)) & ~missing).any(axis=0)
        negative = (values < 0) & ~missing
        values[missing | negative] = 0
        valid = (values > 0).any(axis=0) & ~over
        values[:, ~valid] = 0
        _, height, width = values.shape
        empty = height * width - np.count_nonzero(valid | over)
        lost = (
            size * size - height * width,
            empty + np.count_nonzero(missing[:, valid]) / len(good),
            np.count_nonzero(over),
            np.count_nonzero(negative[:, valid]) / len(good),
        )
        padded = np.zeros((len(self.bands), size, size), np.float32)
        padded[good, :height, :width] = values
        return Cut(
            row,
            col,
            padded,
            np.pad(valid, ((0, size - height), (0, size - width))),
            tuple(float(n) / size**2 for n in lost),
        )


@contextmanager
def open_line(product: FlightLineProduct) -> Iterator[FlightLine]:
    """Open a flight line for reading.

    Raises:
        SceneError: not readable, cut short, not as many bands as the sensor delivers, or its scale is not known.
        BandError: wavelengths are missing or impossible.
    """
    with rasterio.Env(**_GDAL):
        group = "radiance" if product.level == "radiance" else "reflectance"
        netcdf = product.path.suffix == ".nc"
        with (
            _variable(product.path, group, group)
            if netcdf
            else open_raster(str(product.path)) as dataset
        ):
            wanted = len(get_sensor(product.sensor).bands)
            if dataset.count != wanted:
                raise SceneError(
                    f"{product.path} has {dataset.count} bands, {product.sensor} delivers {wanted}; it cannot be used"
                )
            said = (
                _netcdf_bands(product.path, group)
                if netcdf
                else read_wavelength_tags(dataset, dataset.indexes)
            )
            if said is None or said.bands is None:
                raise SceneError(
                    f"{product.path}: its header states no wavelengths; is the .hdr file the one delivered with it?"
                )
            bands = tuple(
                Band(str(i), band.wavelength_nm, band.fwhm_nm)
                for i, band in enumerate(said.bands, 1)
            )
            check_bands(bands, str(product.path))
            if dataset.driver == "ENVI":
                _whole(dataset, product.path)
            ranges = _REFLECTANCE_BAD[product.sensor] if product.level == "surface" else ()
            bad = {i for first, last in ranges for i in range(first, last + 1)} | {
                i + 1 for i in said.bad
            }
            step = dataset.transform
            metres = dataset.crs is not None and dataset.crs.is_projected and not step.is_identity
            yield FlightLine(
                product,
                dataset,
                bands,
                tuple(sorted(bad)),
                np.asarray(_scale(dataset, product, said), np.float32),
                np.asarray(dataset.offsets, np.float32),
                round(hypot(step.a, step.d), 1) if metres else None,
            )


def _variable(path: Path, group: str, name: str) -> Any:
    try:
        return open_raster(f'NETCDF:"{path}":/{group}/{name}')
    except SceneError as error:
        raise SceneError(
            f"{path} is damaged, or no netCDF file that holds {group}/{name}"
        ) from error


def _netcdf_bands(path: Path, group: str) -> BandMetadata:
    def read(name: str) -> NDArray[np.float64]:
        try:
            with _variable(path, group, name) as dataset:
                return dataset.read(1).ravel().astype(float)
        except RasterioError as error:
            raise SceneError(f"{path} is damaged: {group}/{name} cannot be read") from error

    centres, widths = read("wavelength"), read("fwhm")
    if centres.shape != widths.shape:
        raise SceneError(
            f"{path}: {len(centres)} wavelengths, {len(widths)} widths; the file is not as delivered"
        )
    nm = 1.0 if centres.max() > 100 else 1e3  # micrometres
    pairs = zip((centres * nm).round(4).tolist(), (widths * nm).round(4).tolist(), strict=True)
    return BandMetadata(
        "netCDF", bands=tuple(Band(str(i), *pair) for i, pair in enumerate(pairs, 1))
    )


def _whole(dataset: Any, path: Path) -> None:
    """GDAL reads what is missing at the end of an ENVI file as zeros."""
    numbers = dataset.count * dataset.height * dataset.width
    wanted = (
        int(dataset.tags(ns="ENVI").get("header_offset", 0))
        + numbers * np.dtype(dataset.dtypes[0]).itemsize
    )
    if path.stat().st_size < wanted:
        raise SceneError(
            f"{path} is cut short: {path.stat().st_size} of {wanted} bytes; fetch it again"
        )


def _ceiling(product: FlightLineProduct) -> float:
    return _CEILING[product.sensor] if product.level == "radiance" else _REFLECTANCE_CEILING


def _scale(
    dataset: Any, product: FlightLineProduct, said: BandMetadata
) -> Sequence[float] | NDArray[np.float64]:
    """What stored numbers are multiplied with, per band."""
    if any(scale != 1 for scale in dataset.scales):
        return dataset.scales
    if said.scale is not None:
        return said.scale
    if dataset.dtypes[0].startswith("float"):
        return np.ones(dataset.count)
    if product.level == "surface":
        return np.full(dataset.count, 1e-4)
    gains = sorted(product.path.parent.glob(f"{product.line}*gain"))
    if not gains:
        raise SceneError(
            f"{product.path} holds radiance as {dataset.dtypes[0]}; put its gain file {product.line}*gain beside it"
        )
    try:
        factors = np.loadtxt(gains[0], usecols=0, max_rows=dataset.count).reshape(dataset.count)
        if not (factors > 0).all():
            raise ValueError("one is not above 0")
    except ValueError as error:
        raise SceneError(
            f"{gains[0]}: not a factor for each of the {dataset.count} bands ({error})"
        ) from error
    return 1 / factors
