"""Directions in a conversation, turned and mirrored as its scene is.

The words of the queries and the ``where`` attributes of the answers change together. Wordings are
data (``symmetry.yaml``). Words that are missing there may name a direction as well, so a
conversation is rewritten only if every direction in its answers is one that its queries were
understood to name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from spex.query.answer_markup import parse_answer
from spex.query.prompt import Exchange
from train.data.random_windows import Scalar

_CLOCKWISE = {
    "halves": ("north", "east", "south", "west"),
    "corners": ("northeast", "southeast", "southwest", "northwest"),
}
_OPPOSITE: dict[str, str] = {}
for _ring in _CLOCKWISE.values():
    _OPPOSITE |= {direction: _ring[(index + 2) % 4] for index, direction in enumerate(_ring)}
_WHERE = re.compile(r"(?<= where=)[^ >]+")
_TAG = re.compile(r"(<[^<>]*>)")


@dataclass(frozen=True)
class Wording:
    """What a wording says.

    Attributes:
        kind: ``halves`` or ``corners``.
        index: Which of the four directions, clockwise.
        alternatives: The wordings of the four directions, clockwise.
    """

    kind: str
    index: int
    alternatives: list[str]


@dataclass(frozen=True)
class Symmetry:
    """A symmetry of the square: quarter turns counter-clockwise, then left and right mirrored."""

    turns: int = 0
    mirrored: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Symmetry:
        """Any of the eight."""
        return cls(int(rng.integers(4)), bool(rng.integers(2)))

    def apply(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn and mirror an array (..., row, col)."""
        turned = np.rot90(array, self.turns, (-2, -1))
        return turned[..., ::-1] if self.mirrored else turned

    def direction(self, name: str) -> str:
        """Where a part of the scene comes to lie.

        Args:
            name: A value of ``where``; one that is no direction (``center``) stays.
        """
        for kind, ring in _CLOCKWISE.items():
            if name in ring:
                return ring[self._index(ring.index(name), kind)]
        return name

    def reword(self, text: str) -> str:
        """Replace the directions in a text; markup stays."""
        parts = _TAG.split(text)
        parts[::2] = [
            _any_wording().sub(lambda match: self._replacement(match[0]), part)
            for part in parts[::2]
        ]
        return "".join(parts)

    def _replacement(self, words: str) -> str:
        """Other words for a direction, in the same case."""
        wording = _wordings()[words.lower()]
        replacement = wording.alternatives[self._index(wording.index, wording.kind)]
        if words.isupper():
            return replacement.upper()
        if words.islower():
            return replacement.lower()
        if words[0].isupper():
            return replacement[0].upper() + replacement[1:]
        return replacement

    def _index(self, index: int, kind: str) -> int:
        """Where one of four directions comes to lie, clockwise."""
        index = (index - self.turns) % 4
        if not self.mirrored:
            return index
        return -index % 4 if kind == "halves" else 3 - index


@cache
def _wordings() -> dict[str, Wording]:
    """All wordings in lower case."""
    path = Path(__file__).with_name("symmetry.yaml")
    wordings: dict[str, Wording] = {}
    for language in yaml.safe_load(path.read_text(encoding="utf-8")).values():
        for kind, rows in language.items():
            for row in rows:
                # A gap takes the words of the first row.
                alternatives = [
                    words or default for words, default in zip(row, rows[0], strict=True)
                ]
                for index, words in enumerate(row):
                    if words:
                        wordings[words.lower()] = Wording(kind, index, alternatives)
    return wordings


@cache
def _any_wording() -> re.Pattern[str]:
    """Matches any wording, the longest first; Chinese has no word boundaries."""
    ordered = sorted(map(re.escape, _wordings()), key=len, reverse=True)
    return re.compile(rf"(?<![A-Za-zÀ-ÿ-])(?:{'|'.join(ordered)})(?![A-Za-zÀ-ÿ-])", re.IGNORECASE)


def direction_of(words: str) -> str:
    """The value of ``where`` that a wording names."""
    wording = _wordings()[words.lower()]
    return _CLOCKWISE[wording.kind][wording.index]


def transform_conversation(
    exchanges: tuple[Exchange, ...], symmetry: Symmetry
) -> tuple[Exchange, ...] | None:
    """Rewrite a conversation so that it fits the scene after a symmetry.

    Returns:
        The conversation, or None if its directions are not fully understood.
    """
    named_before: set[str] = set()
    for exchange in exchanges:
        named = {direction_of(words) for words in _any_wording().findall(exchange.query)}
        answered = _answered_directions(exchange.answer)
        explained = named | named_before | {_OPPOSITE[name] for name in named_before}
        if not named <= answered or not answered <= explained:
            return None
        named_before |= answered
    return tuple(
        Exchange(symmetry.reword(exchange.query), _transform_answer(exchange.answer, symmetry))
        for exchange in exchanges
    )


def _answered_directions(answer: str) -> set[str]:
    spans = parse_answer(answer).spans
    return {part for span in spans for part in span.constraints.where if part != "center"}


def _transform_answer(answer: str, symmetry: Symmetry) -> str:
    def turned(where: re.Match[str]) -> str:
        return re.sub("[a-z]+", lambda part: symmetry.direction(part[0]), where[0])

    return _WHERE.sub(turned, symmetry.reword(answer))
