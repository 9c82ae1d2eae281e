"""The lists of land-cover words are in their format, and every word of a class is in them."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from spex.evidence.classes import classes, shipped_entries
from spex.query.constraints import Constraints, IndexCondition
from spex.query.reading import LANGUAGES
from spex.query.term_lists import implied_constraints, key_of, term_list
from spex.query.thesaurus import find_terms

NOTE = re.compile(r"nearest|verb|phrase|noclass|head|typo|rare|ambiguous:(?P<other>[a-z_]+|-)")
IMPLIED = re.compile(r"(?:min|max)=\d+(?:ha|m2|km2)|idx=NDVI[<>]0\.\d|not=[a-z_]+")


def rows(language: str) -> list[list[str]]:
    text = (files("spex.query") / "terms" / f"{language}.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_lines_are_in_the_format(language: str) -> None:
    assert len(rows(language)) > 2000
    for class_name, term, forms, implies, note in rows(language):
        assert class_name in {*classes(), "any", "-"}
        assert term and term == term.strip() and "" not in forms.split(",")[1:]
        assert not implies or all(IMPLIED.fullmatch(item) for item in implies.split(","))
        for item in filter(None, note.split(";")):
            match = NOTE.fullmatch(item)
            assert match, (term, note)
            assert match["other"] in {None, "-", "any", *classes()}
        assert (class_name == "-") == ("noclass" in note)


@pytest.mark.parametrize("language", LANGUAGES)
def test_terms_do_not_repeat(language: str) -> None:
    terms = [row[1] for row in rows(language) if row[4] != "typo"]
    assert len(terms) == len(set(terms))


@pytest.mark.parametrize("language", LANGUAGES)
def test_common_words_are_no_terms(language: str) -> None:
    terms = term_list(language)
    both = [
        word
        for key, word in terms.common.items()
        if key in terms.entries
        and key not in terms.function_words
        and word.casefold() == terms.entries[key].form.casefold()
    ]
    assert len(terms.common) > 400 and not both


@pytest.mark.parametrize("name", shipped_entries())
def test_english_synonyms_of_classes_are_found(name: str) -> None:
    entry = shipped_entries()[name]
    missing = [word for word in [entry["title"], *entry["synonyms"]] if not find_terms(word, "en")]
    assert not missing


def test_keys_ignore_case_accents_and_what_parts_words() -> None:
    assert key_of("Built-Up", "en") == key_of("built up", "en") == "builtup"
    assert key_of("Vegetación", "es") == "vegetacion"
    assert key_of("Straßen über", "de") == key_of("strassen ueber", "de")
    assert key_of("濕地", "zh") == key_of("湿地", "zh")


def test_implied_constraints() -> None:
    assert implied_constraints("") == Constraints()
    assert implied_constraints("max=1ha").max_area == (1.0, "ha")
    assert implied_constraints("min=50ha").min_area == (50.0, "ha")
    assert implied_constraints("not=water").exclude == ("water",)
    assert implied_constraints("idx=NDVI<0.3").index == (IndexCondition("NDVI", "below", 0.3),)
