"""Which language a request is written in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import regex

from spex.query.lexicon import HAN, fold, listed_words
from spex.query.term_lists import term_list

_ALPHABETIC = ("en", "es", "pt", "fr", "de")
_LETTERS = {
    "ñ": "es", "¿": "es", "¡": "es", "ã": "pt", "õ": "pt", "ß": "de", "ü": "de", "ö": "de",
    "ä": "de", "œ": "fr", "è": "fr", "ù": "fr", "î": "fr", "û": "fr",
}  # fmt: skip
_LETTER_WEIGHT = 0.7
_WORD = regex.compile(r"\p{L}+(?:'\p{L}+)?")
_OPTIONAL = regex.compile(r"\([^()]*\)\?")
_PLAIN = regex.compile(r"[\p{L} ']+")


def language_of(text: str, usual: str = "en") -> str:
    """The language of a request, an ISO 639-1 code.

    Every word votes for the languages that list it, the more the fewer they are.

    Args:
        text: as ``clean_query`` returns it.
        usual: the language of the conversation, for texts that fit it as well as any.
    """
    if 2 * len(HAN.findall(text)) > len(regex.findall(r"\p{Latin}", text)) / 2:
        return "zh" if HAN.search(text) else usual
    votes = dict.fromkeys(_ALPHABETIC, 0.0)
    for word in _WORD.findall(fold(text).text):
        for part in {word, *word.split("'")}:
            for language, weight in _votes(part).items():
                votes[language] += weight
    for letter in text.lower():
        if letter in _LETTERS:
            votes[_LETTERS[letter]] += _LETTER_WEIGHT
    most = max(votes.values())
    if not most or votes.get(usual, 0.0) >= most:
        return usual
    return max(votes, key=lambda language: votes[language])


@cache
def _votes(word: str) -> Mapping[str, float]:
    """How much a folded word speaks for each language."""
    grammar = [language for language in _ALPHABETIC if word in _grammar_words(language)]
    land_cover = [language for language in _ALPHABETIC if word in _term_words(language)]
    votes = dict.fromkeys([*grammar, *land_cover], 0.0)
    for languages in (grammar, land_cover):
        for language in languages:
            votes[language] += 1 / len(languages)
    return votes


@cache
def _grammar_words(language: str) -> frozenset[str]:
    """Words of the lexicon and common words."""
    text = (files("spex.query") / "languages" / f"{language}.txt").read_text("utf-8")
    words = set(listed_words(language, "common"))
    for line in text.splitlines():
        plain = _OPTIONAL.sub("", line)
        if _PLAIN.fullmatch(plain):
            words.update(fold(plain).text.split())
    return frozenset(words)


@cache
def _term_words(language: str) -> frozenset[str]:
    """Words of the terms of land cover."""
    words = set[str]()
    for entry in term_list(language).entries.values():
        words.update(fold(entry.form).text.split())
    return frozenset(words)
