"""Bands, the table of known sensors, and the spectral roles that indices are computed from.

Wavelengths and widths (full width at half maximum) are in nanometres, ground sampling distances in
metres. The table is ``spex/data/sensors.json``; every sensor in it names its source.
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
FAMILIES = (
    "airbus", "aviris-3", "aviris-c", "aviris-ng", "desis", "emit", "enmap", "hls-l30", "hls7",
    "hyperion", "landsat-oli", "landsat-tm", "naip", "planetscope-4", "planetscope-8", "prisma",
    "sentinel-2", "worldview-2", "worldview-3",
)  # fmt: skip
"""Families of the table's sensors; checkpoints know them by position, so new ones go to the end."""


@dataclass(frozen=True)
class Band:
    """One band of a sensor or a scene; None where unknown.

    Attributes:
        name: as the product or the user calls the band.
        wavelength_nm: centre.
        fwhm_nm: full width at half maximum.
        gsd_m: ground sampling distance in metres.
    """

    name: str
    wavelength_nm: float | None
    fwhm_nm: float | None
    gsd_m: float | None = None


@dataclass(frozen=True)
class Sensor:
    """A sensor as products deliver it: reflectance = stored integer x ``scale`` + ``offset``.

    Attributes:
        key: the sensor's name, for example ``sentinel-2a``.
        title: the name in full.
        bands: all bands in the order of the full product.
        scale: reflectance per stored unit.
        offset: reflectance of a stored 0.
        level: processing level of the product.
        source: where the table's numbers come from.
        family: one of ``FAMILIES``.
        other_names: further accepted names of the sensor.
        orders: band orders of usual products besides the full one.
        aliases: other names of each band, lower case.
        dtypes: integer types that scale and offset hold for.
        bad: names of the bands that carry no signal.
        toa: a band that only top-of-atmosphere products have, with their scale and offset.
    """

    key: str
    title: str
    bands: tuple[Band, ...]
    scale: float
    offset: float
    level: Level
    source: str
    family: str = ""
    other_names: tuple[str, ...] = ()
    orders: tuple[tuple[str, ...], ...] = ()
    aliases: tuple[tuple[str, ...], ...] = ()
    dtypes: tuple[str, ...] = ()
    bad: frozenset[str] = frozenset()
    toa: tuple[str, float, float] | None = None

    def find(self, name: str) -> Band | None:
        """The band called ``name``, or None.

        Args:
            name: case, separators and leading zeros do not matter (``b3`` is ``B03``).
        """
        plain_name = _plain(name)
        for band, aliases in zip(self.bands, self.aliases, strict=True):
            if plain_name == _plain(band.name) or plain_name in aliases:
                return band
        return None

    def layout(self, count: int) -> tuple[Band, ...] | None:
        """The bands of the product that delivers ``count`` bands, None if there is none."""
        if count == len(self.bands):
            return self.bands
        for order in self.orders:
            if len(order) == count:
                return tuple(band for name in order if (band := self.find(name)))
        return None


def _plain(name: str) -> str:
    """A name in lower case, without separators and leading zeros."""
    return re.sub(r"(?<![0-9])0+(?=\d)", "", re.sub(r"[^a-z0-9]", "", name.lower()))


def _expand(values: float | list[float] | Mapping[str, float], count: int) -> list[float]:
    """One number per band from a list, a first value with a step, or one value for all."""
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
    bad: set[str] = set()
    for first, last in entry.get("bad", ()):
        bad.update(str(number) for number in range(first, last + 1))
    return Sensor(
        key=key,
        title=entry["title"],
        bands=tuple(Band(name, centre, width, gsd) for name, centre, width, gsd, *_ in rows),
        scale=entry["scale"],
        offset=entry["offset"],
        level=entry["level"],
        source=entry["source"],
        family=entry["family"],
        other_names=tuple(entry["aliases"]),
        orders=tuple(tuple(order.split()) for order in entry.get("orders", ())),
        aliases=tuple(_band_aliases(row) for row in rows),
        dtypes=tuple(entry["dtypes"]),
        bad=frozenset(bad),
        toa=tuple(entry["toa"]) if "toa" in entry else None,
    )


def _band_aliases(row: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_plain(alias) for alias in " ".join(row[4:]).split())


