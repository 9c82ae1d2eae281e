"""Answer a query on a scene: masks, regions, facts and an explanation in a result folder."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spex.cli.options import (
    AdapterOption,
    BandsOption,
    ModelOption,
    SceneArgument,
    SensorOption,
    name_parser,
    scene_path,
)
from spex.cli.progress_line import ProgressLine

if TYPE_CHECKING:
    from spex.results.extraction import Extraction

REFUSED = 3
"""Exit status where nothing that was asked can be extracted, or nothing was asked."""
METHODS = {"model": "the model", "rules": "the spectral index rules alone, no weights"}


@dataclass(frozen=True)
class _Inputs:
    """What ``spex extract`` was given."""

    scene: str
    query: str
    method: str
    model: str | None
    adapter: Path | None
    sensor: str | None
    bands: str | None
    gsd_m: float | None
    tile: int
    overlap: int


def command(
    scene: SceneArgument,
    query: Annotated[
        str, typer.Argument(help='What to find, for example "open water larger than 1 ha".')
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Result folder. Default: a new dated one in the current folder."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            parser=name_parser(METHODS, deprecated={"prior": "rules"}),
            autocompletion=lambda: list(METHODS.items()),
            metavar="|".join(METHODS),
            help="The model, or the spectral index rules alone (no weights).",
        ),
    ] = "model",
    model: ModelOption = None,
    adapter: AdapterOption = None,
    sensor: SensorOption = None,
    bands: BandsOption = None,
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
    quiet: Annotated[
        bool,
        typer.Option("--quiet", help="No progress line, no summary; without -o the folder's name."),
    ] = False,
) -> None:
    """Answer a query on a scene: masks, regions, facts and an explanation in a result folder."""
    inputs = _Inputs(scene, query, method, model, adapter, sensor, bands, gsd, tile, overlap)
    folder = out or _dated_folder(scene)
    with ProgressLine(shown=not quiet) as line:
        line.step("opening the scene")
        _check_usage(inputs)
        extraction = _extract(inputs, folder, overwrite, line)
    written = extraction.reading.reply is None
    if as_json:
        typer.echo(json.dumps(extraction.to_dict(), indent=2, ensure_ascii=False))
        if out is None and written:
            typer.echo(f"Results in {folder}", err=True)
    elif not quiet:
        typer.echo(_summary(extraction, folder) if written else extraction.answer)
    elif out is None and written:
        typer.echo(folder)
    _end_with_status(extraction, folder, quiet)


def _end_with_status(extraction: Extraction, folder: Path, quiet: bool) -> None:
    """End the command with a status other than 0 where not all that was asked was extracted."""
    if extraction.refused is not None or extraction.reading.reply is not None:
        if quiet:
            typer.echo(f"spex: {extraction.refused or extraction.answer}", err=True)
        raise typer.Exit(REFUSED)
    if extraction.failed:
        typer.echo(
            f"spex: {len(extraction.failed)} of {extraction.tiles} tiles failed and hold no data; "
            f"see {folder}/explanation.md",
            err=True,
        )
        raise typer.Exit(1)


def _check_usage(inputs: _Inputs) -> None:
    """Check what needs no file, so that a wrong option is named before a missing scene."""
    from spex.engine.session import check_tiling
    from spex.errors import ConfigError
    from spex.query.prompt import clean_query
    from spex.sensors import get_sensor

    clean_query(inputs.query)
    if inputs.method == "rules" and (inputs.model or inputs.adapter):
        raise ConfigError("--model and --adapter need --method model: the rules have no weights")
    check_tiling(inputs.tile, inputs.overlap)
    if inputs.sensor is not None:
        get_sensor(inputs.sensor)


def _extract(inputs: _Inputs, out: Path, overwrite: bool, line: ProgressLine) -> Extraction:
    """Answer the query and write the result folder, unless it asks for nothing (a greeting).

    Raises:
        SpexError: the folder is in use, the model cannot be loaded, or the scene cannot be read.
    """
    from spex.engine.extractor import load
    from spex.raster.scene import Scene
    from spex.results.folder import check_folder

    with scene_path(inputs.scene) as path:
        scene = Scene.open(path, sensor=inputs.sensor, bands=inputs.bands, gsd_m=inputs.gsd_m)
        check_folder(out, overwrite=overwrite)
        line.step(f"loading the {inputs.method}")
        name = "rules" if inputs.method == "rules" else inputs.model
        extractor = load(name, adapter=inputs.adapter)
        line.step("reading the scene")
        with extractor.open(scene, tile=inputs.tile, overlap=inputs.overlap) as session:
            line.step("reading the query")
            extraction = session.ask(inputs.query, progress=line.tiles)
        if extraction.reading.reply is None:
            line.step("writing the results")
            extraction.save(out, overwrite=overwrite)
    return extraction


def _dated_folder(scene: str) -> Path:
    """A folder of the current one that does not exist yet: ``spex-<scene>-YYYYmmdd-HHMMSS``."""
    stem = re.sub(r"[^\w.-]+", "_", Path(scene.partition("?")[0]).stem)
    dated = f"spex-{stem}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = Path(dated)
    number = 1
    while folder.exists():
        number += 1
        folder = Path(f"{dated}-{number}")
    return folder


def _summary(extraction: Extraction, out: Path) -> str:
    lines = [f"Refused: {extraction.refused}" if extraction.refused else extraction.answer, ""]
    for warning in extraction.warnings:
        if warning not in extraction.answer:
            lines.append(f"  Note: {warning}")
    for name, content in _FILES.items():
        if (out / name).exists():
            lines.append(f"  {name:<16} {content}")
    seconds = extraction.seconds["total"]
    lines += ["", f"Results in {out} ({seconds:.1f} s, {extraction.model[0]})."]
    return "\n".join(lines)


_FILES = {
    "mask.tif": "the masks, georeferenced (0 background, 1..n, 255 no data)",
    "mask.qml": "the colours of the masks in QGIS",
    "probability.tif": "probability of each mask (value / 250)",
    "regions.gpkg": "one polygon per region",
    "explanation.md": "what was found, and what speaks for and against it",
    "quicklook.png": "the scene and the masks",
    "extraction.json": "everything as JSON",
}
