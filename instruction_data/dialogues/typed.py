"""The request as somebody types it: polite or not, capitals or not, with typing errors."""

from __future__ import annotations

import re

from instruction_data.dialogues.constraint_wording import NUMBER_WORDS
from instruction_data.dialogues.words import WordingSampler, load_wording

_KEYBOARD_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SOUNDS = (
    ("ie", "ei"), ("tion", "shun"), ("ph", "f"), ("ou", "u"), ("ee", "ea"), ("ea", "ee"),
    ("ck", "k"), ("s", "z"), ("er", "re"), ("ll", "l"), ("ss", "s"), ("ai", "ay"), ("e", "a"),
    ("a", "e"),
)  # fmt: skip


def _right_neighbours() -> dict[str, str]:
    neighbours: dict[str, str] = {}
    for row in _KEYBOARD_ROWS:
        neighbours.update(zip(row, row[1:], strict=False))
    return neighbours


_RIGHT_KEY = _right_neighbours()


def add_typing_style(sampler: WordingSampler, text: str, *, error_chance: float = 0.16) -> str:
    """An English request, sometimes with a greeting, other capitals or typing errors.

    Args:
        sampler: draws what is changed.
        text: the request.
        error_chance: probability of one or two typing errors.
    """
    acts = load_wording("acts")
    if sampler.chance(0.15) and not text.endswith(("?", ".")):
        text = f"{sampler.pick(acts['before'])} {text}"
    if sampler.chance(0.15):
        tail = sampler.pick(acts["after"])
        text = re.sub(r"(\?|\.|)$", lambda match: tail + match[0], text, count=1)
    if sampler.chance(error_chance):
        for _ in range(1 if sampler.chance(0.7) else 2):
            text = add_typing_error(sampler, text)
    style = sampler.rng.random()
    if style < 0.4:
        text = text[0].upper() + text[1:]
    elif style < 0.43:
        text = text.upper()
    elif style < 0.52:
        text = text.lower().rstrip("?")
    if text[-1].isalnum() and sampler.chance(0.25):
        text += sampler.choose((".", ".", "!", " .", "..."))
    return text


def add_typing_error(sampler: WordingSampler, text: str) -> str:
    """The text with an error in one word of four letters or more.

    Letters are swapped, dropped, doubled or replaced by the key beside them, or the word is
    spelled by its sound. Words in capitals and number words stay as they are.
    """
    targets = [word for word in re.finditer(r"[A-Za-z]{4,}", text) if _may_be_misspelled(word[0])]
    if not targets:
        return text
    word = sampler.choose(targets)
    position = word.start() + 1 + int(sampler.rng.random() * (len(word[0]) - 2))
    letter = text[position]
    before = text[:position]
    after = text[position + 1 :]
    kind = sampler.rng.random()
    if kind < 0.25:
        return before + after[0] + letter + after[1:]
    if kind < 0.5:
        return before + after
    if kind < 0.65:
        return before + letter + letter + after
    if kind < 0.8:
        return before + _RIGHT_KEY.get(letter.lower(), letter) + after
    sounds = [(sound, spelling) for sound, spelling in _SOUNDS if sound in word[0][1:]]
    if not sounds:
        return before + after
    sound, spelling = sampler.choose(sounds)
    start = text.index(sound, word.start() + 1)
    return text[:start] + spelling + text[start + len(sound) :]


def _may_be_misspelled(word: str) -> bool:
    return not word.isupper() and word.lower() not in NUMBER_WORDS
