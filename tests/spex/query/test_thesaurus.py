"""Words for land cover are found in six languages, whole, inflected, joined or misspelt."""

from __future__ import annotations

import pytest

from spex.query.constraints import Constraints, IndexCondition
from spex.query.thesaurus import closest_term, find_terms


def found(text: str, language: str) -> list[tuple[str, str]]:
    return [
        (text[match.start : match.end], match.term.class_name)
        for match in find_terms(text, language)
    ]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Lakes and the forest's edge", "en", [("Lakes", "water"), ("forest's", "tree_cover")]),
        (
            "built-up, built up or builtup",
            "en",
            [
                ("built-up", "built_up"),
                ("built up", "built_up"),
                ("builtup", "built_up"),
            ],
        ),
        ("grass land", "en", [("grass land", "grassland")]),
        ("vegetacion y lagunitas", "es", [("vegetacion", "vegetation"), ("lagunitas", "water")]),
        ("as lagoas e os riozinhos", "pt", [("lagoas", "water"), ("riozinhos", "water")]),
        ("l'eau, les plans d’eau", "fr", [("eau", "water"), ("plans d’eau", "water")]),
        ("Häuser an Strassen", "de", [("Häuser", "building"), ("Strassen", "road")]),
        ("Fluesse und Wälder", "de", [("Fluesse", "water"), ("Wälder", "tree_cover")]),
        ("提取北部的水体和森林", "zh", [("水体", "water"), ("森林", "tree_cover")]),
        ("樹林和農田", "zh", [("樹林", "tree_cover"), ("農田", "cropland")]),
    ],
)
def test_terms_are_found_where_they_stand(
    text: str, language: str, expected: list[tuple[str, str]]
) -> None:
    assert found(text, language) == expected


@pytest.mark.parametrize(
    ("word", "language", "class_name"),
    [
        ("meadws", "en", "grassland"),
        ("pastuers", "en", "grassland"),
        ("watr", "en", "water"),
        ("forrest", "en", "tree_cover"),
        ("biuldings", "en", "building"),
        ("raods", "en", "road"),
    ],
)
def test_a_misspelt_word_is_the_closest_term(word: str, language: str, class_name: str) -> None:
    term = closest_term(word, language)
    assert term is not None and term.class_name == class_name


def test_a_term_says_what_it_implies() -> None:
    (pond,) = find_terms("ponds", "en")
    assert pond.term.implies == Constraints(max_area=(1.0, "ha"))
    (wheat,) = find_terms("wheat", "en")
    assert wheat.term.is_nearest and wheat.term.class_name == "cropland"
    (jungle,) = find_terms("jungle", "fr")
    assert jungle.term.implies.index == (IndexCondition("NDVI", "above", 0.5),)
