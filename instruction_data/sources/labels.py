"""Labels of a scene, read window by window on its grid: class rasters, masks and polygons.

Nothing is guessed. A label that does not overlap its scene, lacks a required CRS, or contains codes
that its legend does not list is an error that names the file and the values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from instruction_data.sources.chips import Truth
from instruction_data.sources.extents import check_overlap
from instruction_data.sources.legends import Legend, legend_truth
from instruction_data.sources.polygons import VECTOR_SUFFIXES, read_polygon_labels
from spex.errors import RecordError
from spex.raster.pixel_source import open_raster
from spex.raster.scene import Scene


class Labels(Protocol):
    """Labels of one scene; ``described`` states in words where they come from."""

    described: str

    def truth(self, window: Window) -> Truth:
        """What is known of every class within a window of the scene."""


class RasterLabels:
    """A class raster or binary mask on the scene's grid; its nodata pixels are unknown.

    Args:
        dataset: the opened raster, of the scene's size.
        legend: what the codes mean.
        path: file of the raster, named in messages.
    """

    def __init__(self, dataset: Any, legend: Legend, path: str) -> None:
        self.described = f"{legend.title}, raster {Path(path).name}"
        self._dataset = dataset
        self._legend = legend
        self._path = path

    def truth(self, window: Window) -> Truth:
        """What is known of every class within a window of the scene.

        Raises:
            RecordError: codes that the legend does not list, or a damaged file.
        """
        try:
            codes = self._dataset.read(1, window=window)
            labelled = (self._dataset.read_masks(1, window=window) > 0) & np.isfinite(codes)
        except RasterioError as error:
            raise RecordError(
                f"{self._path} cannot be read, the file is damaged or truncated ({error})"
            ) from error
        return legend_truth(codes, self._legend, self._path, labelled)


@contextmanager
def open_labels(
    path: str, scene: Scene, legend: Legend | None, column: str | None = None
) -> Iterator[Labels]:
    """Open the labels of a scene: a class raster, a mask or a file of polygons.

    Args:
        path: the label file or URL.
        scene: the scene to whose grid the labels are resampled (nearest neighbour).
        legend: what the codes mean; None for polygons whose attribute names a class in words.
        column: polygon attribute that holds the class; None if there is only one, or for a mask.

    Raises:
        RecordError: the labels do not fit the scene or cannot be read.
    """
    if path.lower().endswith(VECTOR_SUFFIXES):
        yield read_polygon_labels(path, scene, legend, column)
        return
    if legend is None:
        raise RecordError(
            f"{path}: state what the codes mean with --legend NAME, a YAML mapping or mask:CLASS"
        )
    with open_raster(path) as dataset:
        if dataset.count > 2:
            raise RecordError(
                f"{path} has {dataset.count} bands; a label raster has one band of codes"
            )
        georeferenced = dataset.crs is not None and scene.crs is not None
        if not georeferenced:
            _check_size(dataset, path, scene)
        if not georeferenced or _is_on_grid(dataset, scene):
            yield RasterLabels(dataset, legend, path)
            return
        check_overlap(path, dataset.bounds, dataset.crs.to_wkt(), scene)
        # Without a nodata value, only an alpha band tells ground outside of the label from code 0.
        needs_alpha = dataset.nodata is None and dataset.count == 1
        with WarpedVRT(
            dataset,
            crs=scene.crs,
            transform=scene.transform,
            height=scene.height,
            width=scene.width,
            resampling=Resampling.nearest,
            add_alpha=needs_alpha,
        ) as warped:
            yield RasterLabels(warped, legend, path)


def _check_size(dataset: Any, path: str, scene: Scene) -> None:
    """Without georeference a label must have the scene's size."""
    if dataset.shape == (scene.height, scene.width):
        return
    crs_by_path = {path: dataset.crs, scene.path: scene.crs}
    lacking = " and ".join(name for name, crs in crs_by_path.items() if crs is None)
    raise RecordError(
        f"{path} has {dataset.width} x {dataset.height} pixels, the scene {scene.width} x "
        f"{scene.height}, and {lacking} no CRS; georeference it, or use labels of the scene's size"
    )


def _is_on_grid(dataset: Any, scene: Scene) -> bool:
    tolerance = 1e-6 * abs(scene.transform.determinant) ** 0.5
    return bool(
        dataset.shape == (scene.height, scene.width)
        and dataset.crs == scene.crs
        and dataset.transform.almost_equals(scene.transform, tolerance)
    )
