"""Polygon labels of a scene, rasterized window by window on the scene's grid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyogrio import read_bounds, read_info
from pyogrio.errors import DataLayerError, DataSourceError
from pyogrio.raw import read
from pyproj import Transformer
from rasterio.features import rasterize
from rasterio.transform import array_bounds
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from instruction_data.sources.chips import Box, Truth
from instruction_data.sources.extents import (
    check_overlap,
    scene_bounds,
    transform_box,
    untransformable,
)
from instruction_data.sources.legends import CodeMeaning, Legend, legend_truth
from spex.errors import RecordError
from spex.evidence.class_words import resolve_class
from spex.raster.scene import Scene

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", ".json")
# Codes that no legend lists.
_OUTSIDE = -(1 << 30)
_CONFLICT = _OUTSIDE + 1
_LISTED = 12  # features or values named in a message


class PolygonLabels:
    """Polygons in the scene's CRS; where polygons of different meaning overlap, nothing is known.

    Args:
        polygons: geometries (n) in the scene's CRS.
        codes: code of each polygon (n).
        legend: what the codes mean.
        scene: the scene on whose grid the polygons are rasterized.
        source: file of the polygons, for ``described``.
    """

    def __init__(
        self, polygons: NDArray[Any], codes: NDArray[Any], legend: Legend, scene: Scene, source: str
    ) -> None:
        self.described = f"{legend.title}, polygons {source}"
        meanings = dict(legend.codes)
        meanings[_OUTSIDE] = CodeMeaning("rest", legend.outside_polygons)
        meanings[_CONFLICT] = CodeMeaning("several", ())
        self._legend = replace(legend, codes=meanings)
        # Polygons of the same meaning do not conflict: a lake and a pond are both water.
        code_by_meaning: dict[tuple[str, ...], int] = {}
        merged = [
            code_by_meaning.setdefault(meanings[code].candidates, code) for code in codes.tolist()
        ]
        self._codes = np.array(merged)
        self._tree = shapely.STRtree(polygons)
        self._transform = scene.transform

    def truth(self, window: Window) -> Truth:
        """What is known of every class within a window of the scene."""
        transform = window_transform(window, self._transform)
        shape = (int(window.height), int(window.width))
        window_box = shapely.box(*array_bounds(*shape, transform))
        nearby = self._tree.query(window_box, predicate="intersects")
        codes = np.full(shape, _OUTSIDE)
        for code in np.unique(self._codes[nearby]):
            polygons = self._tree.geometries[nearby[self._codes[nearby] == code]]
            burned = rasterize(list(polygons), out_shape=shape, transform=transform, dtype=np.uint8)
            codes = np.where(burned > 0, np.where(codes == _OUTSIDE, code, _CONFLICT), codes)
        return legend_truth(codes, self._legend)


def read_polygon_labels(
    path: str, scene: Scene, legend: Legend | None, column: str | None
) -> PolygonLabels:
    """Read the polygons that lie on a scene.

    Args:
        path: a vector file.
        scene: the scene.
        legend: what the values of ``column`` mean; None if they name classes in words.
        column: attribute that holds the class; None if there is only one, or for a mask legend.

    Raises:
        RecordError: the file cannot be read, or its polygons do not fit the scene or the legend.
    """
    with _reading(path):
        info = read_info(path)
    if info["features"] == 0:
        raise RecordError(
            f"{path} contains no polygon; use the labels of this scene, or leave them out"
        )
    if info["crs"] is None or scene.crs is None:
        lacking = path if info["crs"] is None else scene.path
        raise RecordError(f"{lacking} has no CRS, which polygon labels require; assign one")
    column = _class_column(path, list(info["fields"]), legend, column)
    scene_crs = scene.crs.to_wkt()
    bounds = transform_box(scene_bounds(scene), scene_crs, info["crs"])
    if bounds is None:
        raise untransformable(path, scene)
    ground = _with_margin(bounds)
    wkb, fids, values = _read_on_scene(path, scene, info["crs"], ground, column)
    polygons, repaired = _repair(shapely.from_wkb(wkb, on_invalid="ignore"), fids, path)
    # Cut to the scene before reprojection: the CRS of the scene may not cover their far corners.
    polygons = shapely.intersection(polygons, ground)
    transformer = Transformer.from_crs(info["crs"], scene_crs, always_xy=True)
    polygons = shapely.transform(
        polygons, lambda x, y: transformer.transform(x, y), interleaved=False
    )
    if column is None:
        assert legend is not None
        codes = np.ones(len(polygons), int)
    else:
        legend = legend or _legend_of_words(values, column, path)
        codes = _polygon_codes(values, legend, path)
    return PolygonLabels(polygons, codes, legend, scene, f"{Path(path).name}{repaired}")


def empty_polygons(path: str) -> list[int]:
    """Feature numbers of a vector file's geometries that have no extent.

    Raises:
        RecordError: not a vector file.
    """
    with _reading(path):
        fids, (west, south, east, north) = read_bounds(path)
    # The bounds of an empty geometry are NaN, for which both comparisons are False.
    return [int(fid) for fid in fids[~((east > west) & (north > south))]]


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except (DataSourceError, DataLayerError) as error:
        raise RecordError(f"{path} cannot be read as polygons ({error})") from error


def _class_column(
    path: str, fields: list[str], legend: Legend | None, column: str | None
) -> str | None:
    listed = ", ".join(fields) or "none"
    if column is not None:
        if column not in fields:
            raise RecordError(
                f"{path} has no column {column!r}; it has {listed}, choose one with --column NAME"
            )
    elif legend is None or not legend.is_mask:
        if len(fields) != 1:
            raise RecordError(
                f"{path}: which column holds the class? It has {listed}; choose one with "
                "--column NAME"
            )
        column = fields[0]
    return column


def _read_on_scene(
    path: str, scene: Scene, crs: str, ground: shapely.Geometry, column: str | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """WKB, feature numbers and column values (empty without a column) of polygons on a scene."""
    extent = None
    with _reading(path):
        _, fids, wkb, values = read(
            path, columns=[column] if column else [], bbox=ground.bounds, return_fids=True
        )
        if not len(wkb):
            extent = read_info(path, force_total_bounds=True)["total_bounds"]
    if not len(wkb):
        if extent is not None:
            check_overlap(path, extent, crs, scene)
        raise RecordError(
            f"{path}: no polygon lies on {scene.path}; use the labels of this scene, or leave "
            "them out"
        )
    return wkb, fids, values[0] if column else np.empty(0)


def _with_margin(bounds: Box) -> shapely.Geometry:
    """A box and a tenth around it, so that no cut shows; two boxes across the antimeridian."""
    west, south, east, north = bounds
    if east < west:
        return shapely.union(
            _with_margin((west, south, 180, north)), _with_margin((-180, south, east, north))
        )
    margin = 0.1 * max(east - west, north - south)
    return shapely.box(west - margin, south - margin, east + margin, north + margin)


def _repair(polygons: NDArray[Any], fids: NDArray[Any], path: str) -> tuple[NDArray[Any], str]:
    """Valid polygons, and a note of how many had to be repaired.

    Raises:
        RecordError: geometries without area; the message lists their feature numbers.
    """
    invalid = ~shapely.is_valid(polygons)
    polygons = np.where(invalid, shapely.make_valid(polygons), polygons)
    without_area = shapely.is_missing(polygons) | (shapely.area(polygons) == 0)
    if without_area.any():
        listed = ", ".join(str(fid) for fid in fids[without_area][:_LISTED])
        raise RecordError(
            f"{path}: features {listed} have no area (empty, points or lines); "
            "remove or repair them"
        )
    count = int(np.count_nonzero(invalid))
    return polygons, f" ({count} invalid ones repaired)" if count else ""


def _legend_of_words(values: NDArray[Any], column: str, path: str) -> Legend:
    """The legend of polygons whose attribute names classes in words, such as "lake" or "forest"."""
    codes: dict[int, CodeMeaning] = {}
    unknown: list[str] = []
    for number, word in enumerate(sorted({str(value) for value in values})):
        name = resolve_class(word)
        if name is None:
            unknown.append(word)
        else:
            codes[number] = CodeMeaning(word, (name,))
    if unknown:
        listed = ", ".join(repr(word) for word in unknown[:_LISTED])
        raise RecordError(
            f"{path}: values of column {column} that name no SPEX class: {listed}; "
            "map them with --legend MAPPING.yaml"
        )
    return Legend(f"classes in column {column}", codes)


def _polygon_codes(values: NDArray[Any], legend: Legend, path: str) -> NDArray[Any]:
    code_by_value = {value: legend.code(value) for value in set(values.tolist())}
    unlisted = sorted(str(value) for value, code in code_by_value.items() if code is None)
    if unlisted:
        raise RecordError(
            f"{path}: {', '.join(unlisted[:_LISTED])} are not in the legend {legend.title!r}; "
            "add them to a YAML mapping"
        )
    return np.array([code_by_value[value] for value in values.tolist()])
