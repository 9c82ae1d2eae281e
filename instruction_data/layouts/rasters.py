"""What every reader of a layout does: open a raster, name its bands, and join pixels and truth into a chip."""

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
from spex.sensors import get_sensor

CHIP = 256
"""Side in pixels of the chips that large images are cut into."""


@dataclass(frozen=True)
class LayoutRaster:
    """An opened raster: values (C, h, w) in their own type, and where they lie (None where the file does not say)."""

    path: Path
    values: NDArray[Any]
    nodata: float | None = None
    crs: Any = None
    transform: Any = None
    names: tuple[str | None, ...] = ()


@contextmanager
def opened(path: Path) -> Iterator[DatasetReader]:
    """Open a raster for reading; whatever is wrong with the file is said in one line.

    Raises:
        SceneError: the file is missing, cut short or no raster.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", NotGeoreferencedWarning
            )  # many published chips have no place
            # Without the option a JPEG that is cut short reads as grey.
            with rasterio.Env(GDAL_ERROR_ON_LIBJPEG_WARNING=True), rasterio.open(path) as source:
                yield source
    except (RasterioIOError, IndexError) as error:
        reason = " ".join(str(error.__cause__ or error).replace(f"{path}:", "").split())
        raise SceneError(
            f"{path} cannot be read ({reason}); fetch the file again or take it out"
        ) from error


def read(path: Path, bands: Sequence[int] | None = None) -> LayoutRaster:
    """Read the bands (1-based; None: all) of a raster.

    Raises:
        SceneError: the file is missing, cut short or no raster.
    """
    with opened(path) as source:
        values, transform = (
            source.read(bands and list(bands)),
            source.transform if source.crs else None,
        )
        return LayoutRaster(path, values, source.nodata, source.crs, transform, source.descriptions)


def read_strip(path: Path, tiles: Sequence[Tile]) -> list[LayoutRaster]:
    """Read a row of chips of a large raster in one go: compressed files are stored by whole rows.

    Raises:
        SceneError: the file is missing, cut short or no raster.
    """
    row, height, width = tiles[0].row, tiles[0].height, tiles[-1].col + tiles[-1].width
    with opened(path) as source:
        values, names = source.read(window=Window(0, row, width, height)), source.descriptions
        place = source.crs and (source.transform @ Affine.translation(0, row))
        return [
            LayoutRaster(
                path, values[:, :, tile.col : tile.col + tile.width], source.nodata, source.crs,
                place and place @ Affine.translation(tile.col, 0), names,
            )
            for tile in tiles
        ]  # fmt: skip


def footprint(path: Path) -> Box | None:
    """West, south, east, north of a raster in degrees, from its header.

    None without a georeference, and for a file that does not open: reading the item says what is wrong with it.
    """
    with suppress(SceneError), opened(path) as source:
        if source.crs:
            return transform_bounds(source.crs, "EPSG:4326", *source.bounds)
    return None


def strips(path: Path) -> list[tuple[Tile, ...]]:
    """The chips of a large raster, row by row, so that an item is one row of them and not ten thousand.

    A file that does not open is one strip, whose reading says what is wrong with it.
    """
    height = width = CHIP
    with suppress(SceneError), opened(path) as source:
        height, width = source.shape
    rows: dict[int, list[Tile]] = {}
    for tile in plan_tiles(height, width, CHIP, 0):
        rows.setdefault(tile.row, []).append(tile)
    return [tuple(tiles) for tiles in rows.values()]


def sensor_bands(sensor: str, names: Sequence[str] = ()) -> tuple[BandRef, ...]:
    """Bands of a sensor of the table: those called ``names`` in that order, or all of them."""
    known = {band.name: band for band in get_sensor(sensor).bands}
    chosen = [known[name] for name in names] or known.values()
    return tuple(
        BandRef(name=b.name, wavelength_nm=b.wavelength_nm, fwhm_nm=b.fwhm_nm) for b in chosen
    )


def hide_unknown(truth: Truth, unknown: Mask) -> Truth:
    """The truth with nothing known where ``unknown`` is set."""
    return {name: (mask & ~unknown, other | unknown) for name, (mask, other) in truth.items()}


def labelled_chips(
    image: LayoutRaster, truth: Truth, *, zero_is_gap: bool = False, **about: Any
) -> Iterator[Chip]:
    """The chip of an image and its truth; none if nothing at all is known of its pixels.

    Args:
        image: the pixels.
        truth: what the labels say, on the same grid.
        zero_is_gap: where all bands are 0 nothing was measured; a single band may well be 0, over water for example.
        about: the other fields of ``Chip``.

    Raises:
        RecordError: the bands or the truth do not fit the pixels.
    """
    count, *shape = image.values.shape
    if len(about["bands"]) != count:
        raise RecordError(
            f"{image.path} has {count} bands, its layout {len(about['bands'])}; fetch the file again"
        )
    odd = {mask.shape for mask, _ in truth.values()} - {tuple(shape)}
    if odd:
        height, width = min(odd)
        raise RecordError(
            f"{image.path} is {shape[0]} x {shape[1]} pixels, its label {height} x {width}; fetch both again"
        )
    if zero_is_gap:
        valid: Mask = np.logical_or.reduce(image.values != 0, axis=0)
        values, nodata = mark_nodata(image.values, valid)
        image, truth = replace(image, values=values, nodata=nodata), hide_unknown(truth, ~valid)
    if complete_truth(truth):
        yield Chip(
            values=image.values,
            truth=truth,
            nodata=image.nodata,
            crs=image.crs,
            transform=image.transform,
            **about,
        )
