"""The Parquet shards of a build: which files hold surveys or dialogues, their rows, and the exchanges of a row."""

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
    """Files of one kind in a built folder, in order; a single ``.parquet`` file is the kind of its name.

    Raises:
        RecordError: there is no built data at all.
    """
    found = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not found or not found[0].exists():
        raise RecordError(
            f"no SPIE records at {path}; give a folder that spex spie build wrote, or a file of it"
        )
    return [shard for shard in found if shard.name.startswith(f"{kind}_")]


@contextmanager
def opened(shard: Path) -> Iterator[pq.ParquetFile]:
    """A shard to read from.

    Raises:
        RecordError: not a Parquet file, damaged, or without the columns of records.
    """
    columns = {field.alias or name for name, field in SpieRecord.model_fields.items()}
    try:
        with pq.ParquetFile(shard) as file:
            if missing := ", ".join(sorted(columns - {*file.schema_arrow.names})):
                raise RecordError(
                    f"{shard} holds no SPIE records, it lacks {missing}; give what spex spie build wrote"
                )
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        raise RecordError(
            f"{shard} cannot be read as Parquet ({error}); build the data again"
        ) from error


def record_count(shard: Path) -> int:
    """Records in a shard."""
    with opened(shard) as file:
        found: int = file.metadata.num_rows
        return found


def rows(shard: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a shard, one batch of them in memory at a time.

    Raises:
        RecordError: not a Parquet file, or damaged.
    """
    with opened(shard) as file:
        for batch in file.iter_batches(batch_size=256, columns=columns):
            yield from batch.to_pylist()


def survey_file(dialogue_shard: Path) -> Path:
    """The shard with the surveys of the chips that a shard's dialogues speak of."""
    return dialogue_shard.with_name("survey_" + dialogue_shard.name.removeprefix("dialogue_"))


def exchanges(turns: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    """Query and answer of every exchange of a conversation, from its turns as stored."""
    return [
        (query_of_message(user["content"]), answer["content"])
        for user, answer in zip(turns, turns[1:], strict=False)
        if user["role"] == "user" and answer["role"] == "assistant"
    ]
