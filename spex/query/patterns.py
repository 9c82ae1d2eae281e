"""Patterns of the lexicon: spelled out where they are finite, as regular expressions otherwise."""

from __future__ import annotations

import unicodedata
from functools import cache

import regex

MOST_VARIANTS = 400
_TOKEN = regex.compile(r"\\p\{\w+\}|\\.|\[(?:\\.|[^\]])*\]|\(\?:|\(\?[<=!]*|.", regex.DOTALL)
_ENDLESS = frozenset("+*{}^$.")


@cache
def folded_letter(letter: str) -> str:
    """A letter in lower case without accent; of vulgar fractions the digits."""
    if letter == "，":  # no decimal mark, which it would be as an ASCII comma
        return letter
    folded = ""
    for part in unicodedata.normalize("NFKD", letter.casefold()):
        if not unicodedata.combining(part):
            folded += "'" if part in "’ʼ`´" else part
    return " " + folded.replace("⁄", "/") if "⁄" in folded else folded


def fold_pattern(entry: str) -> str:
    """A pattern whose letters are folded as texts are; escapes such as that of a digit stay."""
    if entry.isascii() and "\\" not in entry:
        return entry.lower()
    tokens = regex.findall(r"\\p\{\w+\}|\\.|.", entry)
    return "".join(token if token[0] == "\\" else folded_letter(token) for token in tokens)


def spelled_out(entry: str) -> list[str] | None:
    """All texts that a folded pattern matches, with a blank for blanks and hyphens.

    Args:
        entry: with groups, alternatives, optional parts and sets of letters.

    Returns:
        None for a pattern with other means, or with too many texts.
    """
    tokens = _TOKEN.findall(entry)
    try:
        variants, end = _alternatives(tokens, 0)
    except _NotFinite:
        return None
    if end != len(tokens):
        return None
    texts = [variant.replace("-", " ").replace("  ", " ") for variant in variants]
    if any(text != text.strip() or not text for text in texts):
        return None
    return texts


def as_expression(entry: str) -> str:
    """A folded pattern as a regular expression, its blanks matching blanks and hyphens."""
    parts = []
    for token in _TOKEN.findall(entry):
        if token == " ":
            parts.append(r"(?:[\s\-]+)")
        elif token.startswith("["):
            parts.append(token.replace(" ", r"\s\-"))
        else:
            parts.append(token)
    return "".join(parts)


class _NotFinite(Exception):
    pass


def _alternatives(tokens: list[str], at: int) -> tuple[list[str], int]:
    every: list[str] = []
    current = [""]
    while at < len(tokens) and tokens[at] != ")":
        if tokens[at] == "|":
            every += current
            current = [""]
            at += 1
            continue
        options, at = _atom(tokens, at)
        current = [head + tail for head in current for tail in options]
        if len(current) + len(every) > MOST_VARIANTS:
            raise _NotFinite
    return [*every, *current], at


def _atom(tokens: list[str], at: int) -> tuple[list[str], int]:
    token = tokens[at]
    if token in ("(", "(?:"):
        options, at = _alternatives(tokens, at + 1)
        if at >= len(tokens):
            raise _NotFinite
    elif token.startswith("["):
        options = _letters(token[1:-1])
    elif token.startswith("(") or token in _ENDLESS or token in "?)":
        raise _NotFinite
    elif token[0] == "\\":
        if token[1].isalnum():
            raise _NotFinite
        options = [token[1]]
    else:
        options = [token]
    at += 1
    if at < len(tokens) and tokens[at] == "?":
        return [*options, ""], at + 1
    if at < len(tokens) and tokens[at] in ("+", "*", "{"):
        raise _NotFinite
    return options, at


def _letters(inside: str) -> list[str]:
    if inside.startswith("^") or regex.search(r"\\\w|\w-\w", inside):
        raise _NotFinite
    return list(inside.replace("\\", ""))
