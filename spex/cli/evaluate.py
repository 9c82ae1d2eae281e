"""Measure masks against labels: scores per class on survey records, model and index rules side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from spex.cli.options import name_parser
from spex.engine.extractor import load
from spex.errors import RecordError
from spex.evaluate import Method, QueryMethod, Scores, cases
from spex.records import SpieRecord, read_records

METHODS = {
    "rules": "the index rules alone",
    "model": "the model with evidence",
    "without-evidence": "the model without evidence text and evidence maps",
    "label-evidence": "the model with evidence text made from the labels",
}
_DEPRECATED = {"prior": "rules", "bare": "without-evidence", "told": "label-evidence"}


def command(
    records: Annotated[
        Path, typer.Argument(help="Folder of SPIE records, or one .parquet file of them.")
    ],
    split: Annotated[str, typer.Option(help="Part of the records that is measured.")] = "val",
    method: Annotated[
        list[str] | None,
        typer.Option(
            parser=name_parser(METHODS, _DEPRECATED),
            autocompletion=lambda: list(METHODS.items()),
            metavar="|".join(METHODS),
            help="; ".join(f"{name}: {description}" for name, description in METHODS.items())
            + ". Repeat the option for several.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Checkpoint: name or folder. The shipped one if left out.")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="Folder of an adapter of `spex train adapt`.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Measure this many scenes at most.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write all scores to this JSON file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the scores as JSON instead of tables.")
    ] = False,
) -> None:
    """Measure masks against labels: scores per class on survey records, model and index rules side by side."""
    chosen = list(dict.fromkeys(method or ["rules", "model"]))
    methods = {name: _method(name, model, adapter) for name in chosen}
    scores = Scores()
    for number, case in enumerate(cases(_surveys(records, split))):
        if number == limit:
            break
        scores.add(case, methods)
    if not scores.tallies:
        raise RecordError(
            f"no survey records of split {split!r} at {records}; build some with: spex spie build"
        )
    text = json.dumps(scores.rows(), indent=2)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    typer.echo(
        text
        if as_json
        else "\n\n".join(f"{title}\n\n{scores.table(score)}" for score, title in _TABLES.items())
    )


_TABLES = {
    "iou": "IoU",
    "ece": "Expected calibration error",
    "false_alarms": "Scenes without the class where some was found",
    "misses": "Scenes with at least 1 % of the class where none was found",
}


def _surveys(path: Path, split: str) -> Iterator[SpieRecord]:
    shards = sorted(path.glob("survey_*.parquet")) if path.is_dir() else [path]
    for shard in shards or [path]:
        yield from (
            record
            for record in read_records(shard)
            if record.kind == "survey" and record.split == split
        )


def _method(name: str, model: str | None, adapter: Path | None) -> Method:
    if name == "rules":
        return QueryMethod(load("rules").predictor)
    from spex.model.loading import load as load_model

    return QueryMethod(
        load_model(model, use_evidence=name != "without-evidence", adapter=adapter),
        label_evidence=name == "label-evidence",
    )
