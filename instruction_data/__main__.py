"""Build, check and show SPIE instruction data."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

command = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
Records = Annotated[
    Path, typer.Argument(metavar="PATH", help="a built folder, or one .parquet file")
]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="processes; by default, one per core")
]


@command.command()
def build(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(help="folder for chips, Parquet shards, report and data card")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT]...",
            help="folders, globs, CSV files or STAC item collections of scenes",
        ),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="take the inputs for this published layout")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="folder or glob of class rasters, or one vector file")
    ] = None,
    legend: Annotated[
        str | None, typer.Option(help="legend of the labels: a name, a YAML file or mask:CLASS")
    ] = None,
    column: Annotated[str | None, typer.Option(help="class column of vector labels")] = None,
    classes: Annotated[
        Path | None, typer.Option(help="YAML file of classes that SPEX does not have")
    ] = None,
    sensor: Annotated[
        str | None, typer.Option(help="sensor of the scenes, where they do not say")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="bands of the scenes: NAME=NM/FWHM,... or a JSON file")
    ] = None,
    chip: Annotated[int, typer.Option(min=32, help="side of a chip in pixels, at most")] = 256,
    simulated: Annotated[
        int, typer.Option(min=0, metavar="N", help="number of simulated chips")
    ] = 0,
    spectra: Annotated[
        Path | None, typer.Option(help="folder of measured spectra for the simulator")
    ] = None,
    dialogues: Annotated[int, typer.Option(min=0, metavar="N", help="conversations per chip")] = 30,
    val_share: Annotated[
        float, typer.Option(min=0, max=1, help="share of the places kept for validation")
    ] = 0.15,
    seed: Annotated[int, typer.Option(min=0, help="seed of everything drawn")] = 0,
    workers: Workers = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="refuse at the first scene that cannot be used")
    ] = False,
    llava: Annotated[
        bool, typer.Option("--llava", help="also write LLaVA-style llava.jsonl")
    ] = False,
) -> int:
    """Build records from scenes and simulated ones; goes on where an interrupted build stopped."""
    from instruction_data.builder.build import BuildSettings
    from instruction_data.builder.build import build as run
    from instruction_data.builder.card import write_card
    from instruction_data.sources.inputs import SceneOptions

    settings = BuildSettings(dialogues, simulated, seed, val_share, strict=strict)
    scenes = SceneOptions(
        labels=labels, legend=legend, column=column, sensor=sensor, bands=bands, chip=chip
    )
    report = run(
        inputs or [], out, settings, scenes=scenes, layout=layout, spectra=spectra, classes=classes,
        workers=workers or _cores(),
    )  # fmt: skip
    write_card(out, _written(context))
    if llava:
        from instruction_data.builder.llava import export

        export(out, out / "llava.jsonl")
    for line in report.lines():
        typer.echo(line)
    return 1 if report.skipped else 0


def _cores() -> int:
    """Cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _written(context: typer.Context) -> str:
    """The command as it could be typed, without the options left at their defaults."""
    words = ["spex", "spie", "build", *(context.params["inputs"] or [])]
    for option in context.command.params:
        value = context.params[option.name or ""]
        if option.param_type_name == "option" and value not in (None, option.default):
            words += [option.opts[0]] if value is True else [option.opts[0], str(value)]
    return shlex.join(words)


@command.command()
def check(
    path: Records,
    workers: Workers = None,
) -> int:
    """Work out again what records claim: schema, masks, answers, priors, splits; exit status 1 names violations."""
    from instruction_data.review.check import check as run

    report = run(path, workers or _cores())
    for line in report.lines():
        typer.echo(line)
    return 1 if report.violations else 0


@command.command()
def show(
    path: Records,
    count: Annotated[int, typer.Option("-n", min=1, help="how many records")] = 5,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="contact sheet of random records, .html or .png (plain letters)"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="chooses the records of a sheet")] = 0,
) -> None:
    """Print the first records, or draw random ones: image, evidence, mask and dialogue."""
    if output is not None:
        from instruction_data.review.sheet import contact_sheet

        contact_sheet(path, output, count, seed)
        typer.echo(str(output))
        return
    from itertools import islice

    from spex.records import read_records

    for record in islice(read_records(path), count):
        typer.echo(
            f"{record.id} [{record.split}] {record.sensor}, {len(record.bands)} bands, {record.scene.path}"
        )
        for turn in record.turns:
            typer.echo(f"  {turn.role}: {turn.content}")
        for span in record.spans:
            if span.mask:
                known = ~span.ignore.decode() if span.ignore else span.mask.decode() | True
                typer.echo(
                    f"  {span.class_name}: {span.mask.decode().mean():.1%} of the chip, {known.mean():.0%} known"
                )


@command.command()
def stats(
    path: Records, as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False
) -> None:
    """Count records, classes, sensors, places, splits and how often wording repeats."""
    from instruction_data.review.stats import stats as run

    found = run(path)
    typer.echo(json.dumps(found.to_dict(), indent=1, ensure_ascii=False) if as_json else str(found))


if __name__ == "__main__":
    from spex.cli.main import main

    sys.exit(main(["spie", *sys.argv[1:]]))
