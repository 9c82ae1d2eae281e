"""Product identifiers of the large archives: what they say about sensor, level and scale."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from spex.raster.band_metadata import BandMetadata
from spex.sensors import Level, Sensor, get_sensor

_SENTINEL = re.compile(r"(?<![A-Z0-9])S2([ABC])_(?:MSI|OPER|USER)\w*?_?L(1C|2A)")
_SENTINEL_BASELINE = re.compile(r"_N(\d\d)(\d\d)_")
_LANDSAT = re.compile(r"(?<![A-Z0-9])L[CETO]0([5789])_L([12])\w\w_\d{6}_\d{8}_\d{8}_(0[12])_")
_HLS = re.compile(r"(?<![A-Z0-9])HLS\.([LS])30\.")
_NAIP = re.compile(r"(?<![A-Za-z0-9])m_\d{7}_[ns][ew]_\d{1,2}_")
_OFFSET_KEYS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")


@dataclass(frozen=True)
class ProductMetadata:
    """What a product's identifier and tags state; scale and offset are those of integers."""

    sensor: Sensor | None = None
    level: Level | None = None
    scale: float | None = None
    offset: float | None = None

    def radiometry(self, count: int) -> BandMetadata:
        """Scale, offset and level, as metadata of ``count`` bands."""
        return BandMetadata(
            "product",
            scale=None if self.scale is None else (self.scale,) * count,
            offset=None if self.offset is None else (self.offset,) * count,
            level=self.level,
        )


def read_product(path: str, tags: Mapping[str, str]) -> ProductMetadata:
    """Recognise a product by its identifier in the file's name or tags.

    Sentinel-2 of processing baseline 04.00 or later stores reflectance x 10 000 + 1000. Landsat
    Collection 2 surface reflectance has the scale of the sensor table; Collection 1 stores
    reflectance x 10 000, OLI level 1 x 50 000 + 5000.

    Args:
        path: of the file.
        tags: of the file as a whole.
    """
    name = PurePath(path).name
    text = " ".join((name, *map(str, tags.values())))
    if match := _SENTINEL.search(text):
        level: Level = "toa" if match[2] == "1C" else "surface"
        offset = _sentinel_offset(text, tags)
        return ProductMetadata(get_sensor(f"s2{match[1]}"), level, 1e-4, offset)
    if match := _LANDSAT.search(text):
        return _landsat_product(number=match[1], level=match[2], collection=match[3])
    if match := _HLS.search(text):
        return ProductMetadata(get_sensor(f"hls-{match[1].lower()}30"), "surface", 1e-4, 0.0)
    if _NAIP.search(name):
        return ProductMetadata(get_sensor("naip"))
    if any(key in tags for key in (*_OFFSET_KEYS, "PROCESSING_BASELINE")):
        return ProductMetadata(None, None, 1e-4, _sentinel_offset(text, tags))
    return ProductMetadata()


def _landsat_product(number: str, level: str, collection: str) -> ProductMetadata:
    sensor = get_sensor(f"l{number}")
    if level == "2" and collection == "02":
        return ProductMetadata(sensor, "surface", sensor.scale, sensor.offset)
    if level == "2":
        return ProductMetadata(sensor, "surface", 1e-4, 0.0)
    if number in "89":
        return ProductMetadata(sensor, "toa", 2e-5, -0.1)
    return ProductMetadata(sensor, "toa")


def _sentinel_offset(text: str, tags: Mapping[str, str]) -> float:
    for key in _OFFSET_KEYS:
        if match := re.search(r"-?\d+", tags.get(key, "")):
            return float(match[0]) * 1e-4
    baseline = _SENTINEL_BASELINE.search(text) or re.match(
        r"(\d\d)\.(\d\d)", tags.get("PROCESSING_BASELINE", "")
    )
    return -0.1 if baseline and int(baseline[1]) >= 4 else 0.0
