"""A scale bar of round length for a scene that has metres."""

from __future__ import annotations

import math

from rasterio.transform import xy

from spex.raster.scene import Scene


def pixel_width_m(scene: Scene) -> float | None:
    """Ground distance across one pixel at the scene's centre, metres; None without map units."""
    if scene.crs is None:
        return scene.gsd_m
    import pyproj

    system = pyproj.CRS.from_user_input(scene.crs.to_wkt())
    geod = system.get_geod()
    if system.geodetic_crs is None or geod is None:
        return scene.gsd_m
    to_degrees = pyproj.Transformer.from_crs(system, system.geodetic_crs, always_xy=True)
    columns = [scene.width / 2 - 0.5, scene.width / 2 + 0.5]
    x, y = xy(scene.transform, [scene.height / 2] * 2, columns, offset="ul")
    longitudes, latitudes = to_degrees.transform(x, y)
    if not all(map(math.isfinite, (*longitudes, *latitudes))):
        return None
    return float(geod.line_length(longitudes, latitudes))


def round_length(longest_m: float) -> tuple[float, str]:
    """The longest of 1, 2, 5, 10, 20, 50 ... metres up to a limit, and its label in m or km."""
    power = 10.0 ** math.floor(math.log10(longest_m))
    length = max(factor * power for factor in (1, 2, 5) if factor * power <= longest_m * (1 + 1e-9))
    return length, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
