"""Words for the land-cover classes: which class a phrase or a request names, in six languages.

Case, accents, English articles and regular English plurals do not matter. Chinese is written
without spaces, so Chinese words are found anywhere in a text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

from spex.evidence.classes import added_entries, classes

_ARTICLES = frozenset({"a", "an", "the"})
_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[\u3400-\u9fff]")


class _Word(NamedTuple):
    """A folded singular word and where it stands in its text."""

    text: str
    start: int
    end: int


class _PhraseMatch(NamedTuple):
    """A phrase of a text that names a class: where it stands and how many words it has."""

    start: int
    end: int
    words: int
    class_name: str


class _Lexicon(NamedTuple):
    """Phrases of all classes; those in Han characters form one pattern, the longest first."""

    by_first_word: dict[str, list[tuple[tuple[str, ...], str]]]
    han_pattern: re.Pattern[str]
    han_classes: dict[str, str]


def resolve_class(phrase: str) -> str | None:
    """The class that a phrase names, or None.

    The longest synonym in the phrase decides; among equally long ones the last ("forest lake" is a
    lake).
    """
    matches = _matches(phrase)
    if not matches:
        return None
    return max(matches, key=lambda match: (match.words, match.start)).class_name


def class_phrases(query: str) -> list[tuple[str, str]]:
    """(class, words) of every phrase of the query that names a class, in order of appearance."""
    return [(match.class_name, query[match.start : match.end]) for match in sorted(_matches(query))]


def mentioned_classes(query: str) -> list[str]:
    """Classes that the query names, in order of appearance, each once."""
    return list(dict.fromkeys(name for name, _ in class_phrases(query)))


def has_words(phrase: str) -> bool:
    """Whether a phrase holds a word by which a class can be found in a text."""
    return bool(_words(phrase)) or bool(_HAN.search(phrase))


def clear_lexicon() -> None:
    """Drop what is cached about the words of the classes, because the classes have changed."""
    _lexicon.cache_clear()
    _matches.cache_clear()


def _fold(word: str) -> str:
    """Lower case without accents; ß is written ss."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _singular(word: str) -> str:
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _words(text: str) -> list[_Word]:
    """The words of a text, folded, in the singular, without English articles."""
    words = []
    for match in _WORD.finditer(text.replace("'s ", "   ")):
        folded = _fold(match[0])
        if folded not in _ARTICLES:
            words.append(_Word(_singular(folded), *match.span()))
    return words


def _phrase_key(phrase: str) -> tuple[str, ...]:
    return tuple(word.text for word in _words(phrase))


@cache
def _lexicon() -> _Lexicon:
    spaced: dict[tuple[str, ...], str] = {}
    han: dict[str, str] = {}
    for name, land_class in sorted(
        classes().items(), key=lambda item: item[0] not in added_entries
    ):
        for phrase in (name, land_class.title, *land_class.synonyms):
            spaced.setdefault(_phrase_key(phrase), name)
    for name, land_class in classes().items():
        for phrases in land_class.words.values():
            for phrase in phrases:
                if _HAN.search(phrase):
                    han.setdefault(phrase, name)
                else:
                    spaced.setdefault(_phrase_key(phrase), name)
    by_first_word: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for words, name in spaced.items():
        by_first_word.setdefault(words[0], []).append((words, name))
    pattern = "|".join(map(re.escape, sorted(han, key=len, reverse=True))) or "(?!)"
    return _Lexicon(by_first_word, re.compile(pattern), han)


@lru_cache(maxsize=4096)
def _matches(text: str) -> list[_PhraseMatch]:
    """Every phrase in the text that names a class; longer ones win, none overlap."""
    lexicon = _lexicon()
    words = _words(text)
    tokens = tuple(word.text for word in words)
    candidates = []
    for first, token in enumerate(tokens):
        for phrase, name in lexicon.by_first_word.get(token, ()):
            if tokens[first : first + len(phrase)] == phrase:
                candidates.append((len(phrase), first, name))
    taken: set[int] = set()
    matches = []
    for length, first, name in sorted(candidates, key=lambda item: (-item[0], item[1])):
        positions = range(first, first + length)
        if taken.isdisjoint(positions):
            taken.update(positions)
            matches.append(_PhraseMatch(words[first].start, words[positions[-1]].end, length, name))
    if _HAN.search(text):
        for match in lexicon.han_pattern.finditer(text):
            matches.append(_PhraseMatch(*match.span(), 1, lexicon.han_classes[match[0]]))
    return matches
