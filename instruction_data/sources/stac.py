"""Items of a STAC item collection: which assets are pixels, which is the label, and all pixel assets as one raster.

Assets with the role ``reflectance``, else ``data``, else with band metadata and no role, are the scene; one with the
role ``labels`` is its label. Bands of several assets are joined in a VRT on the finest of their grids.
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

_PIXELS, _LABELS = ("reflectance", "data"), {"labels", "label"}
_REMOTE = {"http": "/vsicurl/", "https": "/vsicurl/", "s3": "/vsis3/", "gs": "/vsigs/"}
_GDAL_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "float32": "Float32", "float64": "Float64",
}  # fmt: skip


@dataclass(frozen=True)
class Asset:
    """One raster of an item; ``bands`` as its STAC metadata describe them, as JSON (a list, maybe empty)."""

    key: str
    href: str
    bands: str


@dataclass(frozen=True)
class StacItem:
    """One item: its rasters (none if no asset holds pixels), its label, and what it says of sensor, place and date."""

    id: str
    assets: tuple[Asset, ...]
    label: str | None
    platform: str | None
    footprint: Box | None
    extra: Mapping[str, str]


def read_items(path: Path) -> list[StacItem]:
    """The items of an item collection (a GeoJSON FeatureCollection, as a search returns it) or a single item.

    Raises:
        RecordError: not STAC.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordError(f"{path} is not JSON ({error}); give a STAC item collection") from error
    features = document.get("features", [document]) if isinstance(document, dict) else []
    if not features or not all(
        isinstance(f, dict) and isinstance(f.get("assets"), dict) for f in features
    ):
        raise RecordError(
            f"{path} is no STAC item collection: each of its features must have 'assets'"
        )
    try:
        return [_item(feature, path.parent) for feature in features]
    except (AttributeError, TypeError, ValueError, LookupError, ShapelyError) as error:
        raise RecordError(
            f"{path}: an item is not as STAC describes it ({error}); mend the collection"
        ) from error


def _item(feature: Mapping[str, Any], folder: Path) -> StacItem:
    assets = {
        key: asset for key, asset in feature["assets"].items() if isinstance(asset.get("href"), str)
    }
    properties = feature.get("properties") or {}
    roles = {key: set(asset.get("roles") or ()) for key, asset in assets.items()}
    labels = [key for key in assets if roles[key] & _LABELS or key in _LABELS]
    chosen = _of_pixels({key: asset for key, asset in assets.items() if key not in labels}, roles)
    outline = feature.get("geometry") and shape(feature["geometry"])
    said = {"collection": feature.get("collection"), "datetime": properties.get("datetime")}
    return StacItem(
        id=str(feature.get("id")),
        assets=tuple(
            Asset(key, _located(assets[key]["href"], folder), json.dumps(_bands(assets[key])))
            for key in chosen
        ),
        label=_located(assets[labels[0]]["href"], folder) if labels else None,
        platform=properties.get("platform"),
        footprint=tuple(outline.bounds) if outline else None,
        extra={
            "stac_id": str(feature.get("id")),
            **{key: str(value) for key, value in said.items() if value},
        },
    )


def _of_pixels(assets: Mapping[str, Any], roles: Mapping[str, set[str]]) -> list[str]:
    """The assets that hold reflectance, each band once: catalogues offer it in several formats beside other layers."""
    wanted = next((role for role in _PIXELS if any(role in roles[key] for key in assets)), None)
    chosen = [
        key
        for key in assets
        if (wanted in roles[key] if wanted else not roles[key] and _bands(assets[key]))
    ]
    described = [key for key in chosen if _bands(assets[key])]
    taken: set[str] = set()
    unique = []
    for key in described:
        names = {str(band.get("name", key)) for band in _bands(assets[key])}
        if not names & taken:
            unique.append(key)
        taken |= names
    return unique or chosen


def _bands(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    bands = asset.get("bands") or asset.get("eo:bands") or []
    raster = asset.get("raster:bands") or []
    return (
        [{**r, **b} for r, b in zip(raster, bands, strict=True)]
        if len(raster) == len(bands)
        else list(bands)
    )


def _located(href: str, folder: Path) -> str:
    """An asset's address as GDAL takes it, in a VRT too."""
    scheme = href.partition("://")[0]
    if scheme in _REMOTE:
        return _REMOTE[scheme] + (href if scheme.startswith("http") else href.partition("://")[2])
    return str(folder / href.removeprefix("file://"))


@contextmanager
def opened_assets(assets: Sequence[Asset]) -> Iterator[str]:
    """The path of a raster that holds the bands of all assets, for as long as the context lasts.

    Raises:
        SceneError: an asset cannot be opened, or the assets differ in their CRS.
    """
    with ExitStack() as stack:
        datasets = [stack.enter_context(open_raster(asset.href)) for asset in assets]
        crs = {dataset.crs for dataset in datasets}
        if len(crs) > 1:
            raise SceneError(
                f"assets {', '.join(a.key for a in assets)} have different CRS; reproject them to one"
            )
        with MemoryFile(_vrt(assets, datasets), ext=".vrt") as memory:
            yield memory.name


def _vrt(assets: Sequence[Asset], datasets: Sequence[Any]) -> bytes:
    finest = min(datasets, key=lambda dataset: abs(dataset.res[0] * dataset.res[1]))
    root = Xml.Element("VRTDataset", rasterXSize=str(finest.width), rasterYSize=str(finest.height))
    if finest.crs is not None:
        Xml.SubElement(root, "SRS").text = finest.crs.to_wkt()
        Xml.SubElement(root, "GeoTransform").text = ", ".join(
            repr(x) for x in finest.transform.to_gdal()
        )
    described: list[dict[str, Any]] = []
    for asset, dataset in zip(assets, datasets, strict=True):
        stated = json.loads(asset.bands)
        names = (
            [b.get("name", asset.key) for b in stated]
            if len(stated) == dataset.count
            else dataset.descriptions
        )
        names = [name or asset.key for name in names]
        described += stated if len(stated) == dataset.count else [{"name": name} for name in names]
        corners = xy(dataset.transform, [0, dataset.height], [0, dataset.width], offset="ul")
        (top, bottom), (left, right) = rowcol(finest.transform, *corners, op=np.asarray)
        for index, name in zip(dataset.indexes, names, strict=True):
            band = Xml.SubElement(
                root,
                "VRTRasterBand",
                dataType=_GDAL_TYPES[dataset.dtypes[index - 1]],
                band=str(len(root)),
            )
            Xml.SubElement(band, "Description").text = name
            if dataset.nodatavals[index - 1] is not None:
                Xml.SubElement(band, "NoDataValue").text = str(dataset.nodatavals[index - 1])
            source = Xml.SubElement(band, "SimpleSource", resampling="nearest")
            Xml.SubElement(source, "SourceFilename", relativeToVRT="0").text = dataset.name
            Xml.SubElement(source, "SourceBand").text = str(index)
            _rectangle(source, "SrcRect", 0, 0, dataset.width, dataset.height)
            _rectangle(source, "DstRect", left, top, right - left, bottom - top)
    Xml.SubElement(Xml.SubElement(root, "Metadata"), "MDI", key="bands").text = json.dumps(
        described
    )
    return Xml.tostring(root)


def _rectangle(
    source: Xml.Element, tag: str, col: float, row: float, width: float, height: float
) -> None:
    sides = {"xOff": col, "yOff": row, "xSize": width, "ySize": height}
    Xml.SubElement(source, tag, {key: str(float(value)) for key, value in sides.items()})
