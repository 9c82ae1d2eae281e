"""Conditions on spectral indices: "NDVI above 0.5", "between 0.2 and 0.4"."""

from __future__ import annotations

from spex.query.constraints import IndexCondition
from spex.query.scanner import Scanner

_Condition = tuple[list[IndexCondition], int]  # conditions and the item behind them
_LARGEST = 2.0


def find_index_conditions(scanner: Scanner) -> None:
    """Add the conditions that stand behind or before the name of an index."""
    for number, item in enumerate(scanner.items):
        if "index" in item and not scanner.used[number]:
            _index(scanner, number, item.values["index"])


def _index(scanner: Scanner, number: int, name: str) -> None:
    first, last = number, number
    conditions: list[IndexCondition] = []
    at = number + 1
    misses = 0
    while misses <= 4 and at < len(scanner.items):
        condition = _condition(scanner, name, at, bare=not conditions)
        if condition:
            conditions += condition[0]
            at = condition[1]
            last = at - 1
            misses = 2
            goes_on = scanner.has(at, "and", "to", "or", "comma")
            if goes_on and scanner.has(at + 1, "at_least", "at_most", "not"):
                at += 1
                misses = 4
            continue
        item = scanner.items[at]
        blocked = item.any_of("class", "unit", "stop", "index", "thing")
        if scanner.used[at] or (blocked and item.text not in (":", "-")):
            break
        at += 1
        misses += 1
    if not conditions:
        before = _condition_before(scanner, name, number)
        if before:
            conditions, first = before
    if conditions:
        scanner.measure(first, last)
        scanner.add("index", first, last, tuple(conditions))
        if len(conditions) > 1:  # they may belong to different classes
            for single in conditions:
                scanner.also("index", first, last, (single,), flags=frozenset({"distant"}))


def _condition(scanner: Scanner, name: str, at: int, bare: bool) -> _Condition | None:
    """Conditions that begin at an item; ``bare``: also a value without comparator."""
    start = at + 1 if scanner.has(at, "between") else at
    ranged = _range(scanner, name, start)
    if ranged:
        return ranged
    side = None
    start = at
    if scanner.has(at, "not") and scanner.has(at + 1, "at_least", "at_most"):
        side = "at_most" if scanner.has(at + 1, "at_least") else "at_least"
        start = at + 2
    elif scanner.has(at, "at_least", "beyond"):
        side, start = "at_least", at + 1
    elif scanner.has(at, "at_most", "within"):
        side, start = "at_most", at + 1
    if scanner.has(at, "number") and side:  # "positive"
        start = at
    while side and scanner.has(start, "from_words", "about") and not scanner.has(start, "number"):
        start += 1
    value = _value(scanner, start)
    if value is None:
        return None
    after_side, end = scanner.side_after(value[1])
    side = side or after_side
    if side == "at_least" and scanner.has(end, "to"):  # "at least 0.4 but not more than 0.7"
        high = _value(scanner, end + 1)
        if high:
            return [_bound(name, side, value[0]), _bound(name, "at_most", high[0])], high[1]
    if side is None and not bare:
        return None
    return [_bound(name, side or "at_least", value[0])], end


def _range(scanner: Scanner, name: str, start: int) -> _Condition | None:
    low = _value(scanner, start)
    if low and scanner.has(low[1], "to", "and"):
        high = _value(scanner, low[1] + 1)
        if high:
            bounds = sorted((low[0], high[0]))
            return [_bound(name, "at_least", bounds[0]), _bound(name, "at_most", bounds[1])], high[
                1
            ]
    return None


def _condition_before(scanner: Scanner, name: str, number: int) -> _Condition | None:
    """A condition that ends before the name, with its first item: "above 0.5 NDVI"."""
    for at in (number - 5, number - 4, number - 3):
        ranged = _range(scanner, name, at)
        if ranged and ranged[1] in (number, number - 1):
            return ranged[0], at
    for at in (number - 1, number - 2, number - 3):
        value = _value(scanner, at)
        if value and value[1] <= number:
            side, first = scanner.comparator(at)
            side = side or scanner.side_after(value[1])[0]
            if scanner.has(at, "at_least", "at_most"):  # "positive"
                side = "at_least" if scanner.has(at, "at_least") else "at_most"
            if side:
                return [_bound(name, side, value[0])], first
    return None


def _value(scanner: Scanner, at: int) -> tuple[float, int] | None:
    """A value that an index may have; no share of the scene, no area."""
    value = scanner.number(at)
    if value is None or abs(value[0]) > _LARGEST or scanner.is_any(value[1], "unit"):
        return None
    if scanner.is_any(value[1], "to", "and"):  # "1 to 100 ha"
        high = scanner.number(value[1] + 1)
        if high and scanner.is_any(high[1], "unit"):
            return None
    return None if scanner.is_any(at, "part_words", "third", "from_words") else value


def _bound(name: str, side: str, value: float) -> IndexCondition:
    return IndexCondition(name, "above" if side == "at_least" else "below", value)
