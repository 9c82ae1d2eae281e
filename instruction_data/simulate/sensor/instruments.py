"""Which sensor looks, at which pixel width and level of processing, through which bands, and with which responses."""

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

Look = Literal["surface", "toa", "radiance", "display"]
MOST_BANDS = 120


@dataclass(frozen=True)
class _Use:
    """How often a sensor is drawn, its usual pixel widths (m), and the share of its scenes per level."""

    weight: float
    gsd_m: tuple[float, ...]
    looks: Mapping[Look, float]
    response: str = ""  # file of its tabulated responses


_SENTINEL: Mapping[Look, float] = {"surface": 0.6, "toa": 0.22, "display": 0.18}
_LANDSAT: Mapping[Look, float] = {"surface": 0.65, "toa": 0.25, "display": 0.1}
_CUBE: Mapping[Look, float] = {"surface": 0.9, "radiance": 0.1}
_FINE: Mapping[Look, float] = {"surface": 0.25, "toa": 0.15, "display": 0.6}
_USES = {
    "sentinel-2a": _Use(6, (10, 20), _SENTINEL, "S2A_MSI"), "sentinel-2b": _Use(2, (10, 20), _SENTINEL, "S2B_MSI"),
    "sentinel-2c": _Use(1, (10, 20), _SENTINEL, "S2C_MSI_V4"),
    "landsat-5": _Use(1, (30,), _LANDSAT, "L5_TM"), "landsat-7": _Use(1.5, (30,), _LANDSAT, "L7_ETM"),
    "landsat-8": _Use(2, (30,), _LANDSAT, "L8_OLI"), "landsat-9": _Use(1, (30,), _LANDSAT, "L9_OLI"),
    "hls-l30": _Use(1, (30,), {"surface": 1}, "L8_OLI"), "hls-s30": _Use(1, (30,), {"surface": 1}, "S2A_MSI"),
    "hls7": _Use(1.5, (30,), {"surface": 1}, "L8_OLI"),
    "naip": _Use(6, (0.6, 1, 2, 5), {"display": 1}),
    "planetscope-4": _Use(1.5, (3,), {"surface": 0.6, "display": 0.4}, "PlanetScope_0f"),
    "planetscope-8": _Use(1.2, (3,), {"surface": 0.7, "display": 0.3}, "PlanetScope_SD8"),
    "worldview-2": _Use(1.5, (2, 0.5), _FINE, "WorldView2"), "worldview-3": _Use(1, (1.2, 0.3), _FINE, "WorldView3"),
    "worldview-3-swir": _Use(0.5, (3.7,), {"surface": 0.6, "toa": 0.4}, "WorldView3"),
    "pleiades": _Use(2, (0.5, 2), _FINE, "PHR1A"), "spot-6": _Use(1, (1.5, 6), _FINE, "SPOT6"),
    "spot-7": _Use(0.7, (1.5, 6), _FINE, "SPOT7"),
    "aviris-c": _Use(0.4, (4, 15), _CUBE), "aviris-ng": _Use(0.4, (3, 5, 8), _CUBE),
    "aviris-3": _Use(0.2, (3, 5), _CUBE),
    "enmap": _Use(0.4, (30,), _CUBE), "prisma": _Use(0.3, (30,), _CUBE), "desis": _Use(0.2, (30,), _CUBE),
    "emit": _Use(0.3, (60,), _CUBE), "hyperion": _Use(0.1, (30,), _CUBE),
}  # fmt: skip


def draw_sensor(
    rng: Generator, among: Sequence[str] = tuple(_USES), gsd_m: float | None = None
) -> tuple[str, float]:
    """A sensor and one of its pixel widths in metres, about ``gsd_m`` if that is given; KeyError where none has it."""
    choices = [
        (key, width, _USES[key].weight / len(_USES[key].gsd_m))
        for key in among for width in _USES[key].gsd_m if gsd_m is None or 0.8 <= width / gsd_m <= 1.25
    ]  # fmt: skip
    if not choices:
        raise KeyError(gsd_m)
    weight = np.array([choice[2] for choice in choices])
    key, width, _ = choices[rng.choice(len(choices), p=weight / weight.sum())]
    return key, width if gsd_m is None else gsd_m


