"""STAC item collections: which assets hold pixels, which is the label, one raster of all pixels.

Assets with the role ``reflectance``, else ``data``, else those with band metadata and no role, are
the scene; an asset with the role ``labels`` is its label. The bands of several assets are joined in
a VRT on the finest of their grids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np
from rasterio.io import MemoryFile
from rasterio.transform import rowcol, xy
from shapely.errors import ShapelyError
from shapely.geometry import shape

from instruction_data.sources.chips import Box
from spex.errors import RecordError, SceneError
from spex.raster.pixel_source import open_raster

_PIXEL_ROLES = ("reflectance", "data")
_LABEL_ROLES = {"labels", "label"}
_GDAL_PREFIXES = {"http": "/vsicurl/", "https": "/vsicurl/", "s3": "/vsis3/", "gs": "/vsigs/"}
_GDAL_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32",
    "int32": "Int32", "float32": "Float32", "float64": "Float64",
}  # fmt: skip


@dataclass(frozen=True)
class Asset:
    """One raster of a STAC item.

    Args:
        key: key of the asset in the item.
        href: path or URL as GDAL takes it.
        bands: band metadata as a JSON list, which may be empty.
    """

    key: str
    href: str
    bands: str


@dataclass(frozen=True)
class StacItem:
    """One item of a collection.

    Args:
        id: id of the item.
        assets: its rasters; empty if no asset holds pixels.
        label: path or URL of its label.
        platform: satellite that took the scene.
        footprint: extent in degrees.
        extra: provenance: id, collection and date.
    """

    id: str
    assets: tuple[Asset, ...]
    label: str | None
    platform: str | None
    footprint: Box | None
    extra: Mapping[str, str]


def read_items(path: Path) -> list[StacItem]:
    """Read an item collection (a GeoJSON FeatureCollection as a search returns) or one item.

    Raises:
        RecordError: not STAC.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordError(f"{path} is not JSON ({error}); give a STAC item collection") from error
    features = document.get("features", [document]) if isinstance(document, dict) else []
    if not features or not all(_has_assets(feature) for feature in features):
        raise RecordError(
            f"{path} is not a STAC item collection: each of its features must have 'assets'"
        )
    try:
        return [_read_item(feature, path.parent) for feature in features]
    except (AttributeError, TypeError, ValueError, LookupError, ShapelyError) as error:
        raise RecordError(
            f"{path}: an item is not valid STAC ({error}); correct the collection"
        ) from error


def _has_assets(feature: object) -> bool:
    return isinstance(feature, dict) and isinstance(feature.get("assets"), dict)


def _read_item(feature: Mapping[str, Any], folder: Path) -> StacItem:
    assets = {
        key: asset for key, asset in feature["assets"].items() if isinstance(asset.get("href"), str)
    }
    roles = {key: set(asset.get("roles") or ()) for key, asset in assets.items()}
    labels = [key for key in assets if roles[key] & _LABEL_ROLES or key in _LABEL_ROLES]
    others = {key: asset for key, asset in assets.items() if key not in labels}
    pixel_assets = tuple(
        Asset(key, _gdal_path(assets[key]["href"], folder), json.dumps(_band_metadata(assets[key])))
        for key in _pixel_assets(others, roles)
    )
    properties = feature.get("properties") or {}
    outline = feature.get("geometry") and shape(feature["geometry"])
    extra = {"stac_id": str(feature.get("id"))}
    if feature.get("collection"):
        extra["collection"] = str(feature["collection"])
    if properties.get("datetime"):
        extra["datetime"] = str(properties["datetime"])
    return StacItem(
        id=str(feature.get("id")),
        assets=pixel_assets,
        label=_gdal_path(assets[labels[0]]["href"], folder) if labels else None,
        platform=properties.get("platform"),
        footprint=tuple(outline.bounds) if outline else None,
        extra=extra,
    )


def _pixel_assets(assets: Mapping[str, Any], roles: Mapping[str, set[str]]) -> list[str]:
    """Keys of the assets that hold reflectance, each band once.

    Catalogues offer the same band in several formats, and other layers beside them.
    """
    role = next((r for r in _PIXEL_ROLES if any(r in roles[key] for key in assets)), None)
    if role is not None:
        candidates = [key for key in assets if role in roles[key]]
    else:
        candidates = [key for key in assets if not roles[key] and _band_metadata(assets[key])]
    taken: set[str] = set()
    unique: list[str] = []
    for key in candidates:
        bands = _band_metadata(assets[key])
        if not bands:
            continue
        names = {str(band.get("name", key)) for band in bands}
        if not names & taken:
            unique.append(key)
        taken |= names
    return unique or candidates


