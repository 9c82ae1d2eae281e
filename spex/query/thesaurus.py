"""Words for land cover in a text: where they stand, and which class they mean.

Hyphens, spaces and joined spelling are the same, and regular inflections are read. In Chinese,
which has no spaces, words are found at any character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from spex.query.constraints import ANY
from spex.query.spelling import closest_term
from spex.query.term_lists import Term, TermList, added_terms, term_list
from spex.query.word_forms import AREA_ENDING, basic_forms, fold

__all__ = ["Term", "TermMatch", "closest_term", "find_terms"]

_WORD = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+")
_WORD_OR_HAN = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
_HAN = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[a-zA-Z]{3}")
_GAP = re.compile(r"\s*[-‐‑–'’]?\s*")
_PARTS = re.compile(r"[ \-'’]")
_SHORTEST_PART = 3


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

    English words in a Chinese text are found too.

    Args:
        text: as a person wrote it.
        language: ISO 639-1 code, one of ``spex.query.reading.LANGUAGES``.
    """
    terms = term_list(language)
    added = added_terms(language)
    most_words = max(terms.most_words, *map(len, added)) if added else terms.most_words
    tokens = _tokens(text, language)
    matches = []
    position = 0
    while position < len(tokens):
        step = 1
        for count in range(_reach(tokens, position, most_words), 0, -1):
            words = tokens[position : position + count]
            start, end = words[0].start, words[-1].end
            found = _look_up(words, text[start:end], terms, added)
            if found is not None:
                step = count
                if isinstance(found, _Found):
                    matches.append(TermMatch(start, end - found.left_over, found.term, found.typo))
                break
        position += step
    if language == "zh" and _LATIN.search(text):
        matches += find_terms(_HAN.sub(";", text), "en")
    return sorted(matches, key=lambda match: match.start)


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

    A word of an added class decides over a longer phrase that it is part of.

    Args:
        tokens: words that follow each other.
        written: the same in the text.
        terms: of the language.
        added: of added classes, by key.
    """
    words = [token.text for token in tokens]
    if added and (term := _added(words, added, terms.language)):
        return _Found(term)
    found = _look_up_listed(words, written, terms)
    if added and isinstance(found, _Found):
        parts = [words[first:end] for end in range(1, len(words) + 1) for first in range(end)]
        of_parts = filter(None, (_added(part, added, terms.language) for part in parts))
        return next((_Found(term) for term in of_parts), found)
    return found


def _added(words: list[str], added: Mapping[str, Term], language: str) -> Term | None:
    key = "".join(words)
    forms = (key, *basic_forms(key, language))
    return next((added[form] for form in forms if form in added), None)


def _look_up_listed(words: list[str], written: str, terms: TermList) -> _Found | _NoTerm | None:
    key = "".join(words)
    forms = list(basic_forms(key, terms.language))
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
