"""Measure masks against labels: scores per class, several methods side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spex.cli.options import AdapterOption, JsonOption, ModelOption, name_parser

if TYPE_CHECKING:
    from spex.evaluate import Method
    from spex.records import SpieRecord

METHODS = {
    "rules": "the index rules alone",
    "model": "the model with evidence",
    "without-evidence": "the model without evidence text and evidence maps",
    "label-evidence": "the model with evidence text made from the labels",
}
_DEPRECATED = {"prior": "rules", "bare": "without-evidence", "told": "label-evidence"}
_TABLES = {
    "iou": "IoU",
    "ece": "Expected calibration error",
    "false_alarms": "Scenes without the class where some was found",
    "misses": "Scenes with at least 1 % of the class where none was found",
}


def command(
    records: Annotated[
        Path, typer.Argument(help="Folder of SPIE records, or one .parquet file of them.")
    ],
    split: Annotated[str, typer.Option(help="Part of the records to measure on.")] = "val",
    method: Annotated[
        list[str] | None,
        typer.Option(
            parser=name_parser(METHODS, _DEPRECATED),
            autocompletion=lambda: list(METHODS.items()),
            metavar="|".join(METHODS),
            help="; ".join(f"{name}: {description}" for name, description in METHODS.items())
            + ". Repeat the option for several. Default: rules and model.",
        ),
    ] = None,
    model: ModelOption = None,
    adapter: AdapterOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Measure this many scenes at most.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write all scores to this JSON file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure masks against labels: scores per class, several methods side by side."""
    from spex.errors import RecordError
    from spex.evaluate import cases
    from spex.scores import Scores

    chosen = list(dict.fromkeys(method or ["rules", "model"]))
    methods = {name: _load_method(name, model, adapter) for name in chosen}
    scores = Scores()
    for number, case in enumerate(cases(_surveys(records, split))):
        if number == limit:
            break
        scores.add(case, methods)
    if not scores.tallies:
        raise RecordError(
            f"no survey records of split {split!r} in {records}; build some with: spex spie build"
        )
    text = json.dumps(scores.rows(), indent=2)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    if not as_json:
        tables = [f"{title}\n\n{scores.table(score)}" for score, title in _TABLES.items()]
        text = "\n\n".join(tables)
    typer.echo(text)


def _surveys(path: Path, split: str) -> Iterator[SpieRecord]:
    """Survey records of a split, from the shards of a folder or from one file."""
    from spex.records import read_records

    shards = sorted(path.glob("survey_*.parquet")) if path.is_dir() else [path]
    for shard in shards or [path]:
        for record in read_records(shard):
            if record.kind == "survey" and record.split == split:
                yield record


def _load_method(name: str, model: str | None, adapter: Path | None) -> Method:
    from spex.engine.extractor import load
    from spex.evaluate import PredictorMethod

    if name == "rules":
        return PredictorMethod(load("rules").predictor)
    from spex.model.loading import load as load_model

    predictor = load_model(model, use_evidence=name != "without-evidence", adapter=adapter)
    return PredictorMethod(predictor, label_evidence=name == "label-evidence")
