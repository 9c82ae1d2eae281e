"""Areas and distances: numbers with a unit, ranges, and numbers whose unit stands elsewhere."""

from __future__ import annotations

from typing import NamedTuple

from spex.query.constraints import IndexCondition
from spex.query.lexicon import AREA_UNITS, LENGTH_UNITS
from spex.query.scanner import Scanner

_UNITS = {**AREA_UNITS, **LENGTH_UNITS}
_BEHIND_NUMBERS = ("to", "and", "or", "comma", "stop", "at_least_after", "at_most_after", "bracket")
_MOST_LOOSE = 12
_FEW = 4
_COMPARING = ("at_least", "at_most", "within", "beyond", "between", "to", "and", "about", "near",
              "far", "at_least_after", "at_most_after")  # fmt: skip


class _Amount(NamedTuple):
    """A number with its unit.

    Attributes:
        value: in the unit.
        unit: of ``AREA_UNITS`` or ``LENGTH_UNITS``.
        end: the item behind.
        side: of a comparator between number and unit, as in "5+ ha".
        alternative: the value without what follows the unit, as in "2 ha and a half".
    """

    value: float
    unit: str
    end: int
    side: str | None = None
    alternative: float | None = None


def find_quantities(scanner: Scanner) -> None:
    """Add the areas and distances with a unit."""
    number = 0
    while number < len(scanner.items):
        number = _quantity(scanner, number) or number + 1


def _amount(scanner: Scanner, number: int) -> _Amount | None:
    value = scanner.number(number)
    if value is None:
        if scanner.unit(number, _UNITS) and not scanner.is_any(number - 1, "number"):
            return _amount_without_number(scanner, number)
        return None
    side, at = scanner.side_after(value[1])
    if not scanner.unit(at, _UNITS) and scanner.has(at, "word", "about", "from_words"):
        at += 1
        if scanner.unit(at, LENGTH_UNITS):  # "3 lakes m" is no distance
            return None
    unit = scanner.unit(at, _UNITS)
    if unit is None:
        return None
    half = _half_behind(scanner, at + 1)
    if half and value[0] == int(value[0]):
        return _Amount(value[0] + half[0], unit, half[1], side, value[0])
    return _Amount(value[0], unit, at + 1, side)


def _amount_without_number(scanner: Scanner, number: int) -> _Amount | None:
    """One of the unit: "a kilómetro y medio", "hectare or more"."""
    unit = scanner.unit(number, _UNITS)
    half = _half_behind(scanner, number + 1)
    if unit and half:
        return _Amount(1 + half[0], unit, half[1])
    compared = scanner.comparator(number)[0] or scanner.side_after(number + 1)[0]
    if unit and compared and unit not in ("px", "%"):
        return _Amount(1.0, unit, number + 1)
    return None


def _half_behind(scanner: Scanner, at: int) -> tuple[float, int] | None:
    """A fraction behind a unit, with the item behind it: "2 ha and a half"."""
    linked = scanner.has(at, "and") and not scanner.has(at, "number")
    start = at + 1 if linked else at
    while linked and scanner.has(start, "from_words") and not scanner.has(start, "number"):
        start += 1
    if not scanner.has(start, "number") or scanner.items[start].text[0].isdigit():
        return None
    fraction: float = scanner.items[start].values["number"]
    if not 0 < fraction < 1 or scanner.is_any(start + 1, "unit", "of_scene"):
        return None
    return fraction, start + 1


def _quantity(scanner: Scanner, number: int) -> int | None:
    """Add the quantity that begins here; the item behind it."""
    ranged = _range(scanner, number)
    if ranged:
        return ranged
    amount = _amount(scanner, number)
    if amount is None:
        return None
    side, first = scanner.comparator(number)
    after_side, end = scanner.side_after(amount.end)
    if side and after_side and side != after_side:
        after_side, end = None, amount.end
    side = side or amount.side or after_side
    scanner.measure(number, end - 1)
    if amount.unit in LENGTH_UNITS:
        _add_length(scanner, amount, side, first, end - 1)
    else:
        _add_area(scanner, amount, side, first, end - 1)
    return end


def _range(scanner: Scanner, number: int) -> int | None:
    """Add a range of areas, such as "2 to 5 ha"; the item behind it."""
    low = scanner.number(number)
    if low is None:
        return None
    low_unit = scanner.unit(low[1], AREA_UNITS)
    after = low[1] + (1 if low_unit else 0)
    high = scanner.number(after + 1) if scanner.has(after, "to", "and") else None
    if high is None:
        return None
    unit = scanner.unit(high[1], AREA_UNITS)
    between = scanner.has(number - 1, "between")
    compared = scanner.comparator(number)[0] is not None and not between
    if unit is None or (compared and not low_unit):
        return None
    if not between and not scanner.has(after, "to"):
        return None
    end = high[1] + 1
    scanner.measure(number, end - 1)
    flags = frozenset({"range"})
    low_value = _converted(abs(low[0]), low_unit or unit)
    scanner.add("min_area", number - int(between), after - 1, low_value, flags=flags)
    high_value = _converted(abs(high[0]), unit)
    scanner.add("max_area", after, end - 1, high_value, flags=flags)
    return end


