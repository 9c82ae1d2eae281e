"""The request as somebody types it: polite or not, capitals or not, letters swapped, dropped, doubled or beside."""

from __future__ import annotations

import re

from instruction_data.dialogues.phrases import NUMBER_WORDS
from instruction_data.dialogues.words import Words, wording

_BESIDE = {
    a: b
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for a, b in zip(row, row[1:], strict=False)
}
_SOUNDS = (("ie", "ei"), ("tion", "shun"), ("ph", "f"), ("ou", "u"), ("ee", "ea"), ("ea", "ee"), ("ck", "k"),
           ("s", "z"), ("er", "re"), ("ll", "l"), ("ss", "s"), ("ai", "ay"), ("e", "a"), ("a", "e"))  # fmt: skip


def dressed(words: Words, text: str, *, slips: float = 0.16) -> str:
    """An English request with a greeting, capitals and slips of the finger now and then."""
    acts = wording("acts")
    if words.chance(0.15) and not text.endswith(("?", ".")):
        text = f"{words.pick(acts['before'])} {text}"
    if words.chance(0.15):
        tail = words.pick(acts["after"])
        text = re.sub(r"(\?|\.|)$", lambda m: tail + m[0], text, count=1)
    if words.chance(slips):
        for _ in range(1 if words.chance(0.7) else 2):
            text = slip(words, text)
    style = words.rng.random()
    if style < 0.4:
        text = text[0].upper() + text[1:]
    elif style < 0.43:
        text = text.upper()
    elif style < 0.52:
        text = text.lower().rstrip("?")
    if text[-1].isalnum() and words.chance(0.25):
        text += words.one((".", ".", "!", " .", "..."))
    return text


def slip(words: Words, text: str) -> str:
    """One slip in one word of four letters or more: swapped, dropped, doubled, hit beside, or by ear."""
    targets = [
        m
        for m in re.finditer(r"[A-Za-z]{4,}", text)
        if not m[0].isupper() and m[0].lower() not in NUMBER_WORDS
    ]
    if not targets:
        return text
    match = words.one(targets)
    place = match.start() + 1 + int(words.rng.random() * (len(match[0]) - 2))
    letter, kind = text[place], words.rng.random()
    if kind < 0.25:
        return text[:place] + text[place + 1] + letter + text[place + 2 :]
    if kind < 0.5:
        return text[:place] + text[place + 1 :]
    if kind < 0.65:
        return text[:place] + letter + text[place:]
    if kind < 0.8:
        return text[:place] + _BESIDE.get(letter.lower(), letter) + text[place + 1 :]
    heard = [(a, b) for a, b in _SOUNDS if a in match[0][1:]]
    if not heard:
        return text[:place] + text[place + 1 :]
    a, b = words.one(heard)
    start = text.index(a, match.start() + 1)
    return text[:start] + b + text[start + len(a) :]
