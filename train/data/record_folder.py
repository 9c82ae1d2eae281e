"""Records of a folder by number: SPIE shards on disk, memory-mapped through ``datasets``.

Any record is read within a millisecond or two. That is why training does not stream the shards one
after the other: a batch stays a function of its seed, step and process. So a run resumes exactly
without saving the state of a stream and its shuffle buffer, and sources of any size are drawn by
weight.
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


class RecordFolder:
    """The records of one kind in a folder, in the order of shards and rows.

    The first use of a folder writes its rows, uncompressed, to the cache of ``datasets``
    (``HF_DATASETS_CACHE``).

    Args:
        folder: As ``spex spie build`` writes it.
        kind: ``survey`` or ``dialogue``.
        columns: Columns to read; all if None.

    Raises:
        RecordError: A shard is damaged or holds no SPIE data.
    """

    def __init__(self, folder: str | Path, kind: str, columns: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        self._table = _load_table(sorted(self.folder.glob(f"{kind}_*.parquet")), columns)
        self._rows = np.arange(self._table.num_rows)

    def split(self, name: str) -> RecordFolder:
        """The records of one split: ``train`` or ``val``."""
        part = copy(self)
        part._rows = self._rows[np.array(self.column("split"), object) == name]
        return part

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, *path: str) -> list[Any]:
        """The values of a column, or of one of its fields.

        Args:
            path: Name of the column, then of the nested fields.
        """
        values = self._table[path[0]].take(pa.array(self._rows))
        if path[1:]:
            values = pc.struct_field(values, path[1:])
        return list(values.to_pylist())

    def lengths(self, column: str) -> list[int]:
        """The length of the list in each row of a column."""
        values = self._table[column].take(pa.array(self._rows))
        return list(pc.list_value_length(values).to_pylist())

    def row(self, number: int) -> dict[str, Any]:
        """One row as it was written."""
        rows: list[dict[str, Any]] = self._table.slice(int(self._rows[number]), 1).to_pylist()
        return rows[0]

    def record(self, number: int) -> SpieRecord:
        """One record; a relative path of its scene is resolved against the folder.

        Raises:
            RecordError: The row is not a valid record.
        """
        record = parse_record(self.row(number))
        scene = record.scene.model_copy(update={"path": str(self.folder / record.scene.path)})
        return record.model_copy(update={"scene": scene})


class RecordCache(Sequence[Item]):
    """Items made from survey records when they are indexed; the latest stay in memory.

    Every process that draws batches has its own cache.

    Args:
        records: Survey records.
        make: Makes the item of a record.
        item_bytes: Size of an item in bytes.
        max_bytes: Size of all items in memory.

    Raises:
        RecordError: The raster of a record is missing.
    """

    def __init__(
        self,
        records: RecordFolder,
        make: Callable[[SpieRecord], Item],
        item_bytes: Callable[[Item], int],
        max_bytes: int = 1 << 29,
    ) -> None:
        self.records = records
        self.make = make
        self.item_bytes = item_bytes
        self.max_bytes = max_bytes
        self.ids: list[str] = records.column("id")
        self.sources: list[str] = records.column("source")
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._bytes = 0
        for path in records.column("scene", "path"):
            raster = Path(records.folder, path)
            if not raster.is_file():
                raise RecordError(f"{raster} is missing, but a record refers to it; {_REMEDY}")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, number: int) -> Item:  # type: ignore[override]  # no slices
        if not 0 <= number < len(self):
            raise IndexError(number)
        if number in self._items:
            self._items.move_to_end(number)
            return self._items[number]
        item = self.make(self.records.record(number))
        self._items[number] = item
        self._bytes += self.item_bytes(item)
        while self._bytes > self.max_bytes and len(self._items) > 1:
            _, oldest = self._items.popitem(last=False)
            self._bytes -= self.item_bytes(oldest)
        return item


def _load_table(paths: list[Path], columns: Sequence[str] | None) -> pa.Table:
    wanted = set(columns or SpieRecord.model_json_schema()["properties"])
    if not paths:
        return pa.table({name: [] for name in wanted})
    for path in paths:
        try:
            missing = sorted(wanted - set(pq.read_schema(path).names))
        except (pa.ArrowInvalid, OSError) as error:
            raise _damage_error(path, error) from error
        if missing:
            raise RecordError(f"{path} lacks the column {missing[0]!r}; {_REMEDY}")
    files = [str(path) for path in paths]
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(
            "parquet", data_files=files, split="train", columns=columns
        ).data.table
    except datasets.exceptions.DatasetGenerationError as error:
        raise _damage_error(_first_damaged(paths), error.__cause__) from error


def _damage_error(path: Path, cause: BaseException | None) -> RecordError:
    return RecordError(f"{path} is damaged ({' '.join(str(cause).split())}); {_REMEDY}")


def _first_damaged(paths: list[Path]) -> Path:
    """The first shard that cannot be read to its end; their folder if all can."""
    for path in paths:
        try:
            for _ in pq.ParquetFile(path).iter_batches():
                pass
        except (pa.ArrowInvalid, OSError):
            return path
    return paths[0].parent
