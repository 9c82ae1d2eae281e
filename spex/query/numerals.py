"""Numbers in a text, in digits and in words, as they are written in six languages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cn2an
import regex
from text_to_num import find_numbers

_DIGITS = regex.compile(
    r"(?<![\p{Latin}\d])(?<!\d[.,])"
    r"(?P<percent>[百千万]分之)?(?P<sign>[-−](?=\d|\.\d)|[负負](?=[\d.])|minus (?=[\d.])"
    r"|(?<!\b(?:al|pelo|au|o|ou|lo|mais|mas) )(?:menos|moins) (?=0?[.,]\d))?"
    r"(?:(?P<whole>\d+)[ ](?P<top>[1-9])/(?P<bottom>[2-9])(?![\d/])"
    r"|(?P<n>\d)/(?P<d>[2-9]|1[02]|100)(?![\d/])"
    r"|(?P<power>\d+(?:\.\d+)?e[+-]?\d{1,2})(?!\w)"
    r"|(?P<plain>\d{1,3}(?:[ \u00a0\u202f']\d{3})+(?!\d)|\d+(?:[.,]\d+)*|\.\d+|(?<=\s),\d+))"
    r"(?P<kilo>k\b(?!m)| ?(?:thousand|millions?|mio|mil|millon(?:es)?|milhao|milhoes"
    r"|mille|tausend|million(?:en)?|tsd\.?)(?!\p{L})|[百千]?[万萬]|[百千亿億])?"
)
_FACTORS = {"k": 1e3, "thousand": 1e3, "mil": 1e3, "mille": 1e3, "tausend": 1e3, "tsd": 1e3,
            "百": 1e2, "千": 1e3, "万": 1e4, "萬": 1e4, "百万": 1e6, "百萬": 1e6, "千万": 1e7,
            "千萬": 1e7, "亿": 1e8, "億": 1e8}  # fmt: skip
_MILLION = 1e6
_HAN_NUMBER = regex.compile(
    r"(?P<percent>百分之|千分之|万分之)?"
    r"(?P<digits>[零〇一二两兩三四五六七八九十百千万萬亿点點]+)?(?P<half>半)?"
    r"(?:分之(?P<top>[一二三四五六七八九]))?"
)
_PER = {"百分之": 0.01, "千分之": 0.001, "万分之": 0.0001}
_COMMA_DECIMAL = ("es", "pt", "fr", "de")
_NO_FRACTIONS = regex.compile(
    r"[\s\-]*(?:m2|mq\b|qm\b|sq|square|metres?\b|meters?\b|metros?\b|metro quad|quadrat|m\b|mts?\b"
    r"|px\b|pix|平|米|像)"
)
_WORD_OR_MARK = regex.compile(r"\p{L}+|[^\s\p{L}]")

FoundNumber = tuple[int, int, float]
"""Start, end and value."""


def numbers_of(text: str, language: str) -> Iterator[FoundNumber]:
    """All numbers of a folded text; those in words may overlap with others.

    Args:
        text: folded.
        language: whose number words and separators are read.
    """
    yield from _digits(text, language)
    if language == "zh":
        yield from _han_numbers(text)
    if language != "zh" or regex.search(r"[a-z]{3}", text):
        yield from _number_words(text, "en" if language == "zh" else language)


def _digits(text: str, language: str) -> Iterator[FoundNumber]:
    for match in _DIGITS.finditer(text):
        value = _digits_value(match, text, language)
        if value is None:
            continue
        kilo = (match["kilo"] or "").strip(" .")
        if kilo:
            value *= _FACTORS.get(kilo, _MILLION)
        value *= _PER.get(match["percent"] or "", 1.0)
        yield match.start(), match.end(), -value if match["sign"] else value


def _digits_value(match: regex.Match[str], text: str, language: str) -> float | None:
    if match["whole"]:
        return float(match["whole"]) + float(match["top"]) / float(match["bottom"])
    if match["n"]:
        return float(match["n"]) / float(match["d"])
    if match["power"]:
        return float(match["power"])
    plain = regex.sub(r"[ \u00a0\u202f']", "", match["plain"])
    small_unit = _NO_FRACTIONS.match(text, match.end()) is not None
    return decimal_value(plain, language, small_unit)


def decimal_value(plain: str, language: str, small_unit: bool = False) -> float | None:
    """The value of digits with separators, by the conventions of a language; None if unclear.

    A separator before exactly three digits groups thousands, if it is the language's own grouping
    mark or stands more than once; ``0.5`` and ``0,5`` are decimals in every language.

    Args:
        plain: digits, points and commas.
        language: whose grouping mark is expected.
        small_unit: whether thousandths make no sense, so that either mark groups thousands.
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
    if grouped and (last == grouping or small_unit):
        return float(head + tail)
    return float(f"{head or 0}.{tail}")


@dataclass(frozen=True)
class _NumberToken:
    """A word as text2num takes it."""

    word: str
    begins: bool

    def text(self) -> str:
        return self.word

    def nt_separated(self, previous: object) -> bool:
        """Whether the number before ends here."""
        return self.begins

    def not_a_number_part(self) -> bool:
        """Whether the word is no number, whatever it looks like."""
        return False


def _number_words(text: str, language: str) -> Iterator[FoundNumber]:
    places = [match.span() for match in _WORD_OR_MARK.finditer(text)]
    words = [text[start:end] for start, end in places]
    tokens = [_NumberToken(word, _two_numbers(words, at)) for at, word in enumerate(words)]
    for number in find_numbers(tokens, language, threshold=0):
        first, last = places[number.start], places[number.end - 1]
        if text[first[0]].isalpha() and not number.is_ordinal:
            yield first[0], last[1], float(number.value)


def _two_numbers(words: list[str], at: int) -> bool:
    """Whether a number begins behind an "and", as in "entre mil y cinco mil"."""
    if at < 2 or words[at - 2] != "mil" or words[at - 1] not in ("y", "e"):
        return False
    return "mil" in words[at : at + 3]


def _han_numbers(text: str) -> Iterator[FoundNumber]:
    for match in _HAN_NUMBER.finditer(text):
        if not match[0] or not (match["digits"] or match["half"]):
            continue
        digits = match["digits"] or ""
        digits = digits.replace("萬", "万").replace("點", "点").replace("兩", "两")
        try:
            value = float(cn2an.cn2an(digits, "smart")) if digits else 0.0
        except ValueError:  # characters of numbers in other words, such as 万一
            continue
        value += 0.5 if match["half"] else 0.0
        if match["top"] and value:
            value = float(cn2an.cn2an(match["top"], "smart")) / value
        yield match.start(), match.end(), value * _PER.get(match["percent"] or "", 1.0)
