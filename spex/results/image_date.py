"""The date of an image, where its file states one."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date

import rasterio
from rasterio.errors import RasterioError

from spex.raster.working_rasters import bounded_gdal_cache

_TAGS = (
    "ACQUISITIONDATETIME",
    "ACQUISITIONDATE",
    "ACQUISITION_DATE",
    "DATE_ACQUIRED",
    "SENSING_TIME",
    "DATATAKE_1_DATATAKE_SENSING_START",
    "ACQUISITION_TIME",
    "DATETIME",
    "TIFFTAG_DATETIME",  # last: some programs write the day the file was made
)


def image_date(path: str) -> date | None:
    """The date in the tags of a raster file; None if it states none, or is no file."""
    tags: dict[str, str] = {}
    with suppress(RasterioError), bounded_gdal_cache(), rasterio.open(path) as dataset:
        for namespace in (None, "IMAGERY", "ENVI"):
            tags |= {name.upper(): text for name, text in dataset.tags(ns=namespace).items()}
    for name in _TAGS:
        stated = parse_date(tags.get(name, ""))
        if stated is not None:
            return stated
    return None


def parse_date(text: str) -> date | None:
    """The first date written as year, month, day in a text such as ``2017:01:18 10:20:30``."""
    match = re.search(r"(?<!\d)((?:19|20)\d\d)[-:/]?(\d\d)[-:/]?(\d\d)", text)
    if match is None:
        return None
    with suppress(ValueError):
        return date(int(match[1]), int(match[2]), int(match[3]))
    return None
