"""What every reader of a layout does: open a raster, name its bands, and join pixels and truth into a chip."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from instruction_data.chips import Chip, Truth, complete
from spex.errors import RecordError, SceneError
from spex.records import BandRef
from spex.sensors import Band, get_sensor


@dataclass(frozen=True)
class Raster:
    """An opened raster: values (C, h, w) in their own type, and where they lie (None where the file does not say)."""

    path: Path
    values: NDArray[Any]
    nodata: float | None = None
    crs: Any = None
    transform: Any = None
    names: tuple[str | None, ...] = ()


def read(path: Path, bands: Sequence[int] | None = None) -> Raster:
    """Read the bands (1-based; None: all) of a raster.

    Raises:
        SceneError: the file is missing, cut short or no raster.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # many published chips have no place
            with rasterio.open(path) as source:
                values, names = source.read(bands and list(bands)), source.descriptions
                transform = source.transform if source.crs else None
                return Raster(path, values, source.nodata, source.crs, transform, names)
    except (RasterioIOError, IndexError) as error:
        raise SceneError(f"{path} cannot be read ({error}); fetch the file again or take it out") from error


def sensor_bands(sensor: str, names: Sequence[str] = ()) -> tuple[BandRef, ...]:
    """Bands of a sensor of the table: those called ``names`` in that order, or all of them."""
    known = get_sensor(sensor)
    chosen = [_named(known.find(name), sensor, name) for name in names] or known.bands
    return tuple(BandRef(name=b.name, wavelength_nm=b.wavelength_nm, fwhm_nm=b.fwhm_nm) for b in chosen)


def _named(band: Band | None, sensor: str, name: str) -> Band:
    if band is None:
        raise RecordError(f"{sensor} has no band called {name!r}; see spex/data/sensors.json")
    return band


def chip(image: Raster, truth: Truth, **about: Any) -> Chip:
    """The chip of an image and its truth; ``about`` are the other fields of ``Chip``.

    Raises:
        RecordError: the bands or the truth do not fit the pixels, or the labels say nothing at all about the image.
    """
    count, *shape = image.values.shape
    if len(about["bands"]) != count:
        raise RecordError(f"{image.path} has {count} bands, its layout {len(about['bands'])}; fetch the file again")
    odd = {mask.shape for mask, _ in truth.values()} - {tuple(shape)}
    if odd:
        height, width = min(odd)
        raise RecordError(
            f"{image.path} is {shape[0]} x {shape[1]} pixels, its label {height} x {width}; fetch both again"
        )
    if not complete(truth):
        raise RecordError(f"the label of {image.path} is unknown everywhere; take the scene out")
    return Chip(
        values=image.values, truth=truth,
        **{"nodata": image.nodata, "crs": image.crs, "transform": image.transform} | about,
    )  # fmt: skip
