"""Wording as data: lists with weights, combined by a small grammar, a part of them held out from training.

A list of texts in ``wording/*.yaml`` is a set of alternatives. ``{name}`` in a text stands for a slot that the caller
fills or for one text of the list ``name``; ``[...]`` is there half of the time; `` ^3`` at the end is a weight.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any
from zlib import crc32

import yaml
from numpy.random import Generator

_HELD_OUT_EVERY = 5
_FEWEST = 4  # shorter lists are too small to keep one from training
_WEIGHT = re.compile(r" \^(\d+)$")
_TOKEN = re.compile(r"\[([^\[\]]*)\]|\{(\w+)\}")


def held_out(text: str) -> bool:
    """Whether chance (a checksum) keeps a wording from training, if its list is long enough; about one in five."""
    return crc32(text.encode()) % _HELD_OUT_EVERY == 0


@dataclass(frozen=True)
class Options:
    """Alternatives: what training may use, and what it may not; each with running sums of the weights."""

    texts: tuple[str, ...]
    seen: tuple[str, ...]
    hidden: tuple[str, ...]
    seen_sums: tuple[float, ...]
    hidden_sums: tuple[float, ...]

    @classmethod
    def of(cls, lines: Sequence[str], hide: Any = held_out) -> Options:
        """Alternatives from lines of a data file; ``hide`` tells which texts are held out (never the first)."""
        weights = {
            _WEIGHT.sub("", line): float(m[1]) if (m := _WEIGHT.search(line)) else 1.0
            for line in lines
        }
        texts = tuple(weights)
        hidden = tuple(text for text in texts[1:] if hide(text)) if len(texts) >= _FEWEST else ()
        seen = tuple(text for text in texts if text not in hidden)
        sums = (tuple(accumulate(weights[text] for text in part)) for part in (seen, hidden))
        return cls(texts, seen, hidden, *sums)


@cache
def wording(name: str) -> dict[str, Any]:
    """A file of ``wording/``, its lists of texts as :class:`Options`."""
    path = Path(__file__).with_name("wording") / f"{name}.yaml"
    loader = getattr(
        yaml, "CSafeLoader", yaml.SafeLoader
    )  # ten times as fast, where libyaml is there
    document: dict[str, Any] = _options(yaml.load(path.read_text(encoding="utf-8"), loader))
    return document


def _options(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _options(value) for key, value in node.items()}
    return Options.of(node) if isinstance(node, list) and node else node


@cache
def _tokens(text: str) -> tuple[tuple[str, str], ...]:
    """(kind, content) of a text's pieces: plain, optional or slot."""
    pieces, at = [], 0
    for match in _TOKEN.finditer(text):
        pieces.append(("plain", text[at : match.start()]))
        pieces.append(("optional", match[1]) if match[1] is not None else ("slot", match[2]))
        at = match.end()
    return (*pieces, ("plain", text[at:]))


class Words:
    """Chooses wordings by chance, within what the split may use.

    Half of the ``val`` dialogues draw held-out wordings; ``held_out`` tells whether this one met any.
    """

    def __init__(self, rng: Generator, split: str) -> None:
        self.rng = rng
        self.strange = split == "val" and rng.random() < 0.55
        self.held_out = False

    def chance(self, probability: float) -> bool:
        """True with the probability given."""
        return bool(self.rng.random() < probability)

    def one(self, options: Sequence[Any]) -> Any:
        """One of ``options``, all alike likely."""
        return options[int(self.rng.random() * len(options))]

    def pick(self, options: Options) -> str:
        """One wording by weight: for training none that is held out, for half of validation often one that is."""
        if self.strange and options.hidden and self.rng.random() < 0.5:
            self.held_out = True
            return options.hidden[
                bisect(options.hidden_sums, self.rng.random() * options.hidden_sums[-1])
            ]
        return options.seen[bisect(options.seen_sums, self.rng.random() * options.seen_sums[-1])]

    def weighted(self, weights: Mapping[str, float]) -> str:
        """One key by its weight."""
        sums = list(accumulate(weights.values()))
        return list(weights)[bisect(sums, self.rng.random() * sums[-1])]

    def expand(self, text: str, parts: Mapping[str, Options], **slots: str) -> str:
        """A text with its slots filled, its other names drawn from ``parts`` and its options decided."""
        out = []
        for kind, content in _tokens(text):
            if kind == "plain":
                out.append(content)
            elif kind == "optional":
                out.append(self.expand(content, parts, **slots) if self.chance(0.5) else "")
            else:
                out.append(
                    slots[content]
                    if content in slots
                    else self.expand(self.pick(parts[content]), parts, **slots)
                )
        return "".join(out)