@cache
def _table() -> tuple[dict[str, Sensor], dict[str, str]]:
    """All sensors by key, and the key behind every accepted spelling."""
    text = resources.files("spex").joinpath("data/sensors.json").read_text(encoding="utf-8")
    entries = json.loads(text)
    by_key = {key: _sensor(key, entry) for key, entry in entries.items()}
    spellings = {}
    for key, sensor in by_key.items():
        for name in (key, *sensor.other_names):
            spellings[_plain(name)] = key
    return by_key, spellings


def sensors() -> tuple[Sensor, ...]:
    """All known sensors in the order of the table."""
    return tuple(_table()[0].values())


def get_sensor(name: str) -> Sensor:
    """The sensor called ``name``; case and separators do not matter.

    Raises:
        BandError: no such sensor; the message suggests similar names.
    """
    by_key, spellings = _table()
    key = spellings.get(_plain(name))
    if key is None:
        matches = difflib.get_close_matches(_plain(name), spellings, n=4, cutoff=0.5)
        similar = ", ".join(dict.fromkeys(spellings[match] for match in matches))
        suggestion = f"did you mean {similar}? " if similar else ""
        raise BandError(
            f"no sensor is called {name!r}; {suggestion}"
            "`spex sensors` lists the names; other bands are given with --bands"
        )
    return by_key[key]


def family_of(name: str) -> str:
    """The family of a sensor by its name, empty if unknown."""
    try:
        return get_sensor(name).family
    except BandError:
        return ""


def recognise(count: int, dtype: str) -> Sensor | None:
    """The only sensor that delivers ``count`` bands of ``dtype``, None if several or none do.

    Fewer than 12 bands never identify a sensor. The satellites of one family (2A, 2B, 2C) count as
    one; the first of the table is returned.
    """
    if count < 12:
        return None
    first_of_family: dict[str, Sensor] = {}
    for sensor in sensors():
        if sensor.layout(count) and dtype in sensor.dtypes:
            first_of_family.setdefault(sensor.family, sensor)
    return first_of_family.popitem()[1] if len(first_of_family) == 1 else None


@dataclass(frozen=True)
class _Role:
    """Spectral window of a role, in nm.

    Attributes:
        centre: centre of a Sentinel-2-like response.
        fwhm: full width of that response at half its maximum.
        low: lowest accepted centre of a band.
        high: highest accepted centre of a band.
        widest: greatest accepted width of a band.
    """

    centre: float
    fwhm: float
    low: float
    high: float
    widest: float


# No window reaches into water vapour (900-960, 1340-1460, 1790-1980 nm) or the cirrus band.
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

    A hyperspectral role (three or more narrow bands inside the half maximum) is the mean of the
    bands, weighted with a Sentinel-2-like response and with the nm that each band represents;
    otherwise it is the nearest band in the window.

    Returns:
        Role to weights of shape (C,), each summing to 1.
    """
    centres = _numbers([band.wavelength_nm for band in bands])
    widths = _numbers([band.fwhm_nm for band in bands])
    weights = {}
    for name, role in _ROLES.items():
        role_weight = _weigh(role, centres, widths)
        if role_weight is not None:
            weights[name] = role_weight
    return weights


def _numbers(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    """The values as float64, NaN for None."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _weigh(
    role: _Role, centres: npt.NDArray[np.float64], widths: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64] | None:
    """Weights (C,) of the bands in one role, None if no band lies in its window."""
    with np.errstate(invalid="ignore"):
        inside = (centres >= role.low) & (centres <= role.high) & ~(widths > role.widest)
        narrow = inside & ~(widths > role.fwhm / 2)
        half_maximum = narrow & (np.abs(centres - role.centre) <= role.fwhm / 2)
    if np.unique(centres[half_maximum]).size >= 3:
        gaussian = np.exp(-4 * math.log(2) * ((centres - role.centre) / role.fwhm) ** 2)
        response = np.where(narrow, gaussian, 0.0)
        response[narrow] *= _spacing(centres[narrow])
        return response / response.sum()
    if not inside.any():
        return None
    distances = np.where(inside, np.abs(centres - role.centre), np.nan)
    nearest = np.zeros(len(centres))
    nearest[np.nanargmin(distances)] = 1.0
    return nearest


def _spacing(centres: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Nm that each centre represents, so that denser sampling of one part changes no mean."""
    values, inverse, counts = np.unique(centres, return_inverse=True, return_counts=True)
    gaps: npt.NDArray[np.float64] = np.gradient(values)
    return (gaps / counts)[inverse]
