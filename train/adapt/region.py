"""The data of a region: records from scenes and labels, drawn polygons or an earlier build, and its held-out places."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyogrio
import rasterio
import yaml

from spex.errors import RecordError
from spex.evidence.class_additions import add_classes, read_class_entries
from spex.evidence.class_words import resolve_class
from spex.records import SpieRecord, read_records

log = logging.getLogger(__name__)
_SHARE = 0.25  # of the places, or of the tiles of the only place, is held out
_VECTORS = (".gpkg", ".geojson", ".shp", ".fgb")


@dataclass(frozen=True)
class LabelOptions:
    """How scenes and labels are to be read, as options of ``spex spie build``."""

    labels: str | None = None
    legend: str | None = None
    column: str | None = None
    sensor: str | None = None
    bands: str | None = None


@dataclass(frozen=True)
class RegionRecords:
    """Survey records to learn from and held-out ones; ``held_out`` says in words how they were parted."""

    learned: list[SpieRecord]
    checked: list[SpieRecord]
    held_out: str


def records_of(data: Path, work: Path, given: LabelOptions) -> Path:
    """The folder of SPIE records of ``data``: itself, or one built from its scenes below ``work``.

    Classes of a file ``classes.yaml`` in ``data`` are known afterwards.

    Raises:
        RecordError: no scene, no label, or what the builder says is wrong with them.
        ConfigError: ``classes.yaml`` is malformed.
    """
    own = data / "classes.yaml"
    if own.is_file():
        add_classes(read_class_entries(own), str(own))
    if not data.is_dir():
        raise RecordError(
            f"{data} is no folder; give one with scenes and labels, or with SPIE records"
        )
    if any(data.glob("survey_*.parquet")):
        return data
    work.mkdir(parents=True, exist_ok=True)
    labels = given.labels or _drawn(data)
    legend = given.legend or (
        str(data / "legend.yaml") if (data / "legend.yaml").is_file() else None
    )
    if labels and legend is None and labels.endswith(_VECTORS):
        legend = _legend_of_polygons(labels, given.column, work / "legend.yaml")
    out = work / "records"
    options = {"--labels": labels, "--legend": legend, "--column": given.column, "--sensor": given.sensor,
               "--bands": given.bands, "--classes": str(own) if own.is_file() else None}  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "spex",
        "spie",
        "build",
        str(data),
        "--out",
        str(out),
        "--dialogues",
        "0",
    ]
    command += [
        "--val-share",
        "0",
        "--workers",
        "1",
        *(word for pair in options.items() if pair[1] for word in pair),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode > 1 or not any(out.glob("survey_*.parquet")):
        raise RecordError(
            said[-1].removeprefix("spex: ") if said else f"no records could be built from {data}"
        )
    if done.returncode:
        log.warning("some scenes were left out:\n%s", "\n".join(said))
    return out


def _drawn(data: Path) -> str | None:
    """The one vector file of a folder, if it is no scene's own label."""
    found = [path for path in sorted(data.iterdir()) if path.suffix.lower() in _VECTORS]
    stems = {path.stem for path in data.iterdir() if path.suffix.lower() not in _VECTORS}
    return str(found[0]) if len(found) == 1 and found[0].stem not in stems else None


def _legend_of_polygons(path: str, column: str | None, target: Path) -> str | None:
    """A legend of the classes that polygons name in words, and of "other" around them; None leaves it to the builder.

    Whoever draws a class draws all of it on these tiles: without ground that is not the class nothing can be learned.
    """
    fields = list(pyogrio.read_info(path)["fields"])
    column = column or (fields[0] if len(fields) == 1 else None)
    if column not in fields:
        return None
    words = {
        str(word) for word in pyogrio.raw.read(path, columns=[column], read_geometry=False)[3][0]
    }
    codes = {word: resolve_class(word) or word for word in sorted(words)}
    document = {"title": f"polygons of {Path(path).name}", "codes": codes, "rest": "other"}
    target.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    return str(target)


def surveys(folder: Path) -> list[SpieRecord]:
    """The survey records of a folder, in the order of their ids.

    Raises:
        RecordError: there are none, or a damaged file.
    """
    found = [
        record
        for shard in sorted(folder.glob("survey_*.parquet"))
        for record in read_records(shard)
    ]
    if not found:
        raise RecordError(f"no survey records in {folder}; build them with: spex spie build")
    return sorted(found, key=lambda record: record.id)


def held_out(records: list[SpieRecord], check: list[SpieRecord] | None = None) -> RegionRecords:
    """Part tiles to learn from and held-out ones by place, as the records do if they do; a single place into blocks.

    Args:
        check: records that are held out instead, of other places; all of ``records`` are then learned from.

    Raises:
        RecordError: fewer than two tiles, or places on both sides.
    """
    if check is not None:
        if shared := {record.place for record in records} & {record.place for record in check}:
            raise RecordError(
                f"place {sorted(shared)[0]!r} is in the data and in what checks it; take it out of one"
            )
        chosen = [record for record in check if record.split == "val"] or check
        return RegionRecords(records, chosen, f"{len(chosen)} tiles given for it")
    if len(records) < 2:
        raise RecordError(
            f"{len(records)} tile is too few: one has to be held out; give two at least"
        )
    learned, checked = ([r for r in records if r.split == split] for split in ("train", "val"))
    if learned and checked:
        places = len({record.place for record in checked})
        return RegionRecords(
            learned, checked, f"{len(checked)} tiles of {places} places of their own"
        )
    count = max(1, round(_SHARE * len(records)))
    places = sorted(
        {record.place for record in records},
        key=lambda place: hashlib.sha256(place.encode()).digest(),
    )
    if len(places) > 1:
        chosen: set[str] = set()
        while sum(record.place in chosen for record in records) < count and len(places) > 1:
            chosen.add(places.pop())
        checked = [record for record in records if record.place in chosen]
        learned = [record for record in records if record.place not in chosen]
        return RegionRecords(
            learned, checked, f"{len(checked)} tiles of {len(chosen)} places of their own"
        )
    ordered = sorted(records, key=_position(records))
    words = f"{count} tiles at one end: all lie in one place, so these have neighbours among the tiles learned from"
    return RegionRecords(ordered[:-count], ordered[-count:], words)


def _position(records: list[SpieRecord]) -> Callable[[SpieRecord], tuple[float, str]]:
    """Where a tile lies along the longer side of them all; without georeference its id, which follows the rows."""
    centres: dict[str, tuple[float, float]] = {}
    for record in records:
        with rasterio.open(record.scene.path) as raster:
            if raster.crs is not None:
                centres[record.id] = raster.xy(raster.height / 2, raster.width / 2)
    if len(centres) < len(records):
        return lambda record: (0.0, record.id)
    spans = [max(axis) - min(axis) for axis in zip(*centres.values(), strict=True)]
    axis = spans.index(max(spans))
    return lambda record: (centres[record.id][axis], record.id)
