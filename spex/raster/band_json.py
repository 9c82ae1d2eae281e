"""Bands as a user states them: inline or as JSON, in ``--bands`` or in ``<scene>.bands.json``.

Inline: ``B02=490/65,B03=560/35`` (name=centre/width in nm, in file order). JSON, every key
    optional::

    {"bands": [{"name": "B02", "wavelength_nm": 490, "fwhm_nm": 65, "gsd_m": 10}, ...],
     "sensor": "sentinel-2a", "scale": 0.0001, "offset": 0, "gsd_m": 10,
     "level": "radiance|toa|surface|uncalibrated", "bad_bands": ["B09"]}
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from spex.errors import BandError
from spex.raster.band_metadata import BandMetadata, finite_number
from spex.sensors import LEVELS, Band, get_sensor

BandsArgument: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"

_KEYS = {"bands", "sensor", "scale", "offset", "gsd_m", "level", "bad_bands"}
_BAND_KEYS = {"name", "wavelength_nm", "fwhm_nm", "gsd_m"}
_INLINE_BAND = re.compile(r"\s*([^=]+?)\s*=\s*([0-9.eE+-]+)(?:/([0-9.eE+-]+))?\s*")


def parse_bands(argument: BandsArgument, count: int, origin: str = "--bands") -> BandMetadata:
    """Read inline text, a JSON file, JSON text or a mapping of that JSON.

    Args:
        argument: what the user gave.
        count: number of spectral bands of the raster.
        origin: where the argument comes from, for messages.

    Raises:
        BandError: not readable, unknown keys, or another number of bands than ``count``.
    """
    if isinstance(argument, Mapping):
        return _from_document(argument, count, origin)
    text = os.fspath(argument)
    if not text.lstrip().startswith("{"):
        if "=" in text and not Path(text).is_file():
            return BandMetadata(origin, bands=_parse_inline(text, count, origin))
        text, origin = _read_file(text, origin), text
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise BandError(f"{origin} is not valid JSON ({error}); correct it") from error
    return _from_document(document, count, origin)


def _read_file(path: str, origin: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BandError(
            f"{origin} {path!r} is neither a readable JSON file nor bands like "
            '"B02=490/65,B03=560/35"'
        ) from error


def _parse_inline(text: str, count: int, origin: str) -> tuple[Band, ...]:
    bands = []
    for part in text.split(","):
        match = _INLINE_BAND.fullmatch(part)
        try:
            name, centre, width = match.groups() if match else ("", "", "")
            bands.append(Band(name, float(centre), float(width) if width else None))
        except ValueError:
            raise BandError(
                f"{origin}: {part.strip()!r} is not NAME=CENTRE or NAME=CENTRE/WIDTH in nm"
            ) from None
    return _checked_count(tuple(bands), count, origin)


def _checked_count(bands: tuple[Band, ...], count: int, origin: str) -> tuple[Band, ...]:
    if len(bands) != count:
        raise BandError(
            f"{origin} describes {len(bands)} bands, the raster has {count}; "
            "describe every band, in file order"
        )
    return bands


def _from_document(document: Any, count: int, origin: str) -> BandMetadata:
    if not isinstance(document, Mapping) or not isinstance(document.get("bands", []), list):
        raise BandError(
            f'{origin}: the JSON must be an object like {{"bands": [...], "scale": 0.0001}}'
        )
    bands = _checked_bands(document, origin)
    level = document.get("level")
    if level is not None and level not in LEVELS:
        raise BandError(f"{origin}: level is {level!r}; it must be one of {', '.join(LEVELS)}")
    sensor = None if document.get("sensor") is None else get_sensor(str(document["sensor"]))
    scale = finite_number(document.get("scale"), "scale", origin)
    offset = finite_number(document.get("offset"), "offset", origin)
    gsd_m = finite_number(document.get("gsd_m"), "gsd_m", origin)
    for key, value in (("scale", scale), ("gsd_m", gsd_m)):
        if value is not None and value <= 0:
            raise BandError(f"{origin}: {key} is {value:g}; it must be above 0")
    names = [band.name for band in bands] or [str(number) for number in range(1, count + 1)]
    layout = None if sensor is None else sensor.layout(count)
    return BandMetadata(
        origin,
        bands=_checked_count(bands, count, origin) if bands else layout,
        sensor=sensor,
        scale=None if scale is None else (scale,) * count,
        offset=None if offset is None else (offset,) * count,
        level=level,
        gsd_m=gsd_m,
        bad=_bad_positions(document.get("bad_bands", ()), names, count, origin),
    )


def _checked_bands(document: Mapping[str, Any], origin: str) -> tuple[Band, ...]:
    unknown = set(document) - _KEYS
    bands = []
    for number, entry in enumerate(document.get("bands", ()), 1):
        if not isinstance(entry, Mapping):
            raise BandError(
                f"{origin}: band {number} is {entry!r}; "
                "it must be an object with name and wavelength_nm"
            )
        unknown |= set(entry) - _BAND_KEYS
        bands.append(
            Band(
                str(entry.get("name", number)),
                finite_number(entry.get("wavelength_nm"), "wavelength_nm", origin),
                finite_number(entry.get("fwhm_nm"), "fwhm_nm", origin),
                finite_number(entry.get("gsd_m"), "gsd_m", origin),
            )
        )
    if unknown:
        raise BandError(
            f"{origin}: unknown keys {sorted(unknown)}; use {sorted(_KEYS)} "
            f"and for a band {sorted(_BAND_KEYS)}"
        )
    return tuple(bands)


def _bad_positions(
    bad_bands: Sequence[Any], names: Sequence[str], count: int, origin: str
) -> frozenset[int]:
    """Positions, from 0, of bands given by name or by number from 1."""
    positions = set()
    unknown = []
    for band in bad_bands:
        number = band if isinstance(band, int) else 0
        position = names.index(band) if band in names else number - 1
        if 0 <= position < count:
            positions.add(position)
        else:
            unknown.append(str(band))
    if unknown:
        raise BandError(
            f"{origin}: bad_bands names {unknown}, which are not bands of the raster; "
            f"use names or numbers from 1 to {count}"
        )
    return frozenset(positions)
