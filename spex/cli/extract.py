"""Answer a query on a scene: masks, regions, facts and an explanation in a result folder."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from spex.cli.options import name_parser
from spex.engine.extractor import Extractor, load
from spex.engine.session import Progress
from spex.errors import ConfigError
from spex.query.prompt import clean_query
from spex.raster.scene import Scene
from spex.results.extraction import Extraction
from spex.results.folder import check_folder

SAMPLE = "sample"


METHODS = {"model": "the model", "rules": "the spectral index rules alone, no weights"}


def command(
    scene: Annotated[
        str,
        typer.Argument(
            help="Raster file or URL, or the word `sample` for a small Sentinel-2 scene."
        ),
    ],
    query: Annotated[
        str, typer.Argument(help='What to find, for example "open water larger than 1 ha".')
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Result folder; made if it is not there.")
    ],
    method: Annotated[
        str,
        typer.Option(
            parser=name_parser(METHODS, deprecated={"prior": "rules"}),
            autocompletion=lambda: list(METHODS.items()),
            metavar="|".join(METHODS),
            help="The model, or the spectral index rules alone (no weights).",
        ),
    ] = "model",
    model: Annotated[
        str | None, typer.Option(help="Checkpoint: name or folder. The shipped one if left out.")
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a region or class that the model learned with `spex train adapt`."
        ),
    ] = None,
    sensor: Annotated[
        str | None, typer.Option(help="Sensor of the scene, for example sentinel-2a.")
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            help='Bands: "B02=490/65,B03=560/35" (name=centre/width in nm), or a JSON file.'
        ),
    ] = None,
    gsd: Annotated[
        float | None,
        typer.Option(min=0.001, help="Pixel size in metres of a scene without georeference."),
    ] = None,
    tile: Annotated[int, typer.Option(help="Side of a tile in pixels.")] = 512,
    overlap: Annotated[int, typer.Option(help="Pixels that neighbouring tiles share.")] = 64,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print extraction.json instead of the summary.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no summary.")] = False,
) -> None:
    """Answer a query on a scene: masks, regions, facts and an explanation in a result folder."""
    clean_query(query)
    if method == "rules" and (model or adapter):
        raise ConfigError("--model and --adapter need --method model: the rules have no weights")
    check_folder(out, overwrite=overwrite)
    with _scene(scene, sensor, bands, gsd) as opened:
        extractor: Extractor = load("rules" if method == "rules" else model, adapter=adapter)
        with _progress(quiet) as progress:
            extraction = extractor.extract(
                opened, query, tile=tile, overlap=overlap, progress=progress
            )
        extraction.save(out, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps(extraction.to_dict(), indent=2, ensure_ascii=False))
    elif not quiet:
        typer.echo(_summary(extraction, out))
    if extraction.failed:
        typer.echo(
            f"spex: {len(extraction.failed)} of {extraction.tiles} tiles failed (no data); see {out}/explanation.md",
            err=True,
        )
        raise typer.Exit(1)


@contextmanager
def _scene(path: str, sensor: str | None, bands: str | None, gsd: float | None) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="spex-sample-") as folder:
        if path == SAMPLE and not Path(path).exists():
            from spex.raster.sample_scene import write_sample_scene

            path = str(write_sample_scene(Path(folder)))
        yield Scene.open(path, sensor=sensor, bands=bands, gsd_m=gsd)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
    """A progress bar on stderr, only where a person watches."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("tiles"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("tiles", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _summary(extraction: Extraction, out: Path) -> str:
    lines = [(extraction.refused and f"Refused: {extraction.refused}") or extraction.answer, ""]
    lines += [f"  mind: {warning}" for warning in extraction.warnings]
    lines += [f"  {name:<16} {what}" for name, what in _FILES.items() if (out / name).exists()]
    return "\n".join(
        [
            *lines,
            "",
            f"Results in {out} ({extraction.seconds['total']:.1f} s, {extraction.model[0]}).",
        ]
    )


_FILES = {
    "mask.tif": "the masks, georeferenced (0 background, 1..n, 255 no data)",
    "probability.tif": "probability of each mask (value / 250)",
    "regions.gpkg": "one polygon per region",
    "explanation.md": "the answer, its evidence, how to check it",
    "quicklook.png": "the scene and the masks",
    "extraction.json": "everything as JSON",
}
