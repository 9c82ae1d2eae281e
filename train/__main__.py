"""Train the model: one stage, one YAML file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from spex.cli.main import main
from spex.errors import ConfigError

command = typer.Typer(
    help="Train the model: stages pretrain, masks, language, align, instruct.",
    no_args_is_help=True,
    add_completion=False,
)

Overrides = Annotated[
    list[str] | None, typer.Argument(help="Settings as name=value that win over the file.")
]


@command.command("run")
def run_training_stage(
    config: Annotated[
        Path, typer.Argument(help="YAML file of the stage, for example train/configs/masks.yaml.")
    ],
    overrides: Overrides = None,
) -> None:
    """Run a training stage and write its checkpoint. An interrupted run resumes exactly."""
    from accelerate import PartialState

    from train.settings_file import load_settings
    from train.stages.launch import run_stage

    settings = load_settings(config, overrides)
    log = run_stage(settings)
    if PartialState().is_main_process:
        last_row = log[-1] if log else "too few steps for a row of the log"
        checkpoint = Path(settings.out, "checkpoint")
        typer.echo(f"{settings.stage}: {last_row}; checkpoint in {checkpoint}")


@command.command("adapt")
def adapt_region(
    data: Annotated[
        Path,
        typer.Option(
            help="Folder of scenes with labels or with a file of polygons, or of SPIE records. "
            "New classes are described in its classes.yaml."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the adapter and its report.")],
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Time for everything, minutes; 12 if left out.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Labels, as for `spex spie build`.")] = None,
    legend: Annotated[
        str | None, typer.Option(help="Legend of the labels: a name, a YAML file or mask:CLASS.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Class column of the polygons.")] = None,
    sensor: Annotated[
        str | None, typer.Option(help="Sensor of the scenes, if their metadata do not name it.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Bands of the scenes, as for `spex spie build`.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Base model: a name or folder; the shipped model if left out."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            help="SPIE records of other places to measure accuracy on; then all of DATA is used "
            "for learning."
        ),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="SPIE records on which accuracy must not drop.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings; train/configs/adapt.yaml if left out.")
    ] = None,
) -> int:
    """Teach the model a new region or class from a few tiles.

    Writes an adapter and a report; exit status 1 if known classes degraded.
    """
    from train.adapt.region_records import LabelOptions
    from train.adapt.workflow import AdaptTask, adapt
    from train.settings import AdaptSettings
    from train.settings_file import load_settings

    config = config or Path(__file__).with_name("configs") / "adapt.yaml"
    settings = load_settings(config, [] if minutes is None else [f"max_minutes={minutes}"])
    if not isinstance(settings, AdaptSettings):
        raise ConfigError(f"{config} is for stage {settings.stage}; give settings of stage adapt")
    label_options = LabelOptions(labels, legend, column, sensor, bands)
    task = AdaptTask(data, out, label_options, model, check, keep)
    report = adapt(task, settings, say=typer.echo)
    typer.echo((out / "report.md").read_text(encoding="utf-8"))
    typer.echo(f'use it with: spex extract SCENE "QUERY" -o OUT --adapter {out}')
    return 1 if report["forgetting"]["beyond"] else 0


@command.command("downstream")
def run_comparison(
    config: Annotated[
        Path, typer.Argument(help="YAML file, for example train/configs/downstream.yaml.")
    ],
    overrides: Overrides = None,
) -> None:
    """Compare an encoder on downstream tasks with one from scratch and a U-Net.

    Writes results.json and curves.png.
    """
    from train.downstream.downstream_settings import load_downstream
    from train.downstream.experiment import run_downstream, summary

    settings = load_downstream(config, overrides)
    typer.echo(summary(run_downstream(settings)))
    typer.echo(f"results.json and curves.png in {settings.out}")


@command.command("tokenizer")
def make_tokenizer(
    data: Annotated[Path, typer.Argument(help="Folder of SPIE records.")],
    out: Annotated[Path, typer.Argument(help="Folder of the tokenizer.")],
    size: Annotated[int, typer.Option(help="Number of tokens.")] = 2048,
) -> None:
    """Learn the tokenizer of the shipped language model from the conversations in DATA."""
    from train.data.conversations import load_conversations
    from train.stages.tokenizer import train_tokenizer

    def texts() -> Iterator[str]:
        for conversation in load_conversations(data, "train"):
            for exchange in conversation.exchanges:
                yield exchange.query
                yield conversation.evidence_text
                yield exchange.answer

    train_tokenizer(texts(), size).save_pretrained(str(out))


@command.command("tiles")
def cut_tiles(
    inputs: Annotated[
        list[Path], typer.Argument(help="Flight lines of AVIRIS-C, -NG or -3, or folders of them.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the tiles; an interrupted run resumes there.")
    ],
    size: Annotated[int, typer.Option(help="Rows and columns of a tile, pixels.")] = 256,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first file that cannot be used.")
    ] = False,
) -> int:
    """Cut airborne hyperspectral flight lines into tiles for pre-training.

    Exit status 1 if some files could not be used.
    """
    from instruction_data.flightlines.training_tiles import cut_flight_lines

    report = cut_flight_lines(inputs, out, size=size, strict=strict, say=typer.echo)
    skipped = f", {len(report['skipped'])} skipped" if report["skipped"] else ""
    typer.echo(
        f"{report['tiles']} tiles of {len(report['lines'])} files in {out}{skipped}; "
        "see report.json there"
    )
    return 1 if skipped else 0


@command.command("export")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of a stage.")],
    out: Annotated[Path, typer.Argument(help="New folder of the model.")],
) -> None:
    """Write a model for release: bfloat16 weights and tokenizer, without training state."""
    import torch

    from spex.errors import OutputError
    from spex.model.loading import load
    from train.run.checkpoints import save_checkpoint

    if out.exists():
        raise OutputError(f"{out} exists; give a folder that does not exist")
    predictor = load(checkpoint, device="cpu")
    model = predictor.model.to(torch.bfloat16)
    save_checkpoint(out, model, processor=predictor.processor)


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
