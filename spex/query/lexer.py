"""Splits a request into items: numbers, units, words of the lexicon, terms of land cover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import regex

from spex.query.lexicon import HAN, FoldedText, Found, fold, is_hyphen, lexicon
from spex.query.thesaurus import closest_term
from spex.query.unknown_words import (
    LATIN_WORD,
    SHORTEST_TYPO,
    foreign,
    misspelt,
    moved_found,
    plainly_found_in,
    unknown_words,
)

INDEX_NAMES = ("NDVI", "NDWI", "MNDWI", "NDBI", "NBR", "NDSI", "NDMI", "EVI", "SAVI", "GLI", "BI")

_WORD = regex.compile(r"[\p{L}\p{M}\d_]+(?:'[\p{L}]+)*")
_INDEX = regex.compile(
    rf"(?<![\p{{Latin}}\d])(?:{'|'.join(INDEX_NAMES)}|NVDI|NDIV)(?![a-z])", regex.IGNORECASE
)
_COMPASS = {"N": "north", "S": "south", "W": "west", "NE": "northeast", "NW": "northwest",
            "SE": "southeast", "SW": "southwest"}  # fmt: skip
_CAPITALS = regex.compile(r"(?<![\p{L}\d'.])(?:[NS][EW]?|W)(?![\p{L}\d'’])")


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
        language: whose lexicon and terms are used. Words that it does not know are looked up in
            the other languages as well; Latin words of a Chinese request count as English.
    """
    folded = fold(text)
    found = _found_in(folded.text, language)
    found += [*_index_names(folded.text), *_compass(text, folded)]
    latin = "en" if language == "zh" else language
    if language == "zh" and LATIN_WORD.search(folded.text):
        found += _only(LATIN_WORD, folded.text, _found_in(folded.text, "en"))
    elif language != "zh" and HAN.search(folded.text):
        found += _only(HAN, folded.text, _found_in(folded.text, "zh"))
    found = _behind_superlatives(folded.text, found, language)
    chosen = _longest(found)
    unknown = unknown_words(folded.text, chosen, latin)
    if unknown:
        found += misspelt(folded.text, unknown, latin)
        found += foreign(folded.text, unknown, latin)
        chosen = _longest(found)
    return list(_with_rest(folded, chosen, language))


def _found_in(text: str, language: str) -> list[Found]:
    """Terms, numbers and words of the lexicon in a folded text."""
    return [*plainly_found_in(text, language), *lexicon(language).patterns_in(text)]


def _only(letters: regex.Pattern[str], text: str, found: list[Found]) -> list[Found]:
    """What contains letters of some kind."""
    return [match for match in found if letters.search(text, match[0], match[1])]


def _compass(text: str, folded: FoldedText) -> list[Found]:
    """Points of the compass in capital letters, which are the same in all languages."""
    if text.isupper():
        return []
    at = {source: position for position, source in enumerate(folded.source)}
    return [
        (at[match.start()], at[match.end()], _COMPASS[match[0]], "")
        for match in _CAPITALS.finditer(text)
    ]


def _behind_superlatives(text: str, found: list[Found], language: str) -> list[Found]:
    """What was found, with terms cut that a superlative overlaps: "plus petits" of "étangs"."""
    ends = [(match[0], match[1]) for match in found if match[2] in ("largest", "smallest")]
    kept: list[Found] = []
    for match in found:
        first, last, kind, _ = match
        cuts = [end for start, end in ends if start < first < end < last]
        if kind not in ("class", "thing", "typo") or not cuts:
            kept.append(match)
        elif kind != "typo":
            kept += moved_found(_found_in(text[max(cuts) : last], language), max(cuts))
    return kept


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
            if "misspelt" in values and LATIN_WORD.fullmatch(word):
                values = {**_misspelt_term(word, language), **values}
            yield _item(folded, match_start, match_end, values)
        position = match_end


def _misspelt_term(word: str, language: str) -> dict[str, Any]:
    """The term that an unknown word may be."""
    term = closest_term(word, "en" if language == "zh" else language)
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
            if word[0] not in common and len(word[0]) >= SHORTEST_TYPO:
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
