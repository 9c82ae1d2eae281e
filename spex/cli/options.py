"""What several sub-commands share: options, the scene argument, tables."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

SAMPLE = "sample"

SceneArgument = Annotated[
    str,
    typer.Argument(help="Raster file or URL, or the word `sample` for a small Sentinel-2 scene."),
]
SensorOption = Annotated[
    str | None,
    typer.Option(help="Sensor of the scene, for example sentinel-2a; `spex sensors` lists them."),
]
BandsOption = Annotated[
    str | None,
    typer.Option(help='Bands: "B02=490/65,B03=560/35" (name=centre/width in nm), or a JSON file.'),
]
ModelOption = Annotated[
    str | None, typer.Option(help="Checkpoint: name or folder. Default: the shipped model.")
]
AdapterOption = Annotated[
    Path | None, typer.Option(help="Folder of an adapter written by `spex train adapt`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


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
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(names)}.")
        return value

    return parse


@contextmanager
def scene_path(scene: str) -> Iterator[str]:
    """The path behind a scene argument; the sample is written to a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="spex-sample-") as folder:
        if scene == SAMPLE and not Path(scene).exists():
            from spex.raster.sample_scene import write_sample_scene

            scene = str(write_sample_scene(Path(folder)))
        yield scene


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that fits the terminal: all cells but the first of a row may wrap."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for cells in rows:
        table.add_row(*map(Text, cells))
    Console().print(table)
