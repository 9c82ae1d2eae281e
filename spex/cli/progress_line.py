"""The progress line of a command: names the current step on stderr, only on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class ProgressLine:
    """A context manager; the line disappears at its end.

    Args:
        shown: False keeps the line hidden on a terminal too.
    """

    def __init__(self, *, shown: bool) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        if shown and sys.stderr.isatty():
            self._progress = _make_progress()

    def __enter__(self) -> ProgressLine:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def step(self, name: str) -> None:
        """Name a step of unknown length."""
        if self._progress is None:
            return
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=None)
        self._progress.refresh()

    def tiles(self, done: int, total: int) -> None:
        """Count tiles; after the last one the masks are measured."""
        if self._progress is None or self._task is None:
            return
        if done == total:
            self.step("measuring the masks")
        else:
            self._progress.update(
                self._task, description=f"tiles {done}/{total}", completed=done, total=total
            )


def _make_progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
