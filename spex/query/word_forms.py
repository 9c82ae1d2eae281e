"""Words as they are compared: folded spelling, and the basic forms that an inflected word may have.

Case and accents do not matter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files

_ACCENTS = re.compile("[\u0300-\u036f]")
_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae"})
_UMLAUTS = (("ae", "a"), ("oe", "o"), ("ue", "u"))
_SHORTEST_STEM = 3

_ENDINGS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe")),
    "es": (
        *(("s", ""), ("es", ""), ("ces", "z")),
        *(("ito", "o"), ("itos", "o"), ("ita", "a"), ("itas", "a")),
        *(("guito", "go"), ("guitos", "go"), ("quito", "co"), ("quitos", "co")),
        *(("cito", ""), ("citos", ""), ("cita", ""), ("citas", ""), ("ecito", ""), ("ecitos", "")),
    ),
    "pt": (
        *(("s", ""), ("es", ""), ("oes", "ao"), ("aes", "ao"), ("ns", "m")),
        *(("ais", "al"), ("eis", "el"), ("ois", "ol"), ("uis", "ul"), ("is", "il")),
        *(("inho", "o"), ("inhos", "o"), ("inha", "a"), ("inhas", "a")),
        *(("guinho", "go"), ("guinhos", "go"), ("quinho", "co"), ("quinhos", "co")),
        *(("zinho", ""), ("zinhos", ""), ("zinha", ""), ("zinhas", "")),
    ),
    "fr": (("s", ""), ("x", ""), ("aux", "al"), ("aux", "ail")),
    "de": (
        *(("e", ""), ("en", ""), ("n", ""), ("s", ""), ("es", ""), ("er", ""), ("ern", "")),
        *(("em", ""), ("chen", ""), ("chens", ""), ("lein", ""), ("leins", "")),
    ),
    "zh": (),
}
"""By language: an ending of plurals, cases or diminutives, and what the basic form has instead."""


_DERIVATIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "en": (
        *(("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("er", ""), ("er", "e")),
        *(("ers", ""), ("ers", "e"), ("ly", "")),
    ),
}
"""Likewise for verb forms and other words that are made of a word."""

AREA_ENDING = re.compile(
    r"(?:(?P<near>nahe?|naher|nahen|nahes)"
    r"|(?:grund)?flache|gebiete?s?|bereiche?s?|zone|stucke?s?|anteile?s?|insel|parzelle|maske"
    r"|pixel|ebene|layer|teile?s?|areale?s?|reste?s?|schicht|klasse|bedeckung|decke|bestande?s?"
    r"|umrisse?s?|grundrisse?s?|polygone?s?)n?$"
)
"""Second part of a German compound whose first part says what covers the land, folded."""


@cache
def _simplified() -> dict[int, int]:
    """The simplified form of each traditional character of the lists."""
    table = (files("spex.query") / "terms" / "traditional.txt").read_text(encoding="utf-8")
    return str.maketrans(*table.split())


def fold(text: str, language: str) -> str:
    """Small letters without accents; ß is ss, German ä, ae and a are one, Chinese is simplified.

    Args:
        text: a word or a whole list of words.
        language: ISO 639-1 code.
    """
    text = text.casefold()
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).translate(_LIGATURES)
    if language == "de":
        for written, folded in _UMLAUTS:
            text = text.replace(written, folded)
    elif language == "zh":
        text = text.translate(_simplified())
    return text


def basic_forms(word: str, language: str) -> Iterator[str]:
    """What a folded word may be an inflected form of, by the regular endings of the language.

    Args:
        word: folded.
        language: ISO 639-1 code.
    """
    return _without(_ENDINGS[language], word)


def derived_from(word: str, language: str) -> Iterator[str]:
    """What a folded word may be derived from, as "counting" is from "count".

    Args:
        word: folded.
        language: ISO 639-1 code.
    """
    return _without(_DERIVATIONS.get(language, ()), word)


def _without(endings: Iterable[tuple[str, str]], word: str) -> Iterator[str]:
    for ending, replacement in endings:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            yield word[: len(word) - len(ending)] + replacement
