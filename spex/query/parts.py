"""Parts of the scene: halves, quarters, thirds, the center and the edge."""

from __future__ import annotations

from spex.query.scanner import Scanner

PARTS = ("north", "south", "east", "west", "northeast", "northwest", "southeast", "southwest",
         "center", "edge")  # fmt: skip
_SIDES = PARTS[:4]
_OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
_REACH = 6
_OF = (
    "of", "of the", "de", "del", "de la", "de los", "de las", "do", "da", "dos", "das", "du",
    "des", "d'", "von", "vom",
)  # fmt: skip
"""Words between a direction and what it is seen from."""


def find_parts(scanner: Scanner) -> None:
    """Add the parts of the scene that directions name."""
    for number in range(len(scanner.items)):
        if scanner.has(number, *PARTS):
            _part(scanner, number)


def _part(scanner: Scanner, number: int) -> None:
    direction = next(part for part in PARTS if part in scanner.items[number])
    first, last = number, number
    joined = _joined(scanner, number, direction)
    if joined:
        direction, last = joined, number + 1
    flags = set[str]()
    third = False
    for at in (last + 1, last + 2):
        if scanner.has(at, "third") and direction in _SIDES:
            third, last = True, at
            flags.add("part_word")
            break
        if scanner.has(at, "part_words"):
            last = at
            flags.add("part_word")
            break
        if not scanner.has(at, "from_words"):
            break
    for at in (first - 1, first - 2, first - 3):
        if scanner.has(at, "third") and direction in _SIDES:
            third, first = True, at
            flags.add("part_word")
        elif scanner.has(at, "part_words") and "part_word" not in flags:
            first = at
            flags.add("part_word")
        elif not scanner.has(at, "from_words", "of_scene"):
            break
    if scanner.has(last + 1, "of_scene"):
        last += 1
        flags.add("of_scene")
    if not flags and _seen_from(scanner, last, "class"):
        flags.add("relative")
    middle = None if flags else _seen_from(scanner, last, "center")
    last = middle or last
    other_size = _other_size(scanner, direction, number, third)
    if third:
        direction += "_third"
    negation = scanner.skip_words(first - 1, -1, 3, "not")
    behind = last + 1 if scanner.has(last + 1, "free_after") else None
    if negation is not None or behind is not None:
        flags.add("negated")
        first = first if negation is None else negation
        last = last if behind is None else behind
        direction, other_size = _away(direction), other_size and _away(other_size)
    scanner.add("where", first, last, (direction,), flags=frozenset(flags))
    if other_size:
        scanner.also("where", first, last, (other_size,), flags=frozenset(flags | {"distant"}))


def _joined(scanner: Scanner, number: int, direction: str) -> str | None:
    """A corner named by two directions in either order: "top right", "rechts unten"."""
    if not scanner.has(number + 1, *_SIDES) or direction not in _SIDES:
        return None
    second = next(part for part in _SIDES if part in scanner.items[number + 1])
    for name in (direction + second, second + direction):
        if name in PARTS:
            return name
    return None


def _seen_from(scanner: Scanner, last: int, kind: str) -> int | None:
    """The item that a direction is seen from: "north of the lake", "east of the middle"."""
    after = last + 1
    if not (scanner.has(after, "from_words") and scanner.items[after].text in _OF):
        return None
    return next((at for at in (after + 1, after + 2) if scanner.has(at, kind)), None)


def _other_size(scanner: Scanner, direction: str, number: int, third: bool) -> str | None:
    """The half where a third is named, or the third where one is named further away."""
    if direction not in _SIDES:
        return None
    if third:
        return direction
    for step in (1, -1):
        for at in range(number + step, number + step * (_REACH + 1), step):
            if scanner.is_any(at, "stop"):
                break
            if scanner.is_any(at, "third"):
                return f"{direction}_third"
    return None


def _away(part: str) -> str:
    return _OPPOSITE.get(part, f"-{part}")
