"""Extents of scenes and labels: bounds in another CRS, and whether a label overlaps its scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.transform import array_bounds

from instruction_data.sources.chips import Box
from spex.errors import RecordError
from spex.raster.scene import Scene


def transform_box(bounds: Sequence[float], source: str, target: str) -> Box | None:
    """Bounds in another CRS; None if the CRS does not cover them, as for coordinates off the Earth.

    Args:
        bounds: left, bottom, right and top in ``source``; may be swapped in a south-up raster.
        source: CRS of ``bounds`` as WKT or authority code.
        target: CRS of the result.
    """
    try:
        transformer = Transformer.from_crs(source, target, always_xy=True)
        west, south, east, north = transformer.transform_bounds(*_north_up(bounds))
    except ProjError:
        return None
    return (west, south, east, north) if np.isfinite([west, south, east, north]).all() else None


def scene_bounds(scene: Scene) -> Box:
    """Bounds of a scene in its own CRS."""
    return _north_up(array_bounds(scene.height, scene.width, scene.transform))


def check_overlap(path: str, bounds: Sequence[float], crs: str, scene: Scene) -> None:
    """Check that a label overlaps its scene.

    Args:
        path: the label, named in the message.
        bounds: bounds of the label in its own CRS.
        crs: CRS of the label.
        scene: the scene.

    Raises:
        RecordError: they do not overlap, or the CRS of the label cannot be transformed.
    """
    ours = scene_bounds(scene)
    theirs = transform_box(bounds, crs, scene.crs.to_wkt()) if scene.crs else None
    if theirs is None:
        raise untransformable(path, scene)
    if theirs[0] >= ours[2] or theirs[2] <= ours[0] or theirs[1] >= ours[3] or theirs[3] <= ours[1]:
        label_extent = ", ".join(f"{x:.6g}" for x in theirs)
        scene_extent = ", ".join(f"{x:.6g}" for x in ours)
        raise RecordError(
            f"{path} does not overlap {scene.path}: the label spans {label_extent}, the scene "
            f"{scene_extent} (west, south, east, north in {scene.crs}); use the label of this scene"
        )


def untransformable(path: str, scene: Scene) -> RecordError:
    """The error for a label whose CRS cannot be transformed to that of its scene."""
    return RecordError(
        f"{path}: its CRS cannot be transformed to that of {scene.path} ({scene.crs}); reproject it"
    )


def _north_up(bounds: Sequence[float]) -> Box:
    """Bounds sorted as west, south, east, north: the rows of a raster may run northwards."""
    west, east = sorted(bounds[::2])
    south, north = sorted(bounds[1::2])
    return west, south, east, north