def draw_together(rng: Generator, keys: Sequence[str]) -> list[tuple[str, float]]:
    """A pixel width for each sensor so that all are about whole multiples of the finest."""
    choices = list(product(*(_USES[key].gsd_m for key in keys)))
    misfit = [max(abs(w / min(c) - round(w / min(c))) / (w / min(c)) for w in c) for c in choices]
    best = [
        choice for choice, error in zip(choices, misfit, strict=True) if error <= min(misfit) + 1e-6
    ]
    return list(zip(keys, best[rng.integers(len(best))], strict=True))


def draw_look(rng: Generator, key: str) -> Look:
    """A level of processing in which the sensor's scenes are met."""
    looks = _USES[key].looks
    return list(looks)[rng.choice(len(looks), p=list(looks.values()))]


def choose_bands(rng: Generator, sensor: Sensor) -> list[Band]:
    """The reflective bands of a scene: all, a usual choice of some, or a random part; at most ``MOST_BANDS``."""
    usable = [
        b for b in sensor.bands
        if b.wavelength_nm and b.fwhm_nm and 400 <= b.wavelength_nm <= 2480 and b.name not in sensor.bad
        and not 1340 <= b.wavelength_nm <= 1460 and not 1790 <= b.wavelength_nm <= 1980 and b.fwhm_nm < 200
    ]  # fmt: skip
    if len(usable) > 20:
        limit = rng.choice([1000, 2500], p=[0.25, 0.75])
        usable = [b for b in usable if b.wavelength_nm and b.wavelength_nm <= limit]
        kept = np.sort(rng.permutation(len(usable))[: rng.integers(40, MOST_BANDS + 1)])
        return [usable[i] for i in kept]
    if len(usable) > 5 and rng.random() < 0.35:
        near = (485, 560, 660, 840, 1610, 2200)[: rng.choice([4, 6])]
        names = {min(usable, key=lambda b: abs((b.wavelength_nm or 0) - w)).name for w in near}
        return [b for b in usable if b.name in names]
    if len(usable) > 3 and rng.random() < 0.1:
        gone = set(
            rng.choice(
                len(usable), rng.integers(1, max(2, len(usable) // 3)), replace=False
            ).tolist()
        )
        return [b for i, b in enumerate(usable) if i not in gone]
    return usable


def responses(
    sensor: str, bands: Sequence[Band], tables: Path | None = None
) -> NDArray[np.float32]:
    """What each band makes of a spectrum: (C, n_wavelengths), rows summing to 1.

    Tabulated where ``tables`` (a folder of ``<sensor>.csv`` with columns band, wavelength_nm, response) holds the
    sensor, else Gaussian from centre and FWHM.
    """
    file = tables / f"{_USES[sensor].response}.csv" if tables and _USES[sensor].response else None
    tabulated = _table(file) if file and file.exists() else []
    rows = []
    for band in bands:
        centre, width = band.wavelength_nm or 0.0, max(band.fwhm_nm or 0.0, 6.0)
        row = np.exp(-4 * np.log(2) * ((WAVELENGTHS - centre) / width) ** 2)
        near = min(tabulated, key=lambda t: abs(t[0] - centre), default=None)
        if near and abs(near[0] - centre) < width / 4:
            row = near[1]
        rows.append(row / row.sum())
    return np.array(rows, np.float32)


@cache
def _table(path: Path) -> list[tuple[float, NDArray[np.float64]]]:
    found, rows = [], defaultdict(list)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                rows[row["band"]].append((float(row["wavelength_nm"]), float(row["response"])))
        for points in rows.values():
            on_grid = np.clip(np.interp(WAVELENGTHS, *np.array(points).T, left=0, right=0), 0, None)
            if on_grid.sum() > 0:
                found.append((float(np.average(WAVELENGTHS, weights=on_grid)), on_grid))
    except (ValueError, KeyError) as error:
        raise RecordError(
            f"{path} is no table of band, wavelength_nm, response ({error})"
        ) from error
    return found


def known_sensor(name: str) -> str:
    """The key of a sensor that can be simulated.

    Raises:
        BandError: no such sensor.
        RecordError: a sensor without a usual pixel width.
    """
    key = get_sensor(name).key
    if key not in _USES:
        raise RecordError(f"sensor {key} cannot be simulated; these can: {', '.join(_USES)}")
    return key
