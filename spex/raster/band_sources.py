"""What the bands of a raster are: the command line first, then what the file says, then what lies beside it.

Sources, each asked only for what the ones before it leave open: ``--bands`` and ``--sensor``; tags (ENVI header, GDAL
IMAGERY domain, STAC ``bands`` or ``eo:bands``), a STAC item beside the file, wavelengths or names of bands in the band
descriptions; ``<scene>.bands.json``; the colour interpretation; a sensor that alone delivers this count and type.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from spex.errors import BandError
from spex.raster.band_metadata import HOW_TO_SAY, BandMetadata, check_bands, number
from spex.raster.band_tags import described, read_wavelength_tags, stac_item, stac_tags
from spex.raster.product_names import ProductName, candidates, match_names, read_product
from spex.sensors import LEVELS, Band, Sensor, get_sensor, recognise

BandsArgument: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"

_STORED_INTEGERS = ("int16", "uint16", "int32", "uint32")
_JSON_KEYS = {"bands", "sensor", "scale", "offset", "gsd_m", "level", "bad_bands"}
_BAND_KEYS = {"name", "wavelength_nm", "fwhm_nm", "gsd_m"}


def stated(
    dataset: Any,
    path: str,
    indexes: Sequence[int],
    *,
    sensor: str | None = None,
    bands: BandsArgument | None = None,
) -> BandMetadata:
    """Everything the sources say about the raster bands ``indexes``, completed in their order.

    Raises:
        BandError: the bands stay unknown, or what is said about them is impossible or does not fit the raster.
    """
    count, dtype = len(indexes), dataset.dtypes[indexes[0] - 1]
    descriptions = [dataset.descriptions[i - 1] or "" for i in indexes]
    product = read_product(path, dataset.tags())
    found = BandMetadata("command line")
    for said in (
        None if bands is None else parse_bands(bands, count),
        None if sensor is None else _named_sensor(sensor, descriptions),
        stac_tags(dataset, count),
        read_wavelength_tags(dataset, indexes),
        stac_item(path, count),
        described(descriptions),
        _by_names(descriptions, dtype, product),
        _gdal_scale(dataset, indexes),
        product.stated(count) if dtype in _STORED_INTEGERS else None,
        _sidecar(path, count),
    ):
        found = found if said is None else found.fill(said)
    if found.bands is None:
        guess = _colours(dataset, indexes) or _recognised(count, dtype)
        found = found if guess is None else found.fill(guess)
    if found.bands is None or all(band.wavelength_nm is None for band in found.bands):
        named = ", ".join(d or "?" for d in descriptions[:12]) if any(descriptions) else "none"
        could = candidates(descriptions)
        several = f"; by these names it could be {', '.join(could)}" if could else ""
        raise BandError(
            f"{path}: wavelengths unknown for {count} bands of {dtype} (descriptions: {named}){several}; {HOW_TO_SAY}"
        )
    check_bands(found.bands, path)
    return found


def parse_bands(argument: BandsArgument, count: int, origin: str = "--bands") -> BandMetadata:
    """Read inline text, a JSON file or a mapping of that JSON.

    Raises:
        BandError: not readable, unknown keys, or another number of bands than ``count``.
    """
    if isinstance(argument, Mapping):
        return _from_json(argument, count, origin)
    text = os.fspath(argument)
    if not text.lstrip().startswith("{"):
        if "=" in text and not Path(text).is_file():
            return BandMetadata(origin, bands=_inline(text, count, origin))
        try:
            text, origin = Path(text).read_text(encoding="utf-8"), text
        except (OSError, UnicodeDecodeError) as error:
            raise BandError(
                f'{origin}: {text!r} is neither a readable JSON file nor like "B02=490/65,B03=560/35"'
            ) from error
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise BandError(f"{origin}: not JSON ({error})") from error
    return _from_json(content, count, origin)


def _inline(text: str, count: int, origin: str) -> tuple[Band, ...]:
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([^=]+?)\s*=\s*([0-9.eE+-]+)(?:/([0-9.eE+-]+))?\s*", part)
        try:
            name, centre, width = match.groups() if match else ("", "", "")
            found.append(Band(name, float(centre), float(width) if width else None))
        except ValueError:
            raise BandError(
                f"{origin}: {part.strip()!r} is not NAME=CENTRE or NAME=CENTRE/WIDTH in nm"
            ) from None
    return _fitting(tuple(found), count, origin)


def _fitting(bands: tuple[Band, ...], count: int, origin: str) -> tuple[Band, ...]:
    if len(bands) != count:
        raise BandError(
            f"{origin} describes {len(bands)} bands, the raster has {count}; describe each in file order"
        )
    return bands


def _from_json(content: Any, count: int, origin: str) -> BandMetadata:
    if not isinstance(content, Mapping) or not isinstance(content.get("bands", []), list):
        raise BandError(
            f'{origin}: the JSON must be an object like {{"bands": [...], "scale": 0.0001}}'
        )
    unknown = set(content) - _JSON_KEYS
    bands = []
    for i, entry in enumerate(content.get("bands", ()), 1):
        if not isinstance(entry, Mapping):
            raise BandError(
                f"{origin}: band {i} is {entry!r}; it must be an object with name and wavelength_nm"
            )
        unknown |= set(entry) - _BAND_KEYS
        numbers = [
            number(entry.get(key), key, origin) for key in ("wavelength_nm", "fwhm_nm", "gsd_m")
        ]
        bands.append(Band(str(entry.get("name", i)), *numbers))
    if unknown:
        raise BandError(
            f"{origin}: unknown keys {sorted(unknown)}; use {sorted(_JSON_KEYS)} and in a band {sorted(_BAND_KEYS)}"
        )
    level = content.get("level")
    if level is not None and level not in LEVELS:
        raise BandError(f"{origin}: level {level!r} is unknown; it is one of {', '.join(LEVELS)}")
    sensor = None if content.get("sensor") is None else get_sensor(str(content["sensor"]))
    names = [band.name for band in bands] or [str(i) for i in range(1, count + 1)]
    bad = {
        str(b): (b - 1 if isinstance(b, int) else names.index(b) if b in names else -1)
        for b in content.get("bad_bands", ())
    }
    wrong = [name for name, position in bad.items() if not 0 <= position < count]
    if wrong:
        raise BandError(
            f"{origin}: bad_bands names {wrong}, which are no bands; give names or numbers from 1"
        )
    scale, offset = (number(content.get(key), key, origin) for key in ("scale", "offset"))
    gsd_m = number(content.get("gsd_m"), "gsd_m", origin)
    if (scale is not None and scale <= 0) or (gsd_m is not None and gsd_m <= 0):
        raise BandError(
            f"{origin}: scale {scale} and gsd_m {gsd_m} must be above 0 where they are given"
        )
    layout = None if sensor is None else sensor.layout(count)
    return BandMetadata(
        origin,
        bands=_fitting(tuple(bands), count, origin) if bands else layout,
        sensor=sensor,
        scale=None if scale is None else (scale,) * count,
        offset=None if offset is None else (offset,) * count,
        level=level,
        gsd_m=gsd_m,
        bad=frozenset(bad.values()),
    )


def _of_sensor(
    sensor: Sensor, bands: tuple[Band, ...], origin: str, note: str | None = None
) -> BandMetadata:
    bad = frozenset(i for i, band in enumerate(bands) if band.name in sensor.bad)
    return BandMetadata(origin, bands=bands, sensor=sensor, bad=bad, note=note)


def _named_sensor(name: str, descriptions: Sequence[str]) -> BandMetadata:
    sensor = get_sensor(name)
    by_name = [sensor.find(d) if d else None for d in descriptions]
    if all(by_name) and len(set(by_name)) == len(by_name):
        return _of_sensor(sensor, tuple(b for b in by_name if b), f"--sensor {name}")
    layout = sensor.layout(len(descriptions))
    if layout is None:
        counts = sorted({len(sensor.bands), *map(len, sensor.orders)})
        raise BandError(
            f"the raster has {len(descriptions)} bands, {sensor.title} delivers {' or '.join(map(str, counts))}; "
            "name its bands with --bands"
        )
    return _of_sensor(sensor, layout, f"--sensor {name}")


def _by_names(descriptions: Sequence[str], dtype: str, product: ProductName) -> BandMetadata | None:
    match = match_names(descriptions, dtype, product)
    if match is not None:
        return BandMetadata("band names", bands=match.bands, sensor=match.sensor, note=match.note)
    sensor = product.sensor
    layout = None if sensor is None else sensor.layout(len(descriptions))
    return None if sensor is None or layout is None else _of_sensor(sensor, layout, "product")


def _gdal_scale(dataset: Any, indexes: Sequence[int]) -> BandMetadata | None:
    scale = tuple(dataset.scales[i - 1] for i in indexes)
    offset = tuple(dataset.offsets[i - 1] for i in indexes)
    plain = all(s == 1 for s in scale) and all(o == 0 for o in offset)
    return None if plain else BandMetadata("scale tags", scale=scale, offset=offset)


def _sidecar(path: str, count: int) -> BandMetadata | None:
    for place in (
        (Path(path + ".bands.json"), Path(path).with_suffix(".bands.json"))
        if "://" not in path
        else ()
    ):
        if place.is_file():
            return parse_bands(place, count)
    return None


def _colours(dataset: Any, indexes: Sequence[int]) -> BandMetadata | None:
    """Bands that the file marks as red, green and blue; with a fourth band of 8 bits it is taken for NAIP."""
    kinds = [dataset.colorinterp[i - 1].name for i in indexes]
    if kinds[:3] != ["red", "green", "blue"] or len(kinds) > 4:
        return None
    naip = get_sensor("naip")
    layout = naip.layout(len(kinds))
    if layout is None or dataset.dtypes[0] != "uint8":
        return None
    names = ", ".join(band.name for band in layout)
    note = f"bands taken as {names} of an aerial camera from the file's colours; if not so, {HOW_TO_SAY}"
    return _of_sensor(naip, layout, "colour interpretation", note)


def _recognised(count: int, dtype: str) -> BandMetadata | None:
    sensor = recognise(count, dtype)
    layout = None if sensor is None else sensor.layout(count)
    if sensor is None or layout is None:
        return None
    note = f"taken for {sensor.title} because it alone delivers {count} bands of {dtype}; if not so, {HOW_TO_SAY}"
    return _of_sensor(sensor, layout, "count and type", note)
