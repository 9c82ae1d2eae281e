"""List the land-cover classes that a query can ask for, and what each requires."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from spex.cli.options import JsonOption, print_table

if TYPE_CHECKING:
    from spex.evidence.classes import LandClass

_EXAMPLES = 6  # synonyms shown in the table


def command(as_json: JsonOption = False) -> None:
    """List the land-cover classes that a query can ask for, and what each requires."""
    from spex.evidence.classes import classes

    land_classes = classes()
    if as_json:
        entries = [_describe(land_class) for land_class in land_classes.values()]
        typer.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    rows = []
    for land_class in land_classes.values():
        if land_class.parent is None:
            rows.append(_row(land_class))
            rows += [_row(land_classes[child], indent="  ") for child in land_class.children]
    print_table(("class", "for example", "requires"), rows)
    typer.echo('Ask for them in plain words: spex extract SCENE "lakes larger than 1 ha"')


def _describe(land_class: LandClass) -> dict[str, Any]:
    return {
        "name": land_class.name,
        "title": land_class.title,
        "parent": land_class.parent,
        "children": land_class.children,
        "synonyms": land_class.synonyms,
        "words": dict(land_class.words),
        "requires": land_class.needs,
        "confused_with": land_class.confused_with,
        "colour": land_class.colour,
        "codes": dict(land_class.codes),
    }


def _row(land_class: LandClass, indent: str = "") -> list[str]:
    examples = ", ".join(land_class.synonyms[:_EXAMPLES])
    return [f"{indent}{land_class.name}", examples, land_class.needs]
