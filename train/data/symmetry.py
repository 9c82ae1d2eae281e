"""Places in a conversation, turned and mirrored as its scene is: the words of a query and the attributes of its spans.

Wordings are data (``symmetry.yaml``). Words that are not there may mean a place as well, so a conversation is rewritten
only where every place in its answers is one that its queries were understood to name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from spex.query.answer_markup import parse_answer
from spex.query.prompt import Exchange

_RINGS = {
    "halves": ("north", "east", "south", "west"),
    "corners": ("northeast", "southeast", "southwest", "northwest"),
}
_OPPOSITE = {place: ring[(i + 2) % 4] for ring in _RINGS.values() for i, place in enumerate(ring)}
_WHERE = re.compile(r"(?<= where=)\w+")
_TAG = re.compile(r"(<[^<>]*>)")


@dataclass(frozen=True)
class Symmetry:
    """A square's symmetry: quarter turns counter-clockwise, then a mirroring of left and right."""

    turns: int = 0
    mirrored: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Symmetry:
        """Any of the eight."""
        return cls(int(rng.integers(4)), bool(rng.integers(2)))

    def turned(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array (..., row, col) turned."""
        array = np.rot90(array, self.turns, (-2, -1))
        return array[..., ::-1] if self.mirrored else array

    def place(self, name: str) -> str:
        """Where a part of the scene (a value of ``where=``) comes to lie."""
        for kind, ring in _RINGS.items():
            if name in ring:
                return ring[self._moved(ring.index(name), kind)]
        return name

    def text(self, text: str) -> str:
        """A text with its places in other words; markup is left alone."""
        parts = _TAG.split(text)
        parts[::2] = [
            _wordings().sub(lambda match: self._worded(match[0]), part) for part in parts[::2]
        ]
        return "".join(parts)

    def _worded(self, found: str) -> str:
        kind, at, row = _table()[found.lower()]
        words = row[self._moved(at, kind)]
        if found.isupper():
            return words.upper()
        if found.islower():
            return words.lower()
        return words[0].upper() + words[1:] if found[0].isupper() else words

    def _moved(self, at: int, kind: str) -> int:
        at = (at - self.turns) % 4
        return at if not self.mirrored else -at % 4 if kind == "halves" else 3 - at


@cache
def _table() -> dict[str, tuple[str, int, list[str]]]:
    """Each wording in lower case: its kind, its place in the row, and the row with its gaps filled."""
    table: dict[str, tuple[str, int, list[str]]] = {}
    for language in yaml.safe_load(
        Path(__file__).with_name("symmetry.yaml").read_text(encoding="utf-8")
    ).values():
        for kind, rows in language.items():
            for row in rows:
                filled = [words or first for words, first in zip(row, rows[0], strict=True)]
                table |= {
                    words.lower(): (kind, at, filled) for at, words in enumerate(row) if words
                }
    return table


@cache
def _wordings() -> re.Pattern[str]:
    """Any wording, the longest first; Chinese has no borders of words."""
    ordered = sorted(map(re.escape, _table()), key=len, reverse=True)
    return re.compile(rf"(?<![A-Za-zÀ-ÿ-])(?:{'|'.join(ordered)})(?![A-Za-zÀ-ÿ-])", re.IGNORECASE)


def place_of(words: str) -> str:
    """The part of the scene that a wording names."""
    kind, at, _ = _table()[words.lower()]
    return _RINGS[kind][at]


def moved(exchanges: tuple[Exchange, ...], symmetry: Symmetry) -> tuple[Exchange, ...] | None:
    """A conversation about the scene turned; None where its words are not understood well enough."""
    named: set[str] = set()
    for one in exchanges:
        here = {place_of(found) for found in _wordings().findall(one.query)}
        asked = {span.constraints.where for span in parse_answer(one.answer).spans} - {
            None,
            "center",
        }
        if not here <= asked or not asked <= here | named | {_OPPOSITE[name] for name in named}:
            return None
        named |= {str(name) for name in asked}
    return tuple(
        Exchange(
            symmetry.text(one.query),
            _WHERE.sub(lambda m: symmetry.place(m[0]), symmetry.text(one.answer)),
        )
        for one in exchanges
    )
