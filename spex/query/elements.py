"""The elements of a request: classes named, constraints, relations, negations.

Elements are found by fixed rules on the items of the lexer, in any language. A rule adds all that
an item may mean: which of it is meant, and how elements belong together, is decided in
:mod:`spex.query.linking`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spex.query.constraints import ANY
from spex.query.index_conditions import find_index_conditions
from spex.query.lexer import Item
from spex.query.parts import find_parts
from spex.query.quantities import find_loose_numbers, find_quantities
from spex.query.ranks import find_ranks
from spex.query.relations import find_relations
from spex.query.scanner import Element, Scanner

__all__ = ["CONSTRAINTS", "Element", "elements_of"]

CONSTRAINTS = ("min_area", "max_area", "where", "top", "bottom", "index")


def elements_of(items: Sequence[Item]) -> list[Element]:
    """The elements of a request in order of their first item."""
    scanner = Scanner(items)
    find_index_conditions(scanner)
    find_quantities(scanner)
    find_ranks(scanner)
    find_parts(scanner)
    find_relations(scanner)
    find_loose_numbers(scanner)
    singles = [
        single
        for number, item in enumerate(items)
        if not scanner.used[number]
        for single in _singles(number, item)
    ]
    return sorted(
        dict.fromkeys([*scanner.found, *singles]),
        key=lambda element: (element.first, element.last),
    )


def _singles(number: int, item: Item) -> Iterator[Element]:
    """What an item means that no constraint or relation has taken."""
    flags = frozenset({"typo"}) if "typo" in item else frozenset[str]()
    if "class" in item:
        term = item.values["class"]
        yield Element("mention", number, number, term.class_name, term, flags)
    elif "thing" in item:
        yield Element("thing", number, number, item.values["thing"], flags=flags)
    elif item.any_of("not", "free_after"):
        kind = "not" if "not" in item else "free_after"
        yield Element("negation", number, number, kind)
    elif "whole_scene" in item:
        yield Element("whole_scene", number, number)
    elif "any" in item:
        yield Element("mention", number, number, ANY)
    elif "ordinal" in item:
        yield Element("ordinal", number, number)
