"""Where a scene's stored numbers come from: a file or URL through GDAL, or an array in memory."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from spex.errors import SceneError

BoolArray = npt.NDArray[np.bool_]

_MAX_AVERAGED = (
    2e9  # stored numbers that a reduced read may decode; beyond it takes the nearest pixels
)
_STRIP_SIZE = 8e6  # stored numbers decoded at a time
_GDAL_OPTIONS = {
    "GDAL_CACHEMAX": 256,
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 1,
}


class PixelSource(Protocol):
    """Where stored numbers come from."""

    def read(self, window: Window, shape: tuple[int, int]) -> tuple[npt.NDArray[Any], BoolArray]:
        """The stored numbers of a window, resampled.

        Args:
            window: inside the scene.
            shape: rows and columns of the result.

        Returns:
            Stored numbers (C, h, w) of the scene's bands, and where they are valid (h, w).
        """


class FileSource:
    """A raster file or URL; every thread of every process has its own GDAL handle.

    Args:
        path: anything GDAL opens.
        indexes: of the scene's bands in the raster, from 1.
        alpha: index of the alpha band, None if the raster has none.
    """

    def __init__(self, path: str, indexes: Sequence[int], alpha: int | None) -> None:
        self.path = path
        self.indexes = list(indexes)
        self.alpha = alpha
        self._handles = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "indexes": self.indexes, "alpha": self.alpha}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _dataset(self) -> Any:
        if getattr(self._handles, "pid", None) != os.getpid():  # a handle must not cross a fork
            self._handles.dataset = open_raster(self.path)
            self._handles.pid = os.getpid()
        return self._handles.dataset

    def read(self, window: Window, shape: tuple[int, int]) -> tuple[npt.NDArray[Any], BoolArray]:
        """Read with GDAL, from overviews where the file has them.

        Raises:
            SceneError: this part of the file is damaged.
        """
        with rasterio.Env(**_GDAL_OPTIONS):
            dataset = self._dataset()
            reduced = shape != (window.height, window.width)
            reduced = reduced and shape[0] <= window.height and shape[1] <= window.width
            if not reduced:
                return self._read(dataset, window, out_shape=shape, resampling=Resampling.nearest)
            factor = min(window.height / shape[0], window.width / shape[1])
            if any(step <= factor for step in dataset.overviews(self.indexes[0])):
                return self._read(dataset, window, out_shape=shape, resampling=Resampling.average)
            if window.height * window.width * len(self.indexes) <= _MAX_AVERAGED:
                return self._average(dataset, window, shape)
            return self._read(dataset, window, out_shape=shape, resampling=Resampling.nearest)

    def _average(
        self, dataset: Any, window: Window, shape: tuple[int, int]
    ) -> tuple[npt.NDArray[Any], BoolArray]:
        """Means of the valid pixels: exact at the edge of nodata, and faster than GDAL's."""
        means = np.empty((len(self.indexes), *shape), dtype=np.float32)
        valid = np.empty(shape, dtype=bool)
        edges = np.arange(shape[0] + 1) * window.height // shape[0]
        size = len(self.indexes) * window.width * window.height
        step = max(1, int(_STRIP_SIZE * shape[0] / size))
        for top in range(0, shape[0], step):
            bottom = min(top + step, shape[0])
            rows = int(edges[bottom] - edges[top])
            strip = Window(window.col_off, window.row_off + int(edges[top]), window.width, rows)
            stored, strip_valid = self._read(dataset, strip)
            means[:, top:bottom], valid[top:bottom] = _block_means(
                stored, strip_valid, (bottom - top, shape[1])
            )
        return means, valid

    def _read(
        self, dataset: Any, window: Window, **options: Any
    ) -> tuple[npt.NDArray[Any], BoolArray]:
        try:
            stored = dataset.read(self.indexes, window=window, **options)
            return stored, self._valid(dataset, stored, {"window": window, **options})
        except RasterioError as error:
            last_row = window.row_off + window.height - 1
            last_col = window.col_off + window.width - 1
            raise SceneError(
                f"{self.path}: cannot read rows {window.row_off}-{last_row}, columns "
                f"{window.col_off}-{last_col}; the file is damaged or cut short ({error})"
            ) from error

    def _valid(self, dataset: Any, stored: npt.NDArray[Any], options: dict[str, Any]) -> BoolArray:
        """Where all bands are finite, not nodata and not masked."""
        if np.issubdtype(stored.dtype, np.floating):
            valid = np.isfinite(stored).all(axis=0)
        else:
            valid = np.ones(stored.shape[1:], dtype=bool)
        nearest = options | {"resampling": Resampling.nearest}
        # GDAL itself applies an alpha band only if it follows one or three other bands.
        if self.alpha is not None:
            valid &= dataset.read(self.alpha, **nearest) > 0
        for position, index in enumerate(self.indexes):
            flags = set(dataset.mask_flag_enums[index - 1])
            if MaskFlags.nodata in flags:
                nodata = np.asarray(dataset.nodatavals[index - 1]).astype(stored.dtype)
                valid &= stored[position] != nodata
                continue
            shared = MaskFlags.per_dataset in flags and position > 0  # read with the first band
            if not shared and not flags & {MaskFlags.all_valid, MaskFlags.alpha}:
                valid &= dataset.read_masks(index, **nearest) > 0
        return valid


