"""Misspelt words for land cover: which term a word was meant to be."""

from __future__ import annotations

import re
from functools import cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from spex.query.term_lists import Term, TermList, added_terms, key_of, term_list
from spex.query.word_forms import basic_forms, derived_from

_VOWELS = re.compile("[aeiouy]")
_DOUBLED = re.compile(r"(.)\1")
_SHORTEST_TYPO = 4
_FIRST_LETTER_FROM = 6
_TWO_ERRORS_FROM = 7


def closest_term(word: str, language: str) -> Term | None:
    """The term that a misspelt word was meant to be, or None where that is not clear.

    Words of 4 to 6 letters may differ in one letter, longer ones in two, of which one is a
    consonant at most; two letters that have changed places count as one.

    Args:
        word: a single word that is known from nowhere else.
        language: ISO 639-1 code, one of ``spex.query.reading.LANGUAGES``.
    """
    terms = term_list(language)
    added = added_terms(language)
    typed = key_of(word, language)
    if typed in terms.entries:
        return terms.term(terms.entries[typed])
    if len(typed) < _SHORTEST_TYPO or language == "zh" or _is_common(typed, terms):
        return None
    limit = 1 if len(typed) < _TWO_ERRORS_FROM else 2
    candidates = process.extract(
        typed,
        [*added, *_listed(language), *_common(language)],
        scorer=OSA.distance,
        processor=None,
        score_cutoff=limit,
        limit=None,
    )
    ranked: dict[tuple[int, int, bool], list[str]] = {}
    for spelling, distance, _ in candidates:
        starts_alike = spelling[0] == typed[0] or spelling[:2] == typed[1::-1]
        if _may_be_typo(typed, spelling, starts_alike, int(distance)):
            rank = (int(distance), _unlikeness(typed, spelling), not starts_alike)
            ranked.setdefault(rank, []).append(spelling)
    if not ranked:
        return None
    best = ranked[min(ranked)]
    if any(spelling not in added and spelling not in terms.entries for spelling in best):
        return None
    meant = [added.get(spelling) or terms.term(terms.entries[spelling]) for spelling in best]
    return meant[0] if len({term.class_name for term in meant}) == 1 else None


def _may_be_typo(typed: str, meant: str, starts_alike: bool, distance: int) -> bool:
    """Whether letters differ as they do where a word is misspelt.

    Args:
        typed: a word.
        meant: another one.
        starts_alike: the first letter is the same, or has changed places with the second.
        distance: letters that differ.
    """
    if distance > 1:
        consonants = _consonants(typed), _consonants(meant)
        return starts_alike and OSA.distance(*consonants) <= 1
    if len(typed) == len(meant) == _SHORTEST_TYPO:
        return sorted(typed) == sorted(meant)
    return starts_alike or len(typed) >= _FIRST_LETTER_FROM


def _unlikeness(typed: str, meant: str) -> int:
    """0 where letters have changed places or are doubled, 1 where vowels differ, 2 otherwise."""
    if sorted(typed) == sorted(meant) or _undoubled(typed) == _undoubled(meant):
        return 0
    return 1 if _consonants(typed) == _consonants(meant) else 2


def _consonants(word: str) -> str:
    return _undoubled(_VOWELS.sub("", word))


def _undoubled(word: str) -> str:
    return _DOUBLED.sub(r"\1", word)


def _is_common(word: str, terms: TermList) -> bool:
    related = (*basic_forms(word, terms.language), *derived_from(word, terms.language))
    return any(form in terms.common for form in (word, *related))


@cache
def _listed(language: str) -> tuple[str, ...]:
    """Keys of the terms that a misspelt word may be."""
    terms = term_list(language)
    return tuple(
        key
        for key, entry in terms.entries.items()
        if len(key) >= _SHORTEST_TYPO and terms.may_be_misspelt(entry)
    )


@cache
def _common(language: str) -> tuple[str, ...]:
    """Other words that a misspelt word may be."""
    terms = term_list(language)
    listed = terms.entries
    return tuple(key for key in terms.common if len(key) >= _SHORTEST_TYPO and key not in listed)
