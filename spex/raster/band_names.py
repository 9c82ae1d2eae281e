"""Bands by their names, such as ``B02`` or ``red``: those of a known sensor, or plain colours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spex.raster.band_metadata import HOW_TO_STATE_BANDS, THERMAL_FROM_NM
from spex.sensors import Band, Sensor, sensors

# Nominal centre and width in nm of a colour name where the sensor is unknown: the middle of what
# the sensors of the table have under that name, which is one of the common names of STAC's
# electro-optical extension.
_COLOURS: Mapping[str, tuple[float, float]] = {
    "coastal": (443, 20),
    "blue": (485, 65),
    "green": (558, 60),
    "yellow": (608, 30),
    "red": (660, 45),
    "rededge": (710, 20),
    "rededge071": (705, 15),
    "rededge075": (740, 15),
    "rededge078": (783, 20),
    "nir": (840, 110),
    "nir08": (865, 25),
    "nir09": (945, 20),
    "cirrus": (1375, 25),
    "swir16": (1610, 90),
    "swir22": (2200, 185),
}
_COMMON_NAMES = {
    "b": "blue",
    "g": "green",
    "r": "red",
    "n": "nir",
    "nir1": "nir",
    "nearinfrared": "nir",
    "coastalblue": "coastal",
    "re": "rededge",
    "rededge1": "rededge071",
    "rededge2": "rededge075",
    "rededge3": "rededge078",
    "swir1": "swir16",
    "swir2": "swir22",
}
_LANDSAT_SURFACE = "SR_"  # prefix of Landsat Collection 2 surface reflectance: SR_B1, SR_B2, ...
_SAME_CENTRE_NM = 20.0
_MAX_NAMED_BANDS = 30  # bands of imaging spectrometers have numbers, not names


@dataclass(frozen=True)
class NamedBands:
    """Bands that the descriptions of a raster name.

    Attributes:
        bands: in the order of the descriptions.
        sensor: None where the descriptions are plain colours.
        note: warning for the user.
    """

    bands: tuple[Band, ...]
    sensor: Sensor | None
    note: str | None = None


def match_names(
    descriptions: Sequence[str], dtype: str, product_sensor: Sensor | None
) -> NamedBands | None:
    """The bands that descriptions name; None where they name none, or those of several sensors.

    Sensors that spell every name exactly so come before those that know every name. Within each
    step all sensors must agree on every centre to 20 nm. Plain colour names get nominal
    wavelengths, with a note.

    Args:
        descriptions: of the bands, in file order; empty where a band has none.
        dtype: data type of the raster.
        product_sensor: the only sensor to consider, if the product is recognised.
    """
    if not all(descriptions):
        return None
    if product_sensor is not None:
        candidates = [product_sensor]
    else:
        candidates = [sensor for sensor in sensors() if _fits(sensor, dtype)]
    if all(description.startswith(_LANDSAT_SURFACE) for description in descriptions):
        candidates = [sensor for sensor in candidates if sensor.family.startswith("landsat")]
    for exact in (True, False):
        matches = []
        for sensor in candidates:
            bands = _find_all(sensor, descriptions, exact)
            if bands:
                matches.append(NamedBands(bands, sensor))
        if matches and all(_same_centres(matches[0].bands, other.bands) for other in matches):
            return matches[0]
    return _match_colours(descriptions)


def sensors_with_bands(descriptions: Sequence[str]) -> list[str]:
    """Keys of the sensors that have a band of every one of the names."""
    if not all(descriptions):
        return []
    return [sensor.key for sensor in sensors() if _find_all(sensor, descriptions, exact=False)]


def _match_colours(descriptions: Sequence[str]) -> NamedBands | None:
    words = [re.sub(r"[^a-z0-9]", "", description.lower()) for description in descriptions]
    colours = [_COMMON_NAMES.get(word, word) for word in words]
    if len(set(colours)) < len(colours) or not all(colour in _COLOURS for colour in colours):
        return None
    bands = tuple(
        Band(description, *_COLOURS[colour])
        for description, colour in zip(descriptions, colours, strict=True)
    )
    note = (
        f"the wavelengths of {', '.join(descriptions)} are nominal, taken from the colour names; "
        f"if they are wrong, {HOW_TO_STATE_BANDS}"
    )
    return NamedBands(bands, None, note)


def _fits(sensor: Sensor, dtype: str) -> bool:
    """Whether names of the sensor's bands may be those of a raster of this data type."""
    integers = dtype.startswith(("int", "uint"))
    delivered = dtype in sensor.dtypes or not sensor.dtypes or not integers
    return len(sensor.bands) < _MAX_NAMED_BANDS and delivered


def _find_all(sensor: Sensor, descriptions: Sequence[str], exact: bool) -> tuple[Band, ...] | None:
    """The sensor's bands of these names, None unless every name has its own.

    Args:
        sensor: of the table.
        descriptions: of the bands.
        exact: names must be spelled as in the table.
    """
    names = [description.removeprefix(_LANDSAT_SURFACE) for description in descriptions]
    spelled = {band.name for band in sensor.bands}
    if exact and not all(name in spelled for name in names):
        return None
    bands = []
    for name in names:
        band = sensor.find(name)
        if band is None:
            return None
        bands.append(band)
    thermal = any((band.wavelength_nm or 0) > THERMAL_FROM_NM for band in bands)
    if thermal and names != list(descriptions):  # a thermal band has no surface reflectance
        return None
    return tuple(bands) if len(set(bands)) == len(bands) else None


def _same_centres(bands: Sequence[Band], others: Sequence[Band]) -> bool:
    for band, other in zip(bands, others, strict=True):
        if abs((band.wavelength_nm or 0) - (other.wavelength_nm or 0)) > _SAME_CENTRE_NM:
            return False
    return True
