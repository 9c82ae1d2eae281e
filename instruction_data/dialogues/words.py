"""Wording as data: lists with weights, combined by a small grammar, a part kept from training.

A list of texts in ``wording/*.yaml`` is a set of alternatives. ``{name}`` in a text is a slot that
the caller fills, or one text of the list ``name``. ``[...]`` is used half of the time. `` ^3`` at
the end is a weight.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, TypeVar
from zlib import crc32

import yaml
from numpy.random import Generator

_HELD_OUT_EVERY = 5
_MIN_LIST = 4  # from shorter lists nothing is kept from training
_WEIGHT = re.compile(r" \^(\d+)$")
_TOKEN = re.compile(r"\[([^\[\]]*)\]|\{(\w+)\}")

T = TypeVar("T")


def is_held_out(text: str) -> bool:
    """Whether a wording is kept from training, by a checksum; about one in five is.

    Wordings of short lists, and the first of every list, are never held out.
    """
    return crc32(text.encode()) % _HELD_OUT_EVERY == 0


@dataclass(frozen=True)
class Wordings:
    """Alternative wordings.

    Attributes:
        texts: all of them.
        trained: those that training may use.
        held_out: those that are kept from training.
        trained_sums: running sums of the weights of ``trained``.
        held_out_sums: running sums of the weights of ``held_out``.
    """

    texts: tuple[str, ...]
    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    trained_sums: tuple[float, ...]
    held_out_sums: tuple[float, ...]

    @classmethod
    def from_lines(
        cls, lines: Sequence[str], hold_out: Callable[[str], bool] = is_held_out
    ) -> Wordings:
        """Wordings from the lines of a data file.

        Args:
            lines: texts, some with a weight.
            hold_out: whether a text is kept from training; not asked for the first one.
        """
        weights = {}
        for line in lines:
            weight = _WEIGHT.search(line)
            weights[_WEIGHT.sub("", line)] = float(weight[1]) if weight else 1.0
        texts = tuple(weights)
        candidates = texts[1:] if len(texts) >= _MIN_LIST else ()
        held_out = tuple(text for text in candidates if hold_out(text))
        trained = tuple(text for text in texts if text not in held_out)
        return cls(
            texts=texts,
            trained=trained,
            held_out=held_out,
            trained_sums=tuple(accumulate(weights[text] for text in trained)),
            held_out_sums=tuple(accumulate(weights[text] for text in held_out)),
        )


@cache
def load_wording(name: str) -> dict[str, Any]:
    """A file of ``wording/``, its lists of texts as :class:`Wordings`."""
    path = Path(__file__).with_name("wording") / f"{name}.yaml"
    # The C loader is ten times as fast; it exists where libyaml is installed.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: dict[str, Any] = _with_wordings(yaml.load(path.read_text(encoding="utf-8"), loader))
    return document


def _with_wordings(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _with_wordings(value) for key, value in node.items()}
    return Wordings.from_lines(node) if isinstance(node, list) and node else node


_Token = tuple[Literal["plain", "optional", "slot"], str]


@cache
def _tokenize(text: str) -> tuple[_Token, ...]:
    """Kind and content of the parts of a text."""
    tokens: list[_Token] = []
    end = 0
    for match in _TOKEN.finditer(text):
        tokens.append(("plain", text[end : match.start()]))
        optional, slot = match.groups()
        tokens.append(("slot", slot) if optional is None else ("optional", optional))
        end = match.end()
    return (*tokens, ("plain", text[end:]))


class WordingSampler:
    """Draws wordings, within what the split may use.

    A ``train`` dialogue never gets a held-out wording; half of the ``val`` dialogues may.

    Args:
        rng: random generator.
        split: ``train`` or ``val``.

    Attributes:
        rng: as given.
        used_held_out: whether a held-out wording has been drawn.
    """

    def __init__(self, rng: Generator, split: str) -> None:
        self.rng = rng
        self.used_held_out = False
        self._may_use_held_out = split == "val" and rng.random() < 0.55

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def choose(self, options: Sequence[T]) -> T:
        """One of ``options``, all equally likely."""
        return options[int(self.rng.random() * len(options))]

    def choose_weighted(self, weights: Mapping[str, float]) -> str:
        """One key, by its weight."""
        sums = list(accumulate(weights.values()))
        return list(weights)[bisect(sums, self.rng.random() * sums[-1])]

    def pick(self, wordings: Wordings) -> str:
        """One wording, by its weight."""
        if self._may_use_held_out and wordings.held_out and self.rng.random() < 0.5:
            self.used_held_out = True
            sums = wordings.held_out_sums
            return wordings.held_out[bisect(sums, self.rng.random() * sums[-1])]
        sums = wordings.trained_sums
        return wordings.trained[bisect(sums, self.rng.random() * sums[-1])]

    def expand(self, text: str, parts: Mapping[str, Wordings], **slots: str) -> str:
        """A text with its slots filled and its options decided.

        Args:
            text: with ``{name}`` and ``[...]``.
            parts: lists from which names that are no slots are drawn.
            **slots: texts of the slots.
        """
        pieces = []
        for kind, content in _tokenize(text):
            if kind == "plain":
                pieces.append(content)
            elif kind == "optional":
                if self.chance(0.5):
                    pieces.append(self.expand(content, parts, **slots))
            elif content in slots:
                pieces.append(slots[content])
            else:
                pieces.append(self.expand(self.pick(parts[content]), parts, **slots))
        return "".join(pieces)
