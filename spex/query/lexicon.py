"""The words of requests by what they do: one table per language, ``languages/*.txt``.

A table has a section per kind of word, with a pattern a line. A pattern is a regular expression
over folded text (lower case, no accents). A blank in it matches a run of blanks and hyphens, and
the longest match counts. Patterns without lookaround or endless repetition are spelled out into
phrases, which are looked up; the others are searched for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import regex

from spex.query.patterns import as_expression, fold_pattern, folded_letter, spelled_out

HAN = regex.compile(r"\p{Han}")

AREA_UNITS = {
    "ha": (1.0, "ha"), "m2": (1.0, "m2"), "km2": (1.0, "km2"), "px": (1.0, "px"), "%": (1.0, "%"),
    "acre": (0.40468564224, "ha"), "are": (100.0, "m2"), "ft2": (0.09290304, "m2"),
    "yd2": (0.83612736, "m2"), "mi2": (2.589988110336, "km2"), "mu": (1 / 15, "ha"),
    "morgen": (0.25, "ha"), "manzana": (0.7, "ha"), "alqueire": (2.42, "ha"),
    "fanega": (0.64, "ha"), "arpent": (0.34, "ha"), "tarefa": (4356.0, "m2"),
    "tarea": (628.86, "m2"), "dekar": (1000.0, "m2"), "ping": (3.305785, "m2"),
    "jia": (9699.17, "m2"), "fen": (200 / 3, "m2"),
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
        for part in folded_letter(character):
            letters.append(part)
            source.append(position)
    return FoldedText("".join(letters), (*source, len(text)))


Found = tuple[int, int, str, Any]
"""Start and end in a folded text, kind, and value of what was found."""
_BREAK = regex.compile(r"[\s\-]+")
_LATIN = regex.compile(r"[a-z]{2,}")
_LISTS = ("common", "qualifier", "named")
_SECTION = regex.compile(r"\[[a-z_]+( [^\]]+)?\].*")


@dataclass(frozen=True)
class Lexicon:
    """The table of one language.

    Attributes:
        phrases: kinds of each phrase with their values: the number, the unit, the index, or "".
        longest: length of the longest phrase.
        patterns: of the kinds that have more than phrases, with the value of the kind.
        common: words and phrases that carry no constraint.
        words: the words of the phrases, in Latin letters.
    """

    phrases: dict[str, dict[str, float | str]]
    longest: int
    patterns: tuple[tuple[str, float | str, regex.Pattern[str]], ...]
    common: frozenset[str]
    words: frozenset[str]

    def found_in(self, text: str) -> list[Found]:
        """All phrases, and matches of the other patterns, in a folded text."""
        return [*self.phrases_in(text), *self.patterns_in(text)]

    def patterns_in(self, text: str) -> list[Found]:
        """Matches of the patterns that are no phrases in a folded text."""
        found: list[Found] = []
        for kind, value, pattern in self.patterns:
            for match in pattern.finditer(text, overlapped=True):
                start, end = match.span()
                if end > start and not is_hyphen(text, start, end):
                    found.append((start, end, kind, value))
        return found

    def phrases_in(self, text: str) -> list[Found]:
        """All phrases of the lexicon in a folded text, whole words where letters are Latin."""
        spaced: list[str] = []
        at: list[int] = []  # for each character of the spaced text its position in the text
        position = 0
        for gap in _BREAK.finditer(text):
            spaced.append(text[position : gap.start()] + " ")
            at += [*range(position, gap.start()), gap.start()]
            position = gap.end()
        spaced.append(text[position:])
        at += [*range(position, len(text) + 1)]
        joined = "".join(spaced)
        joins = [_joins(joined, number) for number in range(len(joined) + 1)]
        ends = [number for number, inside in enumerate(joins) if not inside]
        matches: list[Found] = []
        for start in ends:
            if start == len(joined) or joined[start] == " ":
                continue
            first = bisect_right(ends, start)
            for end in ends[first : bisect_right(ends, start + self.longest)]:
                kinds = self.phrases.get(joined[start:end])
                for kind, value in kinds.items() if kinds else ():
                    matches.append((at[start], at[end - 1] + 1, kind, value))
        return matches


def is_hyphen(text: str, start: int, end: int) -> bool:
    """Whether a piece is a hyphen that joins two words or a number and a word."""
    around = text[start - 1 : start] + text[end : end + 1]
    return text[start:end] == "-" and len(around) == 2 and around.isalnum() and around[1].isalpha()


def _joins(text: str, position: int) -> bool:
    """Whether a word goes on at a position; digits before letters are another word."""
    if position in (0, len(text)):
        return False
    before, behind = text[position - 1], text[position]
    if before > "\u2e80" or behind > "\u2e80" or not before.isalnum() or not behind.isalnum():
        return False
    return not before.isdigit() or behind.isdigit()


@cache
def lexicon(language: str) -> Lexicon:
    """The table of a language (ISO 639-1)."""
    phrases: dict[str, dict[str, float | str]] = {}
    endless: dict[tuple[str, float | str], list[str]] = {}
    for section, line in _entries(language):
        kind, _, stated = section.partition(" ")
        if kind in _LISTS:
            continue
        kind = "word" if kind == "common_phrases" else kind
        value = float(stated) if kind == "number" else stated
        pattern = fold_pattern(line)
        texts = spelled_out(pattern)
        if texts is None:
            endless.setdefault((kind, value), []).append(as_expression(pattern))
            continue
        for text in texts:
            phrases.setdefault(text, {}).setdefault(kind, value)
    patterns = tuple(
        (kind, value, _joined(listed, language)) for (kind, value), listed in endless.items()
    )
    words = _LATIN.findall(" ".join(phrases))
    common = listed_words(language, "common")
    return Lexicon(phrases, max(map(len, phrases)), patterns, common, frozenset(words))


@cache
def listed_words(language: str, section: str) -> frozenset[str]:
    """The words of a section that is a plain list, folded.

    Args:
        language: ISO 639-1 code.
        section: ``common`` (words that carry no constraint), ``qualifier`` (words that narrow a
            class as no constraint can), or ``named X`` (stems that call a constraint by name).
    """
    words: set[str] = set()
    for name, line in _entries(language):
        if name == section:
            words.update(fold(line).text.split())
    return frozenset(words)


def _entries(language: str) -> Iterator[tuple[str, str]]:
    """Section and text of each line of a table."""
    text = (files("spex.query") / "languages" / f"{language}.txt").read_text("utf-8")
    section = ""
    for line in text.splitlines():
        if _SECTION.fullmatch(line):
            section = line[1:].partition("]")[0]
        elif line and not line.startswith("#"):
            yield section, line


def _joined(expressions: list[str], language: str) -> regex.Pattern[str]:
    """One pattern for several, of whole words except in Chinese."""
    joined = "|".join(expressions)
    if language == "zh":
        return regex.compile(f"(?:{joined})", regex.POSIX)
    # A boundary only beside a letter or digit, so that signs such as ">" need none.
    return regex.compile(rf"(?<![^\W\d_](?=\w))(?:{joined})(?!(?<=\w)[^\W_])", regex.POSIX)