class ArraySource:
    """Pixels held in memory.

    Args:
        values: (C, h, w).
        valid: (h, w).
    """

    def __init__(self, values: npt.NDArray[Any], valid: BoolArray) -> None:
        self.values = values
        self.valid = valid

    def read(self, window: Window, shape: tuple[int, int]) -> tuple[npt.NDArray[Any], BoolArray]:
        """Slices; reduced by means of the valid pixels, enlarged by nearest pixels."""
        rows, cols = window.toslices()
        values = self.values[:, rows, cols]
        valid = self.valid[rows, cols]
        if shape == valid.shape:
            return values, valid
        if shape[0] > valid.shape[0] or shape[1] > valid.shape[1]:
            row = np.arange(shape[0]) * valid.shape[0] // shape[0]
            col = np.arange(shape[1]) * valid.shape[1] // shape[1]
            return values[:, row[:, None], col], valid[row[:, None], col]
        return _block_means(values, valid, shape)


def _block_means(
    values: npt.NDArray[Any], valid: BoolArray, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], BoolArray]:
    """Means (C, *shape) of the valid pixels of each block, and where a block has a valid pixel."""
    sums = _block_sums(values if valid.all() else np.where(valid, values, 0), shape)
    count = _block_sums(valid, shape)
    return (sums / np.maximum(count, 1)).astype(np.float32), count > 0


def _block_sums(values: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    height, width = values.shape[-2:]
    rows = np.arange(shape[0]) * height // shape[0]
    cols = np.arange(shape[1]) * width // shape[1]
    by_row = np.add.reduceat(values, rows, axis=-2, dtype=np.float32)
    return cast("npt.NDArray[np.float64]", np.add.reduceat(by_row, cols, axis=-1, dtype=np.float64))


def open_raster(path: str) -> Any:
    """Open a raster without GDAL's warning about a missing georeference; a scene has its own.

    Args:
        path: of a file, a URL, or anything else that GDAL opens.

    Raises:
        SceneError: no such file, a folder, or not a raster that GDAL can open.
    """
    local = "://" not in path and not path.startswith("/vsi")
    if local and not Path(path).exists() and ":" not in path:
        raise SceneError(f"{path}: no such file; check the path")
    if local and Path(path).is_dir():
        raise SceneError(f"{path} is a folder; give the path of a raster file in it")
    try:
        with warnings.catch_warnings(), rasterio.Env(**_GDAL_OPTIONS):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioError as error:
        raise SceneError(
            f"{path} is not a raster that GDAL can open, or it is damaged ({error}); "
            "check it with gdalinfo"
        ) from error
