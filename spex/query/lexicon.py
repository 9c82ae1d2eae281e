"""The words of requests by what they do: one table per language, ``languages/*.txt``.

A table has a section per kind of word, with a pattern a line. A pattern is a regular expression
over folded text (lower case, no accents). A blank in it matches a run of blanks and hyphens, and
the longest match counts.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import regex

HAN = regex.compile(r"\p{Han}")

AREA_UNITS = {
    "ha": (1.0, "ha"), "m2": (1.0, "m2"), "km2": (1.0, "km2"), "px": (1.0, "px"), "%": (1.0, "%"),
    "acre": (0.40468564224, "ha"), "are": (100.0, "m2"), "ft2": (0.09290304, "m2"),
    "yd2": (0.83612736, "m2"), "mi2": (2.589988110336, "km2"), "mu": (1 / 15, "ha"),
    "morgen": (0.25, "ha"), "manzana": (0.7, "ha"), "alqueire": (2.42, "ha"),
    "fanega": (0.64, "ha"), "arpent": (0.34, "ha"),
}  # fmt: skip
"""Factor and unit of ``Constraints`` for each unit of area of the lexicon."""
LENGTH_UNITS = {
    "m": 1.0, "km": 1000.0, "cm": 0.01, "ft": 0.3048, "yd": 0.9144, "mi": 1609.344, "li": 500.0,
}  # fmt: skip
"""Metres of each unit of length of the lexicon."""


@dataclass(frozen=True)
class FoldedText:
    """A text in lower case without accents, and where each of its characters came from.

    Attributes:
        text: folded.
        source: for each folded character and the end, its position in the original.
    """

    text: str
    source: tuple[int, ...]


def fold(text: str) -> FoldedText:
    """Fold case and accents; positions are kept."""
    letters: list[str] = []
    source: list[int] = []
    for position, character in enumerate(text):
        for part in unicodedata.normalize("NFKD", character.casefold()):
            if not unicodedata.combining(part):
                letters.append("'" if part in "’ʼ`´" else part)
                source.append(position)
    return FoldedText("".join(letters), (*source, len(text)))


@dataclass(frozen=True)
class Lexicon:
    """The table of one language.

    Attributes:
        patterns: compiled, by kind; numbers and units as ``number:0.5`` and ``unit:ha``.
        common: words that are in no kind and carry no constraint.
    """

    patterns: dict[str, regex.Pattern[str]]
    common: frozenset[str]


@cache
def lexicon(language: str) -> Lexicon:
    """The table of a language (ISO 639-1)."""
    text = (files("spex.query") / "languages" / f"{language}.txt").read_text("utf-8")
    entries: dict[str, list[str]] = {}
    kind = ""
    for line in text.splitlines():
        if line.startswith("["):
            kind = line[1:].partition("]")[0].replace(" ", ":")
        elif line and not line.startswith("#"):
            entries.setdefault(kind, []).append(line)
    common = entries.pop("common", [])
    words = {fold(word).text for line in common for word in line.split()}
    patterns = {kind: _compile(listed, language) for kind, listed in entries.items()}
    return Lexicon(patterns, frozenset(words))


def _compile(entries: list[str], language: str) -> regex.Pattern[str]:
    """One pattern for all entries, of whole words except in Chinese."""
    parts = []
    for entry in entries:
        folded = unicodedata.normalize("NFKD", str(entry).casefold())
        folded = "".join(c for c in folded if not unicodedata.combining(c)).replace("’", "'")
        parts.append(folded.replace(" ", r"[\s\-]+"))
    joined = "|".join(parts)
    if language == "zh":
        return regex.compile(f"(?:{joined})", regex.POSIX)
    # A boundary only beside a letter or digit, so that signs such as ">" need none.
    return regex.compile(rf"(?<![^\W\d_](?=\w))(?:{joined})(?!(?<=\w)[^\W_])", regex.POSIX)
