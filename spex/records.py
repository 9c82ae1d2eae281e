"""SPIE records: scene, band metadata, conversation, masks and where every field came from, as Parquet.

The only thing that building instruction data and training share. Two kinds: a ``survey`` has one span for every class
its labels can speak of (an all-zero mask is a class known to be absent; pixels of ``ignore`` say nothing), a
``dialogue`` has the turns of one conversation, whose spans carry constraints and no mask (the survey of the same scene
has it).
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
    """A bool mask as uncompressed run lengths: row after row, first the run of False (0 if the mask starts True)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    counts: list[int]

    @model_validator(mode="after")
    def _covers(self) -> Rle:
        if (
            min(self.size) < 1
            or min(self.counts, default=-1) < 0
            or sum(self.counts) != self.size[0] * self.size[1]
        ):
            raise ValueError(
                f"run lengths do not add up to a mask of {self.size[0]} x {self.size[1]} pixels"
            )
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
    """Where the pixels are: a raster file and a window (column, row, width, height) of it, or all of it."""

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
    """What a span should extract. No mask: not stored here; all False: absent; ignore: what the label cannot judge."""

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
    """One record of instruction data; ``provenance`` says per field which pixels, wording or labels it came from."""

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
            raise ValueError(f"record {self.id!r}: masks of different sizes {sorted(sizes)}")
        if self.scene.window and sizes and sizes != {(self.scene.window[3], self.scene.window[2])}:
            raise ValueError(
                f"record {self.id!r}: masks do not have the size of the window {self.scene.window}"
            )
        if self.kind == "dialogue" and [turn.role for turn in self.turns][-2:] != [
            "user",
            "assistant",
        ]:
            raise ValueError(
                f"record {self.id!r}: a dialogue ends with a user and an assistant turn"
            )
        return self

    def band_metadata(self) -> dict[str, Any]:
        """The scene's band metadata as the JSON of ``<scene>.bands.json``."""
        found: dict[str, Any] = {
            "bands": [band.model_dump(exclude_none=True) for band in self.bands],
            "scale": self.scale,
            "offset": self.offset,
            "level": self.level,
        }
        return found if self.gsd_m is None else found | {"gsd_m": self.gsd_m}


_RLE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.list_(pa.int32()))])
_COLUMNS = pa.schema([
    ("schema", pa.int32()), ("id", pa.string()), ("kind", pa.string()), ("split", pa.string()),
    ("place", pa.string()), ("source", pa.string()),
    ("scene", pa.struct([("path", pa.string()), ("window", pa.list_(pa.int32()))])),
    ("sensor", pa.string()),
    ("bands", pa.list_(pa.struct([
        ("name", pa.string()), ("wavelength_nm", pa.float64()), ("fwhm_nm", pa.float64()),
    ]))),
    ("level", pa.string()), ("gsd_m", pa.float64()), ("scale", pa.float64()), ("offset", pa.float64()),
    ("turns", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ("spans", pa.list_(pa.struct([
        ("class_name", pa.string()), ("phrase", pa.string()), ("attributes", pa.string()),
        ("mask", _RLE), ("ignore", _RLE),
    ]))),
    ("prior", pa.string()), ("provenance", pa.string()),
])  # fmt: skip


def _row(record: SpieRecord) -> dict[str, Any]:
    # Free-form dicts travel as JSON text: their keys differ from record to record, Parquet columns must not.
    row = record.model_dump(by_alias=True)
    for span in row["spans"]:
        span["attributes"] = json.dumps(span["attributes"])
    return row | {"provenance": json.dumps(record.provenance)}


def parse_record(row: dict[str, Any]) -> SpieRecord:
    """A record from one row of the Parquet file, as pyarrow or ``datasets`` hand it over.

    Raises:
        RecordError: the row is not a valid record.
    """
    try:
        spans = [span | {"attributes": json.loads(span["attributes"])} for span in row["spans"]]
        return SpieRecord.model_validate(
            row | {"spans": spans, "provenance": json.loads(row["provenance"])}
        )
    except ValidationError as error:
        first = error.errors()[0]
        where, why = ".".join(str(part) for part in first["loc"]), first["msg"]
        raise RecordError(
            f"record {row.get('id')!r} is invalid: {where}: {why}; build the data again"
        ) from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise RecordError(
            f"record {row.get('id')!r} lacks a field ({error}); build the data again"
        ) from error


class RecordWriter:
    """Writes records to one Parquet file as they come, scene paths as given.

    The file appears when all are written without an error; for no record at all there is none.
    """

    def __init__(self, path: str | Path) -> None:
        self._target, self._group = Path(path), list[dict[str, Any]]()
        self._aside = self._target.with_name(f"{self._target.name}.{os.getpid()}.part")
        self._file = pq.ParquetWriter(self._aside, _COLUMNS, compression="zstd")
        self.count = 0

    def add(self, record: SpieRecord) -> None:
        """Take one record; a full row group is written at once."""
        self._group.append(_row(record))
        self.count += 1
        if len(self._group) == _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._group, schema=_COLUMNS))
        self._group = []

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind: object, *about: object) -> None:
        if kind is None and self._group:
            self._flush()
        self._file.close()
        if kind is None and self.count:
            self._aside.replace(self._target)
        else:
            self._aside.unlink()


def write_records(path: str | Path, records: Iterable[SpieRecord]) -> int:
    """Write one Parquet file (aside, then renamed), scene paths as given; return the number of records."""
    with RecordWriter(path) as writer:
        for record in records:
            writer.add(record)
    return writer.count


def read_records(path: str | Path) -> Iterator[SpieRecord]:
    """Records of one Parquet file, or of all ``*.parquet`` of a folder; relative scene paths are resolved against it.

    Raises:
        RecordError: nothing to read there, a file that is not SPIE Parquet, or an invalid record.
    """
    source = Path(path)
    shards = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    if not shards or not shards[0].exists():
        raise RecordError(
            f"no SPIE records at {source}; give a .parquet file or a folder that holds some"
        )
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
                found = record.scene.model_copy(
                    update={"path": str(shard.parent / record.scene.path)}
                )
                yield record.model_copy(update={"scene": found})


def load_pixels(record: SpieRecord) -> Pixels:
    """The pixels a record speaks of, read through ``Scene`` with the record's own band metadata.

    Raises:
        SceneError: the raster cannot be read.
        RecordError: the raster has another size than the record's masks.
    """
    from rasterio.windows import Window

    from spex.raster.scene import Scene

    scene = Scene.open(record.scene.path, bands=record.band_metadata())
    window = Window(*record.scene.window) if record.scene.window else None
    pixels = scene.read(window)
    size = next((span.mask.size for span in record.spans if span.mask), pixels.valid.shape)
    if size != pixels.valid.shape:
        found = f"{record.scene.path} is {pixels.valid.shape}"
        raise RecordError(
            f"record {record.id!r}: its masks are {size}, but {found}; build the data again"
        )
    return replace(pixels, family=family_of(record.sensor))
