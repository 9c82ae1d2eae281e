"""The Parquet files of a built folder: which contain surveys or dialogues, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from spex.errors import RecordError
from spex.query.prompt import query_of_message
from spex.records import SpieRecord

Kind = Literal["survey", "dialogue"]


def record_files(path: Path, kind: Kind) -> list[Path]:
    """Files of one kind in a built folder, in order of their names.

    Args:
        path: a built folder, or one file of it, whose name states its kind.
        kind: the kind of records.

    Raises:
        RecordError: there are no records at all.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise RecordError(
            f"no SPIE records at {path}; give a folder that spex spie build wrote, or a file of it"
        )
    return [file for file in files if file.name.startswith(f"{kind}_")]


@contextmanager
def open_records(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file of records.

    Raises:
        RecordError: not a Parquet file, damaged, or without the columns of records.
    """
    columns = {field.alias or name for name, field in SpieRecord.model_fields.items()}
    try:
        with pq.ParquetFile(path) as file:
            if missing := ", ".join(sorted(columns - {*file.schema_arrow.names})):
                raise RecordError(
                    f"{path} is not a file of SPIE records, it lacks the columns {missing}; give a "
                    "file that spex spie build wrote"
                )
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        raise RecordError(
            f"{path} cannot be read as Parquet ({error}); build the data again"
        ) from error


def record_count(path: Path) -> int:
    """Number of records in a file."""
    with open_records(path) as file:
        count: int = file.metadata.num_rows
        return count


def rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a file, with one batch in memory at a time.

    Args:
        path: a file of records.
        columns: columns to read; None: all.

    Raises:
        RecordError: not a Parquet file, or damaged.
    """
    with open_records(path) as file:
        for batch in file.iter_batches(batch_size=256, columns=columns):
            yield from batch.to_pylist()


def survey_file(dialogue_file: Path) -> Path:
    """The file with the surveys of the chips that a dialogue file is about."""
    return dialogue_file.with_name("survey_" + dialogue_file.name.removeprefix("dialogue_"))


def exchanges(turns: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    """Query and answer of every exchange, from the turns of a conversation as stored."""
    pairs: list[tuple[str, str]] = []
    for turn, following in zip(turns, turns[1:], strict=False):
        if turn["role"] == "user" and following["role"] == "assistant":
            pairs.append((query_of_message(turn["content"]), following["content"]))
    return pairs
