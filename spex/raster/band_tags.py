"""Band metadata in a file's tags and descriptions, its ENVI header, or a STAC item beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spex.errors import BandError
from spex.raster.band_metadata import HOW_TO_STATE_BANDS, BandMetadata, finite_number
from spex.sensors import Band

_WAVELENGTH = re.compile(
    r"(\d+(?:\.\d+)?)\s*\(?(nm|nanomet\w+|um|µm|μm|micromet\w+|microns?)\b", re.IGNORECASE
)
_MICROMETRES = ("micro", "um", "µm", "μm")
_NANOMETRES = ("nano", "nm")


def read_wavelength_tags(dataset: Any, indexes: Sequence[int]) -> BandMetadata | None:
    """The ENVI header, the band tags ``wavelength`` and ``fwhm``, and GDAL's IMAGERY domain.

    Args:
        dataset: an open raster.
        indexes: of the spectral bands in the raster, from 1.
    """
    header = dataset.tags(ns="ENVI")
    band_tags = [_lower_keys(dataset, index) for index in indexes]
    centres = _numbers(header, band_tags, "wavelength", dataset, indexes)
    widths = _numbers(header, band_tags, "fwhm", dataset, indexes)
    unit = header.get("wavelength_units") or band_tags[0].get("wavelength_units", "")
    if centres is None and (centres := _tag_floats(band_tags, "central_wavelength_um")):
        unit = "um"
        widths = _tag_floats(band_tags, "fwhm_um")
    if centres is None or (unit.lower().startswith(("index", "unknown")) and max(centres) < 1):
        return None
    factor = _nm_per_unit(unit, centres)
    names = _short_names([dataset.descriptions[index - 1] or "" for index in indexes])
    bands = tuple(
        Band(name, round(centre * factor, 4), round(width * factor, 4) if width else None)
        for name, centre, width in zip(names, centres, widths or [0.0] * len(centres), strict=True)
    )
    good_flags = _numbers(header, band_tags, "bbl", dataset, indexes) or []
    divisor = _floats(_split_list(header.get("reflectance_scale_factor")))
    return BandMetadata(
        "ENVI header" if header else "band tags",
        bands=bands,
        scale=(1 / divisor[0],) * len(bands) if divisor and divisor[0] > 0 else None,
        bad=frozenset(position for position, flag in enumerate(good_flags) if flag == 0),
    )


def read_stac_tags(dataset: Any, count: int) -> BandMetadata | None:
    """STAC bands as JSON in a tag of the raster.

    Args:
        dataset: an open raster.
        count: number of its spectral bands.

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
                    f"tag {key} of the raster is not valid JSON ({error}); {HOW_TO_STATE_BANDS}"
                ) from error
    return None


def read_stac_item(path: str, count: int) -> BandMetadata | None:
    """A STAC item beside the file: the asset of this name, else the first one, else its properties.

    Args:
        path: of the raster.
        count: number of its spectral bands.
    """
    if "://" in path:
        return None
    for item_path in (Path(path + ".json"), Path(path).with_suffix(".json")):
        item = _load_stac_item(item_path)
        if item is None:
            continue
        assets = list(item.get("assets", {}).values())
        own = [asset for asset in assets if _file_name(asset) == Path(path).name]
        for part in (*(own or assets[:1]), item.get("properties", {})):
            entries = part.get("bands", part.get("eo:bands"))
            raster = part.get("raster:bands")
            if entries and isinstance(raster, list) and len(raster) == len(entries):
                entries = [{**r, **e} for r, e in zip(raster, entries, strict=True)]
            metadata = _stac_bands(entries, count, item_path.name)
            if metadata is not None:
                return metadata
    return None


def read_described_wavelengths(descriptions: Sequence[str]) -> BandMetadata | None:
    """Wavelengths written in the band descriptions, as in ``Band 12 (0.4567 um)`` or ``560 nm``.

    Args:
        descriptions: of the bands, in file order; empty where a band has none.
    """
    centres = []
    for description in descriptions:
        match = _WAVELENGTH.search(description)
        if match is None:
            return None
        nanometres = match[2].lower().startswith("n")
        centres.append(float(match[1]) * (1.0 if nanometres else 1e3))
    names = _short_names(descriptions)
    bands = tuple(
        Band(name, round(centre, 4), None) for name, centre in zip(names, centres, strict=True)
    )
    return BandMetadata("descriptions", bands=bands)


