"""How much ground a pixel covers, and how wide and high it is there."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from spex.errors import SceneError

# Middles of a pixel's west, east, north and south edge, in pixels (right, down) from its centre.
_EDGE_MIDDLES = ((-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5))


# Every query asks for them several times, and a projection takes a millisecond to set up.
@lru_cache(maxsize=16)
def row_areas(crs: CRS, transform: Affine, height: int, width: int) -> npt.NDArray[np.float64]:
    """Area of one pixel of each row, taken at the middle column.

    Geographic and cylindrical coordinates (Mercator, plate carree) are measured on the ellipsoid.
    Other projections count as equal-area, which holds within 0.2 % for UTM and national grids.

    Args:
        crs: coordinate system of the raster.
        transform: from (column, row) to coordinates.
        height: rows of the raster.
        width: columns of the raster.

    Returns:
        Square metres, (height,), read-only.

    Raises:
        SceneError: the georeference puts pixels outside the globe.
    """
    import pyproj

    system = pyproj.CRS.from_user_input(crs.to_wkt())
    if not _varies_in_scale(system):
        unit_m = system.axis_info[0].unit_conversion_factor if system.axis_info else 1.0
        return _read_only(np.full(height, abs(transform.determinant) * unit_m**2))
    eastward, downward = _ground_steps(system, transform, height, width)
    return _read_only(np.abs(eastward[0] * downward[1] - eastward[1] * downward[0]))


@lru_cache(maxsize=16)
def row_pixel_sizes(
    crs: CRS, transform: Affine, height: int, width: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Width and height of one pixel of each row, along the rows and columns of the raster.

    They are measured as in ``row_areas``; other projections count as true to scale.

    Args:
        crs: coordinate system of the raster.
        transform: from (column, row) to coordinates.
        height: rows of the raster.
        width: columns of the raster.

    Returns:
        Metres, (height,) each, read-only.

    Raises:
        SceneError: the georeference puts pixels outside the globe.
    """
    import pyproj

    system = pyproj.CRS.from_user_input(crs.to_wkt())
    if not _varies_in_scale(system):
        unit_m = system.axis_info[0].unit_conversion_factor if system.axis_info else 1.0
        across = unit_m * float(np.hypot(transform.a, transform.d))
        down = unit_m * float(np.hypot(transform.b, transform.e))
        return _read_only(np.full(height, across)), _read_only(np.full(height, down))
    eastward, downward = _ground_steps(system, transform, height, width)
    return _read_only(np.hypot(*eastward)), _read_only(np.hypot(*downward))


def _ground_steps(
    system: Any, transform: Affine, height: int, width: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """From a pixel's west to its east edge, and from its north to its south edge, on the ellipsoid.

    Args:
        system: a ``pyproj.CRS``.
        transform: from (column, row) to coordinates.
        height: rows of the raster.
        width: columns of the raster.

    Returns:
        Metres to the east and to the north, of the middle pixel of each row, (2, height) each.
    """
    import pyproj

    rows = np.arange(height) + 0.5
    to_degrees = pyproj.Transformer.from_crs(system, system.geodetic_crs, always_xy=True)
    edges = []
    for right, down in _EDGE_MIDDLES:
        col, row = width / 2 + right, rows + down
        x = transform.a * col + transform.b * row + transform.c
        y = transform.d * col + transform.e * row + transform.f
        edges.append(np.radians(np.array(to_degrees.transform(x, y))))
    west, east, north, south = edges
    latitude = (north[1] + south[1]) / 2
    if not (np.isfinite(latitude) & (np.abs(latitude) <= np.pi / 2)).all():
        raise SceneError(
            f"the georeference puts pixels outside the globe (CRS {system.name}); "
            "correct the CRS or the transform of the file"
        )
    ellipsoid = system.get_geod()
    assert ellipsoid is not None
    flattened = 1 - ellipsoid.es * np.sin(latitude) ** 2
    meridian_radius = ellipsoid.a * (1 - ellipsoid.es) / flattened**1.5
    parallel_radius = ellipsoid.a / np.sqrt(flattened) * np.cos(latitude)
    metres = np.stack([parallel_radius, meridian_radius])
    return (east - west) * metres, (south - north) * metres


def _varies_in_scale(system: Any) -> bool:
    """Whether the area scale of a ``pyproj.CRS`` changes so much that it must be measured."""
    operation = system.coordinate_operation
    method = operation.method_name if operation is not None else ""
    mercator = "Mercator" in method and "Transverse" not in method
    return system.is_geographic or mercator or "Cylindrical" in method


def _read_only(areas: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    areas.flags.writeable = False
    return areas
