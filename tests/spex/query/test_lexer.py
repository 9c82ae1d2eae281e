"""Pieces of requests: numbers, words of the lexicon, misspelt and foreign words."""

from __future__ import annotations

import pytest

from spex.query.lexer import items_of


def _values(text: str, language: str, kind: str) -> list[object]:
    return [item.values[kind] for item in items_of(text, language) if kind in item]


@pytest.mark.parametrize(
    ("language", "text", "numbers"),
    [
        ("en", "lakes over 2.5 ha", [2.5]),
        ("en", "roofs above 1,500 m2", [1500.0]),
        ("en", "lakes over 12.000 m²", [12000.0]),
        ("en", "lakes over 3.500 ha", [3.5]),
        ("en", "2½ ha", [2.5]),
        ("en", "2 1/2 ha", [2.5]),
        ("en", "214/65 tyres", [214.0, 65.0]),
        ("en", "twenty five hectares", [25.0]),
        ("en", "NDVI > -0.1", [-0.1]),
        ("en", "NDVI below minus 0.1", [-0.1]),
        ("en", "20k m2 in S2", [20000.0]),
        ("en", "2km2", [2.0]),
        ("es", "más de 1.500,5 m²", [1500.5]),
        ("es", "edificios de 2,500 m² o más", [2500.0]),
        ("es", "entre mil y cinco mil m2", [1000.0, 5000.0]),
        ("es", "treinta y cinco ha", [35.0]),
        ("es", "al menos 0,5 ha", [0.5]),
        ("es", "3 millones de m2", [3e6]),
        ("pt", "2 milhões de m2", [2e6]),
        ("fr", "plus de 10 000 m²", [10000.0]),
        ("fr", "au moins 0,5 ha", [0.5]),
        ("de", "über 1.200 m²", [1200.0]),
        ("de", "unter 0,5 ha", [0.5]),
        ("zh", "３亩以上的水", [3.0]),
        ("zh", "大于0.5，3块", [0.5, 3.0]),
        ("zh", "NBR小于-0.1", [-0.1]),
        ("zh", "十万平方米", [100000.0]),
        ("zh", "2万平方米", [20000.0]),
        ("zh", "千分之五以上", [0.005]),
    ],
)
def test_numbers(language: str, text: str, numbers: list[float]) -> None:
    """Numbers have the value their language, their unit and their words give them."""
    assert _values(text, language, "number") == pytest.approx(numbers)


@pytest.mark.parametrize(
    ("language", "text", "kind", "value"),
    [
        ("en", "50 sqaure meterz of lawn", "unit", "m2"),
        ("en", "half-hectare-or-bigger meadows", "at_least_after", ""),
        ("en", "whithin 50 m of a road", "within", ""),
        ("en", "grassland in 右上角 thx", "northeast", ""),
        ("en", "ackerland unten links", "southwest", ""),
        ("en", "dunes, NE", "northeast", ""),
        ("en", "the second largest lake", "ordinal", ""),
        ("zh", "只要top 3 burn scar", "largest", ""),
        ("zh", "离水2公里以外", "beyond", ""),
        ("zh", "湖面5㎡", "unit", "m2"),
        ("zh", "NDVI大于0.5", "index", "NDVI"),
        ("es", "bosque hasta 5 hectareas", "unit", "ha"),
        ("de", "Grünwert über 0,5", "index", "NDVI"),
        ("fr", "les trois plus petits étangs", "smallest", ""),
    ],
)
def test_kinds(language: str, text: str, kind: str, value: str) -> None:
    """A piece has a kind, also if it is misspelt, joined by hyphens or foreign."""
    assert value in _values(text, language, kind)


def test_terms_lose_the_superlative_they_begin_in() -> None:
    """The class is found behind "plus petits", although "petits étangs" is a term."""
    terms = _values("les trois plus petits étangs", "fr", "class")
    assert [term.class_name for term in terms] == ["water"]


def test_items_cover_the_request() -> None:
    """Every word and mark is in an item, at its place in the request."""
    text = "Wälder, größer als 2½ ha – bitte!"
    items = items_of(text, "de")
    covered = set[int]()
    for item in items:
        covered.update(range(item.start, item.end))
    missing = [text[at] for at in range(len(text)) if at not in covered]
    assert not "".join(missing).strip()
    assert text[items[0].start : items[0].end] == "Wälder"


def test_hyphen_between_words_is_no_range() -> None:
    """A hyphen joins words, and is a range between numbers only."""
    assert not _values("50-acre-plus plots", "en", "to")
    assert _values("fields 5-10 ha", "en", "to")
