"""What sensors see: bands, the table of known sensors, and the spectral roles that indices ask for.

Wavelengths, widths (full width at half maximum) are in nanometres, ground sampling distances in metres. The table is
``spex/data/sensors.json``; every sensor in it names its source.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from spex.errors import BandError

Level = Literal["radiance", "toa", "surface", "uncalibrated"]
LEVELS: tuple[Level, ...] = get_args(Level)
FAMILIES = ("airbus", "aviris-3", "aviris-c", "aviris-ng", "desis", "emit", "enmap", "hls-l30", "hls7", "hyperion",
            "landsat-oli", "landsat-tm", "naip", "planetscope-4", "planetscope-8", "prisma", "sentinel-2",
            "worldview-2", "worldview-3")  # fmt: skip
"""Families of the table's sensors; checkpoints know them by their place, so new ones go to the end."""


@dataclass(frozen=True)
class Band:
    """One band: its name, centre and width in nm, ground sampling distance in metres; None where unknown."""

    name: str
    wavelength_nm: float | None
    fwhm_nm: float | None
    gsd_m: float | None = None


@dataclass(frozen=True)
class Sensor:
    """A sensor as products deliver it: reflectance = stored integer x ``scale`` + ``offset``.

    ``orders`` are the band orders of usual products besides the full one; ``aliases`` other names of bands, lower case;
    ``dtypes`` the integer types that scale and offset hold for; ``bad`` the bands that carry no signal; ``toa`` a band
    that only top-of-atmosphere products hold, with their scale and offset.
    """

    key: str
    title: str
    bands: tuple[Band, ...]
    scale: float
    offset: float
    level: Level
    source: str
    family: str = ""
    orders: tuple[tuple[str, ...], ...] = ()
    aliases: tuple[tuple[str, ...], ...] = ()
    dtypes: tuple[str, ...] = ()
    bad: frozenset[str] = frozenset()
    toa: tuple[str, float, float] | None = None

    def find(self, name: str) -> Band | None:
        """The band called ``name`` here; case, separators and leading zeros do not matter (``b3`` is ``B03``)."""
        wanted = _plain(name)
        for band, others in zip(self.bands, self.aliases, strict=True):
            if wanted == _plain(band.name) or wanted in others:
                return band
        return None

    def layout(self, count: int) -> tuple[Band, ...] | None:
        """The bands of the product that delivers ``count`` of them, None where there is no such product."""
        if count == len(self.bands):
            return self.bands
        order = next((names for names in self.orders if len(names) == count), None)
        return None if order is None else tuple(band for name in order if (band := self.find(name)))


def _plain(name: str) -> str:
    return re.sub(r"(?<![0-9])0+(?=\d)", "", re.sub(r"[^a-z0-9]", "", name.lower()))


def _expand(values: float | list[float] | Mapping[str, float], count: int) -> list[float]:
    if isinstance(values, list):
        return values
    if isinstance(values, Mapping):
        return [round(values["first"] + i * values["step"], 2) for i in range(count)]
    return [values] * count


def _sensor(key: str, entry: Mapping[str, Any]) -> Sensor:
    if "bands" in entry:
        rows = entry["bands"]
    else:
        centres = entry["centres_nm"]
        count = len(centres) if isinstance(centres, list) else int(centres["count"])
        grid = zip(_expand(centres, count), _expand(entry["fwhm_nm"], count), strict=True)
        rows = [
            [str(i), centre, width, entry["gsd_m"]] for i, (centre, width) in enumerate(grid, 1)
        ]
    bad = {str(i) for first, last in entry.get("bad", ()) for i in range(first, last + 1)}
    return Sensor(
        key=key,
        title=entry["title"],
        bands=tuple(Band(name, centre, width, gsd) for name, centre, width, gsd, *_ in rows),
        scale=entry["scale"],
        offset=entry["offset"],
        level=entry["level"],
        source=entry["source"],
        family=entry["family"],
        orders=tuple(tuple(order.split()) for order in entry.get("orders", ())),
        aliases=tuple(tuple(_plain(a) for a in " ".join(row[4:]).split()) for row in rows),
        dtypes=tuple(entry["dtypes"]),
        bad=frozenset(bad),
        toa=tuple(entry["toa"]) if "toa" in entry else None,
    )


@cache
def _table() -> tuple[dict[str, Sensor], dict[str, str]]:
    """All sensors by key, and the key behind every accepted spelling."""
    text = resources.files("spex").joinpath("data/sensors.json").read_text(encoding="utf-8")
    entries = json.loads(text)
    sensors = {key: _sensor(key, entry) for key, entry in entries.items()}
    spellings = {
        _plain(name): key for key, entry in entries.items() for name in (key, *entry["aliases"])
    }
    return sensors, spellings


