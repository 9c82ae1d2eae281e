"""Batches of a run, drawn ahead by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, Dataset

from spex.errors import SpexError, TrainingError

DrawBatch = Callable[[int, int], Any]
"""The batch of an optimiser step (first argument) and of one of its parts (second)."""


class _DrawnBatches(Dataset[Any]):
    """Batches by step and part."""

    def __init__(self, draw: DrawBatch) -> None:
        self.draw = draw

    def __getitem__(self, key: tuple[int, int]) -> Any:
        step, part = key
        return self.draw(step, part)


def prefetched_batches(
    draw: DrawBatch, keys: Sequence[tuple[int, int]], workers: int
) -> Iterator[Any]:
    """Draw batches in the given order.

    Args:
        draw: Draws a batch.
        keys: Step and part of each batch.
        workers: Number of processes that draw ahead; 0 draws in this one.

    Raises:
        TrainingError: A worker process died.
        SpexError: As a worker process raised it.
    """
    loader = DataLoader(
        _DrawnBatches(draw),
        batch_size=None,
        sampler=keys,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
    try:
        yield from loader
    except SpexError as error:
        raise type(error)(_last_message(error)) from error
    except (ConnectionError, EOFError, FileNotFoundError) as error:
        if _is_of_drawing(error):
            raise
        raise _death(error) from error


@contextmanager
def deaths_of_workers_told() -> Iterator[None]:
    """Tell the death of a worker as one error, wherever it comes up.

    torch tells it in a signal handler, so its error comes up at any line of the main thread.

    Raises:
        TrainingError: A worker process died.
    """
    try:
        yield
    except RuntimeError as error:
        if _is_of_drawing(error) or "DataLoader" not in str(error):
            raise
        raise _death(error) from error


def _is_of_drawing(error: Exception) -> bool:
    """Whether a worker raised it, so that it lives."""
    return str(error).startswith("Caught ")


def _death(error: Exception) -> TrainingError:
    return TrainingError(
        f"a worker process that draws batches died ({str(error) or type(error).__name__}), "
        "possibly out of memory; rerun the same command, which resumes from the last checkpoint"
    )


def _last_message(error: SpexError) -> str:
    """The message that a worker raised, without its traceback that torch puts before."""
    last_line = str(error).strip().rpartition("\n")[2]
    return last_line.partition(": ")[2] or str(error)
