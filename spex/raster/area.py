"""How much ground a pixel covers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from spex.errors import SceneError


@lru_cache(
    maxsize=16
)  # asked for several times per query, and a projection takes a millisecond to set up
def row_areas(crs: CRS, transform: Affine, height: int, width: int) -> npt.NDArray[np.float64]:
    """Square metres of one pixel of each row (height,), taken at the middle column.

    Geographic and cylindrical (Mercator, plate carree) coordinates are measured on the ellipsoid; other projections
    count as true to area, which holds within 0.2 % for UTM and national grids.

    Raises:
        SceneError: the georeference leaves the globe.
    """
    import pyproj

    system = pyproj.CRS.from_user_input(crs.to_wkt())
    operation = system.coordinate_operation
    method = operation.method_name if operation is not None else ""
    if (
        not system.is_geographic
        and not ("Mercator" in method and "Transverse" not in method)
        and "Cylindrical" not in method
    ):
        factor = system.axis_info[0].unit_conversion_factor if system.axis_info else 1.0
        return _fixed(np.full(height, abs(transform.determinant) * factor**2))
    rows = np.arange(height) + 0.5
    offsets = [
        (-0.5, 0.0),
        (0.5, 0.0),
        (0.0, -0.5),
        (0.0, 0.5),
    ]  # the middles of a pixel's edges: west, east, north, south
    to_degrees = pyproj.Transformer.from_crs(system, system.geodetic_crs, always_xy=True)
    corners = []
    for across, down in offsets:
        col, row = width / 2 + across, rows + down
        x, y = (k * col + m * row + n for k, m, n in (transform[0:3], transform[3:6]))
        corners.append(np.radians(np.array(to_degrees.transform(x, y))))
    west, east, north, south = corners
    latitude = (north[1] + south[1]) / 2
    if not (np.isfinite(latitude) & (np.abs(latitude) <= np.pi / 2)).all():
        raise SceneError(
            f"the georeference puts pixels off the globe (CRS {system.name}); correct the CRS or the transform"
        )
    eastward, downward = east - west, south - north
    ellipsoid = system.get_geod()
    assert ellipsoid is not None
    # Area element of the ellipsoid: meridian radius x transverse radius x cos(latitude).
    radii = ellipsoid.a**2 * (1 - ellipsoid.es) / (1 - ellipsoid.es * np.sin(latitude) ** 2) ** 2
    return _fixed(
        np.abs(eastward[0] * downward[1] - eastward[1] * downward[0]) * radii * np.cos(latitude)
    )


def _fixed(areas: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    areas.flags.writeable = False
    return areas
