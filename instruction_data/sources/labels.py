"""A scene's labels, read window by window on the scene's own grid: class rasters, binary masks and polygons.

Nothing is guessed: a label that does not overlap its scene, lacks a CRS that is needed, or holds codes that its legend
does not list is an error that names the file and what was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from pyogrio import read_bounds, read_info
from pyogrio.errors import DataLayerError, DataSourceError
from pyogrio.raw import read
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.transform import array_bounds
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from instruction_data.sources.chips import Box, Truth
from instruction_data.sources.legends import CodeMeaning, Legend, legend_truth
from spex.errors import RecordError
from spex.evidence.class_words import resolve_class
from spex.raster.pixel_source import open_raster
from spex.raster.scene import Scene

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", ".json")
_REST, _CONFLICT = -(1 << 30), -(1 << 30) + 1  # no legend lists these


class Labels(Protocol):
    """Labels of one scene; ``described`` says in words where they come from."""

    described: str

    def truth(self, window: Window) -> Truth:
        """What is known of every class within a window of the scene."""


class RasterLabels:
    """A class raster or binary mask, resampled to the scene by its nearest pixels; its nodata says nothing."""

    def __init__(self, dataset: Any, legend: Legend, path: str) -> None:
        self.described = f"{legend.title}, raster {Path(path).name}"
        self._dataset, self._legend, self._path = dataset, legend, path

    def truth(self, window: Window) -> Truth:
        """What is known of every class within a window of the scene.

        Raises:
            RecordError: codes that the legend does not list, or a damaged file.
        """
        try:
            codes = self._dataset.read(1, window=window)
            within = (self._dataset.read_masks(1, window=window) > 0) & np.isfinite(codes)
        except RasterioError as error:
            raise RecordError(
                f"{self._path} cannot be read, the file is damaged or cut short ({error})"
            ) from error
        return legend_truth(codes, self._legend, self._path, within)


class PolygonLabels:
    """Polygons in the scene's CRS with a code each; where polygons of different meaning overlap, nothing is known."""

    def __init__(
        self, polygons: NDArray[Any], codes: NDArray[Any], legend: Legend, scene: Scene, source: str
    ) -> None:
        self.described = f"{legend.title}, polygons {source}"
        meanings = dict(legend.codes) | {
            _REST: CodeMeaning("rest", legend.rest),
            _CONFLICT: CodeMeaning("several", ()),
        }
        self._legend = replace(legend, codes=meanings)
        alike: dict[tuple[str, ...], int] = {}  # lakes and ponds that overlap are both water
        self._codes = np.array(
            [alike.setdefault(meanings[code].can_be, code) for code in codes.tolist()]
        )
        self._tree, self._transform = shapely.STRtree(polygons), scene.transform

    def truth(self, window: Window) -> Truth:
        """What is known of every class within a window of the scene."""
        here = window_transform(window, self._transform)
        shape = (int(window.height), int(window.width))
        near = self._tree.query(shapely.box(*array_bounds(*shape, here)), predicate="intersects")
        found = np.full(shape, _REST)
        for code in np.unique(self._codes[near]):
            chosen = self._tree.geometries[near[self._codes[near] == code]]
            inside = rasterize(list(chosen), out_shape=shape, transform=here, dtype=np.uint8) > 0
            found = np.where(inside, np.where(found == _REST, code, _CONFLICT), found)
        return legend_truth(found, self._legend)