def _band_metadata(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    bands = asset.get("bands") or asset.get("eo:bands") or []
    raster_bands = asset.get("raster:bands") or []
    if len(raster_bands) != len(bands):
        return list(bands)
    return [{**raster, **band} for raster, band in zip(raster_bands, bands, strict=True)]


def _gdal_path(href: str, folder: Path) -> str:
    """An asset's address as GDAL takes it, in a VRT too."""
    scheme = href.partition("://")[0]
    if scheme in _GDAL_PREFIXES:
        address = href if scheme.startswith("http") else href.partition("://")[2]
        return _GDAL_PREFIXES[scheme] + address
    return str(folder / href.removeprefix("file://"))


@contextmanager
def open_assets(assets: Sequence[Asset]) -> Iterator[str]:
    """Path of a raster that joins the bands of all assets; valid within the context.

    Raises:
        SceneError: an asset cannot be opened, or the assets differ in their CRS.
    """
    with ExitStack() as stack:
        datasets = [stack.enter_context(open_raster(asset.href)) for asset in assets]
        if len({dataset.crs for dataset in datasets}) > 1:
            keys = ", ".join(asset.key for asset in assets)
            raise SceneError(f"assets {keys} have different CRS; reproject them to one CRS")
        with MemoryFile(_vrt(assets, datasets), ext=".vrt") as memory:
            yield memory.name


def _vrt(assets: Sequence[Asset], datasets: Sequence[Any]) -> bytes:
    """A VRT of all bands on the finest of the grids, with their metadata."""
    finest = min(datasets, key=lambda dataset: abs(dataset.res[0] * dataset.res[1]))
    root = Xml.Element("VRTDataset", rasterXSize=str(finest.width), rasterYSize=str(finest.height))
    if finest.crs is not None:
        Xml.SubElement(root, "SRS").text = finest.crs.to_wkt()
        geotransform = ", ".join(repr(x) for x in finest.transform.to_gdal())
        Xml.SubElement(root, "GeoTransform").text = geotransform
    metadata: list[dict[str, Any]] = []
    for asset, dataset in zip(assets, datasets, strict=True):
        bands = _dataset_bands(asset, dataset)
        metadata += bands
        corners = xy(dataset.transform, [0, dataset.height], [0, dataset.width], offset="ul")
        (top, bottom), (left, right) = rowcol(finest.transform, *corners, op=np.asarray)
        for index, band in zip(dataset.indexes, bands, strict=True):
            source = _add_band(root, dataset, index, str(band.get("name") or asset.key))
            _add_rectangle(source, "SrcRect", 0, 0, dataset.width, dataset.height)
            _add_rectangle(source, "DstRect", left, top, right - left, bottom - top)
    container = Xml.SubElement(root, "Metadata")
    Xml.SubElement(container, "MDI", key="bands").text = json.dumps(metadata)
    return Xml.tostring(root)


def _dataset_bands(asset: Asset, dataset: Any) -> list[dict[str, Any]]:
    """Metadata of each band of a dataset: of STAC if it describes them all, else the names."""
    stated: list[dict[str, Any]] = json.loads(asset.bands)
    if len(stated) == dataset.count:
        return stated
    return [{"name": name or asset.key} for name in dataset.descriptions]


def _add_band(root: Xml.Element, dataset: Any, index: int, name: str) -> Xml.Element:
    """Add a band to a VRT; return its source element."""
    band = Xml.SubElement(
        root,
        "VRTRasterBand",
        dataType=_GDAL_TYPES[dataset.dtypes[index - 1]],
        band=str(len(root.findall("VRTRasterBand")) + 1),
    )
    Xml.SubElement(band, "Description").text = name
    nodata = dataset.nodatavals[index - 1]
    if nodata is not None:
        Xml.SubElement(band, "NoDataValue").text = str(nodata)
    source = Xml.SubElement(band, "SimpleSource", resampling="nearest")
    Xml.SubElement(source, "SourceFilename", relativeToVRT="0").text = dataset.name
    Xml.SubElement(source, "SourceBand").text = str(index)
    return source


def _add_rectangle(
    source: Xml.Element, tag: str, col: float, row: float, width: float, height: float
) -> None:
    sides = {"xOff": col, "yOff": row, "xSize": width, "ySize": height}
    Xml.SubElement(source, tag, {key: str(float(value)) for key, value in sides.items()})
