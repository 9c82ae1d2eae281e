"""Shards: the units of work of a build, each built by one process and marked when finished.

A shard reads its scenes, streams its records to two Parquet files, and writes ``shard_*.json`` as
the last file. No content depends on which process builds a shard or when, so that any number of
processes, and a build that was killed and started again, give the same bytes.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from shapely.errors import ShapelyError

from instruction_data.builder.build_report import SkippedScene
from instruction_data.builder.chip_records import ChipOrigin, chip_records
from instruction_data.builder.places import PlacedItem
from instruction_data.sources.chips import Chip
from instruction_data.sources.pseudo_labels import PseudoLabels
from spex.errors import RecordError, SpexError
from spex.records import RecordWriter

# A source is cut into this many shards at least, so that few scenes still occupy several processes.
_MIN_SHARDS = 16
# Decoded raster blocks per process; by default GDAL takes a share of all memory.
_CACHE_BYTES = 64 << 20
# Values in the warnings of ``spex.raster.radiometry`` that differ from scene to scene.
_MEASURED = re.compile(r"\b(up to|value is below|has reflectance) [\d.e+-]+")


@dataclass(frozen=True)
class BuildSettings:
    """Settings that decide the records of a build, beside its inputs.

    Args:
        dialogues: conversations per chip.
        simulated: number of simulated chips.
        seed: seed of all random draws.
        val_share: fraction of the places for validation (0-1); a source may fix its own split.
        per_shard: maximum number of scenes per shard.
        strict: stop at the first scene that cannot be used, instead of leaving it out.

    Raises:
        RecordError: ``val_share`` is not a fraction.
    """

    dialogues: int = 30
    simulated: int = 0
    seed: int = 0
    val_share: float = 0.15
    per_shard: int = 32
    strict: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise RecordError(
                f"validation share {self.val_share} is out of range; give a number from 0 to 1"
            )


@dataclass(frozen=True)
class Shard:
    """A unit of work: scenes of one source on one side of the split."""

    name: str
    items: tuple[PlacedItem, ...]
    settings: BuildSettings


@dataclass(frozen=True)
class ShardSummary:
    """What a finished shard contains; written as JSON, which marks the shard as finished.

    Args:
        surveys: number of survey records, one per chip.
        dialogues: number of dialogue records.
        pseudo: chips with pseudo-labels.
        assumed: number of chips by assumption about their scene.
        skipped: scenes left out.
    """

    surveys: int
    dialogues: int
    pseudo: int
    assumed: Mapping[str, int]
    skipped: tuple[SkippedScene, ...]


def cut_into_shards(items: Sequence[PlacedItem], settings: BuildSettings) -> list[Shard]:
    """Cut the items of every source into shards of one split each, in their order."""
    sources: dict[str, list[PlacedItem]] = {}
    for item in items:
        sources.setdefault(item.source, []).append(item)
    shards: list[Shard] = []
    for source, source_items in sources.items():
        size = min(settings.per_shard, -(-len(source_items) // _MIN_SHARDS))
        parts: list[tuple[PlacedItem, ...]] = []
        for split in ("train", "val"):
            side = [item for item in source_items if item.split == split]
            parts += [tuple(side[first : first + size]) for first in range(0, len(side), size)]
        digits = max(3, len(str(len(parts) - 1)))
        for number, part in enumerate(parts):
            name = f"{source}_{number:0{digits}d}_{part[0].split}"
            shards.append(Shard(name, part, settings))
    return shards


def build_shard(shard: Shard, out: Path) -> None:
    """Write the chips of one shard, its Parquet files and, last, its summary.

    Raises:
        SpexError: with ``strict``, the problem of the first scene that cannot be used.
    """
    pseudo = 0
    assumed: Counter[str] = Counter()
    skipped: list[SkippedScene] = []
    settings = shard.settings
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES),
        warnings.catch_warnings(),
        RecordWriter(out / f"survey_{shard.name}.parquet") as surveys,
        RecordWriter(out / f"dialogue_{shard.name}.parquet") as dialogues,
    ):
        # Many chips have no georeference.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for item in shard.items:
            origin = ChipOrigin(item.source, item.place, item.split)
            chips_before = surveys.count
            try:
                for chip in _read_chips(item):
                    survey, chip_dialogues = chip_records(
                        chip, origin, out, settings.dialogues, settings.seed
                    )
                    surveys.add(survey)
                    pseudo += chip.labels == PseudoLabels.described
                    if assumption := chip.extra.get("assumed"):
                        assumed[without_values(assumption)] += 1
                    for record in chip_dialogues:
                        dialogues.add(record)
                if surveys.count == chips_before:
                    raise RecordError(
                        f"{item.item.id}: no usable chip, its pixels or labels are empty"
                    )
            except SpexError as error:
                if settings.strict:
                    raise
                reason = str(error)
                if kept := surveys.count - chips_before:
                    reason += f"; the {kept} chips before it are kept"
                skipped.append(SkippedScene(item.source, item.item.id, reason))
    summary = ShardSummary(surveys.count, dialogues.count, pseudo, dict(assumed), tuple(skipped))
    write_json(_summary_path(out, shard), asdict(summary))


def without_values(assumption: str) -> str:
    """An assumption about a scene without measured values, so that equal ones are counted."""
    return _MEASURED.sub(r"\1 …", assumption)


def read_summary(out: Path, shard: Shard) -> ShardSummary | None:
    """The summary of a shard; None if the shard is not finished."""
    path = _summary_path(out, shard)
    if not path.exists():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    document["skipped"] = tuple(SkippedScene(**scene) for scene in document["skipped"])
    return ShardSummary(**document)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON to a temporary file beside ``path``, then rename it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    text = json.dumps(content, indent=1, ensure_ascii=False)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _summary_path(out: Path, shard: Shard) -> Path:
    return out / f"shard_{shard.name}.json"


def _read_chips(item: PlacedItem) -> Iterator[Chip]:
    try:
        yield from item.item.read(item.split)
    except SpexError:
        raise
    except (RasterioError, ShapelyError, OSError, ValueError, LookupError) as error:
        # A reader need not foresee every way in which one file of ten thousand can be broken.
        reason = " ".join(str(error).split())
        raise RecordError(f"{item.item.id}: {reason}; repair or remove the file") from error
