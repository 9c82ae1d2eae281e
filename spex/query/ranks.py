"""The largest and smallest regions: "the three largest", "all but the smallest"."""

from __future__ import annotations

from spex.query.lexicon import HAN
from spex.query.parts import PARTS
from spex.query.scanner import Scanner

_MOST = 999
_REACH = 7


def find_ranks(scanner: Scanner) -> None:
    """Add ranks by area, with the count beside the superlative and those further away."""
    for number, item in enumerate(scanner.items):
        top = item.text == "top" and scanner.is_any(number + 1, "number")
        if (top or item.any_of("largest", "smallest")) and not scanner.measured[number]:
            _rank(scanner, number)


def _rank(scanner: Scanner, number: int) -> None:
    kind = "bottom" if scanner.is_any(number, "smallest") else "top"
    first, last, count = _counted(scanner, number)
    flags = {"counted" if count > 1 or first != number or last != number else "single"}
    if scanner.has(first - 1, "ordinal"):
        first -= 1
        flags.add("ordinal")
    negation = scanner.skip_words(first - 1, -1, 3, "not")
    sign = 1
    if negation is not None:
        first, sign = negation, -1
    if scanner.is_any(number, *PARTS):
        scanner.also(kind, first, last, sign * count, flags=frozenset(flags))
    else:
        scanner.add(kind, first, last, sign * count, flags=frozenset(flags))
    others = dict.fromkeys([*_distant_counts(scanner, number), *_ranks_named(scanner, number)])
    for other in others:
        if other != count:
            scanner.also(kind, number, number, sign * other, flags=frozenset({"distant"}))


def _counted(scanner: Scanner, number: int) -> tuple[int, int, int]:
    """First item, last item and count of a superlative with a number beside it."""
    start = number + 1
    if scanner.has(start, "from_words") and HAN.match(scanner.items[start].text):  # "最大的三块"
        start += 1
    behind = _count(scanner, start)
    if behind and scanner.has(start, "number"):
        return number, behind[1] - 1, behind[0]
    noun = False
    for at in range(number - 1, number - 5, -1):
        if scanner.has(at, "number"):
            before = _count(scanner, at)
            if before and before[1] <= number:
                return (number if noun else at), number, before[0]
        if scanner.has(at, "class", "thing") and not noun:  # "las dos lagunas más grandes"
            noun = True
        elif not scanner.has(at, "word", "from_words", "this"):
            break
    return number, number, 1


def _count(scanner: Scanner, at: int) -> tuple[int, int] | None:
    """A count at an item, with the item behind it."""
    value = scanner.number(at)
    if value is None or scanner.is_any(value[1], "unit"):
        return None
    whole = value[0] == int(value[0]) and 1 <= value[0] <= _MOST
    return (int(value[0]), value[1]) if whole else None


def _distant_counts(scanner: Scanner, number: int) -> list[int]:
    """Counts in the same sentence: "the three lakes (largest)", "the largest, seven of them"."""
    counts = []
    for step in (1, -1):
        for at in range(number + step, number + step * (_REACH + 1), step):
            if scanner.is_any(at, "stop"):
                break
            if scanner.is_any(at, "number") and not scanner.measured[at]:
                value: float = scanner.items[at].values["number"]
                unit_follows = scanner.is_any(at + 1, "unit") and not scanner.is_any(at + 1, "any")
                if value == int(value) and 1 <= value <= _MOST and not unit_follows:
                    counts.append(int(value))
    return counts


def _ranks_named(scanner: Scanner, number: int) -> list[int]:
    """Two, where the second largest is named besides the largest."""
    ordinal = any(scanner.is_any(at, "ordinal") for at in range(number - 1, number + 6))
    return [2] if ordinal else []
