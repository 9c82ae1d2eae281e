"""The elements of a request: classes named, constraints, relations, negations.

Elements are found by fixed rules on the items of the lexer, in any language. How they belong
together is decided in :mod:`spex.query.linking`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from spex.query.constraints import ANY, IndexCondition
from spex.query.lexer import Item
from spex.query.lexicon import AREA_UNITS, LENGTH_UNITS

PARTS = ("north", "south", "east", "west", "northeast", "northwest", "southeast", "southwest",
         "center", "edge")  # fmt: skip
_OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
_BREAKS = ("comma", "stop", "class", "index", "number")


@dataclass(frozen=True)
class Element:
    """A part of a request that means something.

    Attributes:
        kind: ``mention``, ``relation``, ``negation``, ``ordinal``, ``change`` and other flags, or a
            constraint: ``min_area``, ``max_area``, ``where``, ``top``, ``bottom``, ``index``.
        first: number of its first item.
        last: number of its last item.
        value: of a mention the class, of a relation the metres (None if not stated), of a
            constraint its value as in ``Constraints``.
        detail: of a mention its ``Term``, of a relation ``near`` or ``far``.
        flags: what else is known: ``bare`` (no comparator), ``negated``, ``inherited_unit`` ...
    """

    kind: str
    first: int
    last: int
    value: Any = None
    detail: Any = None
    flags: frozenset[str] = frozenset()


CONSTRAINTS = ("min_area", "max_area", "where", "top", "bottom", "index")


def elements_of(items: Sequence[Item]) -> list[Element]:
    """The elements of a request in order of their first item."""
    return sorted(_Scanner(items).scan(), key=lambda element: (element.first, element.last))


class _Scanner:
    """Finds elements, the most specific first; an item belongs to one element."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.used = [False] * len(items)
        self.found: list[Element] = []
        self.area_unit: str | None = None

    def scan(self) -> list[Element]:
        """All elements."""
        self._indices()
        self._quantities()
        self._superlatives()
        self._parts()
        self._relations()
        for number, item in enumerate(self.items):
            if not self.used[number]:
                self._single(number, item)
        return self.found

    # Helpers --------------------------------------------------------------------------------

    def _has(self, number: int, *kinds: str) -> bool:
        inside = 0 <= number < len(self.items)
        return inside and not self.used[number] and self.items[number].any_of(*kinds)

    def _is(self, number: int, *kinds: str) -> bool:
        """As ``_has``, of items that may be used already."""
        return 0 <= number < len(self.items) and self.items[number].any_of(*kinds)

    def _add(self, kind: str, first: int, last: int, value: Any = None, **more: Any) -> None:
        self.found.append(Element(kind, first, last, value, **more))
        for number in range(first, last + 1):
            self.used[number] = True

    def _skip_words(self, number: int, step: int, most: int, *kinds: str) -> int | None:
        """The next item of some kinds from here, over words that carry nothing."""
        for _ in range(most + 1):
            if self._has(number, *kinds):
                return number
            if not (0 <= number < len(self.items)) or self.used[number]:
                return None
            if self.items[number].any_of(*_BREAKS, "unit", "negation"):
                return None
            number += step
        return None

    def _number(self, number: int) -> tuple[float, int] | None:
        """A number that begins here, with the item behind it; "two and a half" is one."""
        if not self._has(number, "number"):
            return None
        value = self.items[number].values["number"]
        after = number + 1
        if self._has(after, "and") and self._has(after + 1, "number"):
            fraction = self.items[after + 1].values["number"]
            if 0 < fraction < 1 and value >= 1 and value == int(value):
                return value + fraction, after + 2
        if self._has(after, "number"):  # "half a dozen", "2 dozen", "two 1/2"
            factor = self.items[after].values["number"]
            if factor in (6.0, 12.0) and not self.items[after].text.isdigit():
                return value * factor, after + 1
        return value, after

    def _unit(self, number: int, table: dict[str, Any]) -> str | None:
        if self._has(number, "unit"):
            unit = str(self.items[number].values["unit"])
            return unit if unit in table else None
        return None

    def _comparator(self, number: int) -> tuple[str | None, int]:
        """The side of a comparator that ends before this item, and its first item."""
        at = number - 1
        while self._has(at, "about", "from_words") or (
            self._has(at, "word") and at == number - 1 and not self._has(at, "number")
        ):
            at -= 1
        first = at
        if self._has(at, "at_least"):
            side = "at_least"
        elif self._has(at, "at_most", "within"):
            side = "at_most"
        elif self._has(at, "beyond"):
            side = "at_least"
        else:
            return None, number
        if self._negation_before(first) and not self.items[first].text.startswith(("no ", "not ")):
            first = self._negation_before(first) or first
            side = "at_most" if side == "at_least" else "at_least"
        return side, first

    def _negation_before(self, number: int) -> int | None:
        return number - 1 if self._has(number - 1, "not") else None

    def _side_after(self, number: int) -> tuple[str | None, int]:
        """The side of words behind a value, and the item behind them."""
        if self._has(number, "at_least_after"):
            return "at_least", number + 1
        if self._has(number, "at_most_after"):
            return "at_most", number + 1
        return None, number

    # Index conditions -----------------------------------------------------------------------

    def _indices(self) -> None:
        for number, item in enumerate(self.items):
            if "index" in item and not self.used[number]:
                self._index(number, item.values["index"])

    def _index(self, number: int, name: str) -> None:
        first, last = number, number
        conditions: list[IndexCondition] = []
        at = number + 1
        misses = 0
        while misses <= 4 and at < len(self.items):
            condition = self._index_condition(name, at)
            if condition:
                values, end = condition
                conditions += values
                last = end - 1
                at = end
                misses = 2
                if self._has(at, "and", "to", "or", "comma") and self._has(
                    at + 1, "at_least", "at_most", "not"
                ):
                    at += 1
                    misses = 4
                continue
            blocked = self.items[at].any_of("class", "unit", "stop", "index", "thing")
            if self.used[at] or (blocked and self.items[at].text not in (":", "-")):
                break
            at += 1
            misses += 1
        if not conditions:
            before = self._index_before(name, number)
            if before:
                conditions, first = before
        if conditions:
            self._add("index", first, last, tuple(conditions))

    def _index_condition(self, name: str, at: int) -> tuple[list[IndexCondition], int] | None:
        """Conditions that begin at an item, and the item behind them."""
        start = at
        if self._has(start, "between"):
            start += 1
        low = self._number(start)
        if low and self._has(low[1], "to", "and"):
            high = self._number(low[1] + 1)
            if high and not self._area_follows(high[1]):
                bounds = sorted((low[0], high[0]))
                return [
                    IndexCondition(name, "above", bounds[0]),
                    IndexCondition(name, "below", bounds[1]),
                ], high[1]
        side = None
        if self._has(at, "not") and self._has(at + 1, "at_least", "at_most"):
            side = "at_most" if self._has(at + 1, "at_least") else "at_least"
            start = at + 2
        elif self._has(at, "at_least", "beyond"):
            side, start = "at_least", at + 1
        elif self._has(at, "at_most", "within"):
            side, start = "at_most", at + 1
        else:
            start = at
        while side and self._has(start, "from_words", "about") and not self._has(start, "number"):
            start += 1
        value = self._number(start)
        if not value or self._area_follows(value[1]):
            return None
        after_side, end = self._side_after(value[1])
        side = side or after_side or "at_least"
        if not -2 <= value[0] <= 2:
            return None
        return [IndexCondition(name, "above" if side == "at_least" else "below", value[0])], end

    def _index_before(self, name: str, number: int) -> tuple[list[IndexCondition], int] | None:
        """A condition that ends before the name: "above 0.5 NDVI"."""
        for at in (number - 1, number - 2, number - 3):
            value = self._number(at)
            if value and value[1] <= number and -2 <= value[0] <= 2:
                side, first = self._comparator(at)
                after_side, _ = self._side_after(value[1])
                side = side or after_side
                if side:
                    above = side == "at_least"
                    return [IndexCondition(name, "above" if above else "below", value[0])], first
        return None

    def _area_follows(self, number: int) -> bool:
        return self._has(number, "unit")

    # Areas and distances --------------------------------------------------------------------

    def _quantities(self) -> None:
        number = 0
        while number < len(self.items):
            number = self._quantity(number) or number + 1

    def _quantity(self, number: int) -> int | None:
        """Read the quantity that begins here; the item behind it."""
        value = self._number(number)
        if value is None:
            return None
        area = self._unit(value[1], AREA_UNITS)
        length = self._unit(value[1], LENGTH_UNITS)
        if self._has(value[1] + (1 if area else 0), "to", "and") and not length:
            ranged = self._range(number, value, area)
            if ranged:
                return ranged
        if length and self._has(value[1] + 1, "unit") is False:
            return self._length(number, value, length)
        if area:
            return self._area(number, value[0], area, value[1] + 1)
        side, first = self._comparator(number)
        after_side, end = self._side_after(value[1])
        if self.area_unit and (side or after_side) and not self._has(value[1], "unit"):
            if value[0] > 0:
                self._add_area(
                    side or after_side, value[0], self.area_unit, first, end - 1, "inherited"
                )
                return end
        return None

    def _range(self, number: int, low: tuple[float, int], low_unit: str | None) -> int | None:
        after = low[1] + (1 if low_unit else 0)
        high = self._number(after + 1)
        if not high:
            return None
        unit = self._unit(high[1], AREA_UNITS)
        if not unit or (self._comparator(number)[0] and not low_unit):
            return None
        first = number
        if self._has(number - 1, "between"):
            first -= 1
        elif self.items[after].text in ("and", "y", "e", "et", "und") or (
            low_unit and not (self._has(after, "to"))
        ):
            return None
        low_value, low_name = _converted(low[0], low_unit or unit)
        high_value, high_name = _converted(high[0], unit)
        self.area_unit = unit
        self._add("min_area", first, after - 1, (low_value, low_name), flags=frozenset({"range"}))
        end = high[1] + 1
        self._add("max_area", after, end - 1, (high_value, high_name), flags=frozenset({"range"}))
        return end

    def _area(self, number: int, value: float, unit: str, after: int) -> int:
        side, first = self._comparator(number)
        after_side, end = self._side_after(after)
        self.area_unit = unit
        if side and after_side and side != after_side:
            after_side, end = None, after
        self._add_area(side or after_side, value, unit, first, end - 1)
        return end

    def _add_area(
        self, side: str | None, value: float, unit: str, first: int, last: int, *flags: str
    ) -> None:
        kind = "max_area" if side == "at_most" else "min_area"
        every = frozenset((*flags, *(() if side else ("bare",))))
        self._add(kind, first, last, _converted(value, unit), flags=every)

    def _length(self, number: int, value: tuple[float, int], unit: str) -> int:
        side, first = self._comparator(number)
        after_side, end = self._side_after(value[1] + 1)
        side = side or after_side
        flags = set() if side else {"bare"}
        negation = self._negation_before(first)
        kind = "far" if side == "at_least" else "near"
        if negation is not None and side == "at_most":
            first, kind = negation, "far"
        if side is None and self._skip_words(first - 1, -1, 3, "far") is not None:
            kind = "far"
        if side is None and self._skip_words(end, 1, 2, "far") is not None:
            kind = "far"
        metres = value[0] * LENGTH_UNITS[unit]
        self._add("relation", first, end - 1, metres, detail=kind, flags=frozenset(flags))
        return end

    # Largest and smallest -------------------------------------------------------------------

    def _superlatives(self) -> None:
        for number in range(len(self.items)):
            if self._has(number, "largest", "smallest"):
                self._superlative(number)
            elif self._has(number, "north") and self.items[number].text == "top":
                count = self._number(number + 1)
                if count and count[0] == int(count[0]) and count[0] < 1000:
                    negation = self._skip_words(number - 1, -1, 3, "not")
                    sign = 1 if negation is None else -1
                    first = number if negation is None else negation
                    self._add("top", first, count[1] - 1, sign * int(count[0]))

    def _superlative(self, number: int) -> None:
        first, last = number, number
        count = 1.0
        flags = set[str]()
        if self._has(number + 1, "number") and not self._has(number + 2, "unit"):
            count, after = self._number(number + 1) or (1.0, number + 2)
            last = after - 1
        else:
            for at in (number - 1, number - 2, number - 3, number - 4):
                if self._has(at, "number"):
                    value, after = self._number(at) or (1.0, at + 1)
                    if after <= number:
                        count, first = value, at
                    break
                if not self._has(at, "word", "from_words", "this"):
                    break
        if self._has(first - 1, "ordinal"):
            first -= 1
            flags.add("ordinal")
        negation = self._skip_words(first - 1, -1, 3, "not")
        sign = 1
        if negation is not None:
            first, sign = negation, -1
        kind = "top" if self._has(number, "largest") else "bottom"
        if count >= 1:
            flags.add("counted" if first != number or last != number else "single")
            self._add(kind, first, last, sign * int(count), flags=frozenset(flags))

    # Parts of the scene ---------------------------------------------------------------------

    def _parts(self) -> None:
        for number in range(len(self.items)):
            if self._has(number, *PARTS):
                self._part(number)

    def _part(self, number: int) -> None:
        direction = next(part for part in PARTS if part in self.items[number])
        first, last = number, number
        after = number + 1
        if self._has(after, *PARTS[:4]) and direction in ("north", "south"):
            second = next(part for part in PARTS[:4] if part in self.items[after])
            if second in ("east", "west"):
                direction, last = direction + second, after
        flags = set[str]()
        third = False
        for at in (last + 1, last + 2):
            if self._has(at, "third") and direction in PARTS[:4]:
                third, last = True, at
                flags.add("part_word")
                break
            if self._has(at, "part_words"):
                last = at
                flags.add("part_word")
                break
            if not self._has(at, "from_words"):
                break
        for at in (first - 1, first - 2, first - 3):
            if self._has(at, "third") and direction in PARTS[:4]:
                third, first = True, at
                flags.add("part_word")
            elif self._has(at, "part_words") and "part_word" not in flags:
                first = at
                flags.add("part_word")
            elif not self._has(at, "from_words", "of_scene"):
                break
        if self._has(last + 1, "of_scene"):
            last += 1
            flags.add("of_scene")
        if third:
            direction += "_third"
        negation = self._skip_words(first - 1, -1, 3, "not")
        behind = last + 1 if self._has(last + 1, "free_after") else None
        if negation is not None or behind is not None:
            flags.add("negated")
            first = first if negation is None else negation
            last = last if behind is None else behind
            direction = _OPPOSITE.get(direction, f"-{direction}")
        self._add("where", first, last, (direction,), flags=frozenset(flags))

    # Relations without a distance -----------------------------------------------------------

    def _relations(self) -> None:
        for number in range(len(self.items)):
            if not self._has(number, "near", "far", "within", "beyond"):
                continue
            item = self.items[number]
            kind = "near" if item.any_of("near", "within") else "far"
            first = number
            flags = {"worded"}
            if item.any_of("near", "within") and self._negation_before(number) is not None:
                first, kind = number - 1, "far"
            if not item.any_of("near", "far"):
                flags.add("within_only")
            distance = self._stated_distance(number, kind)
            if distance is not None:
                place, element = distance
                if kind == "far" and "bare" in element.flags:
                    element = Element(
                        "relation", element.first, element.last, element.value, "far", element.flags
                    )
                self.found[place] = Element(
                    "relation",
                    min(first, element.first),
                    max(number, element.last),
                    element.value,
                    element.detail,
                    element.flags | flags,
                )
                self.used[first] = self.used[number] = True
                continue
            self._add("relation", first, number, None, detail=kind, flags=frozenset(flags))

    def _stated_distance(self, number: int, kind: str) -> tuple[int, Element] | None:
        """The distance that goes with a word such as near: beside it, or later in its clause."""
        for place, element in enumerate(self.found):
            if element.kind != "relation" or "worded" in element.flags:
                continue
            if 0 < element.first - number <= 6 and not self._clause_ends(number, element.first):
                return place, element
            if 0 < number - element.last <= 3 and not self._clause_ends(element.last, number):
                return place, element
        return None

    def _clause_ends(self, start: int, end: int) -> bool:
        return any(self._is(number, "stop") for number in range(start + 1, end))

    # The rest -------------------------------------------------------------------------------

    def _single(self, number: int, item: Item) -> None:
        flags = frozenset({"typo"}) if "typo" in item else frozenset()
        if "class" in item:
            term = item.values["class"]
            self._add("mention", number, number, term.class_name, detail=term, flags=flags)
        elif "thing" in item:
            self._add("thing", number, number, item.values["thing"], flags=flags)
        elif item.any_of("not", "free_after"):
            self._add("negation", number, number, "not" if "not" in item else "free_after")
        elif "whole_scene" in item:
            self._add("whole_scene", number, number)
        elif "any" in item:
            self._add("mention", number, number, ANY)
        elif "ordinal" in item:
            self._add("ordinal", number, number)


def _converted(value: float, unit: str) -> tuple[float, str]:
    factor, name = AREA_UNITS[unit]
    return value * factor, name


def flags_of(items: Sequence[Item]) -> Iterator[str]:
    """Kinds of words that concern the request as a whole."""
    for item in items:
        yield from item.values
