"""One raster as the rest of SPEX sees it: calibrated pixels by window, bands, validity, georeference, pixel areas.

A scene never holds its pixels: ``read`` and ``overview`` take what they return and no more, however large the file.
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
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window

from spex.errors import BandError, SceneError
from spex.raster.band_metadata import BandMetadata, check_bands
from spex.raster.band_sources import BandsArgument, stated
from spex.raster.pixel_source import ArraySource, BoolArray, FileSource, PixelSource, open_raster
from spex.raster.radiometry import PixelSample, calibrate, take_sample
from spex.sensors import Band, Level, Sensor

FloatArray = npt.NDArray[np.float32]

MAX_BANDS = 500
THERMAL_FROM_NM = 3000.0  # emitted light; the reflective code has no use for it


@dataclass(frozen=True)
class Pixels:
    """Calibrated pixels of a window: ``values`` (C, h, w), 0 where not ``valid`` (h, w); ``gsd_m`` is theirs.

    ``family`` is that of the sensor (one of ``spex.sensors.FAMILIES``), empty where unknown.
    """

    values: FloatArray
    valid: BoolArray
    bands: tuple[Band, ...]
    level: Level
    gsd_m: float | None
    family: str = ""


class Scene:
    """A raster with its bands, radiometric scale, validity and georeference.

    Make one with ``Scene.open`` or ``Scene.from_array``. It can be pickled and read from several threads and processes.
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
        area = self.pixel_area_m2()
        self.gsd_m = (
            gsd_m if area is None or crs is None else float(math.sqrt(area[self.height // 2]))
        )

    def _family(self) -> str:
        return self.sensor.family if self.sensor else ""

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
            sensor: name of a sensor of the table; overrides what the file says.
            bands: inline text ``"B02=490/65,B03=560/35"``, the path of a JSON file, or a mapping of that JSON.
            gsd_m: size of a pixel in metres, for a scene without georeference.

        Raises:
            SceneError: not readable as a raster.
            BandError: the bands are unknown, contradictory or impossible.
        """
        name = os.fspath(path)
        with open_raster(name) as dataset:
            _check_raster(dataset, name)
            try:
                sample = take_sample(dataset)
            except RasterioError as error:
                raise SceneError(
                    f"{name} cannot be read, the file is damaged or cut short ({error})"
                ) from error
            spectral, notes = _spectral(dataset, sample)
            if not 1 <= len(spectral) <= MAX_BANDS:
                raise BandError(
                    f"{name} has {len(spectral)} spectral bands; a scene has 1 to {MAX_BANDS}"
                )
            said = stated(dataset, name, spectral, sensor=sensor, bands=bands)
            good, left_out = _good_bands(said, sample.rows([i - 1 for i in spectral]))
            said = said.only(good)
            kept = [spectral[i] for i in good]
            gsd_m = gsd_m or said.gsd_m
            radiometry = calibrate(
                said, dataset.dtypes[kept[0] - 1], sample.rows([i - 1 for i in kept])
            )
            notes += [*filter(None, [said.note]), *left_out, *radiometry.notes]
            crs, transform = dataset.crs, dataset.transform
            if crs is None or transform.is_identity:
                crs, transform = None, Affine.identity()
                notes.append(
                    "no georeference: areas and places are in pixels"
                    + (f" of {gsd_m:g} m" if gsd_m else "")
                )
            assert said.bands is not None
            return cls(
                FileSource(
                    name, kept, alpha=next((i for i in dataset.indexes if i not in spectral), None)
                ),
                path=name,
                bands=said.bands,
                sensor=said.sensor,
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
        """A scene of calibrated pixels in memory: ``values`` (C, h, w) in reflectance, ``valid`` (h, w).

        Raises:
            BandError: as many bands as planes are needed, with possible wavelengths.
        """
        if values.ndim != 3 or len(values) != len(bands):
            raise BandError(
                f"{name}: {len(bands)} bands for an array of shape {values.shape}; the array must be (band, row, col)"
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
        """The calibrated pixels of a window inside the scene (all of it if None), resampled to ``out_shape`` if given.

        Raises:
            SceneError: the window leaves the scene, or its part of the file is damaged.
        """
        window = window or Window(0, 0, self.width, self.height)
        inside = window.col_off >= 0 and window.row_off >= 0
        if (
            not inside
            or window.col_off + window.width > self.width
            or window.row_off + window.height > self.height
        ):
            raise SceneError(
                f"{window} leaves the scene of {self.height} rows and {self.width} columns"
            )
        shape = out_shape or (int(window.height), int(window.width))
        raw, valid = self._source.read(window, shape)
        values = np.empty(raw.shape, dtype=np.float32)
        for plane, stored, scale, offset in zip(values, raw, self.scale, self.offset, strict=True):
            np.multiply(stored, np.float32(scale), out=plane, casting="unsafe")
            if offset:
                plane += np.float32(offset)
        if not valid.all():
            values[:, ~valid] = 0
        factor = math.sqrt(window.height * window.width / (shape[0] * shape[1]))
        return Pixels(
            values,
            valid,
            self.bands,
            self.level,
            self.gsd_m and self.gsd_m * factor,
            self._family(),
        )

    def read_stored(self, window: Window) -> tuple[npt.NDArray[Any], BoolArray]:
        """The numbers of a window inside the scene as the file has them (C, h, w), and where they are valid (h, w).

        Calibrated they are ``number * scale + offset``, as ``read`` returns them.

        Raises:
            SceneError: this part of the file is damaged.
        """
        return self._source.read(window, (int(window.height), int(window.width)))

    def overview(self, max_size: int = 1024) -> Pixels:
        """The whole scene, its longer side at most ``max_size`` pixels, aspect kept; averages where that is affordable.

        Raises:
            SceneError: no pixel of the scene is valid.
        """
        factor = max(1.0, max(self.height, self.width) / max_size)
        shape = (max(1, round(self.height / factor)), max(1, round(self.width / factor)))
        pixels = self.read(out_shape=shape)
        if not pixels.valid.any():
            raise SceneError(
                f"{self.path} holds no valid pixel: every one is nodata, masked or not finite"
            )
        return pixels

    def pixel_area_m2(self) -> npt.NDArray[np.float64] | None:
        """Area on the ground of one pixel of each row (height,); None where neither a CRS nor a GSD is known."""
        if self.crs is None:
            known = getattr(self, "gsd_m", None)
            return None if known is None else np.full(self.height, known**2)
        from spex.raster.area import row_areas

        return row_areas(self.crs, self.transform, self.height, self.width)


def _spectral(dataset: Any, sample: PixelSample) -> tuple[list[int], list[str]]:
    """The raster's bands without alpha; NIR that a file calls alpha (as writers of four 8-bit bands do) stays in."""
    kept, notes = [], []
    for index, kind in zip(dataset.indexes, dataset.colorinterp, strict=True):
        values = sample.values[index - 1]
        graded = (
            kind == ColorInterp.alpha
            and float(np.mean((values > values.min()) & (values < values.max()))) > 0.05
        )
        if kind != ColorInterp.alpha or graded:
            kept.append(index)
        if graded:
            notes.append(
                f"band {index} is marked as alpha but holds a picture: taken as a spectral band"
            )
    return kept, notes


def _good_bands(said: BandMetadata, sample: PixelSample) -> tuple[list[int], list[str]]:
    """Positions of the bands to use: not stated as bad, not thermal, and not empty where other bands hold values."""
    assert said.bands is not None
    thermal = [
        i for i, band in enumerate(said.bands) if (band.wavelength_nm or 0) > THERMAL_FROM_NM
    ]
    holds = [bool(mask.any()) for mask in sample.valid]
    empty = [i for i, held in enumerate(holds) if any(holds) and not held and i not in said.bad]
    notes = [
        f"left out as {why}: {', '.join(said.bands[i].name for i in positions)}"
        for why, positions in (
            ("thermal", thermal),
            ("empty", empty),
            ("marked bad", sorted(said.bad)),
        )
        if positions
    ]
    good = [i for i in range(len(said.bands)) if i not in said.bad.union(thermal, empty)]
    if not good:
        raise BandError("no usable band: all are marked bad, thermal or empty")
    return good, notes


def _check_raster(dataset: Any, name: str) -> None:
    if dataset.count == 0:
        inner = dataset.subdatasets
        hint = (
            f"; name one of the {len(inner)} rasters in it, for example {inner[0]}" if inner else ""
        )
        raise SceneError(f"{name} holds no band{hint}")
    odd = next((t for t in dataset.dtypes if "complex" in t), None)
    if odd:
        raise SceneError(f"{name} holds {odd} numbers; a scene needs integers or floats")
    if dataset.colorinterp[0] == ColorInterp.palette:
        raise BandError(
            f"{name} is a palette image: its numbers are colours or classes, not spectral values"
        )
