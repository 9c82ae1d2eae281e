"""How a number is written: the patterns for queries, answers and results, in six languages.

Measured values are worded in English form (``1,234.5``) and rewritten by ``localised``. Numbers
that are compared have one form whatever the language: digits and a decimal point, ``1234.5``.
"""

from __future__ import annotations

import re
from functools import cache

PLAIN_NUMBER = r"\d+(?:\.\d+)?"
"""Pattern of a number in markup: digits and a decimal point, no sign, no exponent."""

_SEPARATORS = {
    "en": (",", "."),
    "es": (".", ","),
    "pt": (".", ","),
    "fr": ("\u202f", ","),
    "de": (".", ","),
    "zh": (",", "."),
}
"""What groups the digits, and what stands before the decimals, by language."""


@cache
def _pattern(language: str) -> re.Pattern[str]:
    """A number in prose of a language: the digits with their groups, and the decimals."""
    group, decimal = map(re.escape, _SEPARATORS[language])
    return re.compile(rf"(\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)(?:{decimal}(\d+))?")


@cache
def _standing_alone(language: str) -> re.Pattern[str]:
    # Chinese writes no space before a number, so that only letters of other alphabets join it.
    return re.compile(rf"(?<![A-Za-zÀ-ɏ\d_]){_pattern(language).pattern}")


def stated_numbers(text: str, language: str = "en") -> list[str]:
    """Numbers that stand on their own in prose, in plain form; the 2 of ``S2`` is none of them.

    Args:
        text: prose.
        language: that the numbers are written in.
    """
    return [_plain(match, language) for match in _standing_alone(language).finditer(text)]


def all_numbers(text: str, language: str = "en") -> list[str]:
    """Numbers anywhere in a text, also within words, in plain form."""
    return [_plain(match, language) for match in _pattern(language).finditer(text)]


def localised(text: str, language: str) -> str:
    """A text whose numbers are written as English does, with them as ``language`` writes them."""
    group, decimal = _SEPARATORS[language]

    def rewritten(match: re.Match[str]) -> str:
        digits = match[1].replace(",", group)
        return digits if match[2] is None else f"{digits}{decimal}{match[2]}"

    return _pattern("en").sub(rewritten, text)


def grouped(number: str) -> str:
    """A plain number with its digits in groups of three, as English writes it."""
    digits, point, decimals = number.partition(".")
    return f"{int(digits):,}{point}{decimals}"


def _plain(match: re.Match[str], language: str) -> str:
    digits = match[1].replace(_SEPARATORS[language][0], "")
    return digits if match[2] is None else f"{digits}.{match[2]}"
