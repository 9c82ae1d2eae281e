"""Pixel counts of the spans of stored surveys, from run lengths and without decoding masks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def span_pixels(batch: pa.RecordBatch) -> Iterator[tuple[float, str, int, int, int]]:
    """Pixel counts of every span.

    Yields:
        Pixel width in metres (0 if unknown), class, pixels of the chip, pixels of the class, and
        unknown pixels.
    """
    spans = batch.column("spans")
    span_rows = np.repeat(np.arange(len(batch)), np.asarray(pc.list_value_length(spans)))
    gsd_m = np.asarray(batch.column("gsd_m").to_numpy(zero_copy_only=False), np.float64)
    flat = spans.flatten()
    size, inside = _run_sums(flat.field("mask").field("counts"))
    _, unknown = _run_sums(flat.field("ignore").field("counts"))
    yield from zip(
        np.nan_to_num(gsd_m)[span_rows].tolist(),
        flat.field("class_name").to_pylist(),
        size.tolist(),
        inside.tolist(),
        unknown.tolist(),
        strict=True,
    )


def _run_sums(counts: pa.ListArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of run-length masks, without decoding them.

    Args:
        counts: n lists of run lengths, which alternate between False and True.

    Returns:
        Sums of all runs and of the True runs, both (n).
    """
    offsets = np.asarray(counts.offsets)
    values = np.asarray(counts.values, np.int64)
    starts = np.repeat(offsets[:-1], np.diff(offsets))
    is_true = np.zeros(len(values), bool)
    is_true[offsets[0] : offsets[-1]] = (np.arange(offsets[0], offsets[-1]) - starts) % 2 == 1
    all_sums = np.concatenate([[0], np.cumsum(values)])
    true_sums = np.concatenate([[0], np.cumsum(np.where(is_true, values, 0))])
    first = offsets[:-1]
    last = offsets[1:]
    return all_sums[last] - all_sums[first], true_sums[last] - true_sums[first]
