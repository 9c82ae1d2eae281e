"""Which product of an AVIRIS flight line a file is, by its name as JPL and the ORNL DAAC give it.

Products are the calibrated radiance (L1B) and the surface reflectance (L2, L2A) of three sensors:

- AVIRIS-Classic: ENVI, ``f*rdn_*_img``, ``f*_corr_*``, ``f*_rfl_*``;
- AVIRIS-NG: ENVI, ``ang*_rdn_*_img``, ``ang*_corr_*_img``, ``ang*_rfl_*_img``; netCDF,
  ``ang*_L2A_OE_*_RFL_ORT.nc``;
- AVIRIS-3: ENVI or netCDF, ``AV3*_L1B_RDN_*``, ``AV3*_L2A_OE_*_RFL_ORT``
  (DOI 10.3334/ORNLDAAC/2356 and 2357).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spex.errors import SceneError
from spex.sensors import Level

_LINE_NAMES = {
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
    "glt", "igm", "obs", "loc", "unc", "h2o", "atm", "ql", "mask", "bandmask", "lonlat", "eph",
}  # fmt: skip
"""Words in the names of files that are delivered beside the pixels."""


@dataclass(frozen=True)
class FlightLineProduct:
    """A file of a flight line.

    Attributes:
        path: the file.
        name: name of the file without ``.nc`` or ``.img``.
        line: name of the flight line.
        sensor: key of the sensor.
        level: radiance or surface.
    """

    path: Path
    name: str
    line: str
    sensor: str
    level: Level


def identify_product(path: Path) -> FlightLineProduct | None:
    """The product of a file by its name.

    Returns:
        None for a file delivered beside the pixels (lookup tables, observation angles).

    Raises:
        SceneError: not a file of an AVIRIS flight line.
    """
    for sensor, pattern in _LINE_NAMES.items():
        match = pattern.match(path.name)
        if match:
            name = path.name.removesuffix(".nc").removesuffix(".img")
            words = re.split(r"[_.]", name[match.end() :].lower())
            level = next((_LEVELS[word] for word in words if word in _LEVELS), None)
            if level is None or _COMPANIONS.intersection(words):
                return None
            return FlightLineProduct(path, name, match[0], sensor, level)
    raise SceneError(
        f"{path} does not have the name of an AVIRIS flight line; these begin like "
        "f130329t01p00r06, ang20170706t180635 or AV320231005t181518"
    )


def find_products(inputs: Sequence[Path]) -> tuple[list[FlightLineProduct], dict[str, str]]:
    """The products among files and in folders.

    Args:
        inputs: files, and folders that are searched for netCDF and ENVI files.

    Returns:
        The products by name, and for every raster that is not used its path and the reason.
    """
    products: dict[str, FlightLineProduct] = {}
    problems: dict[str, str] = {}
    for path in _list_files(inputs):
        try:
            product = _product_of(path, named=path in inputs)
            if product is None:
                continue
            first = products.setdefault(product.name, product)
            if first.path != path:
                raise SceneError(
                    f"{path}: a file of this name is already among the inputs, {first.path}"
                )
        except SceneError as error:
            problems[str(path)] = str(error)
    return [products[name] for name in sorted(products)], problems


def _product_of(path: Path, *, named: bool) -> FlightLineProduct | None:
    """The product of a file; a companion file is an error if it was ``named`` as an input."""
    if not path.is_file():
        raise SceneError(f"{path}: no such file")
    product = identify_product(path)
    if product is None and named:
        raise SceneError(
            f"{path} has the name of neither radiance (rdn) nor reflectance (rfl, corr)"
        )
    return product


def _list_files(inputs: Sequence[Path]) -> Iterator[Path]:
    for path in inputs:
        if path.is_dir():
            yield from _list_rasters(path)
        else:
            yield path


def _list_rasters(folder: Path) -> Iterator[Path]:
    """Files in netCDF, and files with an ENVI header beside them."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix == ".hdr":
            continue
        headers = (Path(f"{path}.hdr"), path.with_suffix(".hdr"))
        if path.suffix == ".nc" or any(header.is_file() for header in headers):
            yield path
