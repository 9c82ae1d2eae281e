"""Shards of a build distributed over processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from instruction_data.builder.build_shards import Shard, build_shard
from spex.errors import RecordError
from spex.evidence.class_additions import add_classes, added_classes


def build_shards(shards: Sequence[Shard], out: Path, workers: int) -> Iterator[Shard]:
    """Build shards and yield each when it is finished.

    Args:
        shards: the shards to build.
        out: folder of the build.
        workers: number of processes; 1 stays in the current process.

    Raises:
        RecordError: a process died.
        SpexError: with ``strict``, the problem of the first scene that cannot be used.
    """
    if workers == 1:
        for shard in shards:
            build_shard(shard, out)
            yield shard
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start_worker, (added_classes(),)
    )
    try:
        waiting = iter(shards)
        running: dict[Future[None], Shard] = {}
        while True:
            for shard in islice(waiting, 2 * workers - len(running)):
                running[pool.submit(build_shard, shard, out)] = shard
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                yield running.pop(future)
    except BrokenProcessPool as error:
        raise RecordError(
            "a worker process died, possibly out of memory; rerun the same command with fewer "
            "--workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(class_entries: dict[str, Any]) -> None:
    """Add the classes of the build, and end with the parent process if that is killed."""
    add_classes(class_entries, "the classes of this build")
    parent = multiprocessing.parent_process()
    assert parent is not None

    def exit_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


@contextmanager
def scene_progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar if stderr is a terminal; yields a function that advances it by scenes."""
    columns = (
        TextColumn("building"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("scenes"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)
