"""What all readers of layouts share: open rasters, name bands, join pixels and truth to chips."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from instruction_data.sources.chips import Box, Chip, Mask, Truth, complete_truth
from instruction_data.sources.windows import mark_nodata
from spex.errors import RecordError, SceneError
from spex.raster.tiles import Tile, plan_tiles
from spex.records import BandRef
from spex.sensors import Level, get_sensor

CHIP = 256
"""Side in pixels of the chips that large images are cut into."""


@dataclass(frozen=True)
class LayoutRaster:
    """Pixels of a raster file.

    Args:
        path: the file.
        values: pixel values (C, h, w) in the type they are stored in.
        nodata: the value of pixels without data.
        crs: coordinate reference system; None without georeference.
        transform: affine transform; None without georeference.
        names: band names of the file.
    """

    path: Path
    values: NDArray[Any]
    nodata: float | None = None
    crs: Any = None
    transform: Any = None
    names: tuple[str | None, ...] = ()


@contextmanager
def open_dataset(path: Path) -> Iterator[DatasetReader]:
    """Open a raster for reading.

    Raises:
        SceneError: the file is missing, truncated or no raster.
    """
    try:
        with warnings.catch_warnings():
            # Many published chips have no georeference.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            # Without the option a truncated JPEG reads as grey.
            with rasterio.Env(GDAL_ERROR_ON_LIBJPEG_WARNING=True), rasterio.open(path) as dataset:
                yield dataset
    except (RasterioIOError, IndexError) as error:
        reason = " ".join(str(error.__cause__ or error).replace(f"{path}:", "").split())
        raise SceneError(
            f"{path} cannot be read ({reason}); download the file again or remove it"
        ) from error


def read(path: Path, bands: Sequence[int] | None = None) -> LayoutRaster:
    """Read a raster.

    Args:
        path: the file.
        bands: band numbers from 1; None: all.

    Raises:
        SceneError: the file is missing, truncated or no raster.
    """
    with open_dataset(path) as dataset:
        return LayoutRaster(
            path=path,
            values=dataset.read(bands and list(bands)),
            nodata=dataset.nodata,
            crs=dataset.crs,
            transform=dataset.transform if dataset.crs else None,
            names=dataset.descriptions,
        )


def read_strip(path: Path, tiles: Sequence[Tile]) -> list[LayoutRaster]:
    """Read a row of chips of a large raster at once: compressed files are stored by whole rows.

    Args:
        path: the file.
        tiles: the chips of one row, from left to right.

    Raises:
        SceneError: the file is missing, truncated or no raster.
    """
    first = tiles[0]
    width = tiles[-1].col + tiles[-1].width
    with open_dataset(path) as dataset:
        values = dataset.read(window=Window(0, first.row, width, first.height))
        transform = None
        if dataset.crs:
            transform = dataset.transform @ Affine.translation(0, first.row)
        rasters: list[LayoutRaster] = []
        for tile in tiles:
            raster = LayoutRaster(
                path=path,
                values=values[:, :, tile.col : tile.col + tile.width],
                nodata=dataset.nodata,
                crs=dataset.crs,
                transform=transform and transform @ Affine.translation(tile.col, 0),
                names=dataset.descriptions,
            )
            rasters.append(raster)
        return rasters


def footprint(path: Path) -> Box | None:
    """Extent of a raster in degrees, from its header.

    None without a georeference, and for an unreadable file: reading the item states the reason.
    """
    with suppress(SceneError), open_dataset(path) as dataset:
        if dataset.crs:
            return transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
    return None


def strips(path: Path) -> list[tuple[Tile, ...]]:
    """The chips of a large raster by row, so that an item is one row and not ten thousand chips.

    An unreadable file is one strip: reading it states the reason.
    """
    height = width = CHIP
    with suppress(SceneError), open_dataset(path) as dataset:
        height, width = dataset.shape
    rows: dict[int, list[Tile]] = {}
    for tile in plan_tiles(height, width, CHIP, 0):
        rows.setdefault(tile.row, []).append(tile)
    return [tuple(tiles) for tiles in rows.values()]


def sensor_bands(sensor: str, names: Sequence[str] = ()) -> tuple[BandRef, ...]:
    """Bands of a sensor in the sensor table: those called ``names`` in that order, or all."""
    bands_by_name = {band.name: band for band in get_sensor(sensor).bands}
    return tuple(
        BandRef(name=band.name, wavelength_nm=band.wavelength_nm, fwhm_nm=band.fwhm_nm)
        for band in (bands_by_name[name] for name in names or bands_by_name)
    )


def hide_unknown(truth: Truth, hidden: Mask) -> Truth:
    """The truth with all classes unknown where ``hidden`` (h, w) is True."""
    return {name: (mask & ~hidden, unknown | hidden) for name, (mask, unknown) in truth.items()}


def labelled_chips(
    image: LayoutRaster,
    truth: Truth,
    *,
    id: str,
    sensor: str,
    bands: tuple[BandRef, ...],
    level: Level,
    labels: str,
    gsd_m: float,
    scale: float = 1.0,
    zero_is_gap: bool = False,
) -> Iterator[Chip]:
    """The chip of an image and its truth; none if nothing is known of its pixels.

    Args:
        image: the pixels.
        truth: what the labels state, on the same grid.
        id: id of the chip.
        sensor: name of the sensor.
        bands: the bands in order.
        level: processing level.
        labels: in words, where the truth comes from.
        gsd_m: pixel width in metres.
        scale: reflectance = value * scale.
        zero_is_gap: pixels that are 0 in all bands were not measured. A single band may well be 0,
            for example over water.

    Raises:
        RecordError: the bands or the truth do not fit the pixels.
    """
    _check_fit(image, truth, bands)
    if zero_is_gap:
        valid: Mask = np.logical_or.reduce(image.values != 0, axis=0)
        values, nodata = mark_nodata(image.values, valid)
        image = replace(image, values=values, nodata=nodata)
        truth = hide_unknown(truth, ~valid)
    if complete_truth(truth):
        yield Chip(
            id=id,
            sensor=sensor,
            values=image.values,
            bands=bands,
            level=level,
            truth=truth,
            labels=labels,
            gsd_m=gsd_m,
            scale=scale,
            nodata=image.nodata,
            crs=image.crs,
            transform=image.transform,
        )


def _check_fit(image: LayoutRaster, truth: Truth, bands: tuple[BandRef, ...]) -> None:
    count, height, width = image.values.shape
    if len(bands) != count:
        raise RecordError(
            f"{image.path} has {count} bands, its layout {len(bands)}; download the file again"
        )
    other_shapes = {mask.shape for mask, _ in truth.values()} - {(height, width)}
    if other_shapes:
        label_height, label_width = min(other_shapes)
        raise RecordError(
            f"{image.path} is {height} x {width} pixels, its label {label_height} x {label_width}; "
            "download both again"
        )
