"""Make training data from your own scenes: build, check, show and count SPIE records."""

from __future__ import annotations

import json
import os
import shlex
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from spex.records import SpieRecord

command = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Records = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="A folder that `spex spie build` wrote, or a file of it."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Number of processes; all CPU cores by default."),
]


@command.command()
def build(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(help="Folder for chips, records (Parquet), report and data card.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT]...",
            help="Scenes: a folder, a glob, a CSV file or a STAC item collection. Also a folder "
            "of a published data set in its original layout.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="Name of the published layout of all inputs; detected by default."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Labels: a folder or glob of class rasters or vector files named like the "
            "scenes, or one file for all scenes. Without labels, spectral indices label the "
            "scenes (pseudo-labels)."
        ),
    ] = None,
    legend: Annotated[
        str | None,
        typer.Option(
            help="Meaning of the label codes: a legend such as esa_worldcover, a YAML mapping, or "
            "mask:CLASS for a binary mask."
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of vector labels that holds the class.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="YAML file of additional land-cover classes.")
    ] = None,
    sensor: Annotated[
        str | None,
        typer.Option(help="Sensor of the scenes, if their metadata do not state it."),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            help='Bands of the scenes: "B02=490/65,B03=560/35" (name=centre/width in nm), or a '
            "JSON file."
        ),
    ] = None,
    chip: Annotated[int, typer.Option(min=32, help="Maximum side of a chip in pixels.")] = 256,
    simulated: Annotated[
        int, typer.Option(min=0, metavar="N", help="Number of simulated chips to add.")
    ] = 0,
    spectra: Annotated[
        Path | None,
        typer.Option(
            help="Measured spectra for simulated chips: an .npz or .sli file, or a folder."
        ),
    ] = None,
    dialogues: Annotated[
        int, typer.Option(min=0, metavar="N", help="Number of conversations per chip.")
    ] = 30,
    val_share: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Fraction of the places for validation; the others are for training."
        ),
    ] = 0.15,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
    workers: Workers = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Stop at the first scene that cannot be used instead of skipping it."
        ),
    ] = False,
    llava: Annotated[
        bool, typer.Option("--llava", help="Also write the dialogues as LLaVA-style llava.jsonl.")
    ] = False,
) -> int:
    """Build training data from scenes and their labels.

    An interrupted build resumes with the same command. The exit status is 1 if scenes were skipped.
    """
    from instruction_data.builder.build import build as build_folder
    from instruction_data.builder.build_shards import BuildSettings
    from instruction_data.builder.card import write_card
    from instruction_data.sources.inputs import SceneOptions

    settings = BuildSettings(dialogues, simulated, seed, val_share, strict=strict)
    scenes = SceneOptions(
        labels=labels, legend=legend, column=column, sensor=sensor, bands=bands, chip=chip
    )
    report = build_folder(
        inputs or [],
        out,
        settings,
        scenes=scenes,
        layout=layout,
        spectra=spectra,
        classes=classes,
        workers=workers or _core_count(),
    )
    write_card(out, _command_line(context))
    if llava:
        from instruction_data.builder.llava import export

        export(out, out / "llava.jsonl")
    for line in report.lines():
        typer.echo(line)
    return 1 if report.skipped else 0


def _core_count() -> int:
    """Number of cores that this process may use; all cores on systems that do not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _command_line(context: typer.Context) -> str:
    """The build command as typed, without options that have their default value."""
    words = ["spex", "spie", "build", *(context.params["inputs"] or [])]
    for option in context.command.params:
        value = context.params[option.name or ""]
        if option.param_type_name != "option" or value in (None, option.default):
            continue
        words.append(option.opts[0])
        if value is not True:
            words.append(str(value))
    return shlex.join(words)


@command.command()
def check(
    path: Records,
    workers: Workers = None,
) -> int:
    """Check that records agree with their pixels and masks.

    Measures again what the records state. The exit status is 1 if a rule is violated.
    """
    from instruction_data.review.check import check as check_folder

    report = check_folder(path, workers or _core_count())
    for line in report.lines():
        typer.echo(line)
    return 1 if report.violations else 0


@command.command()
def show(
    path: Records,
    count: Annotated[int, typer.Option("-n", min=1, help="Number of records.")] = 5,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Draw random records as a contact sheet in this file: .html, or .png (Latin "
            "letters only).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed that chooses the records drawn.")] = 0,
) -> None:
    """Print the first records, or draw random ones with image, evidence, masks and dialogue."""
    if output is not None:
        from instruction_data.review.sheet import contact_sheet

        contact_sheet(path, output, count, seed)
        typer.echo(str(output))
        return
    from spex.records import read_records

    for record in islice(read_records(path), count):
        _print_record(record)


def _print_record(record: SpieRecord) -> None:
    typer.echo(
        f"{record.id} [{record.split}] {record.sensor}, {len(record.bands)} bands, "
        f"{record.scene.path}"
    )
    for turn in record.turns:
        typer.echo(f"  {turn.role}: {turn.content}")
    for span in record.spans:
        if not span.mask:
            continue
        share = span.mask.decode().mean()
        known_share = (~span.ignore.decode()).mean() if span.ignore else 1.0
        typer.echo(f"  {span.class_name}: {share:.1%} of the chip, {known_share:.0%} known")


@command.command()
def stats(
    path: Records,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Count records, classes, sensors, places and splits, and how often wordings repeat."""
    from instruction_data.review.stats import stats as count_records

    counts = count_records(path)
    if as_json:
        typer.echo(json.dumps(counts.to_dict(), indent=1, ensure_ascii=False))
    else:
        typer.echo(str(counts))


if __name__ == "__main__":
    from spex.cli.main import main

    sys.exit(main(["spie", *sys.argv[1:]]))
