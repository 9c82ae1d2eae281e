"""What names tell: product identifiers of the large archives, and band names that only one sensor uses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from spex.raster.band_metadata import HOW_TO_SAY, BandMetadata
from spex.sensors import Band, Level, Sensor, get_sensor, sensors

_SENTINEL = re.compile(r"(?<![A-Z0-9])S2([ABC])_(?:MSI|OPER|USER)\w*?_?L(1C|2A)")
_SENTINEL_BASELINE = re.compile(r"_N(\d\d)(\d\d)_")
_LANDSAT = re.compile(r"(?<![A-Z0-9])L[CETO]0([5789])_L([12])\w\w_\d{6}_\d{8}_\d{8}_(0[12])_")
_HLS = re.compile(r"(?<![A-Z0-9])HLS\.([LS])30\.")
_NAIP = re.compile(r"(?<![A-Za-z0-9])m_\d{7}_[ns][ew]_\d{1,2}_")
_OFFSET_KEYS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")

# Centres and widths in nm that a colour name stands for where no sensor is known: the middle of what the sensors of the
# table do under that name, as in the common names of STAC's electro-optical extension.
_COLOURS: Mapping[str, tuple[float, float]] = {
    "coastal": (443, 20), "blue": (485, 65), "green": (558, 60), "yellow": (608, 30), "red": (660, 45),
    "rededge": (710, 20), "rededge071": (705, 15), "rededge075": (740, 15), "rededge078": (783, 20), "nir": (840, 110),
    "nir08": (865, 25), "nir09": (945, 20), "cirrus": (1375, 25), "swir16": (1610, 90), "swir22": (2200, 185),
}  # fmt: skip
_SHORT = {
    "b": "blue", "g": "green", "r": "red", "n": "nir", "nir1": "nir", "nearinfrared": "nir", "coastalblue": "coastal",
    "re": "rededge", "rededge1": "rededge071", "rededge2": "rededge075", "rededge3": "rededge078",
    "swir1": "swir16", "swir2": "swir22",
}  # fmt: skip
_SAME_NM = 20.0


@dataclass(frozen=True)
class ProductName:
    """What identifiers and tags of a product say: its sensor, its level, scale and offset of its integers."""

    sensor: Sensor | None = None
    level: Level | None = None
    scale: float | None = None
    offset: float | None = None

    def stated(self, count: int) -> BandMetadata:
        """The radiometry as a statement about ``count`` bands."""
        scale, offset = (
            (value,) * count if value is not None else None for value in (self.scale, self.offset)
        )
        return BandMetadata("product", scale=scale, offset=offset, level=self.level)


def read_product(path: str, tags: Mapping[str, str]) -> ProductName:
    """Recognise a product by its identifier in the file's name or tags.

    Sentinel-2 of processing baseline 04.00 or later stores reflectance x 10 000 + 1000. Landsat Collection 2 surface
    reflectance has the sensor table's scale; Collection 1 stores reflectance x 10 000, OLI level 1 x 50 000 + 5000.
    """
    name = PurePath(path).name
    text = " ".join((name, *map(str, tags.values())))
    if match := _SENTINEL.search(text):
        level: Level = "toa" if match[2] == "1C" else "surface"
        return ProductName(get_sensor(f"s2{match[1]}"), level, 1e-4, _sentinel_offset(text, tags))
    if match := _LANDSAT.search(text):
        sensor = get_sensor(f"l{match[1]}")
        if match[2] == "2":
            return ProductName(
                sensor,
                "surface",
                *((sensor.scale, sensor.offset) if match[3] == "02" else (1e-4, 0.0)),
            )
        return ProductName(sensor, "toa", *((2e-5, -0.1) if match[1] in "89" else (None, None)))
    if match := _HLS.search(text):
        return ProductName(get_sensor(f"hls-{match[1].lower()}30"), "surface", 1e-4, 0.0)
    if _NAIP.search(name):
        return ProductName(get_sensor("naip"))
    if any(key in tags for key in (*_OFFSET_KEYS, "PROCESSING_BASELINE")):
        return ProductName(None, None, 1e-4, _sentinel_offset(text, tags))
    return ProductName()


def _sentinel_offset(text: str, tags: Mapping[str, str]) -> float:
    for key in _OFFSET_KEYS:
        if found := re.search(r"-?\d+", tags.get(key, "")):
            return float(found[0]) * 1e-4
    baseline = _SENTINEL_BASELINE.search(text) or re.match(
        r"(\d\d)\.(\d\d)", tags.get("PROCESSING_BASELINE", "")
    )
    return -0.1 if baseline and int(baseline[1]) >= 4 else 0.0


@dataclass(frozen=True)
class NamedBands:
    """Bands that a raster's descriptions name; ``sensor`` None where only colours are known."""

    bands: tuple[Band, ...]
    sensor: Sensor | None
    note: str | None = None


def match_names(descriptions: Sequence[str], dtype: str, product: ProductName) -> NamedBands | None:
    """The bands that descriptions such as ``B02`` or ``red`` name; None where they name none or are several sensors'.

    The product's own sensor comes first, then sensors that spell every name so, then those that know every name. Within
    a step all must agree on every centre to 20 nm; colour names alone get nominal wavelengths, with a note.
    """
    if not all(descriptions):
        return None
    every = [product.sensor] if product.sensor else [s for s in sensors() if _fits(s, dtype)]
    if all(
        d.startswith("SR_") for d in descriptions
    ):  # Landsat Collection 2 surface reflectance: SR_B1, SR_B2, ...
        every = [s for s in every if s.family.startswith("landsat")]
    for exact in (True, False):
        known = [(s, found) for s in every if (found := _all_named(s, descriptions, exact))]
        if known and all(_agree(known[0][1], other) for _, other in known):
            return NamedBands(known[0][1], known[0][0])
    plain = [re.sub(r"[^a-z0-9]", "", d.lower()) for d in descriptions]
    colours = [_SHORT.get(word, word) for word in plain]
    if len(set(colours)) == len(colours) and all(c in _COLOURS for c in colours):
        bands = tuple(Band(d, *_COLOURS[c]) for d, c in zip(descriptions, colours, strict=True))
        return NamedBands(
            bands,
            None,
            f"wavelengths are nominal for the colour names {', '.join(descriptions)}; {HOW_TO_SAY}",
        )
    return None


def candidates(descriptions: Sequence[str]) -> list[str]:
    """Keys of the sensors that know every one of the band names."""
    return [
        s.key for s in sensors() if all(descriptions) and _all_named(s, descriptions, exact=False)
    ]


def _fits(sensor: Sensor, dtype: str) -> bool:
    return len(sensor.bands) < 30 and (
        dtype in sensor.dtypes or not dtype.startswith(("int", "uint")) or not sensor.dtypes
    )


def _all_named(sensor: Sensor, descriptions: Sequence[str], exact: bool) -> tuple[Band, ...] | None:
    names = [d.removeprefix("SR_") for d in descriptions]
    spelled = {band.name for band in sensor.bands}
    if exact and not all(name in spelled for name in names):
        return None
    found = [sensor.find(name) for name in names]
    if names != list(descriptions) and any(
        band and (band.wavelength_nm or 0) > 3000 for band in found
    ):
        return None  # thermal bands are no surface reflectance
    return tuple(b for b in found if b) if all(found) and len(set(found)) == len(found) else None


def _agree(bands: Sequence[Band], others: Sequence[Band]) -> bool:
    pairs = zip(bands, others, strict=True)
    return all(abs((a.wavelength_nm or 0) - (b.wavelength_nm or 0)) <= _SAME_NM for a, b in pairs)