def sensors() -> tuple[Sensor, ...]:
    """All known sensors in the order of the table."""
    return tuple(_table()[0].values())


def get_sensor(name: str) -> Sensor:
    """The sensor called ``name``; case and separators do not matter.

    Raises:
        BandError: no such sensor; the message lists near names.
    """
    known, spellings = _table()
    key = spellings.get(_plain(name))
    if key is None:
        near = [
            spellings[s]
            for s in difflib.get_close_matches(_plain(name), spellings, n=4, cutoff=0.5)
        ]
        listed = ", ".join(dict.fromkeys(near)) or ", ".join(known)
        raise BandError(
            f"no sensor is called {name!r}; near names: {listed}; or give the bands with --bands"
        )
    return known[key]


def family_of(name: str) -> str:
    """The family of a sensor by its name, empty where unknown."""
    try:
        return get_sensor(name).family
    except BandError:
        return ""


def recognise(count: int, dtype: str) -> Sensor | None:
    """The sensor that alone delivers ``count`` bands of ``dtype``, None where several or none do.

    Only products of at least 12 bands count, fewer are never telling. The satellites of one family (2A, 2B, 2C) are one
    answer, the first of the table.
    """
    found = [s for s in sensors() if count >= 12 and s.layout(count) and dtype in s.dtypes]
    first = {sensor.family: sensor for sensor in reversed(found)}
    return first.popitem()[1] if len(first) == 1 else None


@dataclass(frozen=True)
class _Role:
    """Where a role lies (nm): centre and width of a Sentinel-2-like response, accepted centres, greatest width."""

    centre: float
    fwhm: float
    low: float
    high: float
    widest: float


# No window reaches into the water-vapour bands (900-960, 1340-1460, 1790-1980 nm) or the cirrus band.
_ROLES: Mapping[str, _Role] = {
    "A": _Role(443, 20, 400, 460, 65),
    "B": _Role(490, 65, 445, 525, 110),
    "G": _Role(560, 35, 520, 600, 120),
    "R": _Role(665, 30, 615, 690, 120),
    "RE1": _Role(705, 15, 692, 730, 45),
    "RE2": _Role(740, 15, 730, 755, 45),
    "RE3": _Role(783, 20, 765, 798, 45),
    "N": _Role(842, 105, 760, 900, 200),
    "S1": _Role(1610, 90, 1530, 1760, 260),
    "S2": _Role(2195, 180, 2080, 2360, 320),
}
ROLES = tuple(_ROLES)


def role_weights(bands: Sequence[Band]) -> dict[str, npt.NDArray[np.float64]]:
    """The weights over ``bands`` that make each spectral role which these bands can make.

    A hyperspectral role (three or more narrow bands inside the half maximum) is the mean of the bands weighted with a
    Sentinel-2-like response and with the nm that each band stands for; otherwise it is the nearest band in the window.

    Returns:
        Role to weights of shape (C,), each summing to 1.
    """
    centre = np.array(
        [math.nan if b.wavelength_nm is None else b.wavelength_nm for b in bands], dtype=np.float64
    )
    width = np.array(
        [math.nan if b.fwhm_nm is None else b.fwhm_nm for b in bands], dtype=np.float64
    )
    weights = {}
    for name, role in _ROLES.items():
        with np.errstate(invalid="ignore"):
            inside = (centre >= role.low) & (centre <= role.high) & ~(width > role.widest)
            narrow = inside & ~(width > role.fwhm / 2)
            dense = (
                np.unique(centre[narrow & (np.abs(centre - role.centre) <= role.fwhm / 2)]).size
                >= 3
            )
        if dense:
            response = np.where(
                narrow, np.exp(-4 * math.log(2) * ((centre - role.centre) / role.fwhm) ** 2), 0.0
            )
            response[narrow] *= _spacing(centre[narrow])
            weights[name] = response / response.sum()
        elif inside.any():
            weights[name] = np.zeros(len(bands))
            weights[name][np.nanargmin(np.where(inside, np.abs(centre - role.centre), np.nan))] = (
                1.0
            )
    return weights


def _spacing(centres: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How many nm each of the centres stands for, so that denser sampling of one part changes no mean."""
    values, inverse, counts = np.unique(centres, return_inverse=True, return_counts=True)
    gaps: npt.NDArray[np.float64] = np.gradient(values)
    return (gaps / counts)[inverse]
