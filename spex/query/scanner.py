"""Walks over the items of a request: what the rules that find elements have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spex.query.lexer import Item

_BREAKS = ("comma", "stop", "class", "index", "number")
_LATER = ("at_least_after", "at_most_after")


@dataclass(frozen=True)
class Element:
    """A part of a request that means something.

    Attributes:
        kind: ``mention``, ``relation``, ``negation``, ``ordinal``, ``thing``, ``whole_scene``, or a
            constraint: ``min_area``, ``max_area``, ``where``, ``top``, ``bottom``, ``index``.
        first: number of its first item.
        last: number of its last item.
        value: of a mention the class, of a relation the metres (None if not stated), of a
            constraint its value as in ``Constraints``.
        detail: of a mention its ``Term``, of a relation ``near`` or ``far``.
        flags: what else is known: ``bare`` (no comparator), ``negated``, ``loose`` (read from a
            number without a unit), ``distant`` (from words that stand apart) ...
    """

    kind: str
    first: int
    last: int
    value: Any = None
    detail: Any = None
    flags: frozenset[str] = frozenset()


class Scanner:
    """The items of a request, the elements found so far, and which items those use.

    Attributes:
        items: of the request.
        found: elements.
        used: of each item whether an element has taken it.
        measured: of each item whether it is part of an area, a distance or an index condition.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.found: list[Element] = []
        self.used = [False] * len(items)
        self.measured = [False] * len(items)

    def has(self, number: int, *kinds: str) -> bool:
        """Whether an item is of one of some kinds and not used yet."""
        return self.is_any(number, *kinds) and not self.used[number]

    def is_any(self, number: int, *kinds: str) -> bool:
        """As ``has``, of items that may be used already."""
        return 0 <= number < len(self.items) and self.items[number].any_of(*kinds)

    def add(self, kind: str, first: int, last: int, value: Any = None, **more: Any) -> None:
        """An element that takes its items."""
        self.also(kind, first, last, value, **more)
        for number in range(first, last + 1):
            self.used[number] = True

    def also(self, kind: str, first: int, last: int, value: Any = None, **more: Any) -> None:
        """An element that the items may mean besides others."""
        self.found.append(Element(kind, first, last, value, **more))

    def measure(self, first: int, last: int) -> None:
        """Mark items as part of an area, a distance or an index condition."""
        for number in range(first, last + 1):
            self.measured[number] = True

    def skip_words(self, number: int, step: int, most: int, *kinds: str) -> int | None:
        """The next item of some kinds from here, over words that carry nothing."""
        for _ in range(most + 1):
            if self.has(number, *kinds):
                return number
            if not (0 <= number < len(self.items)) or self.used[number]:
                return None
            if self.items[number].any_of(*_BREAKS, "unit", "negation"):
                return None
            number += step
        return None

    def number(self, number: int) -> tuple[float, int] | None:
        """A number that begins here, with the item behind it; "two and a half" is one."""
        if not self.has(number, "number"):
            return None
        value: float = self.items[number].values["number"]
        after = number + 1
        if self.has(after, "and") and self.has(after + 1, "number"):
            fraction = self.items[after + 1].values["number"]
            if 0 < fraction < 1 and value >= 1 and value == int(value):
                return value + fraction, after + 2
        if self.has(after, "number") and not self.items[after].text.isdigit():
            factor: float = self.items[after].values["number"]
            if factor in (6.0, 12.0):  # "half a dozen", "2 dozen"
                return value * factor, after + 1
            if value == 0 and 0 < factor < 1:  # "zero point three"
                return factor, after + 1
        return value, after

    def unit(self, number: int, table: Mapping[str, Any]) -> str | None:
        """The unit at an item, if it is in a table."""
        if self.has(number, "unit"):
            unit = str(self.items[number].values["unit"])
            return unit if unit in table else None
        return None

    def comparator(self, number: int) -> tuple[str | None, int]:
        """The side of a comparator that ends before this item, and its first item."""
        at = number - 1
        while self.has(at, "about", "from_words") or (self.has(at, "word") and at == number - 1):
            if self.has(at, "at_least", "at_most"):
                break
            at -= 1
        first = at
        if self.has(at, "at_least"):
            side = "at_least"
        elif self.has(at, "at_most", "within"):
            side = "at_most"
        elif self.has(at, "beyond"):
            side = "at_least"
        else:
            return None, number
        negation = self.negation_before(first)
        if negation is not None and not self.items[first].text.startswith(("no ", "not ")):
            first = negation
            side = "at_most" if side == "at_least" else "at_least"
        return side, first

    def side_after(self, number: int) -> tuple[str | None, int]:
        """The side of words behind a value, and the item behind them."""
        for kind in _LATER:
            if self.has(number, kind):
                return kind.removesuffix("_after"), number + 1
        return None, number

    def negation_before(self, number: int) -> int | None:
        """The negation right before an item."""
        return number - 1 if self.has(number - 1, "not") else None

    def clause_ends(self, start: int, end: int) -> bool:
        """Whether a sentence ends between two items."""
        return any(self.is_any(number, "stop") for number in range(start + 1, end))