@contextmanager
def open_labels(
    path: str, scene: Scene, legend: Legend | None, column: str | None = None
) -> Iterator[Labels]:
    """Labels of a scene from a class raster, a mask or a file of polygons, closed at the end.

    Args:
        path: the label file or URL.
        scene: the scene whose grid the labels are put on.
        legend: what the codes mean; None for polygons whose attribute is a class in words.
        column: the attribute of polygons that holds their class; None if there is only one, or a mask's legend.

    Raises:
        RecordError: the labels do not fit the scene or cannot be read.
    """
    if path.lower().endswith(VECTOR_SUFFIXES):
        yield _polygon_labels(path, scene, legend, column)
        return
    if legend is None:
        raise RecordError(
            f"{path}: say what the codes mean with --legend NAME, a YAML mapping or mask:CLASS"
        )
    with open_raster(path) as dataset:
        if dataset.count > 2:
            raise RecordError(
                f"{path} has {dataset.count} bands; a label raster has one band of codes"
            )
        same_size = dataset.shape == (scene.height, scene.width)
        placed = dataset.crs is not None and scene.crs is not None
        if not placed and not same_size:
            lacking = " and ".join(
                name for name, crs in ((path, dataset.crs), (scene.path, scene.crs)) if crs is None
            )
            raise RecordError(
                f"{path} has {dataset.width} x {dataset.height} pixels, the scene {scene.width} x {scene.height}, and "
                f"{lacking} no CRS; add a georeference, or give labels of the scene's size"
            )
        close = 1e-6 * abs(scene.transform.determinant) ** 0.5
        same_grid = (
            same_size
            and dataset.crs == scene.crs
            and dataset.transform.almost_equals(scene.transform, close)
        )
        if not placed or same_grid:
            yield RasterLabels(dataset, legend, path)
            return
        _overlapping(path, dataset.bounds, dataset.crs.to_wkt(), scene)
        # Without a nodata value, only an alpha band tells ground that the label does not reach from code 0.
        alpha = dataset.nodata is None and dataset.count == 1
        with WarpedVRT(
            dataset, crs=scene.crs, transform=scene.transform, height=scene.height, width=scene.width,
            resampling=Resampling.nearest, add_alpha=alpha,
        ) as warped:  # fmt: skip
            yield RasterLabels(warped, legend, path)


def bounds_in(bounds: Sequence[float], source: str, target: str) -> Box | None:
    """Bounds in another CRS; None where it does not reach them, as for coordinates off the Earth."""
    west, south, east, north = _upright(bounds)
    try:
        convert = Transformer.from_crs(source, target, always_xy=True).transform_bounds
        west, south, east, north = convert(west, south, east, north)
    except ProjError:
        return None
    return (west, south, east, north) if np.isfinite([west, south, east, north]).all() else None


def _upright(bounds: Sequence[float]) -> Box:
    """Bounds of a raster whose rows may run northwards, west, south, east and north in this order."""
    (west, east), (south, north) = sorted(bounds[::2]), sorted(bounds[1::2])
    return west, south, east, north


def empty_polygons(path: str) -> list[int]:
    """Numbers of the features of a vector file that have no extent.

    Raises:
        RecordError: not a vector file.
    """
    with _reading(path):
        fids, (west, south, east, north) = read_bounds(path)
    return [
        int(fid) for fid in fids[~((east > west) & (north > south))]
    ]  # an empty one has bounds of NaN


def _overlapping(path: str, bounds: Sequence[float], crs: str, scene: Scene) -> None:
    ours = _upright(array_bounds(scene.height, scene.width, scene.transform))
    theirs = bounds_in(bounds, crs, scene.crs.to_wkt()) if scene.crs else None
    if theirs is None:
        raise RecordError(
            f"{path}: its CRS cannot be turned into that of {scene.path} ({scene.crs}); reproject it"
        )
    if theirs[0] >= ours[2] or theirs[2] <= ours[0] or theirs[1] >= ours[3] or theirs[3] <= ours[1]:
        label, here = (", ".join(f"{x:.6g}" for x in box) for box in (theirs, ours))
        raise RecordError(
            f"{path} does not overlap {scene.path}: the label spans {label}, the scene {here} "
            f"(west, south, east, north in {scene.crs}); give the label of this scene"
        )


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except (DataSourceError, DataLayerError) as error:
        raise RecordError(f"{path} cannot be read as polygons ({error})") from error


