"""Elements of requests: constraints and relations with their values, in six languages."""

from __future__ import annotations

import pytest

from spex.query.constraints import IndexCondition
from spex.query.elements import elements_of
from spex.query.lexer import items_of
from spex.query.scanner import Element


def _elements(text: str, language: str) -> list[Element]:
    return elements_of(items_of(text, language))


def _of_kind(text: str, language: str, kind: str) -> list[object]:
    return [element.value for element in _elements(text, language) if element.kind == kind]


@pytest.mark.parametrize(
    ("language", "text", "kind", "value", "unit"),
    [
        ("en", "lakes over 2 ha", "min_area", 2, "ha"),
        ("en", "no smaller than 50 acres", "min_area", 20.234, "ha"),
        ("en", "50-acre-plus plots", "min_area", 20.234, "ha"),
        ("en", "half-hectare-or-bigger meadows", "min_area", 0.5, "ha"),
        ("en", "roofs of 1000+ m²", "min_area", 1000, "m2"),
        ("en", "scree covering a tenth of the picture or more", "min_area", 10, "%"),
        ("en", "forest between half a hectare and two and a half", "max_area", 2.5, "ha"),
        ("en", "ponds of 500 to 1500 m2; for meadows 2000 to 6000", "min_area", 2000, "m2"),
        ("en", "at least 3 connected pixels", "min_area", 3, "px"),
        ("en", "lakes under 50 sqaure meters", "max_area", 50, "m2"),
        ("es", "más de 2 hectáreas y media", "min_area", 2.5, "ha"),
        ("es", "lotes de 3 a 5 manzanas", "max_area", 3.5, "ha"),
        ("pt", "florestas com até 3 alqueires", "max_area", 7.26, "ha"),
        ("fr", "forêts de plus de deux hectares et demi", "min_area", 2.5, "ha"),
        ("de", "Wald ab zwei Hektar", "min_area", 2, "ha"),
        ("de", "höchstens 500 Quadratmeter", "max_area", 500, "m2"),
        ("zh", "15亩以上的林子", "min_area", 1, "ha"),
        ("zh", "不超过2平方公里的湖", "max_area", 2, "km2"),
        ("zh", "千分之五以上面积的水域", "min_area", 0.5, "%"),
        ("zh", "1%和10%之间的林块", "max_area", 10, "%"),
    ],
)
def test_area(language: str, text: str, kind: str, value: float, unit: str) -> None:
    """An area is among the elements with its value in a unit of the constraints."""
    areas = _of_kind(text, language, kind)
    assert any(found == (pytest.approx(value, rel=1e-3), unit) for found in areas), areas


@pytest.mark.parametrize(
    ("language", "text", "conditions"),
    [
        ("en", "NDVI above 0.5", [("NDVI", "above", 0.5)]),
        ("en", "trees from .3 to .5 NDVI", [("NDVI", "above", 0.3), ("NDVI", "below", 0.5)]),
        ("en", "where is NDBI positive", [("NDBI", "above", 0.0)]),
        ("en", "negative NDVI values", [("NDVI", "below", 0.0)]),
        ("es", "NDVI menor que 0,3", [("NDVI", "below", 0.3)]),
        ("fr", "NDVI entre 0,2 et 0,4", [("NDVI", "above", 0.2), ("NDVI", "below", 0.4)]),
        ("de", "Grünwert über 0,5", [("NDVI", "above", 0.5)]),
        ("zh", "NBR小于-0.1的地方", [("NBR", "below", -0.1)]),
    ],
)
def test_index(language: str, text: str, conditions: list[tuple[str, str, float]]) -> None:
    """Conditions on an index are one element."""
    expected = [IndexCondition(*condition) for condition in conditions]  # type: ignore[arg-type]
    assert tuple(expected) in _of_kind(text, language, "index")


@pytest.mark.parametrize(
    ("language", "text", "kind", "count"),
    [
        ("en", "the three largest lakes", "top", 3),
        ("en", "the three lakes (largest)", "top", 3),
        ("en", "the larger pools, 3 of them", "top", 3),
        ("en", "rank the dunes by size and keep the first four", "top", 4),
        ("en", "all but the two smallest ponds", "bottom", -2),
        ("es", "los 5 manchones de selva más grandes", "top", 5),
        ("pt", "a maior e a segunda maior", "top", 2),
        ("fr", "les trois plus petits étangs", "bottom", 3),
        ("de", "die 7 größten Gebäude", "top", 7),
        ("zh", "最大的三块水面", "top", 3),
    ],
)
def test_rank(language: str, text: str, kind: str, count: int) -> None:
    """A rank is found with its count, beside the superlative or further away."""
    assert count in _of_kind(text, language, kind)


@pytest.mark.parametrize(
    ("language", "text", "part"),
    [
        ("en", "grass in the upper half", "north"),
        ("en", "grass in the right up corner", "northeast"),
        ("en", "top third glaciers", "north_third"),
        ("en", "the northern and the western thirds", "west_third"),
        ("en", "not in the center", "-center"),
        ("en", "NDVI under 0.1, northern half", "north"),
        ("en", "dunes, NE", "northeast"),
        ("es", "arriba a la derecha", "northeast"),
        ("es", "franja de arriba (un tercio)", "north_third"),
        ("pt", "no canto inferior esquerdo", "southwest"),
        ("fr", "les tiers nord et sud", "south_third"),
        ("de", "unten links", "southwest"),
        ("zh", "右上角的草地", "northeast"),
    ],
)
def test_part(language: str, text: str, part: str) -> None:
    """A part of the scene is found, a third also from words apart."""
    assert (part,) in _of_kind(text, language, "where")


@pytest.mark.parametrize(
    ("language", "text", "detail", "metres"),
    [
        ("en", "trees within 50 m of a road", "near", 50.0),
        ("en", "trees at least half a mile from roads", "far", 804.672),
        ("en", "fields between 300 and 800 meters from the water", "far", 300.0),
        ("en", "fields between 300 and 800 meters from the water", "near", 800.0),
        ("en", "houses near the river", "near", None),
        ("en", "no water within 200m, no buildings within 500", "near", 500.0),
        ("es", "pasto a kilómetro y medio del agua", "near", 1500.0),
        ("pt", "árvores a mais de 100 metros das casas", "far", 100.0),
        ("fr", "champs à moins de 200 m d'une route", "near", 200.0),
        ("de", "Wiesen, weiter als 300 m von Straßen", "far", 300.0),
        ("zh", "离水2公里以外的林子", "far", 2000.0),
        ("zh", "河边200米以内的庄稼地", "near", 200.0),
    ],
)
def test_relation(language: str, text: str, detail: str, metres: float | None) -> None:
    """A relation is found with its distance in metres."""
    relations = [
        (element.detail, element.value)
        for element in _elements(text, language)
        if element.kind == "relation"
    ]
    assert (detail, metres if metres is None else pytest.approx(metres)) in relations


def test_mentions_keep_their_order_and_term() -> None:
    """Mentions are the classes of terms; a thing has none."""
    elements = _elements("lakes and roads, but no cars", "en")
    mentions = [element.value for element in elements if element.kind == "mention"]
    assert mentions == ["water", "road"]
    assert [element.kind for element in elements if element.kind == "negation"]
