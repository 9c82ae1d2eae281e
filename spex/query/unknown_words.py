"""Words that a language does not know: misspelt ones, and those of another language."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from typing import Any

import regex
from rapidfuzz import process
from rapidfuzz.distance import OSA

from spex.query.lexicon import Found, fold, lexicon
from spex.query.numerals import numbers_of
from spex.query.term_lists import term_list
from spex.query.thesaurus import find_terms

LATIN_WORD = regex.compile(r"(?<![\p{Latin}\d_])[a-z]{2,}(?![\p{Latin}\d_])")
SHORTEST_TYPO = 4
_TWO_ERRORS_FROM = 8
_ALPHABETIC = ("en", "es", "pt", "fr", "de")


def plainly_found_in(text: str, language: str) -> list[Found]:
    """Terms, numbers and phrases of the lexicon in a folded text."""
    found: list[Found] = []
    for match in find_terms(text, language):
        kind = "class" if match.term.class_name else "thing"
        found.append((match.start, match.end, kind, match.term))
        if match.typo:
            found.append((match.start, match.end, "typo", match.term.text))
    found += [(start, end, "number", value) for start, end, value in numbers_of(text, language)]
    return [*found, *lexicon(language).phrases_in(text)]


def moved_found(found: list[Found], by: int) -> list[Found]:
    """What was found, at places further on."""
    return [(start + by, end + by, kind, value) for start, end, kind, value in found]


@cache
def _known_words(language: str) -> frozenset[str]:
    """Words of the lexicon and of the terms, folded."""
    words = lexicon(language).words | lexicon(language).common
    forms = [fold(entry.form).text for entry in term_list(language).entries.values()]
    return words.union(*(form.split() for form in forms))


@cache
def _grammar_words(language: str) -> tuple[str, ...]:
    return tuple(sorted(word for word in lexicon(language).words if len(word) >= SHORTEST_TYPO))


def unknown_words(
    text: str, chosen: list[tuple[int, int, dict[str, Any]]], language: str
) -> list[tuple[int, int]]:
    """Places of Latin words that no list has."""
    covered = [(start, end) for start, end, values in chosen if values.keys() != {"typo"}]
    known_words = _known_words(language)
    unknown = []
    for match in LATIN_WORD.finditer(text):
        number = bisect_right(covered, (match.start(), len(text)))
        inside = number > 0 and covered[number - 1][1] > match.start()
        if not inside and match[0] not in known_words:
            unknown.append(match.span())
    return unknown


def misspelt(text: str, unknown: list[tuple[int, int]], language: str) -> list[Found]:
    """Phrases of the lexicon in which unknown words are misspelt."""
    right = text
    shift: list[tuple[int, int]] = []  # position behind a word in the right text, its difference
    moved = 0
    places = []
    for start, end in unknown:
        word = text[start:end]
        if len(word) < SHORTEST_TYPO:
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


def foreign(text: str, unknown: list[tuple[int, int]], language: str) -> list[Found]:
    """What unknown words are in other languages, alone or with the words around."""
    words = [match.span() for match in LATIN_WORD.finditer(text)]
    found: list[Found] = []
    for start, end in unknown:
        number = words.index((start, end))
        first = words[max(0, number - 2)][0]
        last = words[min(len(words) - 1, number + 2)][1]
        for other in _ALPHABETIC:
            if other != language:
                matches = moved_found(plainly_found_in(text[first:last], other), first)
                found += [match for match in matches if match[0] <= start and end <= match[1]]
    return found