def _polygon_labels(
    path: str, scene: Scene, legend: Legend | None, column: str | None
) -> PolygonLabels:
    with _reading(path):
        info = read_info(path)
    if info["features"] == 0:
        raise RecordError(f"{path} holds no polygon; give the labels of this scene or none")
    if info["crs"] is None or scene.crs is None:
        lacking = path if info["crs"] is None else scene.path
        raise RecordError(
            f"{lacking} has no CRS, so polygons cannot be put on the scene; give it one"
        )
    fields = list(info["fields"])
    is_mask = legend is not None and legend.is_mask
    column = column or (fields[0] if len(fields) == 1 and not is_mask else None)
    if (column is None and not is_mask) or (column is not None and column not in fields):
        listed = ", ".join(fields) or "none"
        wrong = (
            f"{path} has no column {column!r}"
            if column
            else f"{path}: which column holds the class?"
        )
        raise RecordError(f"{wrong}; it has {listed}, say --column NAME")

    scene_wkt = scene.crs.to_wkt()
    bounds = bounds_in(
        array_bounds(scene.height, scene.width, scene.transform), scene_wkt, info["crs"]
    )
    if bounds is None:
        raise RecordError(
            f"{path}: its CRS cannot be turned into that of {scene.path} ({scene.crs}); reproject it"
        )
    here = _around(bounds)
    with _reading(path):
        _, fids, wkb, values = read(
            path, columns=[column] if column else [], bbox=here.bounds, return_fids=True
        )
        extent = read_info(path, force_total_bounds=True)["total_bounds"] if not len(wkb) else None
    if not len(wkb):
        if extent is not None:
            _overlapping(path, extent, info["crs"], scene)
        raise RecordError(
            f"{path}: no polygon lies on {scene.path}; give the labels of this scene or none"
        )
    polygons, notes = _repaired(shapely.from_wkb(wkb, on_invalid="ignore"), fids, path)
    polygons = shapely.intersection(
        polygons, here
    )  # the far corners of a sea may have no place in the scene's CRS
    convert = Transformer.from_crs(info["crs"], scene_wkt, always_xy=True).transform
    polygons = shapely.transform(polygons, lambda x, y: convert(x, y), interleaved=False)
    if column is None:
        assert legend is not None
        codes = np.ones(len(polygons), int)
    else:
        legend = legend or _in_words(values[0], column, path)
        codes = _codes(values[0], legend, path)
    return PolygonLabels(polygons, codes, legend, scene, f"{Path(path).name}{notes}")


def _around(bounds: Box) -> shapely.Geometry:
    """The ground within bounds and a tenth around them, so that no cut shows; two boxes across the antimeridian."""
    west, south, east, north = bounds
    if east < west:
        return shapely.union(
            _around((west, south, 180, north)), _around((-180, south, east, north))
        )
    margin = 0.1 * max(east - west, north - south)
    return shapely.box(west - margin, south - margin, east + margin, north + margin)


def _repaired(polygons: NDArray[Any], fids: NDArray[Any], path: str) -> tuple[NDArray[Any], str]:
    """Valid polygons, and a note of how many had to be repaired.

    Raises:
        RecordError: geometries that enclose no ground, by number.
    """
    broken = ~shapely.is_valid(polygons)
    polygons = np.where(broken, shapely.make_valid(polygons), polygons)
    hollow = shapely.is_missing(polygons) | (shapely.area(polygons) == 0)
    if hollow.any():
        numbers = ", ".join(str(fid) for fid in fids[hollow][:12])
        raise RecordError(
            f"{path}: features {numbers} enclose no ground (empty, points or lines); remove or mend them"
        )
    count = int(np.count_nonzero(broken))
    return polygons, f" ({count} invalid ones repaired)" if count else ""


def _in_words(values: NDArray[Any], column: str, path: str) -> Legend:
    """The legend of polygons whose attribute names classes in words, such as "lake" or "forest"."""
    words = sorted({str(value) for value in values})
    found = {word: resolve_class(word) for word in words}
    if strange := [word for word, name in found.items() if name is None]:
        listed = ", ".join(repr(word) for word in strange[:12])
        raise RecordError(
            f"{path}: {column} {listed} name no SPEX class; say what they are with --legend MAPPING.yaml"
        )
    codes = {number: CodeMeaning(word, (str(found[word]),)) for number, word in enumerate(words)}
    return Legend(f"classes in column {column}", codes)


def _codes(values: NDArray[Any], legend: Legend, path: str) -> NDArray[Any]:
    known = {value: legend.code(value) for value in set(values.tolist())}
    if strange := sorted(str(value) for value, code in known.items() if code is None):
        raise RecordError(
            f"{path}: {', '.join(strange[:12])} are not in the legend {legend.title!r}; add them to a mapping"
        )
    return np.array([known[value] for value in values.tolist()])
