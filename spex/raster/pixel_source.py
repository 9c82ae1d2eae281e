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

_AVERAGE_UP_TO = 2e9  # samples a decimated read may decode; beyond it the nearest pixels are taken
_STRIP = 8e6  # samples decoded at a time
_GDAL_OPTIONS = {
    "GDAL_CACHEMAX": 256,
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_TIMEOUT": 60,
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 1,
}


class PixelSource(Protocol):
    """Where raw numbers come from."""

    def read(self, window: Window, shape: tuple[int, int]) -> tuple[npt.NDArray[Any], BoolArray]:
        """Stored numbers (C, h, w) of the good bands and where they are valid (h, w)."""


class FileSource:
    """A raster file or URL; every thread of every process has its own GDAL handle."""

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
        """Read by GDAL, from overviews where the file has them.

        Raises:
            SceneError: this part of the file is damaged.
        """
        with rasterio.Env(**_GDAL_OPTIONS):
            dataset = self._dataset()
            full = (window.height, window.width)
            smaller = shape != full and shape[0] <= full[0] and shape[1] <= full[1]
            factor = min(window.height / shape[0], window.width / shape[1])
            overview = any(f <= factor for f in dataset.overviews(self.indexes[0]))
            if (
                smaller
                and not overview
                and window.height * window.width * len(self.indexes) <= _AVERAGE_UP_TO
            ):
                return self._average(dataset, window, shape)
            resampling = Resampling.average if smaller and overview else Resampling.nearest
            return self._read(dataset, window, out_shape=shape, resampling=resampling)

    def _average(
        self, dataset: Any, window: Window, shape: tuple[int, int]
    ) -> tuple[npt.NDArray[Any], BoolArray]:
        """Means over the valid pixels, strip by strip: exact at nodata's edge, and several times faster than GDAL's."""
        means = np.empty((len(self.indexes), *shape), dtype=np.float32)
        valid = np.empty(shape, dtype=bool)
        edges = np.arange(shape[0] + 1) * window.height // shape[0]
        step = max(1, int(_STRIP * shape[0] / (len(self.indexes) * window.width * window.height)))
        for top in range(0, shape[0], step):
            bottom = min(top + step, shape[0])
            rows = int(edges[bottom] - edges[top])
            strip = Window(window.col_off, window.row_off + int(edges[top]), window.width, rows)
            raw, mask = self._read(dataset, strip)
            means[:, top:bottom], valid[top:bottom] = _block_means(
                raw, mask, (bottom - top, shape[1])
            )
        return means, valid

    def _read(
        self, dataset: Any, window: Window, **options: Any
    ) -> tuple[npt.NDArray[Any], BoolArray]:
        try:
            raw = dataset.read(self.indexes, window=window, **options)
            return raw, self._valid(dataset, raw, {"window": window, **options})
        except RasterioError as error:
            last = (window.row_off + window.height - 1, window.col_off + window.width - 1)
            place = f"rows {window.row_off}-{last[0]}, columns {window.col_off}-{last[1]}"
            raise SceneError(
                f"{self.path}: {place} cannot be read, the file is damaged or cut short ({error})"
            ) from error

    def _valid(self, dataset: Any, raw: npt.NDArray[Any], options: dict[str, Any]) -> BoolArray:
        floats = np.issubdtype(raw.dtype, np.floating)
        valid = np.isfinite(raw).all(axis=0) if floats else np.ones(raw.shape[1:], dtype=bool)
        nearest = options | {"resampling": Resampling.nearest}
        if (
            self.alpha is not None
        ):  # GDAL itself minds an alpha band only behind one or three others
            valid &= dataset.read(self.alpha, **nearest) > 0
        for position, index in enumerate(self.indexes):
            flags = dataset.mask_flag_enums[index - 1]
            if MaskFlags.nodata in flags:
                valid &= raw[position] != np.asarray(dataset.nodatavals[index - 1]).astype(
                    raw.dtype
                )
            elif not {MaskFlags.all_valid, MaskFlags.alpha} & set(flags) and (
                position == 0 or MaskFlags.per_dataset not in flags
            ):
                valid &= dataset.read_masks(index, **nearest) > 0
        return valid


class ArraySource:
    """Pixels held in memory."""

    def __init__(self, values: npt.NDArray[Any], valid: BoolArray) -> None:
        self.values = values
        self.valid = valid

    def read(self, window: Window, shape: tuple[int, int]) -> tuple[npt.NDArray[Any], BoolArray]:
        """Slices; the mean of the valid pixels where ``shape`` is smaller, the nearest where it is larger."""
        rows, cols = window.toslices()
        values, valid = self.values[:, rows, cols], self.valid[rows, cols]
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
    """Means (C, *shape) of the valid pixels of each block, and where a block has any."""
    sums = _block_sums(values if valid.all() else np.where(valid, values, 0), shape)
    count = _block_sums(valid, shape)
    return (sums / np.maximum(count, 1)).astype(np.float32), count > 0


def _block_sums(values: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    rows, cols = (
        np.arange(n) * full // n for n, full in zip(shape, values.shape[-2:], strict=True)
    )
    by_row = np.add.reduceat(values, rows, axis=-2, dtype=np.float32)
    return cast("npt.NDArray[np.float64]", np.add.reduceat(by_row, cols, axis=-1, dtype=np.float64))


def open_raster(path: str) -> Any:
    """Open a raster, silencing the warning about a missing georeference (a scene says it itself).

    Raises:
        SceneError: no such file, a folder, or nothing that GDAL reads as a raster.
    """
    local = "://" not in path and not path.startswith("/vsi")
    if local and not Path(path).exists() and ":" not in path:
        raise SceneError(f"{path}: no such file")
    if local and Path(path).is_dir():
        raise SceneError(f"{path} is a folder; name the raster file in it")
    try:
        with warnings.catch_warnings(), rasterio.Env(**_GDAL_OPTIONS):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioError as error:
        raise SceneError(
            f"{path} is not a raster that GDAL can open, or it is damaged ({error})"
        ) from error
