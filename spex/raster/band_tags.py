"""Band metadata in the file or in a STAC item beside it: ENVI headers, IMAGERY tags, STAC bands, descriptions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spex.errors import BandError
from spex.raster.band_metadata import HOW_TO_SAY, BandMetadata, number
from spex.sensors import Band

_WRITTEN = re.compile(
    r"(\d+(?:\.\d+)?)\s*\(?(nm|nanomet\w+|um|µm|μm|micromet\w+|microns?)\b", re.IGNORECASE
)


def _tag_list(text: str | None) -> list[str]:
    return [part.strip() for part in text.strip().strip("{}").split(",")] if text else []


def _floats(parts: Sequence[str]) -> list[float] | None:
    try:
        return [float(part) for part in parts] or None
    except ValueError:
        return None


def _unit_nm(unit: str, values: Sequence[float]) -> float:
    """What to multiply by to get nm: the unit where it is stated, else the size of the numbers."""
    if unit.lower().startswith(("nano", "nm")):
        return 1.0
    return 1e3 if unit.lower().startswith(("micro", "um", "µm", "μm")) or max(values) < 100 else 1.0


def read_wavelength_tags(dataset: Any, indexes: Sequence[int]) -> BandMetadata | None:
    """The ENVI header, band tags ``wavelength`` and ``fwhm``, and GDAL's IMAGERY domain."""
    read_wavelength_tags = dataset.tags(ns="ENVI")
    lists = {key: _tag_list(read_wavelength_tags.get(key)) for key in ("wavelength", "fwhm", "bbl")}
    tags = [
        {k.lower(): v for k, v in (dataset.tags(i) | dataset.tags(i, ns="IMAGERY")).items()}
        for i in indexes
    ]

    def numbers(key: str) -> list[float] | None:
        if len(lists[key]) == dataset.count:
            return _floats([lists[key][i - 1] for i in indexes])
        return _floats([t[key] for t in tags]) if all(key in t for t in tags) else None

    centres, widths = numbers("wavelength"), numbers("fwhm")
    unit = read_wavelength_tags.get("wavelength_units") or tags[0].get("wavelength_units", "")
    if centres is None and all("central_wavelength_um" in t for t in tags):
        unit = "um"
        centres = _floats([t["central_wavelength_um"] for t in tags])
        widths = (
            _floats([t["fwhm_um"] for t in tags]) if all("fwhm_um" in t for t in tags) else None
        )
    if centres is None or (unit.lower().startswith(("index", "unknown")) and max(centres) < 1):
        return None
    factor = _unit_nm(unit, centres)
    names = [_short_name(dataset.descriptions[i - 1], n) for n, i in enumerate(indexes, 1)]
    names = names if len(set(names)) == len(names) else [str(n) for n in range(1, len(names) + 1)]
    bands = tuple(
        Band(name, round(centre * factor, 4), round(width * factor, 4) if width else None)
        for name, centre, width in zip(names, centres, widths or [0.0] * len(centres), strict=True)
    )
    good = numbers("bbl") or []
    stated_scale = _floats(_tag_list(read_wavelength_tags.get("reflectance_scale_factor")))
    return BandMetadata(
        "ENVI header" if read_wavelength_tags else "band tags",
        bands=bands,
        scale=(1 / stated_scale[0],) * len(bands) if stated_scale and stated_scale[0] > 0 else None,
        bad=frozenset(i for i, flag in enumerate(good) if flag == 0),
    )


def _short_name(description: str | None, number: int) -> str:
    """A description without its wavelength; the number where nothing else is left."""
    text = _WRITTEN.sub("", description or "").strip(" ()[]:,-")
    return text or str(number)


def _stac_bands(entries: Any, count: int, origin: str) -> BandMetadata | None:
    """Bands in the words of STAC: ``eo:bands`` (1.0) or ``bands`` (1.1); wavelengths there are in micrometres."""
    if (
        not isinstance(entries, list)
        or len(entries) != count
        or not all(isinstance(e, dict) for e in entries)
    ):
        return None

    def get(entry: Mapping[str, Any], key: str) -> Any:
        return entry.get(key, entry.get(f"eo:{key}"))

    bands = []
    for i, entry in enumerate(entries, 1):
        centre, width = (
            number(get(entry, key), key, origin)
            for key in ("center_wavelength", "full_width_half_max")
        )
        gsd = number(entry.get("gsd"), "gsd", origin)
        bands.append(
            Band(
                str(entry.get("name", i)),
                centre and round(centre * 1e3, 4),
                width and round(width * 1e3, 4),
                gsd,
            )
        )
    scale, offset = (
        [entry.get(f"raster:{key}", entry.get(key)) for entry in entries]
        for key in ("scale", "offset")
    )
    return BandMetadata(
        origin,
        bands=tuple(bands) if all(band.wavelength_nm for band in bands) else None,
        scale=tuple(float(s) for s in scale)
        if all(isinstance(s, (int, float)) for s in scale)
        else None,
        offset=tuple(float(o) for o in offset)
        if all(isinstance(o, (int, float)) for o in offset)
        else None,
    )


def stac_tags(dataset: Any, count: int) -> BandMetadata | None:
    """STAC bands as JSON in a tag of the raster.

    Raises:
        BandError: the tag is not JSON.
    """
    for key, text in dataset.tags().items():
        text = text.removeprefix("bands=")  # GDAL splits the key eo:bands at its colon
        if key.lower() in ("eo", "eo:bands", "bands") and text.lstrip().startswith("["):
            try:
                return _stac_bands(json.loads(text), count, f"tag {key}")
            except json.JSONDecodeError as error:
                raise BandError(
                    f"tag {key} of the raster is not JSON ({error}); {HOW_TO_SAY}"
                ) from error
    return None


def stac_item(path: str, count: int) -> BandMetadata | None:
    """A STAC item beside the file: the asset that is this file, else the item's own properties."""
    for place in (
        (Path(path + ".json"), Path(path).with_suffix(".json")) if "://" not in path else ()
    ):
        if not place.is_file():
            continue
        try:
            item = json.loads(place.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError):
            continue  # some other file that happens to lie there
        if (
            not isinstance(item, dict)
            or item.get("type") != "Feature"
            or "stac_version" not in item
        ):
            continue
        assets = item.get("assets", {}).values()
        own = [
            a for a in assets if str(a.get("href", "")).rpartition("/")[2] == Path(path).name
        ] or list(assets)[:1]
        for part in (*own, item.get("properties", {})):
            entries = part.get("bands", part.get("eo:bands"))
            raster = part.get("raster:bands")
            if entries and isinstance(raster, list) and len(raster) == len(entries):
                entries = [{**r, **e} for r, e in zip(raster, entries, strict=True)]
            if (found := _stac_bands(entries, count, place.name)) is not None:
                return found
    return None


def described(descriptions: Sequence[str]) -> BandMetadata | None:
    """Wavelengths written in the descriptions, as in ``Band 12 (0.4567 um)`` or ``560 nm``."""
    matches = [_WRITTEN.search(d) for d in descriptions]
    if not all(matches):
        return None
    centres = [float(m[1]) * (1.0 if m[2].lower().startswith("n") else 1e3) for m in matches if m]
    names = [_short_name(d, i) for i, d in enumerate(descriptions, 1)]
    names = names if len(set(names)) == len(names) else [str(i) for i in range(1, len(names) + 1)]
    return BandMetadata(
        "descriptions",
        bands=tuple(Band(n, round(c, 4), None) for n, c in zip(names, centres, strict=True)),
    )
