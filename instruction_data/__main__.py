"""Build, check and show SPIE instruction data."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

command = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)


@command.command()
def build(
    data: Annotated[Path, typer.Option(help="folder with the labelled data folders")],
    out: Annotated[Path, typer.Option(help="folder for chips and Parquet shards")],
    simulated: Annotated[int, typer.Option(min=0, help="number of simulated scenes")] = 0,
    dialogues: Annotated[int, typer.Option(min=0, help="conversations per chip")] = 30,
    seed: Annotated[int, typer.Option(help="seed of everything drawn")] = 0,
) -> None:
    """Build records from real scenes and simulated ones; goes on where an interrupted build stopped."""
    from instruction_data.build import build as run

    for shard, count in run(data, out, simulated=simulated, dialogues=dialogues, seed=seed).items():
        typer.echo(f"{shard}: {count} records")


@command.command()
def check(path: Annotated[Path, typer.Argument(help="a .parquet file or a folder of them")]) -> None:
    """Validate records: schema, masks and rasters, answers and grammar, no place in both splits."""
    from instruction_data.check import check as run

    counts = run(path)
    for (kind, split), count in sorted(counts.items()):
        typer.echo(f"{kind}, {split}: {count} records")


@command.command()
def show(
    path: Annotated[Path, typer.Argument(help="a .parquet file or a folder of them")],
    count: Annotated[int, typer.Option("-n", min=1, help="how many records")] = 5,
) -> None:
    """Print the first records: conversation, and per class how much of the chip it covers."""
    from spex.records import read_records

    for record in islice(read_records(path), count):
        typer.echo(f"{record.id} [{record.split}] {record.sensor}, {len(record.bands)} bands, {record.scene.path}")
        for turn in record.turns:
            typer.echo(f"  {turn.role}: {turn.content}")
        for span in record.spans:
            if span.mask:
                known = ~span.ignore.decode() if span.ignore else span.mask.decode() | True
                typer.echo(
                    f"  {span.class_name}: {span.mask.decode().mean():.1%} of the chip, {known.mean():.0%} known"
                )


if __name__ == "__main__":
    from spex.cli.main import main

    sys.exit(main(["spie", *sys.argv[1:]]))