def _lower_keys(dataset: Any, index: int) -> dict[str, str]:
    tags = dataset.tags(index) | dataset.tags(index, ns="IMAGERY")
    return {key.lower(): value for key, value in tags.items()}


def _split_list(text: str | None) -> list[str]:
    """The entries of an ENVI list such as ``{0.49, 0.56}``."""
    return [part.strip() for part in text.strip().strip("{}").split(",")] if text else []


def _floats(parts: Sequence[str]) -> list[float] | None:
    try:
        return [float(part) for part in parts] or None
    except ValueError:
        return None


def _tag_floats(band_tags: Sequence[Mapping[str, str]], key: str) -> list[float] | None:
    return _floats([tags[key] for tags in band_tags]) if all(key in t for t in band_tags) else None


def _numbers(
    header: Mapping[str, str],
    band_tags: Sequence[Mapping[str, str]],
    key: str,
    dataset: Any,
    indexes: Sequence[int],
) -> list[float] | None:
    """One number per spectral band: from a list of the ENVI header, else from tags of the bands."""
    entries = _split_list(header.get(key))
    if len(entries) == dataset.count:
        return _floats([entries[index - 1] for index in indexes])
    return _tag_floats(band_tags, key)


def _nm_per_unit(unit: str, values: Sequence[float]) -> float:
    """Nanometres per unit; where no unit is stated, numbers below 100 are micrometres."""
    if unit.lower().startswith(_NANOMETRES):
        return 1.0
    return 1e3 if unit.lower().startswith(_MICROMETRES) or max(values) < 100 else 1.0


def _short_names(descriptions: Sequence[str]) -> list[str]:
    """The descriptions without wavelengths; numbers where nothing is left or names repeat."""
    numbers = [str(number) for number in range(1, len(descriptions) + 1)]
    names = []
    for description, number in zip(descriptions, numbers, strict=True):
        names.append(_WAVELENGTH.sub("", description).strip(" ()[]:,-") or number)
    return names if len(set(names)) == len(names) else numbers


def _stac_bands(entries: Any, count: int, origin: str) -> BandMetadata | None:
    """STAC's ``eo:bands`` (1.0) or ``bands`` (1.1); wavelengths there are in micrometres.

    Args:
        entries: what the document holds under these keys.
        count: number of spectral bands of the raster.
        origin: name of the document, for messages.
    """
    if not isinstance(entries, list) or len(entries) != count:
        return None
    if not all(isinstance(entry, dict) for entry in entries):
        return None
    bands = tuple(_stac_band(entry, number, origin) for number, entry in enumerate(entries, 1))
    return BandMetadata(
        origin,
        bands=bands if all(band.wavelength_nm for band in bands) else None,
        scale=_stac_numbers(entries, "scale"),
        offset=_stac_numbers(entries, "offset"),
    )


def _stac_band(entry: Mapping[str, Any], number: int, origin: str) -> Band:
    def micrometres(key: str) -> float | None:
        return finite_number(entry.get(key, entry.get(f"eo:{key}")), key, origin)

    centre = micrometres("center_wavelength")
    width = micrometres("full_width_half_max")
    return Band(
        str(entry.get("name", number)),
        centre and round(centre * 1e3, 4),
        width and round(width * 1e3, 4),
        finite_number(entry.get("gsd"), "gsd", origin),
    )


def _stac_numbers(entries: Sequence[Mapping[str, Any]], key: str) -> tuple[float, ...] | None:
    values = [entry.get(f"raster:{key}", entry.get(key)) for entry in entries]
    if not all(isinstance(value, (int, float)) for value in values):
        return None
    return tuple(float(value) for value in values)


def _load_stac_item(path: Path) -> dict[str, Any] | None:
    """The STAC item in a file; None where there is no file or it holds something else."""
    if not path.is_file():
        return None
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    if not isinstance(item, dict) or item.get("type") != "Feature" or "stac_version" not in item:
        return None
    return item


def _file_name(asset: Mapping[str, Any]) -> str:
    return str(asset.get("href", "")).rpartition("/")[2]
