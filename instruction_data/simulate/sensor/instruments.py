"""Which sensor takes a scene: pixel width, product level, bands and their spectral responses."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.materials.library import WAVELENGTHS
from spex.errors import RecordError
from spex.sensors import Band, Sensor, get_sensor

ProductLevel = Literal["surface", "toa", "radiance", "display"]
"""What a product stores: surface or top-of-atmosphere reflectance, radiance, display values."""
MAX_BANDS = 120
_MAX_MULTISPECTRAL_BANDS = 20
_USUAL_BANDS_NM = (485, 560, 660, 840, 1610, 2200)
# Ranges in nm in which water vapour absorbs all light.
_ABSORBED_NM = ((1340, 1460), (1790, 1980))


@dataclass(frozen=True)
class _SensorUse:
    """How a sensor is used.

    Args:
        weight: how often it is drawn, relative to the others.
        gsd_m: usual pixel widths in metres.
        levels: share of its scenes at each product level.
        response_table: name of the table of its spectral responses; empty: Gaussian responses.
    """

    weight: float
    gsd_m: tuple[float, ...]
    levels: Mapping[ProductLevel, float]
    response_table: str = ""


_SURFACE: Mapping[ProductLevel, float] = {"surface": 1}
_SENTINEL: Mapping[ProductLevel, float] = {"surface": 0.6, "toa": 0.22, "display": 0.18}
_LANDSAT: Mapping[ProductLevel, float] = {"surface": 0.65, "toa": 0.25, "display": 0.1}
_SPECTROMETER: Mapping[ProductLevel, float] = {"surface": 0.9, "radiance": 0.1}
_VERY_HIGH_RES: Mapping[ProductLevel, float] = {"surface": 0.25, "toa": 0.15, "display": 0.6}
_PLANET_4: Mapping[ProductLevel, float] = {"surface": 0.6, "display": 0.4}
_PLANET_8: Mapping[ProductLevel, float] = {"surface": 0.7, "display": 0.3}
_SWIR: Mapping[ProductLevel, float] = {"surface": 0.6, "toa": 0.4}
_USES = {
    "sentinel-2a": _SensorUse(6, (10, 20), _SENTINEL, "S2A_MSI"),
    "sentinel-2b": _SensorUse(2, (10, 20), _SENTINEL, "S2B_MSI"),
    "sentinel-2c": _SensorUse(1, (10, 20), _SENTINEL, "S2C_MSI_V4"),
    "landsat-5": _SensorUse(1, (30,), _LANDSAT, "L5_TM"),
    "landsat-7": _SensorUse(1.5, (30,), _LANDSAT, "L7_ETM"),
    "landsat-8": _SensorUse(2, (30,), _LANDSAT, "L8_OLI"),
    "landsat-9": _SensorUse(1, (30,), _LANDSAT, "L9_OLI"),
    "hls-l30": _SensorUse(1, (30,), _SURFACE, "L8_OLI"),
    "hls-s30": _SensorUse(1, (30,), _SURFACE, "S2A_MSI"),
    "hls7": _SensorUse(1.5, (30,), _SURFACE, "L8_OLI"),
    "naip": _SensorUse(6, (0.6, 1, 2, 5), {"display": 1}),
    "planetscope-4": _SensorUse(1.5, (3,), _PLANET_4, "PlanetScope_0f"),
    "planetscope-8": _SensorUse(1.2, (3,), _PLANET_8, "PlanetScope_SD8"),
    "worldview-2": _SensorUse(1.5, (2, 0.5), _VERY_HIGH_RES, "WorldView2"),
    "worldview-3": _SensorUse(1, (1.2, 0.3), _VERY_HIGH_RES, "WorldView3"),
    "worldview-3-swir": _SensorUse(0.5, (3.7,), _SWIR, "WorldView3"),
    "pleiades": _SensorUse(2, (0.5, 2), _VERY_HIGH_RES, "PHR1A"),
    "spot-6": _SensorUse(1, (1.5, 6), _VERY_HIGH_RES, "SPOT6"),
    "spot-7": _SensorUse(0.7, (1.5, 6), _VERY_HIGH_RES, "SPOT7"),
    "aviris-c": _SensorUse(0.4, (4, 15), _SPECTROMETER),
    "aviris-ng": _SensorUse(0.4, (3, 5, 8), _SPECTROMETER),
    "aviris-3": _SensorUse(0.2, (3, 5), _SPECTROMETER),
    "enmap": _SensorUse(0.4, (30,), _SPECTROMETER),
    "prisma": _SensorUse(0.3, (30,), _SPECTROMETER),
    "desis": _SensorUse(0.2, (30,), _SPECTROMETER),
    "emit": _SensorUse(0.3, (60,), _SPECTROMETER),
    "hyperion": _SensorUse(0.1, (30,), _SPECTROMETER),
}


def draw_sensor(
    rng: Generator, keys: Sequence[str] = tuple(_USES), gsd_m: float | None = None
) -> tuple[str, float]:
    """Draw a sensor and its pixel width in metres.

    Args:
        rng: random generator.
        keys: sensors to draw from.
        gsd_m: only sensors with about this pixel width, which is then returned; None: any.

    Raises:
        KeyError: no sensor has such a pixel width.
    """
    choices = []
    for key in keys:
        use = _USES[key]
        for width_m in use.gsd_m:
            if gsd_m is None or 0.8 <= width_m / gsd_m <= 1.25:
                choices.append((key, width_m, use.weight / len(use.gsd_m)))
    if not choices:
        raise KeyError(gsd_m)
    weights = np.array([weight for _, _, weight in choices])
    key, width_m, _ = choices[rng.choice(len(choices), p=weights / weights.sum())]
    return key, width_m if gsd_m is None else gsd_m


def draw_nested_widths(rng: Generator, keys: Sequence[str]) -> list[tuple[str, float]]:
    """Draw a pixel width for each sensor so that all are whole multiples of the finest, if any."""
    choices = list(product(*(_USES[key].gsd_m for key in keys)))
    misfits = [_misfit(widths_m) for widths_m in choices]
    limit = min(misfits) + 1e-6
    best = [widths_m for widths_m, misfit in zip(choices, misfits, strict=True) if misfit <= limit]
    return list(zip(keys, best[rng.integers(len(best))], strict=True))


def _misfit(widths_m: Sequence[float]) -> float:
    """Largest relative distance of a width from a whole multiple of the finest."""
    ratios = [width_m / min(widths_m) for width_m in widths_m]
    return max(abs(ratio - round(ratio)) / ratio for ratio in ratios)


def draw_product_level(rng: Generator, key: str) -> ProductLevel:
    """Draw a product level at which scenes of the sensor are distributed."""
    levels = _USES[key].levels
    return list(levels)[rng.choice(len(levels), p=list(levels.values()))]


def draw_bands(rng: Generator, sensor: Sensor) -> list[Band]:
    """Draw the reflective bands of a scene: all, a usual choice, or a random part of them.

    Scenes of a spectrometer have at most ``MAX_BANDS`` bands.
    """
    usable = [band for band in sensor.bands if _is_usable(band, sensor)]
    if len(usable) > _MAX_MULTISPECTRAL_BANDS:
        limit_nm = rng.choice([1000, 2500], p=[0.25, 0.75])
        usable = [band for band in usable if _centre_nm(band) <= limit_nm]
        order = rng.permutation(len(usable))
        chosen = np.sort(order[: rng.integers(40, MAX_BANDS + 1)])
        return [usable[index] for index in chosen]
    if len(usable) > 5 and rng.random() < 0.35:
        wanted_nm = _USUAL_BANDS_NM[: rng.choice([4, 6])]
        names = {_nearest(usable, nm).name for nm in wanted_nm}
        return [band for band in usable if band.name in names]
    if len(usable) > 3 and rng.random() < 0.1:
        count = rng.integers(1, max(2, len(usable) // 3))
        dropped = set(rng.choice(len(usable), count, replace=False).tolist())
        return [band for index, band in enumerate(usable) if index not in dropped]
    return usable


def _is_usable(band: Band, sensor: Sensor) -> bool:
    """Whether a band measures reflected light that reaches the ground."""
    if not band.wavelength_nm or not band.fwhm_nm or band.name in sensor.bad:
        return False
    absorbed = any(low <= band.wavelength_nm <= high for low, high in _ABSORBED_NM)
    return 400 <= band.wavelength_nm <= 2480 and not absorbed and band.fwhm_nm < 200


def _centre_nm(band: Band) -> float:
    return band.wavelength_nm or 0.0


def _nearest(bands: Sequence[Band], nm: float) -> Band:
    return min(bands, key=lambda band: abs(_centre_nm(band) - nm))


def spectral_responses(
    sensor: str, bands: Sequence[Band], tables: Path | None = None
) -> NDArray[np.float32]:
    """Spectral response of each band: (C, n_wavelengths), rows summing to 1.

    Args:
        sensor: key of the sensor.
        bands: the C bands.
        tables: folder of ``<sensor>.csv`` files with columns band, wavelength_nm, response; bands
            without a table get a Gaussian from centre and FWHM.

    Raises:
        RecordError: a table that cannot be read.
    """
    table = _USES[sensor].response_table
    path = tables / f"{table}.csv" if tables and table else None
    tabulated = _read_responses(path) if path and path.exists() else []
    rows = []
    for band in bands:
        centre_nm = _centre_nm(band)
        fwhm_nm = max(band.fwhm_nm or 0.0, 6.0)
        row = np.exp(-4 * np.log(2) * ((WAVELENGTHS - centre_nm) / fwhm_nm) ** 2)
        if tabulated:
            nearest_nm, response = min(tabulated, key=lambda entry: abs(entry[0] - centre_nm))
            if abs(nearest_nm - centre_nm) < fwhm_nm / 4:
                row = response
        rows.append(row / row.sum())
    return np.array(rows, np.float32)


@cache
def _read_responses(path: Path) -> list[tuple[float, NDArray[np.float64]]]:
    """Centre in nm and response (n_wavelengths,) of each band of a table."""
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    responses = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                point = float(row["wavelength_nm"]), float(row["response"])
                points[row["band"]].append(point)
        for band_points in points.values():
            nm, values = np.array(band_points).T
            response = np.clip(np.interp(WAVELENGTHS, nm, values, left=0, right=0), 0, None)
            if response.sum() > 0:
                centre_nm = float(np.average(WAVELENGTHS, weights=response))
                responses.append((centre_nm, response))
    except (ValueError, KeyError) as error:
        raise RecordError(
            f"{path} is not a table of band, wavelength_nm, response ({error})"
        ) from error
    return responses


def simulated_sensor(name: str) -> str:
    """The key of a sensor that can be simulated.

    Raises:
        BandError: no sensor has this name.
        RecordError: the sensor cannot be simulated.
    """
    key = get_sensor(name).key
    if key not in _USES:
        raise RecordError(f"sensor {key} cannot be simulated; choose one of {', '.join(_USES)}")
    return key
