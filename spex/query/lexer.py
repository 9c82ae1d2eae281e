"""Splits a request into items: numbers, units, words of the lexicon, terms of land cover."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import regex
from rapidfuzz import process
from rapidfuzz.distance import OSA

from spex.query.lexicon import FoldedText, Found, fold, is_hyphen, lexicon
from spex.query.numerals import numbers_of
from spex.query.term_lists import term_list
from spex.query.thesaurus import closest_term, find_terms

INDEX_NAMES = ("NDVI", "NDWI", "MNDWI", "NDBI", "NBR", "NDSI", "NDMI", "EVI", "SAVI", "GLI", "BI")

_WORD = regex.compile(r"[\p{L}\p{M}\d_]+(?:'[\p{L}]+)*")
_LATIN_WORD = regex.compile(r"(?<![\p{Latin}\d_])[a-z]{2,}(?![\p{Latin}\d_])")
_INDEX = regex.compile(
    rf"(?<![\p{{Latin}}\d])(?:{'|'.join(INDEX_NAMES)}|NVDI|NDIV)(?![a-z])", regex.IGNORECASE
)
_SHORTEST_TYPO = 4
_TWO_ERRORS_FROM = 8


@dataclass(frozen=True)
class Item:
    """A piece of a request.

    Attributes:
        start: first character in the request.
        end: behind the last one.
        values: what the piece may be: kinds of the lexicon, ``number``, ``unit``, ``index``,
            ``class`` (a ``Term``), ``thing`` (a ``Term`` without class), ``word``, ``comma``,
            ``stop``, ``bracket``, each with its value.
        text: folded.
    """

    start: int
    end: int
    values: dict[str, Any]
    text: str

    def __contains__(self, kind: str) -> bool:
        return kind in self.values

    def any_of(self, *kinds: str) -> bool:
        """Whether the piece may be one of several kinds."""
        return any(kind in self.values for kind in kinds)


def items_of(text: str, language: str) -> list[Item]:
    """The items of a request in order; together they cover every word and mark of it.

    Args:
        text: as ``clean_query`` returns it.
        language: whose lexicon and terms are used; Latin words of a Chinese request and words that
            are unknown in the language are looked up in English as well.
    """
    folded = fold(text)
    words = lexicon(language)
    found = _terms(folded, text, language)
    found += [
        (start, end, "number", value) for start, end, value in numbers_of(folded.text, language)
    ]
    found += _index_names(folded.text)
    found += words.found_in(folded.text)
    latin = language == "zh" and _LATIN_WORD.search(folded.text)
    if latin:
        found += lexicon("en").phrases_in(folded.text)
        found += _terms(folded, text, "en", only_latin=True)
    chosen = _longest(found)
    unknown = _unknown_words(folded.text, chosen, "en" if latin else language)
    if unknown:
        more = _misspelt(folded.text, unknown, "en" if latin else language)
        if language not in ("en", "zh"):
            more += _english(folded, text, unknown)
        chosen = _longest([*found, *more]) if more else chosen
    return list(_with_rest(folded, chosen, language))


def _terms(folded: FoldedText, text: str, language: str, only_latin: bool = False) -> list[Found]:
    """Terms of land cover; ``only_latin``: those written in Latin letters."""
    at = {source: position for position, source in reversed(list(enumerate(folded.source)))}
    terms: list[Found] = []
    for match in find_terms(text, language):
        start, end = at[match.start], at[match.end]
        if only_latin and not _LATIN_WORD.search(folded.text, start, end):
            continue
        kind = "class" if match.term.class_name else "thing"
        terms.append((start, end, kind, match.term))
        if match.typo:
            terms.append((start, end, "typo", match.term.text))
    return terms


def _index_names(text: str) -> list[Found]:
    """Names of indices."""
    return [
        (*match.span(), "index", match[0].upper().replace("NVDI", "NDVI").replace("NDIV", "NDVI"))
        for match in _INDEX.finditer(text)
    ]


def _longest(matches: list[Found]) -> list[tuple[int, int, dict[str, Any]]]:
    """Matches that do not overlap, the longest first; those of the same place are merged.

    An ordinal goes before what overlaps it: "second" in "the second largest".
    """
    by_place: dict[tuple[int, int], dict[str, Any]] = {}
    for start, end, kind, value in matches:
        by_place.setdefault((start, end), {}).setdefault(kind, value)
    chosen: list[tuple[int, int, dict[str, Any]]] = []
    taken: set[int] = set()
    for start, end in sorted(
        by_place,
        key=lambda place: ("ordinal" not in by_place[place], place[0] - place[1], place[0]),
    ):
        if taken.isdisjoint(range(start, end)):
            taken.update(range(start, end))
            chosen.append((start, end, by_place[start, end]))
    return sorted(chosen, key=lambda match: match[0])


# Unknown words -------------------------------------------------------------------------------


@cache
def _known_words(language: str) -> frozenset[str]:
    """Words of the lexicon and of the terms, folded."""
    words = lexicon(language).words | lexicon(language).common
    forms = [fold(entry.form).text for entry in term_list(language).entries.values()]
    return words.union(*(form.split() for form in forms))


@cache
def _grammar_words(language: str) -> tuple[str, ...]:
    return tuple(sorted(lexicon(language).words))


def _unknown_words(
    text: str, chosen: list[tuple[int, int, dict[str, Any]]], language: str
) -> list[tuple[int, int]]:
    """Places of Latin words of four letters or more that no list has."""
    covered = [(start, end) for start, end, values in chosen if values.keys() != {"typo"}]
    known = _known_words(language)
    unknown = []
    for match in _LATIN_WORD.finditer(text):
        number = bisect_right(covered, (match.start(), len(text)))
        inside = number > 0 and covered[number - 1][1] > match.start()
        long = match.end() - match.start() >= _SHORTEST_TYPO
        if long and not inside and match[0] not in known:
            unknown.append(match.span())
    return unknown


def _misspelt(text: str, unknown: list[tuple[int, int]], language: str) -> list[Found]:
    """Phrases of the lexicon in which unknown words are misspelt."""
    right = text
    shift: list[tuple[int, int]] = []  # position behind a word in the right text, its difference
    moved = 0
    places = []
    for start, end in unknown:
        word = text[start:end]
        limit = 1 if len(word) < _TWO_ERRORS_FROM else 2
        best = process.extractOne(
            word, _grammar_words(language), scorer=OSA.distance, score_cutoff=limit
        )
        if best is None:
            continue
        right = right[: start + moved] + best[0] + right[end + moved :]
        places.append((start + moved, start + moved + len(best[0])))
        moved += len(best[0]) - len(word)
        shift.append((places[-1][1], moved))
    if not places:
        return []
    behind = [position for position, _ in shift]

    def original(position: int) -> int:
        number = bisect_right(behind, position)
        return position - (shift[number - 1][1] if number else 0)

    matches: list[Found] = []
    for start, end, kind, value in lexicon(language).phrases_in(right):
        if any(start <= first and last <= end for first, last in places):
            matches.append((original(start), original(end), kind, value))
            matches.append((original(start), original(end), "misspelt", right[start:end]))
    return matches


def _english(folded: FoldedText, text: str, unknown: list[tuple[int, int]]) -> list[Found]:
    """English phrases and terms that contain an unknown word."""
    english = [*lexicon("en").phrases_in(folded.text), *_terms(folded, text, "en")]
    return [
        match
        for match in english
        if any(match[0] <= start and end <= match[1] for start, end in unknown)
    ]


# The rest ------------------------------------------------------------------------------------


def _with_rest(
    folded: FoldedText, chosen: list[tuple[int, int, dict[str, Any]]], language: str
) -> Iterator[Item]:
    """The chosen matches and, between them, words and punctuation."""
    position = 0
    end = len(folded.text)
    for match_start, match_end, values in [*chosen, (end, end, {})]:
        yield from _words_and_marks(folded, position, match_start, language)
        if values:
            word = folded.text[match_start:match_end]
            if "misspelt" in values and _LATIN_WORD.fullmatch(word):
                values = {**_misspelt_term(word, language), **values}
            yield _item(folded, match_start, match_end, values)
        position = match_end


def _misspelt_term(word: str, language: str) -> dict[str, Any]:
    """The term that an unknown word may be."""
    term = closest_term(word, language)
    if term is None:
        return {}
    return {"class" if term.class_name else "thing": term, "typo": term.text}


def _words_and_marks(folded: FoldedText, start: int, end: int, language: str) -> Iterator[Item]:
    position = start
    common = lexicon(language).common
    while position < end:
        letter = folded.text[position]
        word = _WORD.match(folded.text, position, end)
        if language == "zh" and word and not word[0].isascii():
            word = None
        if word:
            values: dict[str, Any] = {"word": word[0]}
            if word[0] not in common and len(word[0]) >= _SHORTEST_TYPO:
                values = _misspelt_term(word[0], language) or values
            yield _item(folded, word.start(), word.end(), values)
            position = word.end()
            continue
        if not letter.isspace() and not is_hyphen(folded.text, position, position + 1):
            yield _item(folded, position, position + 1, {_mark(letter): None})
        position += 1


def _mark(letter: str) -> str:
    if letter in ",，、":
        return "comma"
    if letter in ".;:!?。；：！？…|\n•–—-*":
        return "stop"
    if letter.isalpha():
        return "word"
    return "bracket"


def _item(folded: FoldedText, start: int, end: int, values: dict[str, Any]) -> Item:
    source_end = folded.source[end - 1] + 1
    return Item(folded.source[start], source_end, values, folded.text[start:end])
