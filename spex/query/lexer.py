"""Splits a request into items: numbers, units, words of the lexicon, terms of land cover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cn2an
import regex
from text_to_num import find_numbers

from spex.query.lexicon import FoldedText, fold, lexicon
from spex.query.thesaurus import closest_term, find_terms

INDEX_NAMES = ("NDVI", "NDWI", "MNDWI", "NDBI", "NBR", "NDSI", "NDMI", "EVI", "SAVI", "GLI", "BI")

_DIGITS = regex.compile(
    r"(?<![\p{L}\d.,])(?P<sign>[-−](?=\d|\.\d))?"
    r"(?:(?P<whole>\d+)[ ]?(?P<top>[1-9])/(?P<bottom>[2-9])|(?P<n>\d)/(?P<d>[2-9])(?![\d/])"
    r"|(?P<plain>\d{1,3}(?:[ \u00a0\u202f']\d{3})+(?![\d])|\d+(?:[.,]\d+)*|[.,]\d+))"
    r"(?P<kilo>k\b(?!m)| ?(?:thousand|million|mil|mille|tausend|万|千|亿)(?![\p{L}]))?"
)
_VULGAR = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}
_THOUSANDS = {"k": 1e3, "thousand": 1e3, "million": 1e6, "mil": 1e3, "mille": 1e3, "tausend": 1e3,
              "千": 1e3, "万": 1e4, "亿": 1e8}  # fmt: skip
_HAN_NUMBER = regex.compile(r"[零一二两兩三四五六七八九十百千万萬亿点點]+半?|半")
_WORD = regex.compile(r"[\p{L}\p{M}\d_]+(?:'[\p{L}]+)*")
_INDEX = regex.compile(rf"(?<![\p{{L}}\d])(?:{'|'.join(INDEX_NAMES)})(?![a-z])", regex.IGNORECASE)
_COMMA_DECIMAL = ("es", "pt", "fr", "de")


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


_Found = tuple[int, int, str, Any]  # start and end in the folded text, kind, value


def items_of(text: str, language: str) -> list[Item]:
    """The items of a request in order; together they cover every word and mark of it.

    Args:
        text: as ``clean_query`` returns it.
        language: whose lexicon and terms are used.
    """
    for sign, fraction in _VULGAR.items():
        text = text.replace(sign, f" {fraction}")
    folded = fold(text)
    at = {source: position for position, source in reversed(list(enumerate(folded.source)))}
    terms: list[_Found] = []
    for term_match in find_terms(text, language):
        kind = "class" if term_match.term.class_name else "thing"
        terms.append((at[term_match.start], at[term_match.end], kind, term_match.term))
    numbers = [*_digits(folded.text, language), *_number_words(folded.text, language)]
    chosen = _longest([*terms, *numbers, *_words(folded.text, language, 0, len(folded.text))])
    # A long match may lose to one that overlaps it: shorter ones may fit beside that.
    ends = [0, *(end for _, end, _ in chosen)]
    starts = [*(start for start, _, _ in chosen), len(folded.text)]
    for start, end in zip(ends, starts, strict=True):
        if folded.text[start:end].strip():
            chosen += _longest(_words(folded.text, language, start, end))
    chosen.sort(key=lambda match: match[0])
    for start, end, values in chosen:
        for name, found in _kinds_of(folded.text, language, start, end):
            values.setdefault(name, found)
    return list(_with_rest(folded, chosen, language))


def _kinds_of(text: str, language: str, start: int, end: int) -> Iterator[tuple[str, Any]]:
    """All kinds of the lexicon that a piece may be."""
    for kind, pattern in lexicon(language).patterns.items():
        if pattern.fullmatch(text, start, end):
            name, _, value = kind.partition(":")
            yield name, float(value) if name == "number" else value


def _words(text: str, language: str, start: int, end: int) -> list[_Found]:
    """Words of the lexicon and names of indices in a part of a folded text."""
    matches: list[_Found] = []
    for match in _INDEX.finditer(text, start, end):
        matches.append((*match.span(), "index", match[0].upper()))
    for kind, pattern in lexicon(language).patterns.items():
        name, _, value = kind.partition(":")
        for match in pattern.finditer(text, start, end):
            if match.end() > match.start():
                found: Any = float(value) if name == "number" else value
                matches.append((match.start(), match.end(), name, found))
    return matches


def _longest(matches: list[_Found]) -> list[tuple[int, int, dict[str, Any]]]:
    """Matches that do not overlap, the longest first; those of the same place are merged."""
    by_place: dict[tuple[int, int], dict[str, Any]] = {}
    for start, end, kind, value in matches:
        by_place.setdefault((start, end), {}).setdefault(kind, value)
    chosen: list[tuple[int, int, dict[str, Any]]] = []
    taken: set[int] = set()
    for start, end in sorted(by_place, key=lambda place: (place[0] - place[1], place[0])):
        if taken.isdisjoint(range(start, end)):
            taken.update(range(start, end))
            chosen.append((start, end, by_place[start, end]))
    return sorted(chosen, key=lambda match: match[0])


def _with_rest(
    folded: FoldedText, chosen: list[tuple[int, int, dict[str, Any]]], language: str
) -> Iterator[Item]:
    """The chosen matches and, between them, words and punctuation."""
    position = 0
    end = len(folded.text)
    for match_start, match_end, values in [*chosen, (end, end, {})]:
        yield from _words_and_marks(folded, position, match_start, language)
        if values:
            yield _item(folded, match_start, match_end, values)
        position = match_end


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
            if word[0] not in common and len(word[0]) > 3:
                term = closest_term(word[0], language)
                if term:
                    values = {"class" if term.class_name else "thing": term, "typo": term.text}
            yield _item(folded, word.start(), word.end(), values)
            position = word.end()
            continue
        if not letter.isspace():
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


def _digits(text: str, language: str) -> Iterator[_Found]:
    for match in _DIGITS.finditer(text):
        value = _digits_value(match, language)
        if value is None:
            continue
        kilo = (match["kilo"] or "").strip()
        value *= _THOUSANDS.get(kilo, 1.0)
        if match["sign"]:
            value = -value
        yield match.start(), match.end(), "number", value


def _digits_value(match: regex.Match[str], language: str) -> float | None:
    if match["whole"]:
        return float(match["whole"]) + float(match["top"]) / float(match["bottom"])
    if match["n"]:
        return float(match["n"]) / float(match["d"])
    plain = regex.sub(r"[ \u00a0\u202f']", "", match["plain"])
    return decimal_value(plain, language)


def decimal_value(plain: str, language: str) -> float | None:
    """The value of digits with separators, by the conventions of a language; None if unclear.

    A separator before exactly three digits groups thousands, if it is the language's own grouping
    mark or stands more than once; ``0.5`` and ``0,5`` are decimals in every language.
    """
    marks = [mark for mark in plain if mark in ".,"]
    if not marks:
        return float(plain)
    grouping = "." if language in _COMMA_DECIMAL else ","
    last = marks[-1]
    head, _, tail = plain.rpartition(last)
    if len(set(marks)) == 2:  # the last one is the decimal mark
        return float(head.replace(".", "").replace(",", "") + "." + tail)
    groups = plain.split(last)
    grouped = all(len(group) == 3 for group in groups[1:]) and groups[0] not in ("", "0")
    if len(marks) > 1:
        return float("".join(groups)) if grouped else None
    if grouped and last == grouping:
        return float(head + tail)
    return float(f"{head or 0}.{tail}")


@dataclass(frozen=True)
class _NumberToken:
    """A word as text2num takes it."""

    word: str

    def text(self) -> str:
        return self.word

    def nt_separated(self, previous: object) -> bool:
        """Whether the number before ends here."""
        return False

    def not_a_number_part(self) -> bool:
        """Whether the word is no number, whatever it looks like."""
        return False


def _number_words(text: str, language: str) -> Iterator[_Found]:
    if language == "zh":
        yield from _han_numbers(text)
        return
    places = [match.span() for match in regex.finditer(r"\p{L}+|[^\s\p{L}]", text)]
    tokens = [_NumberToken(text[start:end]) for start, end in places]
    for number in find_numbers(tokens, language, threshold=0):
        first, last = places[number.start], places[number.end - 1]
        if text[first[0]].isalpha() and not number.is_ordinal:
            yield first[0], last[1], "number", float(number.value)


def _han_numbers(text: str) -> Iterator[_Found]:
    for match in _HAN_NUMBER.finditer(text):
        digits = match[0].replace("萬", "万").replace("點", "点").replace("兩", "两")
        half = 0.5 if digits.endswith("半") else 0.0
        digits = digits.removesuffix("半")
        try:
            value = float(cn2an.cn2an(digits, "smart")) if digits else 0.0
        except ValueError:  # characters of numbers in other words, such as 万一
            continue
        yield match.start(), match.end(), "number", value + half
