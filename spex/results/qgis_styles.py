"""Styles that QGIS applies when it opens a result: the masks and regions in their classes' colours.

A colour table in a GeoTIFF holds no transparency: GDAL reads the entry of the nodata value (255) as
transparent and every other one as opaque, whatever was written. So the transparent background (0)
stands in ``mask.qml`` beside ``mask.tif``, and the style of the regions in the table
``layer_styles`` of ``regions.gpkg``, which are the places where QGIS looks for default styles.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from pyogrio.raw import write

from spex.evidence.classes import land_class
from spex.postprocess.facts import MaskFacts
from spex.results.rendering import rgb

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_FILL_ALPHA = 102  # of 255
_OUTLINE_MM = 0.5


def mask_style(facts: Sequence[MaskFacts]) -> str:
    """QML of the mask raster: one colour per mask, the background transparent."""
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = SubElement(
        SubElement(root, "pipe"),
        "rasterrenderer",
        {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1"},
    )
    palette = SubElement(renderer, "colorPalette")
    background = {"value": "0", "color": "#000000", "alpha": "0", "label": "background"}
    SubElement(palette, "paletteEntry", background)
    for mask_facts in facts:
        entry = {
            "value": str(mask_facts.value),
            "color": _colour(mask_facts),
            "alpha": "255",
            "label": mask_facts.span.phrase,
        }
        SubElement(palette, "paletteEntry", entry)
    return _document(root)


def regions_style(facts: Sequence[MaskFacts]) -> str:
    """QML of the regions: categorised by class, lightly filled and outlined in its colour."""
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class")
    categories = SubElement(renderer, "categories")
    symbols = SubElement(renderer, "symbols")
    colours = {mask_facts.span.class_name: _colour(mask_facts) for mask_facts in facts}
    for number, (name, colour) in enumerate(colours.items()):
        category = {
            "value": name,
            "symbol": str(number),
            "label": land_class(name).title,
            "render": "true",
        }
        SubElement(categories, "category", category)
        symbol = SubElement(symbols, "symbol", name=str(number), type="fill", alpha="1")
        layer = SubElement(symbol, "layer", {"class": "SimpleFill", "pass": "0", "enabled": "1"})
        red, green, blue = rgb(colour)
        properties = {
            "color": f"{red},{green},{blue},{_FILL_ALPHA}",
            "style": "solid",
            "outline_color": f"{red},{green},{blue},255",
            "outline_style": "solid",
            "outline_width": str(_OUTLINE_MM),
            "outline_width_unit": "MM",
        }
        for key, value in properties.items():
            SubElement(layer, "prop", k=key, v=value)
    return _document(root)


def add_layer_style(geopackage: Path, layer: str, qml: str) -> None:
    """Write the default style of a layer into the ``layer_styles`` table of its GeoPackage.

    Args:
        geopackage: an existing file, without that table.
        layer: name of a layer whose geometry column is ``geom``.
        qml: the style.
    """
    row = {
        "f_table_catalog": "",
        "f_table_schema": "",
        "f_table_name": layer,
        "f_geometry_column": "geom",
        "styleName": "classes",
        "styleQML": qml,
        "styleSLD": "",
        "useAsDefault": True,
        "description": "SPEX classes",
        "owner": "",
        "ui": "",
        "update_time": np.datetime64("now", "ms"),
    }
    values = [
        np.array([value], object if isinstance(value, str) else None) for value in row.values()
    ]
    write(
        geopackage,
        geometry=None,
        field_data=values,
        fields=np.array(list(row), object),
        layer="layer_styles",
        driver="GPKG",
        layer_options={"FID": "id"},
    )


def _colour(mask_facts: MaskFacts) -> str:
    return land_class(mask_facts.span.class_name).colour


def _document(root: Element) -> str:
    indent(root)
    return _DOCTYPE + tostring(root, encoding="unicode") + "\n"
