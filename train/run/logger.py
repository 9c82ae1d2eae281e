"""What a person sees of a run: ``log.jsonl`` and ``validation.jsonl``, TensorBoard, and on a terminal a bar."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from train.run.checkpoints import replace_text, writing

Row = dict[str, float]


class RunLogger:
    """Logs of the main process, and nothing in the others; those of an earlier part of the run go on.

    Args:
        step: where the run goes on; what a log holds beyond it is of steps that will be done again.
    """

    def __init__(self, out: Path, step: int, main: bool, title: str) -> None:
        self.out, self.main = out, main
        self.logs = {name: _rows(out / f"{name}.jsonl", step) for name in ("log", "validation")}
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1) if main else None
        console = Console(stderr=True)
        words = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(
            *words, console=console, transient=True, disable=not (main and console.is_terminal)
        )
        self._task = self._bar.add_task(title, total=1.0, words="")
        if main:
            for name, rows in self.logs.items():
                if rows or (out / f"{name}.jsonl").exists():
                    replace_text(
                        out / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows)
                    )

    def __enter__(self) -> RunLogger:
        self._bar.start()
        return self

    def __exit__(self, *about: object) -> None:
        self._bar.stop()
        if self._board:
            with writing(self.out / "tensorboard"):
                self._board.close()

    def show(self, progress: float, step: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=progress, words=f"step {step}")

    def add(self, name: str, row: Row) -> None:
        """A row of one of the logs; its first value is the step."""
        self.logs[name].append(row)
        if self._board is None:
            return
        path = self.out / f"{name}.jsonl"
        with writing(path):
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            step, group = int(row["step"]), "training" if name == "log" else name
            for key, value in row.items():
                if key not in ("step", "minutes"):
                    self._board.add_scalar(f"{group}/{key}", value, step)
            self._board.flush()

    def add_samples(self, stem: Path, step: int) -> None:
        """What was drawn and written at a validation, ``stem`` with the endings .png and .md."""
        picture, text = stem.with_suffix(".png"), stem.with_suffix(".md")
        if self._board and picture.exists():
            self._board.add_image(
                "samples", np.asarray(Image.open(picture).convert("RGB")), step, dataformats="HWC"
            )
        if self._board and text.exists():
            self._board.add_text("samples", text.read_text(encoding="utf-8"), step)


def _rows(path: Path, last: int) -> list[Row]:
    """Rows of an earlier log up to a step; a row that a kill cut off is of a later one."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if row["step"] <= last:
            rows.append(row)
    return rows
