"""A scene: one raster as reflectance, with its bands, validity, georeference and pixel areas.

A scene never holds its pixels: ``read`` and ``overview`` read what they return and no more, however
large the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.windows import Window

from spex.errors import BandError, SceneError
from spex.raster.area import row_areas, row_pixel_sizes
from spex.raster.band_json import BandsArgument
from spex.raster.band_metadata import check_bands
from spex.raster.band_sources import read_band_metadata
from spex.raster.pixel_source import ArraySource, BoolArray, FileSource, PixelSource, open_raster
from spex.raster.radiometry import decide_radiometry, sample_pixels
from spex.raster.usable_bands import check_raster, find_spectral_bands, find_usable_bands
from spex.sensors import Band, Level, Sensor

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pixels:
    """Calibrated pixels of a window.

    Attributes:
        values: (C, h, w), reflectance, 0 where not valid.
        valid: (h, w).
        bands: of the first axis.
        level: processing level.
        gsd_m: size of these pixels in metres; they may be larger than those of the scene.
        family: of the sensor, one of ``spex.sensors.FAMILIES``; empty where unknown.
    """

    values: FloatArray
    valid: BoolArray
    bands: tuple[Band, ...]
    level: Level
    gsd_m: float | None
    family: str = ""


class Scene:
    """A raster with its bands, radiometric scale, validity and georeference.

    Make one with ``Scene.open`` or ``Scene.from_array``. A scene can be pickled, and read from
    several threads and processes.

    Attributes:
        path: of the raster, or the name of an array.
        bands: that are used, in file order.
        sensor: None where unknown.
        level: processing level.
        scale: per band (C,), reflectance = stored number x scale + offset.
        offset: per band (C,).
        height: rows.
        width: columns.
        crs: None without a georeference.
        transform: from (column, row) to coordinates.
        gsd_m: size of a pixel in metres, None where unknown.
        warnings: what the user should know about how the raster was read.
    """

    def __init__(
        self,
        source: PixelSource,
        *,
        path: str,
        bands: tuple[Band, ...],
        sensor: Sensor | None,
        level: Level,
        scale: npt.NDArray[np.float64],
        offset: npt.NDArray[np.float64],
        size: tuple[int, int],
        crs: CRS | None,
        transform: Affine,
        gsd_m: float | None,
        notes: Sequence[str] = (),
    ) -> None:
        self._source = source
        self.path = path
        self.bands = bands
        self.sensor = sensor
        self.level = level
        self.scale = scale
        self.offset = offset
        self.height, self.width = size
        self.crs = crs
        self.transform = transform
        self.warnings = list(notes)
        self.gsd_m = gsd_m
        if crs is not None:
            middle_row = row_areas(crs, transform, self.height, self.width)[self.height // 2]
            self.gsd_m = float(math.sqrt(middle_row))

    def __repr__(self) -> str:
        return f"Scene({self.path!r}, {len(self.bands)} bands, {self.height} x {self.width})"

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        sensor: str | None = None,
        bands: BandsArgument | None = None,
        gsd_m: float | None = None,
    ) -> Scene:
        """Open a raster file or URL as a scene.

        Args:
            path: anything GDAL reads.
            sensor: name of a sensor of the table; overrides what the file states.
            bands: inline text ``"B02=490/65,B03=560/35"``, the path of a JSON file, or a mapping of
                that JSON.
            gsd_m: size of a pixel in metres, for a scene without a georeference.

        Raises:
            SceneError: not readable as a raster.
            BandError: the bands are unknown, contradictory or impossible.
        """
        name = os.fspath(path)
        with open_raster(name) as dataset:
            check_raster(dataset, name)
            try:
                sample = sample_pixels(dataset)
            except RasterioError as error:
                raise SceneError(
                    f"{name} cannot be read; the file is damaged or cut short ({error})"
                ) from error
            spectral, notes = find_spectral_bands(dataset, sample, name)
            metadata = read_band_metadata(dataset, name, spectral, sensor=sensor, bands=bands)
            spectral_sample = sample.of_bands([index - 1 for index in spectral])
            usable, band_notes = find_usable_bands(metadata, spectral_sample)
            metadata = metadata.of_bands(usable)
            indexes = [spectral[position] for position in usable]
            radiometry = decide_radiometry(
                metadata, dataset.dtypes[indexes[0] - 1], spectral_sample.of_bands(usable)
            )
            if metadata.note:
                notes.append(metadata.note)
            notes += [*band_notes, *radiometry.notes]
            gsd_m = gsd_m or metadata.gsd_m
            crs, transform = dataset.crs, dataset.transform
            if crs is None or transform.is_identity:
                crs, transform = None, Affine.identity()
                notes.append(_no_georeference(gsd_m))
            alpha = next((index for index in dataset.indexes if index not in spectral), None)
            assert metadata.bands is not None
            return cls(
                FileSource(name, indexes, alpha=alpha),
                path=name,
                bands=metadata.bands,
                sensor=metadata.sensor,
                level=radiometry.level,
                scale=radiometry.scale,
                offset=radiometry.offset,
                size=(dataset.height, dataset.width),
                crs=crs,
                transform=transform,
                gsd_m=gsd_m,
                notes=notes,
            )

    @classmethod
    def from_array(
        cls,
        values: npt.NDArray[Any],
        bands: Sequence[Band],
        *,
        valid: BoolArray | None = None,
        crs: Any = None,
        transform: Affine | None = None,
        gsd_m: float | None = None,
        level: Level = "surface",
        name: str = "array",
    ) -> Scene:
        """A scene of calibrated pixels in memory.

        Args:
            values: (C, h, w), reflectance; pixels that are not finite are invalid.
            bands: of the first axis.
            valid: (h, w), all pixels if None.
            crs: anything that rasterio takes as a CRS.
            transform: from (column, row) to coordinates.
            gsd_m: size of a pixel in metres, for an array without a georeference.
            level: processing level.
            name: for messages.

        Raises:
            BandError: the number of bands is not that of the array, or a band is impossible.
        """
        if values.ndim != 3 or len(values) != len(bands):
            raise BandError(
                f"{name}: {len(bands)} bands for an array of shape {values.shape}; "
                "the array must be (band, row, column)"
            )
        check_bands(tuple(bands), name)
        mask = (
            np.ones(values.shape[1:], dtype=bool)
            if valid is None
            else np.asarray(valid, dtype=bool)
        )
        mask = mask & np.isfinite(values).all(axis=0)
        ones = np.ones(len(values))
        return cls(
            ArraySource(values, mask),
            path=name,
            bands=tuple(bands),
            sensor=None,
            level=level,
            scale=ones,
            offset=np.zeros_like(ones),
            size=(values.shape[1], values.shape[2]),
            crs=None if crs is None else CRS.from_user_input(crs),
            transform=transform or Affine.identity(),
            gsd_m=gsd_m,
        )

    def read(
        self, window: Window | None = None, out_shape: tuple[int, int] | None = None
    ) -> Pixels:
        """The calibrated pixels of a window.

        Args:
            window: inside the scene; all of the scene if None.
            out_shape: rows and columns of the result; those of the window if None.

        Raises:
            SceneError: the window is not inside the scene, or its part of the file is damaged.
        """
        window = window or Window(0, 0, self.width, self.height)
        starts_inside = window.col_off >= 0 and window.row_off >= 0
        last_col = window.col_off + window.width
        last_row = window.row_off + window.height
        if not starts_inside or last_col > self.width or last_row > self.height:
            raise SceneError(
                f"{window} is not inside the scene of {self.height} rows and {self.width} columns"
            )
        shape = out_shape or (int(window.height), int(window.width))
        stored, valid = self._source.read(window, shape)
        values = np.empty(stored.shape, dtype=np.float32)
        for band, band_values in enumerate(values):
            scale = np.float32(self.scale[band])
            np.multiply(stored[band], scale, out=band_values, casting="unsafe")
            if self.offset[band]:
                band_values += np.float32(self.offset[band])
        if not valid.all():
            values[:, ~valid] = 0
        factor = math.sqrt(window.height * window.width / (shape[0] * shape[1]))
        return Pixels(
            values,
            valid,
            self.bands,
            self.level,
            self.gsd_m and self.gsd_m * factor,
            self.sensor.family if self.sensor else "",
        )

    def read_stored(self, window: Window) -> tuple[npt.NDArray[Any], BoolArray]:
        """The numbers of a window as stored; reflectance is ``number * scale + offset``.

        Args:
            window: inside the scene.

        Returns:
            Stored numbers (C, h, w), and where they are valid (h, w).

        Raises:
            SceneError: this part of the file is damaged.
        """
        return self._source.read(window, (int(window.height), int(window.width)))

    def overview(self, max_size: int = 1024) -> Pixels:
        """The whole scene at a reduced size; averages of its pixels where that is affordable.

        Args:
            max_size: pixels of the longer side at most; the aspect is kept.

        Raises:
            SceneError: no pixel of the scene is valid.
        """
        factor = max(1.0, max(self.height, self.width) / max_size)
        shape = (max(1, round(self.height / factor)), max(1, round(self.width / factor)))
        pixels = self.read(out_shape=shape)
        if not pixels.valid.any():
            raise SceneError(
                f"{self.path} has no valid pixel: every pixel is nodata, masked or not finite; "
                "check the nodata value of the file"
            )
        return pixels

    def pixel_area_m2(self) -> npt.NDArray[np.float64] | None:
        """Ground area of a pixel of each row (height,), None without a CRS and a GSD."""
        if self.crs is not None:
            return row_areas(self.crs, self.transform, self.height, self.width)
        return None if self.gsd_m is None else np.full(self.height, self.gsd_m**2)

    def pixel_sizes_m(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Ground width and height of a pixel of each row, (height,); None without CRS and GSD."""
        if self.crs is not None:
            return row_pixel_sizes(self.crs, self.transform, self.height, self.width)
        if self.gsd_m is None:
            return None
        sizes = np.full(self.height, self.gsd_m)
        return sizes, sizes


def _no_georeference(gsd_m: float | None) -> str:
    if gsd_m:
        return f"no georeference: locations are in pixels, areas assume pixels of {gsd_m:g} m"
    return (
        "no georeference: locations and areas are in pixels; state the pixel size with --gsd METRES"
    )
