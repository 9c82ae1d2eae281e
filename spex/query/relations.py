"""Relations to other classes in words: near, far from, with or without a distance."""

from __future__ import annotations

from dataclasses import replace

from spex.query.scanner import Element, Scanner


def find_relations(scanner: Scanner) -> None:
    """Add relations in words, joined to the distance that belongs to them."""
    for number in range(len(scanner.items)):
        if scanner.has(number, "near", "far", "within", "beyond"):
            _relation(scanner, number)


def _relation(scanner: Scanner, number: int) -> None:
    item = scanner.items[number]
    kind = "near" if item.any_of("near", "within") else "far"
    first = number
    flags = {"worded"}
    if item.any_of("near", "within") and scanner.negation_before(number) is not None:
        first, kind = number - 1, "far"
    if not item.any_of("near", "far"):
        flags.add("within_only")
    distance = _stated_distance(scanner, number)
    if distance is None:
        scanner.add("relation", first, number, None, detail=kind, flags=frozenset(flags))
        return
    place, element = distance
    detail = kind if kind == "far" and "bare" in element.flags else element.detail
    scanner.found[place] = replace(
        element,
        first=min(first, element.first),
        last=max(number, element.last),
        detail=detail,
        flags=element.flags | flags,
    )
    if item.any_of("near", "far"):  # the distance may belong to another relation
        scanner.also(
            "relation", first, number, None, detail=kind, flags=frozenset({"worded", "distant"})
        )
    scanner.used[first] = scanner.used[number] = True


def _stated_distance(scanner: Scanner, number: int) -> tuple[int, Element] | None:
    """The distance that goes with a word such as near: beside it, or later in its clause."""
    for place, element in enumerate(scanner.found):
        if element.kind != "relation" or "worded" in element.flags:
            continue
        ahead, behind = element.first - number, number - element.last
        if 0 < ahead <= 6 and not scanner.clause_ends(number, element.first):
            return place, element
        if 0 < behind <= 3 and not scanner.clause_ends(element.last, number):
            return place, element
    return None