def _add_area(scanner: Scanner, amount: _Amount, side: str | None, first: int, last: int) -> None:
    kind = "max_area" if side == "at_most" else "min_area"
    flags = frozenset() if side else frozenset({"bare"})
    scanner.add(kind, first, last, _converted(amount.value, amount.unit), flags=flags)
    if amount.alternative is not None:
        value = _converted(amount.alternative, amount.unit)
        scanner.also(kind, first, last, value, flags=flags | {"distant"})


def _add_length(scanner: Scanner, amount: _Amount, side: str | None, first: int, last: int) -> None:
    flags = frozenset() if side else frozenset({"bare"})
    kind = "far" if side == "at_least" else "near"
    negation = scanner.negation_before(first)
    if negation is not None and side == "at_most":
        first, kind = negation, "far"
    behind = scanner.skip_words(last + 1, 1, 2, "far")
    if side is None and (behind or scanner.skip_words(first - 1, -1, 3, "far") is not None):
        kind = "far"
    metres = amount.value * LENGTH_UNITS[amount.unit]
    scanner.add("relation", first, last, metres, detail=kind, flags=flags)
    if amount.alternative is not None:
        metres = amount.alternative * LENGTH_UNITS[amount.unit]
        scanner.also("relation", first, last, metres, detail=kind, flags=flags | {"distant"})


def _converted(value: float, unit: str) -> tuple[float, str]:
    factor, name = AREA_UNITS[unit]
    return float(f"{value * factor:.6g}"), name  # shown, so without the noise of conversion


# Numbers without a unit ----------------------------------------------------------------------


def find_loose_numbers(scanner: Scanner) -> None:
    """Add what numbers without a unit may mean, by the units and indices of the request.

    "Between 50 and 300 m" states the unit once; so does "meadows over 2 ha, woods over 5".
    """
    units = dict.fromkeys(
        str(item.values["unit"])
        for number, item in enumerate(scanner.items)
        if "unit" in item and (scanner.measured[number] or item.values["unit"] in AREA_UNITS)
    )
    names = dict.fromkeys(item.values["index"] for item in scanner.items if "index" in item)
    loose = [
        number
        for number, item in enumerate(scanner.items)
        if "number" in item and not scanner.measured[number] and not _is_article(scanner, number)
    ]
    few = len(loose) <= _FEW
    loose = [number for number in loose if few or _is_compared(scanner, number)]
    for number in loose[:_MOST_LOOSE]:
        _loose_number(scanner, number, list(units), list(names))


def _is_article(scanner: Scanner, number: int) -> bool:
    """Whether a number is a small word before another: "a", "un"."""
    item = scanner.items[number]
    small = item.any_of("from_words", "this") and not item.text[0].isdigit()
    follows = number + 1 < len(scanner.items)
    return small and follows and not scanner.is_any(number + 1, *_BEHIND_NUMBERS)


def _is_compared(scanner: Scanner, number: int) -> bool:
    beside = (number - 2, number - 1, number, number + 1)
    return any(scanner.is_any(at, *_COMPARING) for at in beside)


def _loose_number(scanner: Scanner, number: int, units: list[str], names: list[str]) -> None:
    value: float = scanner.items[number].values["number"]
    value, after = scanner.number(number) or (value, number + 1)
    side = _loose_side(scanner, number, after)
    flags = frozenset({"loose"} if side else {"loose", "bare"})
    kind = "max_area" if side == "at_most" else "min_area"
    if value > 0:
        for unit in units:
            if unit in AREA_UNITS:
                scanner.also(kind, number, after - 1, _converted(value, unit), flags=flags)
            else:
                metres = value * LENGTH_UNITS[unit]
                detail = "far" if side == "at_least" else "near"
                scanner.also("relation", number, after - 1, metres, detail=detail, flags=flags)
    if 0 < value < 1 and not scanner.items[number].text[0].isdigit():
        scanner.also(kind, number, after - 1, (100 * value, "%"), flags=flags | {"share"})
    if abs(value) <= 1:
        for name in names:
            condition = IndexCondition(name, "below" if side == "at_most" else "above", value)
            scanner.also("index", number, after - 1, (condition,), flags=flags)


def _loose_side(scanner: Scanner, number: int, after: int) -> str | None:
    """The side that a loose number is compared on, where a word beside it says so."""
    for at in (number - 1, number - 2, number):
        if scanner.is_any(at, "at_least", "beyond", "between"):
            return "at_least"
        if scanner.is_any(at, "at_most", "within", "to"):
            return "at_most"
    return scanner.side_after(after)[0]
