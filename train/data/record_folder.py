"""Records of a folder by number, on disk: SPIE shards through ``datasets``, memory-mapped.

Any record is read when it is asked for, in a millisecond or two. That is why training does not stream the shards one
after the other: a batch stays a function of its seed, step and process, so that a run goes on exactly without the state
of a stream and its shuffle buffer, and sources of any size are drawn by weight.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, TypeVar

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from spex.errors import RecordError
from spex.records import SpieRecord, parse_record

Item = TypeVar("Item")

_REMEDY = "delete the shard and build the data again"


class Shards:
    """The rows of one kind of record, in the order of shards and rows.

    The first use of a folder writes its rows, uncompressed, to the cache of ``datasets`` (``HF_DATASETS_CACHE``).

    Args:
        folder: as ``spex spie build`` writes it.
        kind: ``survey`` or ``dialogue``.
        columns: those that are read; all if left out.

    Raises:
        RecordError: a shard that is damaged or no SPIE data.
    """

    def __init__(self, folder: str | Path, kind: str, columns: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        self._table = _table(sorted(self.folder.glob(f"{kind}_*.parquet")), columns)
        self._rows = np.arange(self._table.num_rows)

    def of(self, split: str) -> Shards:
        """The rows of one split: ``train`` or ``val``."""
        part = copy(self)
        part._rows = self._rows[np.array(self.column("split"), object) == split]
        return part

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, *path: str) -> list[Any]:
        """A column of all rows, or a field of one."""
        values = self._table[path[0]].take(pa.array(self._rows))
        found: list[Any] = (pc.struct_field(values, path[1:]) if path[1:] else values).to_pylist()
        return found

    def lengths(self, column: str) -> list[int]:
        """How many entries each row's list has."""
        found: list[int] = pc.list_value_length(
            self._table[column].take(pa.array(self._rows))
        ).to_pylist()
        return found

    def row(self, number: int) -> dict[str, Any]:
        """One row as it was written."""
        found: dict[str, Any] = self._table.slice(int(self._rows[number]), 1).to_pylist()[0]
        return found

    def record(self, number: int) -> SpieRecord:
        """One record; a relative path of its scene is resolved against the folder.

        Raises:
            RecordError: it is not valid.
        """
        record = parse_record(self.row(number))
        scene = record.scene.model_copy(update={"path": str(self.folder / record.scene.path)})
        return record.model_copy(update={"scene": scene})


class RecordCache(Sequence[Item]):
    """What is made of survey records, made when it is asked for; the latest stay in memory.

    Args:
        records: surveys. make: an item of a record. size: its bytes. memory: bytes of items kept; every process that
            draws batches keeps its own.

    Raises:
        RecordError: the raster of a record is missing.
    """

    def __init__(
        self,
        records: Shards,
        make: Callable[[SpieRecord], Item],
        size: Callable[[Item], int],
        memory: int = 1 << 29,
    ) -> None:
        self.records, self.make, self.size, self.memory = records, make, size, memory
        self.ids: list[str] = records.column("id")
        self.sources: list[str] = records.column("source")
        self._kept: OrderedDict[int, Item] = OrderedDict()
        self._bytes = 0
        for path in records.column("scene", "path"):
            if not Path(records.folder, path).is_file():
                raise RecordError(
                    f"{Path(records.folder, path)} is missing, and a record speaks of it; {_REMEDY}"
                )

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, number: int) -> Item:  # type: ignore[override]  # no slices
        if not 0 <= number < len(self):
            raise IndexError(number)
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        item = self._kept[number] = self.make(self.records.record(number))
        self._bytes += self.size(item)
        while self._bytes > self.memory and len(self._kept) > 1:
            self._bytes -= self.size(self._kept.popitem(last=False)[1])
        return item


def _table(paths: list[Path], columns: Sequence[str] | None) -> pa.Table:
    wanted = set(columns or SpieRecord.model_json_schema()["properties"])
    if not paths:
        return pa.table({name: [] for name in wanted})
    for path in paths:
        try:
            lacking = sorted(wanted - set(pq.read_schema(path).names))
        except (pa.ArrowInvalid, OSError) as error:
            raise _damage(path, error) from error
        if lacking:
            raise RecordError(f"{path} lacks the column {lacking[0]!r}; {_REMEDY}")
    names = [str(path) for path in paths]
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(
            "parquet", data_files=names, split="train", columns=columns
        ).data.table
    except datasets.exceptions.DatasetGenerationError as error:
        raise _damage(_unreadable(paths), error.__cause__) from error


def _damage(path: Path, cause: BaseException | None) -> RecordError:
    return RecordError(f"{path} is damaged ({' '.join(str(cause).split())}); {_REMEDY}")


def _unreadable(paths: list[Path]) -> Path:
    """The first shard that cannot be read to its end."""
    for path in paths:
        try:
            for _ in pq.ParquetFile(path).iter_batches():
                pass
        except (pa.ArrowInvalid, OSError):
            return path
    return paths[0].parent
