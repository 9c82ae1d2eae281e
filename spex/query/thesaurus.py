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

from spex.query.term_lists import Term, TermList, added_terms, key_of, term_list
from spex.query.word_forms import basic_forms, fold

__all__ = ["Term", "TermMatch", "closest_term", "find_terms"]

_WORD = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+")
_WORD_OR_HAN = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
_GAP = re.compile(r"\s*[-‐‑–'’]?\s*")
_PARTS = re.compile(r"[ \-'’]")
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
            words = [token.text for token in tokens[position : position + count]]
            found = _look_up(words, terms, added)
            if found is not None:
                step = count
                if isinstance(found, _Found):
                    last = tokens[position + count - 1]
                    matches.append(
                        TermMatch(tokens[position].start, last.end, found.term, found.typo)
                    )
                break
        position += step
    return matches


def closest_term(word: str, language: str) -> Term | None:
    """The term that a misspelt word was meant to be, or None where that is not clear.

    Words of 4 to 6 letters may differ in one letter, longer ones in two; two letters that have
    changed places count as one.

    Args:
        word: a single word that is known from nowhere else.
        language: ISO 639-1 code, one of ``spex.query.reading.LANGUAGES``.
    """
    terms = term_list(language)
    typed = key_of(word, language)
    if len(typed) < _SHORTEST_TYPO or language == "zh" or _is_common(typed, terms):
        return None
    from rapidfuzz import process  # only where something is misspelt
    from rapidfuzz.distance import OSA

    limit = 1 if len(typed) < _TWO_ERRORS_FROM else 2
    known = _spellings(language)
    found = process.extract(
        typed, known, scorer=OSA.distance, processor=None, score_cutoff=limit, limit=None
    )
    ranked: dict[tuple[int, bool], list[str]] = {}
    for spelling, distance, _ in found:
        starts_alike = spelling[0] == typed[0] or spelling[:2] == typed[1::-1]
        if starts_alike or (distance == 1 and len(typed) >= _FIRST_LETTER_FROM):
            ranked.setdefault((int(distance), not starts_alike), []).append(spelling)
    if not ranked:
        return None
    best = ranked[min(ranked)]
    if any(spelling not in terms.entries for spelling in best):
        return None
    candidates = [terms.term(terms.entries[spelling]) for spelling in best]
    classes = {term.class_name for term in candidates}
    return candidates[0] if len(classes) == 1 else None


@dataclass(frozen=True)
class _Found:
    """A term that some words were found to be."""

    term: Term
    typo: bool = False


class _NoTerm(Enum):
    """What words were found to be that are no land cover."""

    COMMON = 1


def _tokens(text: str, language: str) -> list[_Token]:
    """The words of a text; in Chinese, its characters."""
    pattern = _WORD_OR_HAN if language == "zh" else _WORD
    spans = [match.span() for match in pattern.finditer(text)]
    ends_of_gaps = [start for start, _ in spans[1:]] + [len(text)]
    return [
        _Token(
            fold(text[start:end], language),
            start,
            end,
            _GAP.fullmatch(text, end, next_start) is not None,
        )
        for (start, end), next_start in zip(spans, ends_of_gaps, strict=True)
    ]


def _reach(tokens: list[_Token], position: int, most: int) -> int:
    """How many words, ``most`` or less, follow each other from a position without punctuation."""
    count = 1
    while count < min(most, len(tokens) - position) and tokens[position + count - 1].joins_next:
        count += 1
    return count


def _look_up(
    words: list[str], terms: TermList, added: Mapping[str, Term]
) -> _Found | _NoTerm | None:
    """What words mean together: a term, something known that is no land cover, or nothing."""
    key = "".join(words)
    forms = list(basic_forms(key, terms.language))
    for form in (key, *forms):
        if form in added:
            return _Found(added[form])
    entry = terms.entries.get(key)
    if entry and _may_join(words, entry.form, terms):
        return _Found(terms.term(entry), entry.misspelt)
    if key in terms.common and _may_join(words, terms.common[key], terms):
        return _NoTerm.COMMON
    for form in forms:
        entry = terms.entries.get(form)
        if entry and not entry.misspelt and _may_join(words, entry.form, terms):
            return _Found(terms.term(entry))
    return _compound(key, terms) if len(words) == 1 else None


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


def _compound(word: str, terms: TermList) -> _Found | None:
    """The German word that a compound ends in, where the compound is a kind of that."""
    for start in range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1):
        if word[start:] in terms.heads:
            return _Found(terms.term(terms.entries[word[start:]]))
    return None


def _is_common(word: str, terms: TermList) -> bool:
    if word in terms.entries:
        return False
    return any(form in terms.common for form in (word, *basic_forms(word, terms.language)))


@cache
def _spellings(language: str) -> list[str]:
    """All words that a misspelt word may be meant to be: those of the terms, and common ones."""
    terms = term_list(language)
    listed = [
        key
        for key, entry in terms.entries.items()
        if len(key) >= _SHORTEST_TYPO and not entry.misspelt and " " not in entry.form
    ]
    common = [key for key in terms.common if key not in terms.entries]
    return listed + common
