"""Where a band's wavelength comes from: the sources of band metadata, in their order.

Each source fills only what the ones before it leave open:

1. ``--bands`` and ``--sensor`` (``band_json``, ``spex.sensors``);
2. tags of the file: STAC ``bands`` or ``eo:bands``, ENVI header, GDAL's IMAGERY domain
   (``band_tags``);
3. a STAC item ``<scene>.json`` beside the file (``band_tags``);
4. band descriptions: wavelengths (``band_tags``), then names of bands (``band_names``);
5. scale and offset in GDAL's own tags, then those of the product that the file's name or tags name
   (``product_names``);
6. ``<scene>.bands.json`` beside the file (``band_json``);
7. the colour interpretation red, green, blue of an 8-bit image;
8. the only sensor that delivers this number of bands in this data type (``spex.sensors``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spex.errors import BandError
from spex.raster.band_json import BandsArgument, parse_bands
from spex.raster.band_metadata import HOW_TO_STATE_BANDS, BandMetadata, check_bands
from spex.raster.band_names import match_names, sensors_with_bands
from spex.raster.band_tags import (
    read_described_wavelengths,
    read_stac_item,
    read_stac_tags,
    read_wavelength_tags,
)
from spex.raster.product_names import ProductMetadata, read_product
from spex.sensors import Band, Sensor, get_sensor, recognise

_STORED_INTEGERS = ("int16", "uint16", "int32", "uint32")


def read_band_metadata(
    dataset: Any,
    path: str,
    indexes: Sequence[int],
    *,
    sensor: str | None = None,
    bands: BandsArgument | None = None,
) -> BandMetadata:
    """Everything the sources state about the bands of a raster, completed in their order.

    Args:
        dataset: an open raster.
        path: of the raster; files beside it are read.
        indexes: of the spectral bands in the raster, from 1.
        sensor: name of a sensor of the table, as the user states it.
        bands: the bands as the user states them.

    Raises:
        BandError: the bands stay unknown, or what is stated is impossible or does not fit the
            raster.
    """
    count = len(indexes)
    dtype = dataset.dtypes[indexes[0] - 1]
    descriptions = [dataset.descriptions[index - 1] or "" for index in indexes]
    product = read_product(path, dataset.tags())
    metadata = BandMetadata("command line")
    for source in (
        None if bands is None else parse_bands(bands, count),
        None if sensor is None else _named_sensor(sensor, descriptions),
        read_stac_tags(dataset, count),
        read_wavelength_tags(dataset, indexes),
        read_stac_item(path, count),
        read_described_wavelengths(descriptions),
        _from_names(descriptions, dtype, product),
        _gdal_scale(dataset, indexes),
        product.radiometry(count) if dtype in _STORED_INTEGERS else None,
        _read_sidecar(path, count),
    ):
        if source is not None:
            metadata = metadata.completed_by(source)
    if metadata.bands is None:
        guess = _from_colours(dataset, indexes) or _from_count(count, dtype)
        if guess is not None:
            metadata = metadata.completed_by(guess)
    if metadata.bands is None or all(band.wavelength_nm is None for band in metadata.bands):
        raise BandError(_unknown_bands(path, dtype, descriptions))
    check_bands(metadata.bands, path)
    return metadata


def _unknown_bands(path: str, dtype: str, descriptions: Sequence[str]) -> str:
    if any(descriptions):
        described = ", ".join(description or "?" for description in descriptions[:12])
    else:
        described = "none"
    sensors = ", ".join(sensors_with_bands(descriptions))
    hint = f"; these band names are used by {sensors}" if sensors else ""
    return (
        f"{path}: the wavelengths of its {len(descriptions)} bands of {dtype} are unknown "
        f"(descriptions: {described}){hint}; {HOW_TO_STATE_BANDS}"
    )


def _of_sensor(
    sensor: Sensor, bands: tuple[Band, ...], origin: str, note: str | None = None
) -> BandMetadata:
    bad = frozenset(position for position, band in enumerate(bands) if band.name in sensor.bad)
    return BandMetadata(origin, bands=bands, sensor=sensor, bad=bad, note=note)


def _named_sensor(name: str, descriptions: Sequence[str]) -> BandMetadata:
    """The bands of a sensor that the user names: by their descriptions, else by their number."""
    sensor = get_sensor(name)
    origin = f"--sensor {name}"
    named = []
    for description in descriptions:
        band = sensor.find(description) if description else None
        if band is not None:
            named.append(band)
    if len(named) == len(descriptions) and len(set(named)) == len(named):
        return _of_sensor(sensor, tuple(named), origin)
    layout = sensor.layout(len(descriptions))
    if layout is None:
        counts = [str(n) for n in sorted({len(sensor.bands), *map(len, sensor.orders)})]
        delivered = " or ".join(filter(None, (", ".join(counts[:-1]), counts[-1])))
        raise BandError(
            f"the raster has {len(descriptions)} bands, but products of {sensor.title} have "
            f"{delivered}; state the bands with --bands"
        )
    return _of_sensor(sensor, layout, origin)


def _from_names(
    descriptions: Sequence[str], dtype: str, product: ProductMetadata
) -> BandMetadata | None:
    """Bands by their names; without names, those of the product's sensor."""
    match = match_names(descriptions, dtype, product.sensor)
    if match:
        return BandMetadata("band names", bands=match.bands, sensor=match.sensor, note=match.note)
    if product.sensor is None:
        return None
    layout = product.sensor.layout(len(descriptions))
    return None if layout is None else _of_sensor(product.sensor, layout, "product")


def _gdal_scale(dataset: Any, indexes: Sequence[int]) -> BandMetadata | None:
    """Scale and offset that GDAL reads from the file, unless they change nothing."""
    scale = tuple(dataset.scales[index - 1] for index in indexes)
    offset = tuple(dataset.offsets[index - 1] for index in indexes)
    if set(scale) == {1} and set(offset) == {0}:
        return None
    return BandMetadata("scale tags", scale=scale, offset=offset)


def _read_sidecar(path: str, count: int) -> BandMetadata | None:
    if "://" in path:
        return None
    for sidecar in (Path(path + ".bands.json"), Path(path).with_suffix(".bands.json")):
        if sidecar.is_file():
            return parse_bands(sidecar, count)
    return None


def _from_colours(dataset: Any, indexes: Sequence[int]) -> BandMetadata | None:
    """An 8-bit file marked as red, green, blue and perhaps a fourth band has the bands of NAIP."""
    colours = [dataset.colorinterp[index - 1].name for index in indexes]
    if colours[:3] != ["red", "green", "blue"] or len(colours) > 4:
        return None
    naip = get_sensor("naip")
    layout = naip.layout(len(colours))
    if layout is None or dataset.dtypes[0] != "uint8":
        return None
    names = ", ".join(band.name for band in layout)
    note = (
        f"bands taken as {names} of an aerial camera because of the file's colour interpretation; "
        f"if that is wrong, {HOW_TO_STATE_BANDS}"
    )
    return _of_sensor(naip, layout, "colour interpretation", note)


def _from_count(count: int, dtype: str) -> BandMetadata | None:
    sensor = recognise(count, dtype)
    layout = None if sensor is None else sensor.layout(count)
    if sensor is None or layout is None:
        return None
    note = (
        f"taken for {sensor.title}, the only known sensor that delivers {count} bands of {dtype}; "
        f"if that is wrong, {HOW_TO_STATE_BANDS}"
    )
    return _of_sensor(sensor, layout, "count and type", note)
