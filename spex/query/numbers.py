"""How a number is written: the patterns for queries, answers and results."""

from __future__ import annotations

import re

PLAIN_NUMBER = r"\d+(?:\.\d+)?"
"""Pattern of a number in markup: digits and a decimal point, no sign, no exponent."""
GROUPED_NUMBER = r"\d[\d,]*(?:\.\d+)?"
"""Pattern of a number in prose, where commas may group the digits."""

_GROUPED = re.compile(GROUPED_NUMBER)
_STATED = re.compile(rf"(?<![\w.]){GROUPED_NUMBER}")


def stated_numbers(text: str) -> list[str]:
    """Numbers that stand on their own in prose, as written; the 2 of ``S2`` is not one of them.

    A comma behind a number is returned with it.
    """
    return _STATED.findall(text)


def all_numbers(text: str) -> list[str]:
    """Numbers anywhere in a text, also within words, as written."""
    return _GROUPED.findall(text)
