"""What QGIS reads: colours of the mask raster, and the default style of the regions."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from xml.etree.ElementTree import fromstring

import numpy as np
import pyogrio
import pytest
import rasterio

from spex.engine import extract

TEXT = (
    "<seg class=water>lakes & ponds</seg>: <fact:area>. "
    "<seg class=cropland>fields</seg>: <fact:area>. "
    "<seg class=water where=south>southern lakes</seg>: <fact:area>."
)


@pytest.fixture
def folder(painter, painted, tmp_path):
    water = np.full((100, 120), 0.1, np.float32)
    water[20:80, 30:50] = 0.9
    fields = np.full((100, 120), 0.1, np.float32)
    fields[:15, 60:] = 0.8
    scene = painted(water=water, cropland=fields)
    return extract(scene, "lakes and fields", painter(TEXT)).save(tmp_path / "out")


def test_background_and_no_data_are_transparent(folder):
    with rasterio.open(folder / "mask.tif") as mask:
        # A GeoTIFF holds no alpha: only the entry of the nodata value comes back transparent.
        assert mask.nodata == 255
        assert mask.colormap(1)[255][3] == 0
        assert mask.colormap(1)[1] == (0x1F, 0x78, 0xD1, 255)
    style = fromstring((folder / "mask.qml").read_text(encoding="utf-8"))
    (renderer,) = style.iter("rasterrenderer")
    assert (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    entries = [
        (entry.get("value"), entry.get("alpha"), entry.get("color"), entry.get("label"))
        for entry in style.iter("paletteEntry")
    ]
    assert entries == [
        ("0", "0", "#000000", "background"),
        ("1", "255", "#1f78d1", "lakes & ponds"),
        ("2", "255", "#ffb300", "fields"),
        ("3", "255", "#1f78d1", "southern lakes"),
    ]


def test_the_regions_have_a_default_style_by_class(folder):
    with closing(sqlite3.connect(folder / "regions.gpkg")) as base:
        contents = dict(base.execute("SELECT table_name, data_type FROM gpkg_contents"))
        geometry = base.execute("SELECT table_name, column_name FROM gpkg_geometry_columns")
        assert geometry.fetchall() == [("regions", "geom")]
        style = base.execute(
            "SELECT f_table_name, f_geometry_column, f_table_schema, useAsDefault, styleQML "
            "FROM layer_styles"
        ).fetchall()
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master")}
    assert contents == {"regions": "features", "layer_styles": "attributes"}
    assert "rtree_regions_geom" in tables
    ((table, column, schema, is_default, qml),) = style
    assert (table, column, schema, is_default) == ("regions", "geom", "", 1)
    root = fromstring(qml)
    (renderer,) = root.iter("renderer-v2")
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", "class")
    categories = {entry.get("value"): entry.get("symbol") for entry in root.iter("category")}
    assert list(categories) == ["water", "cropland"]
    outlines = {
        symbol.get("name"): prop.get("v")
        for symbol in root.iter("symbol")
        for prop in symbol.iter("prop")
        if prop.get("k") == "outline_color"
    }
    assert outlines == {
        categories["water"]: "31,120,209,255",
        categories["cropland"]: "255,179,0,255",
    }


def test_the_geopackage_reads_as_before(folder):
    layers = pyogrio.list_layers(folder / "regions.gpkg")
    assert layers[0].tolist() == ["regions", "MultiPolygon"]
    info = pyogrio.read_info(folder / "regions.gpkg", layer="regions")
    assert info["features"] == 3
    assert info["crs"] == "EPSG:32633"
    assert list(info["fields"][:3]) == ["class", "phrase", "area_m2"]


def test_a_result_without_masks_has_styles_too(painter, painted, tmp_path):
    text = "<seg class=water>water</seg>: <fact:area>."
    folder = extract(painted(), "water", painter(text)).save(tmp_path / "out")
    style = fromstring((folder / "mask.qml").read_text(encoding="utf-8"))
    assert [entry.get("value") for entry in style.iter("paletteEntry")] == ["0"]
    assert pyogrio.read_info(folder / "regions.gpkg", layer="regions")["features"] == 0
