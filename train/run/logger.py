"""Logs of a run: ``log.jsonl``, ``validation.jsonl``, TensorBoard, a progress bar."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from train.run.checkpoints import replace_text, writing

LogRow = dict[str, float]
_LOGS = ("log", "validation")


class RunLogger:
    """Writes the logs of a run in its main process, and only keeps them in the others.

    Args:
        out: Folder of the run. Logs of its earlier part are continued.
        step: Step from which the run resumes. Later rows are dropped: their steps are done again.
        main: Whether this is the main process.
        title: Title of the progress bar.
    """

    def __init__(self, out: Path, step: int, main: bool, title: str) -> None:
        self.out = out
        self.rows = {name: _read_rows(_log_path(out, name), step) for name in _LOGS}
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1) if main else None
        self._bar, self._task = _progress_bar(main, title)
        if main:
            for name, rows in self.rows.items():
                path = _log_path(out, name)
                if path.exists():
                    replace_text(path, "".join(json.dumps(row) + "\n" for row in rows))

    def __enter__(self) -> RunLogger:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
        if self._board:
            with writing(self.out / "tensorboard"):
                self._board.close()

    def show_progress(self, done: float, step: int) -> None:
        """Move the progress bar to a share of the budget, 0 to 1."""
        self._bar.update(self._task, completed=done, text=f"step {step}")

    def add_row(self, name: str, row: LogRow) -> None:
        """Add a row to a log.

        Args:
            name: ``log`` or ``validation``.
            row: Values by name, with ``step``.
        """
        self.rows[name].append(row)
        if self._board is None:
            return
        path = _log_path(self.out, name)
        with writing(path):
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            group = "training" if name == "log" else name
            for key, value in row.items():
                if key not in ("step", "minutes"):
                    self._board.add_scalar(f"{group}/{key}", value, int(row["step"]))
            self._board.flush()

    def add_samples(self, stem: Path, step: int) -> None:
        """Add what a validation drew and wrote.

        Args:
            stem: Path of the samples without their suffixes .png and .md.
            step: Step of the validation.
        """
        if self._board is None:
            return
        picture = stem.with_suffix(".png")
        text = stem.with_suffix(".md")
        if picture.exists():
            image = np.asarray(Image.open(picture).convert("RGB"))
            self._board.add_image("samples", image, step, dataformats="HWC")
        if text.exists():
            self._board.add_text("samples", text.read_text(encoding="utf-8"), step)


def _log_path(out: Path, name: str) -> Path:
    return out / f"{name}.jsonl"


def _progress_bar(main: bool, title: str) -> tuple[Progress, TaskID]:
    """A bar on the terminal of the main process, and its only task."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (main and console.is_terminal),
    )
    return bar, bar.add_task(title, total=1.0, text="")


def _read_rows(path: Path, last_step: int) -> list[LogRow]:
    """Rows of an earlier log up to a step; a row that a kill cut off is of a later one."""
    if not path.exists():
        return []
    rows: list[LogRow] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if row["step"] <= last_step:
            rows.append(row)
    return rows
