"""SPIE records: scene, band metadata, conversation, masks and origin of every field, as Parquet.

The contract between building instruction data and training. There are two kinds. A ``survey`` has
one span for every class that its labels cover: an all-zero mask means that the class is absent, and
nothing is known about the pixels of ``ignore``. A ``dialogue`` has the turns of one conversation;
its spans carry constraints and no mask (the survey of the same scene has it).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spex.errors import RecordError
from spex.sensors import Level, family_of

if TYPE_CHECKING:
    from spex.raster.scene import Pixels

_ROW_GROUP = 256


class Rle(BaseModel):
    """A bool mask as uncompressed run lengths, row by row.

    Attributes:
        size: rows and columns.
        counts: lengths of the runs, the first one of False (0 if the mask starts with True).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    counts: list[int]

    @model_validator(mode="after")
    def _covers(self) -> Rle:
        rows, columns = self.size
        valid = min(self.size) >= 1 and min(self.counts, default=-1) >= 0
        if not valid or sum(self.counts) != rows * columns:
            raise ValueError(f"run lengths do not add up to a mask of {rows} x {columns} pixels")
        return self

    @classmethod
    def encode(cls, mask: NDArray[np.bool_]) -> Rle:
        """Run lengths of a bool mask (h, w)."""
        flat = np.ravel(mask).astype(bool)
        edges = np.flatnonzero(np.diff(flat, prepend=False))
        counts = np.diff(edges, prepend=0, append=flat.size)
        return cls(size=(mask.shape[0], mask.shape[1]), counts=counts.tolist())

    def decode(self) -> NDArray[np.bool_]:
        """The mask, bool (h, w)."""
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(self.size)


class SceneRef(BaseModel):
    """Where the pixels are.

    Attributes:
        path: of a raster file.
        window: column, row, width, height in pixels; None for the whole raster.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    window: tuple[int, int, int, int] | None = None


class BandRef(BaseModel):
    """One band of the scene; wavelengths in nm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    wavelength_nm: float | None = None
    fwhm_nm: float | None = None


class Turn(BaseModel):
    """One turn of a conversation, as the model reads or writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class SpanTarget(BaseModel):
    """What a span should extract.

    Attributes:
        class_name: a class of ``classes.yaml``.
        phrase: the words between the span's tags.
        attributes: the span's constraints as they stand in its tag.
        mask: None if it is not stored here; all False if the class is absent.
        ignore: pixels that the label says nothing about.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_name: str
    phrase: str
    attributes: dict[str, str] = Field(default_factory=dict)
    mask: Rle | None = None
    ignore: Rle | None = None

    @model_validator(mode="after")
    def _same_grid(self) -> SpanTarget:
        if self.ignore and (not self.mask or self.mask.size != self.ignore.size):
            raise ValueError(f"span {self.class_name!r}: mask and ignore are not on the same grid")
        return self


class SpieRecord(BaseModel):
    """One record of instruction data.

    Attributes:
        place: group of scenes that lie together; a place is in one split only.
        source: name of the data set.
        scale: reflectance per stored unit.
        offset: reflectance of a stored 0.
        prior: the evidence text in the first turn, empty if there is none.
        provenance: per field the pixels, the wording or the labels that it came from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = Field(default=1, alias="schema")
    id: str = Field(min_length=1)
    kind: Literal["survey", "dialogue"]
    split: Literal["train", "val"]
    place: str
    source: str
    scene: SceneRef
    sensor: str
    bands: list[BandRef] = Field(min_length=1)
    level: Level
    gsd_m: float | None = Field(default=None, gt=0)
    scale: float = 1.0
    offset: float = 0.0
    turns: list[Turn] = Field(default_factory=list)
    spans: list[SpanTarget] = Field(default_factory=list)
    prior: str = ""
    provenance: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> SpieRecord:
        sizes = {span.mask.size for span in self.spans if span.mask}
        if len(sizes) > 1:
            raise ValueError(f"masks of different sizes {sorted(sizes)}")
        window = self.scene.window
        if window and sizes and sizes != {(window[3], window[2])}:
            raise ValueError(f"masks do not have the size of the window {window}")
        last_roles = [turn.role for turn in self.turns[-2:]]
        if self.kind == "dialogue" and last_roles != ["user", "assistant"]:
            raise ValueError("a dialogue ends with a user and an assistant turn")
        return self

    def band_metadata(self) -> dict[str, Any]:
        """The scene's band metadata as the JSON of ``<scene>.bands.json``."""
        metadata: dict[str, Any] = {
            "bands": [band.model_dump(exclude_none=True) for band in self.bands],
            "scale": self.scale,
            "offset": self.offset,
            "level": self.level,
        }
        if self.gsd_m is not None:
            metadata["gsd_m"] = self.gsd_m
        return metadata


