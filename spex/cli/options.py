"""Options that several sub-commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

ModelOption = Annotated[
    str | None, typer.Option(help="Checkpoint: a name or a folder. Default: the shipped model.")
]
AdapterOption = Annotated[
    Path | None, typer.Option(help="Folder of an adapter written by `spex train adapt`.")
]
SensorOption = Annotated[
    str | None,
    typer.Option(help="Sensor of the scene, for example sentinel-2a. List: `spex sensors`."),
]
BandsOption = Annotated[
    str | None,
    typer.Option(
        help='Bands: "B02=490/65,B03=560/35" (name=centre/width in nm), or a JSON file of them.'
    ),
]


def name_parser(names: Mapping[str, str], deprecated: Mapping[str, str]) -> Callable[[str], str]:
    """Make the parser of ``--method``, which also accepts former names.

    Args:
        names: accepted names with a description of each.
        deprecated: former names, hidden from the help, with the name that replaces each.
    """

    def parse(value: str) -> str:
        if value in deprecated:
            typer.echo(f"Note: --method {value} is now called {deprecated[value]}", err=True)
            return deprecated[value]
        if value not in names:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(names)}")
        return value

    return parse
