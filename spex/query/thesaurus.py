"""Words for land cover in a text: where they stand, and which class they mean.

Hyphens, spaces and joined spelling are the same, and regular inflections are read. In Chinese,
which has no spaces, words are found at any character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import accumulate

from rapidfuzz import process
from rapidfuzz.distance import OSA

from spex.query.constraints import ANY
from spex.query.term_lists import Term, TermList, added_terms, key_of, term_list
from spex.query.word_forms import AREA_ENDING, basic_forms, derived_from, fold

__all__ = ["Term", "TermMatch", "closest_term", "find_terms"]

_WORD = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+")
_WORD_OR_HAN = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
_GAP = re.compile(r"\s*[-‐‑–'’]?\s*")
_PARTS = re.compile(r"[ \-'’]")
_VOWELS = re.compile("[aeiouy]")
_DOUBLED = re.compile(r"(.)\1")
_SHORTEST_PART = 3
_SHORTEST_TYPO = 4
_FIRST_LETTER_FROM = 6
_TWO_ERRORS_FROM = 7


@dataclass(frozen=True)
class TermMatch:
    """A term in a text.

    Attributes:
        start: first character in the text.
        end: behind the last character.
        term: what stands there.
        typo: the word is misspelt there.
    """

    start: int
    end: int
    term: Term
    typo: bool


@dataclass(frozen=True)
class _Token:
    """A word of a text, folded, and where it stands."""

    text: str
    start: int
    end: int
    joins_next: bool


def find_terms(text: str, language: str) -> list[TermMatch]:
    """The terms of a text, the leftmost first and of those the longest; none overlap.

    Args:
        text: as a person wrote it.
        language: ISO 639-1 code, one of ``spex.query.reading.LANGUAGES``.
    """
    terms = term_list(language)
    added = added_terms(language)
    tokens = _tokens(text, language)
    matches = []
    position = 0
    while position < len(tokens):
        step = 1
        for count in range(_reach(tokens, position, terms.most_words), 0, -1):
            words = tokens[position : position + count]
            start, end = words[0].start, words[-1].end
            found = _look_up(words, text[start:end], terms, added)
            if found is not None:
                step = count
                if isinstance(found, _Found):
                    end -= found.left_over
                    matches.append(TermMatch(start, end, found.term, found.typo))
                break
        position += step
    return matches


def closest_term(word: str, language: str) -> Term | None:
    """The term that a misspelt word was meant to be, or None where that is not clear.

    Words of 4 to 6 letters may differ in one letter, longer ones in two, of which one is a
    consonant at most; two letters that have changed places count as one.

    Args:
        word: a single word that is known from nowhere else.
        language: ISO 639-1 code, one of ``spex.query.reading.LANGUAGES``.
    """
    terms = term_list(language)
    typed = key_of(word, language)
    if typed in terms.entries:
        return terms.term(terms.entries[typed])
    if len(typed) < _SHORTEST_TYPO or language == "zh" or _is_common(typed, terms):
        return None
    limit = 1 if len(typed) < _TWO_ERRORS_FROM else 2
    found = process.extract(
        typed,
        _spellings(language),
        scorer=OSA.distance,
        processor=None,
        score_cutoff=limit,
        limit=None,
    )
    ranked: dict[tuple[int, int, bool], list[str]] = {}
    for spelling, distance, _ in found:
        starts_alike = spelling[0] == typed[0] or spelling[:2] == typed[1::-1]
        if _may_be_typo(typed, spelling, starts_alike, int(distance)):
            rank = (int(distance), _unlikeness(typed, spelling), not starts_alike)
            ranked.setdefault(rank, []).append(spelling)
    if not ranked:
        return None
    best = ranked[min(ranked)]
    if any(spelling not in terms.entries for spelling in best):
        return None
    candidates = [terms.term(terms.entries[spelling]) for spelling in best]
    classes = {term.class_name for term in candidates}
    return candidates[0] if len(classes) == 1 else None


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


@dataclass(frozen=True)
class _Found:
    """A term that some words were found to be.

    Attributes:
        term: of the lists.
        typo: the words are a known misspelling.
        left_over: characters at the end that are not part of the term.
    """

    term: Term
    typo: bool = False
    left_over: int = 0


class _NoTerm(Enum):
    """What words were found to be that are no land cover."""

    COMMON = 1


def _tokens(text: str, language: str) -> list[_Token]:
    """The words of a text; in Chinese, its characters."""
    pattern = _WORD_OR_HAN if language == "zh" else _WORD
    spans = [match.span() for match in pattern.finditer(text)]
    next_starts = [*(start for start, _ in spans), len(text)][1:]
    return [
        _Token(
            fold(text[start:end], language),
            start,
            end,
            _GAP.fullmatch(text, end, next_start) is not None,
        )
        for (start, end), next_start in zip(spans, next_starts, strict=True)
    ]


def _reach(tokens: list[_Token], position: int, most: int) -> int:
    """How many words, ``most`` or less, follow each other from a position without punctuation."""
    count = 1
    while count < min(most, len(tokens) - position) and tokens[position + count - 1].joins_next:
        count += 1
    return count


def _look_up(
    tokens: list[_Token], written: str, terms: TermList, added: Mapping[str, Term]
) -> _Found | _NoTerm | None:
    """What words mean together: a term, something known that is no land cover, or nothing.

    Args:
        tokens: words that follow each other.
        written: the same in the text.
        terms: of the language.
        added: of added classes, by key.
    """
    words = [token.text for token in tokens]
    key = "".join(words)
    forms = list(basic_forms(key, terms.language))
    for form in (key, *forms):
        if form in added:
            return _Found(added[form])
    entry = terms.entries.get(key)
    common = terms.common.get(key)
    is_listed = entry is not None and written.casefold() == entry.form.casefold()
    if common and not is_listed and _may_join(words, common, terms):
        return _NoTerm.COMMON
    if entry and _may_join(words, entry.form, terms):
        return _Found(terms.term(entry), entry.misspelt)
    for form in forms:
        entry = terms.entries.get(form)
        if entry and not entry.misspelt and _may_join(words, entry.form, terms):
            return _Found(terms.term(entry))
    return _compound(key, written, terms) if terms.heads and len(words) == 1 else None


def _may_join(words: list[str], form: str, terms: TermList) -> bool:
    """Whether words may be the form: parted where it is, or where both parts are words.

    "grass land" is grassland, and "is land" is no island.

    Args:
        words: folded.
        form: of a term, as listed.
        terms: of the language.
    """
    if len(words) == 1 or terms.language == "zh":
        return True
    parted = set(accumulate(len(fold(part, terms.language)) for part in _PARTS.split(form)))
    ends = list(accumulate(map(len, words)))
    for first, second, end in zip(words[:-1], words[1:], ends[:-1], strict=True):
        if end not in parted and not (_is_part(first, terms) and _is_part(second, terms)):
            return False
    return True


def _is_part(word: str, terms: TermList) -> bool:
    return len(word) >= _SHORTEST_PART and word not in terms.function_words


def _compound(word: str, written: str, terms: TermList) -> _Found | None:
    """The German term that a compound ends in, or begins with where an area of it is meant.

    Of "Waldnähe", only the first part is the term: the second one says where.

    Args:
        word: folded.
        written: the same in the text.
        terms: the German list.
    """
    for start in range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1):
        if word[start:] in terms.heads:
            return _Found(terms.term(terms.entries[word[start:]]))
    ending = AREA_ENDING.search(word)
    if not ending or ending.start() < _SHORTEST_PART:
        return None
    first = word[: ending.start()]
    for form in (first, *basic_forms(first, terms.language)):
        entry = terms.entries.get(form)
        term = terms.term(entry) if entry and not entry.misspelt else None
        if term and term.class_name not in ("", ANY) and "" not in term.ambiguous:
            left_over = 0
            if ending["near"]:
                left_over = next(
                    length
                    for length in range(1, len(written))
                    if fold(written[-length:], terms.language) == ending[0]
                )
            return _Found(term, left_over=left_over)
    return None


def _is_common(word: str, terms: TermList) -> bool:
    related = (*basic_forms(word, terms.language), *derived_from(word, terms.language))
    return any(form in terms.common for form in (word, *related))


@cache
def _spellings(language: str) -> list[str]:
    """All words that a misspelt word may be meant to be: those of the terms, and common ones."""
    terms = term_list(language)
    listed = [
        key
        for key, entry in terms.entries.items()
        if len(key) >= _SHORTEST_TYPO and terms.may_be_misspelt(entry)
    ]
    common = [
        key for key in terms.common if len(key) >= _SHORTEST_TYPO and key not in terms.entries
    ]
    return listed + common
