"""How much ground a pixel covers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS


def row_areas(crs: CRS, transform: Affine, height: int, width: int) -> npt.NDArray[np.float64]:
    """Square metres of one pixel of each row (height,), taken at the middle column.

    Geographic and cylindrical (Mercator, plate carree) coordinates are measured on the ellipsoid; other projections count
    as true to area, which holds within 0.2 % for UTM and national grids.
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
        return np.full(height, abs(transform.determinant) * factor**2)
    rows = np.arange(height) + 0.5
    corners = [(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)]
    to_degrees = pyproj.Transformer.from_crs(system, system.geodetic_crs, always_xy=True)
    points = [to_degrees.transform(*(transform * (np.full(height, width / 2 + dc), rows + dr))) for dc, dr in corners]
    (west, east, north, south) = (np.radians(np.asarray(point)) for point in points)
    middle = (np.asarray(north) + np.asarray(south))[1] / 2
    across, down = np.asarray(east) - np.asarray(west), np.asarray(south) - np.asarray(north)
    ellipsoid = system.get_geod()
    assert ellipsoid is not None
    # Area element of the ellipsoid: meridian radius x transverse radius x cos(latitude).
    curvature = ellipsoid.a**2 * (1 - ellipsoid.es) / (1 - ellipsoid.es * np.sin(middle) ** 2) ** 2
    return np.asarray(np.abs(across[0] * down[1] - across[1] * down[0]) * curvature * np.cos(middle))
