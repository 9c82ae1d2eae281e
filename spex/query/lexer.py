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

from spex.query.lexicon import HAN, FoldedText, Found, fold, is_hyphen, lexicon
from spex.query.numerals import numbers_of
from spex.query.term_lists import term_list
from spex.query.thesaurus import closest_term, find_terms

INDEX_NAMES = ("NDVI", "NDWI", "MNDWI", "NDBI", "NBR", "NDSI", "NDMI", "EVI", "SAVI", "GLI", "BI")

_WORD = regex.compile(r"[\p{L}\p{M}\d_]+(?:'[\p{L}]+)*")
_LATIN_WORD = regex.compile(r"(?<![\p{Latin}\d_])[a-z]{2,}(?![\p{Latin}\d_])")
_INDEX = regex.compile(
    rf"(?<![\p{{Latin}}\d])(?:{'|'.join(INDEX_NAMES)}|NVDI|NDIV)(?![a-z])", regex.IGNORECASE
)
_ALPHABETIC = ("en", "es", "pt", "fr", "de")
_COMPASS = {"N": "north", "S": "south", "W": "west", "NE": "northeast", "NW": "northwest",
            "SE": "southeast", "SW": "southwest"}  # fmt: skip
_CAPITALS = regex.compile(r"(?<![\p{L}\d'.])(?:[NS][EW]?|W)(?![\p{L}\d'’])")
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
        language: whose lexicon and terms are used. Words that it does not know are looked up in
            the other languages as well; Latin words of a Chinese request count as English.
    """
    folded = fold(text)
    found = _found_in(folded.text, language)
    found += [*_index_names(folded.text), *_compass(text, folded)]
    latin = "en" if language == "zh" else language
    if language == "zh" and _LATIN_WORD.search(folded.text):
        found += _only(_LATIN_WORD, folded.text, _found_in(folded.text, "en"))
    elif language != "zh" and HAN.search(folded.text):
        found += _only(HAN, folded.text, _found_in(folded.text, "zh"))
    found = _behind_superlatives(folded.text, found, language)
    chosen = _longest(found)
    unknown = _unknown_words(folded.text, chosen, latin)
    if unknown:
        found += _misspelt(folded.text, unknown, latin)
        found += _foreign(folded.text, unknown, latin)
        chosen = _longest(found)
    return list(_with_rest(folded, chosen, language))


def _found_in(text: str, language: str) -> list[Found]:
    """Terms, numbers and words of the lexicon in a folded text."""
    found: list[Found] = []
    for match in find_terms(text, language):
        kind = "class" if match.term.class_name else "thing"
        found.append((match.start, match.end, kind, match.term))
        if match.typo:
            found.append((match.start, match.end, "typo", match.term.text))
    found += [(start, end, "number", value) for start, end, value in numbers_of(text, language)]
    return [*found, *lexicon(language).found_in(text)]


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
            kept += _moved(_found_in(text[max(cuts) : last], language), max(cuts))
    return kept


def _moved(found: list[Found], by: int) -> list[Found]:
    return [(start + by, end + by, kind, value) for start, end, kind, value in found]


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
    return tuple(sorted(word for word in lexicon(language).words if len(word) >= _SHORTEST_TYPO))


def _unknown_words(
    text: str, chosen: list[tuple[int, int, dict[str, Any]]], language: str
) -> list[tuple[int, int]]:
    """Places of Latin words that no list has."""
    covered = [(start, end) for start, end, values in chosen if values.keys() != {"typo"}]
    known = _known_words(language)
    unknown = []
    for match in _LATIN_WORD.finditer(text):
        number = bisect_right(covered, (match.start(), len(text)))
        inside = number > 0 and covered[number - 1][1] > match.start()
        if not inside and match[0] not in known:
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
        if len(word) < _SHORTEST_TYPO:
            continue
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


def _foreign(text: str, unknown: list[tuple[int, int]], language: str) -> list[Found]:
    """What unknown words are in other languages, alone or with the words around."""
    words = [match.span() for match in _LATIN_WORD.finditer(text)]
    found: list[Found] = []
    for start, end in unknown:
        number = words.index((start, end))
        first = words[max(0, number - 2)][0]
        last = words[min(len(words) - 1, number + 2)][1]
        for other in _ALPHABETIC:
            if other != language:
                matches = _moved(_found_in(text[first:last], other), first)
                found += [match for match in matches if match[0] <= start and end <= match[1]]
    return found


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
