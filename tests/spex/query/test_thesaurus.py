"""Words for land cover are found in six languages, whole, inflected, joined or misspelt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spex.evidence import class_additions
from spex.evidence.class_additions import add_classes
from spex.evidence.classes import added_entries
from spex.query.constraints import Constraints, IndexCondition
from spex.query.thesaurus import closest_term, find_terms


def found(text: str, language: str) -> list[tuple[str, str]]:
    return [
        (text[match.start : match.end], match.term.class_name)
        for match in find_terms(text, language)
    ]


@pytest.fixture
def _own_classes() -> Iterator[None]:
    add_classes(
        {
            "solar_farm": {"title": "solar farm", "synonyms": ["pv plant"]},
            "wheat": {"title": "wheat", "words": {"de": ["Weizen"], "zh": ["小麦"]}},
        },
        "test",
    )
    yield
    added_entries.clear()
    class_additions._clear_caches()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lakes and the forest's edge", [("Lakes", "water"), ("forest's", "tree_cover")]),
        ("built-up, built up, builtup", [(word, "built_up") for word in
                                        ("built-up", "built up", "builtup")]),
        ("grass land and farm land", [("grass land", "grassland"), ("farm land", "cropland")]),
        ("a body of water; water bodies", [("body of water", "water"), ("water bodies", "water")]),
        ("forest, land", [("forest", "tree_cover"), ("land", "any")]),
        ("what is land cover?", []),
        ("in the field of view at ground level", []),
        ("wheat fields", [("wheat fields", "cropland")]),
        ("", []),
    ],
)  # fmt: skip
def test_english(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text, "en") == expected


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("vegetacion y lagunitas", "es", [("vegetacion", "vegetation"), ("lagunitas", "water")]),
        ("arroyitos, peces y luces", "es", [("arroyitos", "water")]),
        ("cuerpos de agua a 30 metros", "es", [("cuerpos de agua", "water")]),
        ("as lagoas e os riozinhos", "pt", [("lagoas", "water"), ("riozinhos", "water")]),
        ("plantações a 30 metros", "pt", [("plantações", "cropland")]),
        ("l'eau, les plans d’eau", "fr", [("eau", "water"), ("plans d’eau", "water")]),
        ("près du pré, mais pas le maïs", "fr", [("pré", "grassland"), ("maïs", "cropland")]),
        ("canaux à côté de la forêt", "fr", [("canaux", "water"), ("forêt", "tree_cover")]),
        ("Häuser an Strassen", "de", [("Häuser", "building"), ("Strassen", "road")]),
        ("Fluesse und Wälder", "de", [("Fluesse", "water"), ("Wälder", "tree_cover")]),
        ("des Waldes, auf den Äckern", "de", [("Waldes", "tree_cover"), ("Äckern", "cropland")]),
        ("oder wegen der Lage", "de", []),
        ("提取北部的水体和森林", "zh", [("水体", "water"), ("森林", "tree_cover")]),
        ("樹林和農田", "zh", [("樹林", "tree_cover"), ("農田", "cropland")]),
        ("山东的水平面", "zh", []),
        ("大于5亩的水塘", "zh", [("水塘", "water")]),
        ("把forest跟农田标出来", "zh", [("forest", "tree_cover"), ("农田", "cropland")]),
        ("vom Wald weg", "de", [("Wald", "tree_cover"), ("weg", "road")]),
    ],
)
def test_other_languages(text: str, language: str, expected: list[tuple[str, str]]) -> None:
    assert found(text, language) == expected


@pytest.mark.parametrize(
    ("word", "part", "class_name"),
    [
        ("Stadtwald", "Stadtwald", "tree_cover"),
        ("Quarzkiesbaggersee", "Quarzkiesbaggersee", "water"),
        ("Kartoffelacker", "Kartoffelacker", "cropland"),
        ("Ziegenställe", "Ziegenställe", "building"),
        ("Hauptverbindungsstrassen", "Hauptverbindungsstrassen", "road"),
        ("Gebäudemaske", "Gebäudemaske", "building"),
        ("Waldnähe", "Wald", "tree_cover"),
        ("Strassennaehe", "Strassen", "road"),
    ],
)
def test_a_german_compound_is_what_its_last_part_is(word: str, part: str, class_name: str) -> None:
    assert found(f"im {word}", "de") == [(part, class_name)]


@pytest.mark.parametrize(
    "word", ["Umkreis", "Einfluss", "Landkreis", "Entscheidungsbaum", "keineswegs", "Gesamtfläche"]
)
def test_other_german_words_are_no_compounds(word: str) -> None:
    assert found(word, "de") == []


@pytest.mark.parametrize(
    ("word", "language", "class_name"),
    [
        ("meadws", "en", "grassland"),
        ("pastuers", "en", "grassland"),
        ("watr", "en", "water"),
        ("forrest", "en", "tree_cover"),
        ("biuldings", "en", "building"),
        ("raods", "en", "road"),
        ("vegitation", "en", "vegetation"),
        ("agricutlural", "en", "cropland"),
        ("bosqe", "es", "tree_cover"),
        ("vejetación", "es", "vegetation"),
        ("florsta", "pt", "tree_cover"),
        ("batimens", "fr", "building"),
        ("Gebeude", "de", "building"),
    ],
)
def test_a_misspelt_word_is_the_closest_term(word: str, language: str, class_name: str) -> None:
    term = closest_term(word, language)
    assert term is not None and term.class_name == class_name


@pytest.mark.parametrize(
    "word",
    ["forms", "lack", "rode", "later", "winter", "dessert", "counting", "colleague", "hse", "xyz"],
)
def test_a_word_that_is_known_or_unlike_any_term_is_none(word: str) -> None:
    assert closest_term(word, "en") is None


def test_a_known_misspelling_is_said_to_be_one() -> None:
    (match,) = find_terms("贯木", "zh")
    assert match.term.class_name == "shrubland" and match.term.text == "灌木" and match.typo
    (match,) = find_terms("灌木", "zh")
    assert not match.typo


def test_a_term_says_what_it_implies() -> None:
    (pond,) = find_terms("ponds", "en")
    assert pond.term.implies == Constraints(max_area=(1.0, "ha"))
    (wheat,) = find_terms("wheat", "en")
    assert wheat.term.is_nearest and wheat.term.class_name == "cropland"
    (jungle,) = find_terms("jungle", "fr")
    assert jungle.term.implies.index == (IndexCondition("NDVI", "above", 0.5),)
    (island,) = find_terms("islands", "en")
    assert island.term.class_name == "any" and island.term.implies.exclude == ("water",)


def test_a_term_says_what_else_it_may_mean() -> None:
    (shore,) = find_terms("shore", "en")
    assert shore.term.class_name == "water" and shore.term.ambiguous == ("sand", "bare")
    (shadow,) = find_terms("shadows", "en")
    assert shadow.term.class_name == "cloud_shadow" and shadow.term.ambiguous == ("",)
    (ship,) = find_terms("ships", "en")
    assert ship.term.class_name == "" and ship.term.ambiguous == ()
    (flooded,) = find_terms("flooded", "en")
    assert flooded.term.is_verb and not flooded.term.is_phrase
    (marshy,) = find_terms("marshy", "en")
    assert marshy.term.is_phrase and not marshy.term.is_verb


@pytest.mark.usefixtures("_own_classes")
def test_words_of_an_added_class_come_first() -> None:
    assert found("solar farms, PV plants", "en") == [
        ("solar farms", "solar_farm"),
        ("PV plants", "solar_farm"),
    ]
    assert found("the wheat fields", "en") == [("wheat fields", "wheat")]
    assert found("Weizen und 小麦", "de")[0] == ("Weizen", "wheat")
    assert found("北部的小麦", "zh") == [("小麦", "wheat")]
    term = closest_term("wheet", "en")
    assert term is not None and term.class_name == "wheat"
