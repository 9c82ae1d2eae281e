"""Train the model: one stage, one YAML file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from spex.cli.main import main
from spex.errors import ConfigError

command = typer.Typer(
    help="Train the model: stages pretrain, masks, language, instruct.",
    no_args_is_help=True,
    add_completion=False,
)


@command.command("run")
def run_training_stage(
    config: Annotated[
        Path, typer.Argument(help="YAML file of the stage, for example train/configs/masks.yaml.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="name=value settings over the file's")
    ] = None,
) -> None:
    """Run one training stage and write its checkpoint; a run that was stopped goes on where it was."""
    from accelerate import PartialState

    from train.settings_file import load_settings
    from train.stages.launch import run_stage

    settings = load_settings(config, overrides)
    log = run_stage(settings)
    if PartialState().is_main_process:
        last = log[-1] if log else "fewer steps than a row of the log"
        typer.echo(f"{settings.stage}: {last}; checkpoint in {Path(settings.out, 'checkpoint')}")


@command.command("adapt")
def adapt_region(
    data: Annotated[
        Path,
        typer.Option(
            help="Folder of scenes with labels or a file of polygons, or of SPIE records; new classes in classes.yaml."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the adapter and its report.")],
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Time for everything; 12 if left out.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Labels, as `spex spie build` takes them.")
    ] = None,
    legend: Annotated[
        str | None, typer.Option(help="Legend of the labels: a name, a YAML file or mask:CLASS.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Class column of polygons.")] = None,
    sensor: Annotated[
        str | None, typer.Option(help="Sensor of the scenes, where they do not say.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Bands of the scenes, as `spex spie build` takes them.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Base model: name or folder. The shipped one if left out.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            help="SPIE records of other places to measure on; all of DATA is then learned."
        ),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="SPIE records that are to be read as well as before.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings; train/configs/adapt.yaml if left out.")
    ] = None,
) -> int:
    """Teach the model a new region or class from a few tiles: an adapter and a report; exit status 1 if it forgot."""
    from train.adapt.region_records import LabelOptions
    from train.adapt.workflow import AdaptTask, adapt
    from train.settings import AdaptSettings
    from train.settings_file import load_settings

    config = config or Path(__file__).with_name("configs") / "adapt.yaml"
    settings = load_settings(config, [] if minutes is None else [f"max_minutes={minutes}"])
    if not isinstance(settings, AdaptSettings):
        raise ConfigError(f"{config} is for stage {settings.stage}; give settings of stage adapt")
    task = AdaptTask(
        data, out, LabelOptions(labels, legend, column, sensor, bands), model, check, keep
    )
    report = adapt(task, settings, say=typer.echo)
    typer.echo((out / "report.md").read_text(encoding="utf-8"))
    typer.echo(f'use it with: spex extract SCENE "QUERY" -o OUT --adapter {out}')
    return 1 if report["forgetting"]["beyond"] else 0


@command.command("downstream")
def run_comparison(
    config: Annotated[
        Path, typer.Argument(help="YAML file, for example train/configs/downstream.yaml.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="name=value settings over the file's")
    ] = None,
) -> None:
    """Measure an encoder on downstream tasks against one from scratch and a U-Net: results as JSON and curves."""
    from train.downstream.downstream_settings import load_downstream
    from train.downstream.experiment import run_downstream, summary

    settings = load_downstream(config, overrides)
    typer.echo(summary(run_downstream(settings)))
    typer.echo(f"results.json and curves.png in {settings.out}")


@command.command("tokenizer")
def make_tokenizer(data: Path, out: Path, size: int = 2048) -> None:
    """Learn the tokenizer of the shipped language model from the dialogues in DATA."""
    from train.data.conversations import load_conversations
    from train.stages.tokenizer import train_tokenizer

    dialogues = load_conversations(data, "train")
    texts = (
        text
        for item in dialogues
        for one in item.exchanges
        for text in (one.query, item.evidence_text, one.answer)
    )
    train_tokenizer(texts, size).save_pretrained(str(out))


@command.command("tiles")
def tiles(
    inputs: Annotated[
        list[Path], typer.Argument(help="Flight lines of AVIRIS-C, -NG or -3, or folders of them.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the tiles; a run that was stopped goes on there.")
    ],
    size: Annotated[int, typer.Option(help="Rows and columns of a tile.")] = 256,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse at the first file that cannot be used.")
    ] = False,
) -> int:
    """Cut airborne hyperspectral flight lines into tiles for pre-training; exit status 1 if some could not be used."""
    from instruction_data.flightlines.training_tiles import cut_flight_lines

    report = cut_flight_lines(inputs, out, size=size, strict=strict, say=typer.echo)
    skipped = f", {len(report['skipped'])} skipped" if report["skipped"] else ""
    typer.echo(
        f"{report['tiles']} tiles of {len(report['lines'])} files in {out}{skipped}; see report.json there"
    )
    return 1 if skipped else 0


@command.command("export")
def export(checkpoint: Path, out: Path) -> None:
    """Write CHECKPOINT as it ships: bfloat16 weights and the tokenizer, nothing of the training."""
    import torch

    from spex.errors import OutputError
    from spex.model.predictor import load

    if out.exists():
        raise OutputError(f"{out} exists; give a folder that does not")
    predictor = load(checkpoint, device="cpu")
    predictor.model.to(torch.bfloat16).save_pretrained(str(out))
    predictor.processor.save_pretrained(str(out))


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