_RLE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.list_(pa.int32()))])
_COLUMNS = pa.schema([
    ("schema", pa.int32()), ("id", pa.string()), ("kind", pa.string()), ("split", pa.string()),
    ("place", pa.string()), ("source", pa.string()),
    ("scene", pa.struct([("path", pa.string()), ("window", pa.list_(pa.int32()))])),
    ("sensor", pa.string()),
    ("bands", pa.list_(pa.struct([
        ("name", pa.string()), ("wavelength_nm", pa.float64()), ("fwhm_nm", pa.float64()),
    ]))),
    ("level", pa.string()), ("gsd_m", pa.float64()),
    ("scale", pa.float64()), ("offset", pa.float64()),
    ("turns", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ("spans", pa.list_(pa.struct([
        ("class_name", pa.string()), ("phrase", pa.string()), ("attributes", pa.string()),
        ("mask", _RLE), ("ignore", _RLE),
    ]))),
    ("prior", pa.string()), ("provenance", pa.string()),
])  # fmt: skip


def _row(record: SpieRecord) -> dict[str, Any]:
    """A row of the Parquet file; dicts of free keys become JSON text, as columns must be fixed."""
    row = record.model_dump(by_alias=True)
    for span in row["spans"]:
        span["attributes"] = json.dumps(span["attributes"])
    return row | {"provenance": json.dumps(record.provenance)}


def parse_record(row: dict[str, Any]) -> SpieRecord:
    """A record from one row of the Parquet file.

    Args:
        row: as pyarrow or ``datasets`` gives it.

    Raises:
        RecordError: the row is not a valid record.
    """
    try:
        spans = [span | {"attributes": json.loads(span["attributes"])} for span in row["spans"]]
        fields = row | {"spans": spans, "provenance": json.loads(row["provenance"])}
        return SpieRecord.model_validate(fields)
    except ValidationError as error:
        raise RecordError(
            f"record {row.get('id')!r} is invalid: {_first_problem(error)}; build the data again"
        ) from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise RecordError(
            f"record {row.get('id')!r} lacks a field ({error}); build the data again"
        ) from error


def _first_problem(error: ValidationError) -> str:
    """Field and reason of a validator's first finding, without the validator's own words."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    reason = first.get("ctx", {}).get("error", first["msg"])  # of a ValueError: its own message
    return f"{field}: {reason}" if field else str(reason)


class RecordWriter:
    """Writes records to one Parquet file one after the other; a context manager.

    The file appears when all are written without an error; without any record there is no file.

    Args:
        path: of the Parquet file. Relative scene paths in the records refer to its folder.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._part_path = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        self._file = pq.ParquetWriter(self._part_path, _COLUMNS, compression="zstd")
        self._group: list[dict[str, Any]] = []
        self.count = 0

    def add(self, record: SpieRecord) -> None:
        """Write one record; a full row group goes to the file at once."""
        self._group.append(_row(record))
        self.count += 1
        if len(self._group) == _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._group, schema=_COLUMNS))
        self._group = []

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, exception_type: object, *exception: object) -> None:
        succeeded = exception_type is None
        if succeeded and self._group:
            self._flush()
        self._file.close()
        if succeeded and self.count:
            self._part_path.replace(self._path)
        else:
            self._part_path.unlink()


def write_records(path: str | Path, records: Iterable[SpieRecord]) -> int:
    """Write one Parquet file as ``RecordWriter`` does, and return the number of records."""
    with RecordWriter(path) as writer:
        for record in records:
            writer.add(record)
    return writer.count


def read_records(path: str | Path) -> Iterator[SpieRecord]:
    """Records of one Parquet file, or of all ``*.parquet`` of a folder.

    Relative scene paths are resolved against the folder of the file.

    Raises:
        RecordError: there are no records, a file is not SPIE Parquet, or a record is invalid.
    """
    source = Path(path)
    shards = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    if not shards or not shards[0].exists():
        raise RecordError(f"no SPIE records at {source}; give a .parquet file or a folder of them")
    for shard in shards:
        try:
            file = pq.ParquetFile(shard)
        except pa.ArrowInvalid as error:
            raise RecordError(
                f"{shard} is not a Parquet file ({error}); build the data again"
            ) from error
        for batch in file.iter_batches(batch_size=_ROW_GROUP):
            for row in batch.to_pylist():
                record = parse_record(row)
                scene_path = str(shard.parent / record.scene.path)
                scene = record.scene.model_copy(update={"path": scene_path})
                yield record.model_copy(update={"scene": scene})


def load_pixels(record: SpieRecord) -> Pixels:
    """The pixels of a record, read through ``Scene`` with the record's own band metadata.

    Raises:
        SceneError: the raster cannot be read.
        RecordError: the raster has another size than the record's masks.
    """
    from rasterio.windows import Window

    from spex.raster.scene import Scene

    scene = Scene.open(record.scene.path, bands=record.band_metadata())
    window = Window(*record.scene.window) if record.scene.window else None
    pixels = scene.read(window)
    raster_size = pixels.valid.shape
    mask_size = next((span.mask.size for span in record.spans if span.mask), raster_size)
    if mask_size != raster_size:
        raise RecordError(
            f"record {record.id!r}: its masks are {mask_size}, but {record.scene.path} "
            f"is {raster_size}; build the data again"
        )
    return replace(pixels, family=family_of(record.sensor))
