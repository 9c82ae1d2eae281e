"""The data of a region: SPIE records, built from scenes and labels if needed; held-out tiles."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyogrio
import rasterio
import yaml

from instruction_data.builder.build import build
from instruction_data.builder.build_shards import BuildSettings
from instruction_data.sources.inputs import SceneOptions
from spex.errors import RecordError
from spex.evidence.class_additions import add_classes, read_class_entries
from spex.evidence.class_words import resolve_class
from spex.records import SpieRecord, read_records

log = logging.getLogger(__name__)
_HELD_OUT_SHARE = 0.25  # of the places; of the tiles if there is one place
_VECTOR_SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb")


@dataclass(frozen=True)
class LabelOptions:
    """How scenes and labels are read; None leaves it to the builder.

    Attributes:
        labels: Folder or glob of class rasters, or one vector file.
        legend: Name of a legend, a YAML file, or ``mask:CLASS``.
        column: Class column of vector labels.
        sensor: Sensor of the scenes.
        bands: Bands of the scenes, as ``spex extract --bands`` takes them.
    """

    labels: str | None = None
    legend: str | None = None
    column: str | None = None
    sensor: str | None = None
    bands: str | None = None


@dataclass(frozen=True)
class RegionRecords:
    """Survey records of a region.

    Attributes:
        training: Tiles to learn from.
        held_out: Tiles to measure on.
        split_description: How many tiles are held out and how they were chosen.
    """

    training: list[SpieRecord]
    held_out: list[SpieRecord]
    split_description: str


def region_folder(data: Path, work: Path, options: LabelOptions) -> Path:
    """The folder of SPIE records of a region, which are built if ``data`` holds scenes.

    Classes of a file ``classes.yaml`` in ``data`` are added for the rest of the process. An
    interrupted build resumes exactly when it is called again.

    Args:
        data: Folder of SPIE records, or of scenes and labels.
        work: Where records are built, in the folder ``records``.
        options: How scenes and labels are read.

    Raises:
        RecordError: ``data`` is no folder, or no scene of it can be used.
        ConfigError: ``classes.yaml`` is malformed.
        OutputError: ``work`` cannot be written.
    """
    class_file = data / "classes.yaml"
    if class_file.is_file():
        add_classes(read_class_entries(class_file), str(class_file))
    if not data.is_dir():
        raise RecordError(
            f"{data} is no folder; give one with scenes and labels, or with SPIE records"
        )
    if any(data.glob("survey_*.parquet")):
        return data
    work.mkdir(parents=True, exist_ok=True)
    records = work / "records"
    report = build(
        [str(data)],
        records,
        BuildSettings(dialogues=0, val_share=0.0),
        scenes=_scene_options(data, work, options),
        classes=class_file if class_file.is_file() else None,
    )
    if report.skipped:
        log.warning("some scenes were left out:\n%s", "\n".join(report.lines()))
    return records


def _scene_options(data: Path, work: Path, options: LabelOptions) -> SceneOptions:
    """Options of the builder, completed by files in the folder of the region."""
    labels = options.labels or _only_vector_file(data)
    legend = options.legend
    if legend is None and (data / "legend.yaml").is_file():
        legend = str(data / "legend.yaml")
    if labels and legend is None and labels.endswith(_VECTOR_SUFFIXES):
        legend = _write_polygon_legend(labels, options.column, work / "legend.yaml")
    return SceneOptions(
        labels=labels,
        legend=legend,
        column=options.column,
        sensor=options.sensor,
        bands=options.bands,
    )


def _only_vector_file(data: Path) -> str | None:
    """The vector file of a folder, if there is exactly one and it is not the label of one scene."""
    vector_files = []
    other_stems = set()
    for path in sorted(data.iterdir()):
        if path.suffix.lower() in _VECTOR_SUFFIXES:
            vector_files.append(path)
        else:
            other_stems.add(path.stem)
    if len(vector_files) == 1 and vector_files[0].stem not in other_stems:
        return str(vector_files[0])
    return None


def _write_polygon_legend(path: str, column: str | None, target: Path) -> str | None:
    """Write a legend of the classes that polygons name in words, with "other" around them.

    Users draw all of a class on their tiles. So ground outside the polygons is not the class;
    without such ground nothing could be learned.

    Returns:
        The legend's path; None if the class column is unclear, which the builder then reports.
    """
    columns = list(pyogrio.read_info(path)["fields"])
    column = column or (columns[0] if len(columns) == 1 else None)
    if column not in columns:
        return None
    _, _, _, fields = pyogrio.raw.read(path, columns=[column], read_geometry=False)
    words = sorted({str(word) for word in fields[0]})
    legend = {
        "title": f"polygons of {Path(path).name}",
        "codes": {word: resolve_class(word) or word for word in words},
        "rest": "other",
    }
    target.write_text(yaml.safe_dump(legend, allow_unicode=True), encoding="utf-8")
    return str(target)


def read_survey_records(folder: Path) -> list[SpieRecord]:
    """The survey records of a folder, sorted by id.

    Raises:
        RecordError: There is none, or a file is damaged.
    """
    records: list[SpieRecord] = []
    for shard in sorted(folder.glob("survey_*.parquet")):
        records += read_records(shard)
    if not records:
        raise RecordError(f"no survey records in {folder}; build them with: spex spie build")
    return sorted(records, key=lambda record: record.id)


def hold_out(records: list[SpieRecord], check: list[SpieRecord] | None = None) -> RegionRecords:
    """Split tiles into those to learn from and held-out ones.

    If the records have a split, it is used. Else whole places are held out; of a single place, the
    tiles at one end.

    Args:
        records: Survey records of the region.
        check: Survey records of other places, which are held out instead: ``records`` are then all
            learned from.

    Raises:
        RecordError: There are fewer than two tiles, or a place is in both arguments.
    """
    if check is not None:
        return _with_check(records, check)
    if len(records) < 2:
        raise RecordError(f"{len(records)} tile is too few: give at least two, one is held out")
    training = [record for record in records if record.split == "train"]
    held_out = [record for record in records if record.split == "val"]
    if not (training and held_out):
        places = {record.place for record in records}
        if len(places) == 1:
            return _end_of_place(records)
        places_out = _places_to_hold_out(records, places)
        held_out = [record for record in records if record.place in places_out]
        training = [record for record in records if record.place not in places_out]
    place_count = len({record.place for record in held_out})
    return RegionRecords(
        training, held_out, f"{len(held_out)} tiles of {place_count} places of their own"
    )


def _with_check(records: list[SpieRecord], check: list[SpieRecord]) -> RegionRecords:
    shared = {record.place for record in records} & {record.place for record in check}
    if shared:
        raise RecordError(
            f"place {min(shared)!r} is both in the data and in the records to check on; "
            "remove it from one of them"
        )
    held_out = [record for record in check if record.split == "val"] or check
    return RegionRecords(records, held_out, f"{len(held_out)} tiles given to check on")


def _held_out_count(records: list[SpieRecord]) -> int:
    return max(1, round(_HELD_OUT_SHARE * len(records)))


def _places_to_hold_out(records: list[SpieRecord], places: set[str]) -> set[str]:
    """Places with enough tiles, chosen by a hash of their names; at least one place is left."""
    remaining = sorted(places, key=lambda place: hashlib.sha256(place.encode()).digest())
    chosen: set[str] = set()
    tile_count = 0
    while tile_count < _held_out_count(records) and len(remaining) > 1:
        chosen.add(remaining.pop())
        tile_count = sum(record.place in chosen for record in records)
    return chosen


def _end_of_place(records: list[SpieRecord]) -> RegionRecords:
    count = _held_out_count(records)
    ordered = sorted(records, key=_position(records))
    description = (
        f"{count} tiles at one end. All tiles lie in one place, so held-out tiles have neighbours "
        "among the tiles learned from"
    )
    return RegionRecords(ordered[:-count], ordered[-count:], description)


def _position(records: list[SpieRecord]) -> Callable[[SpieRecord], tuple[float, str]]:
    """Sort key: the coordinate along the longer side of all tiles together.

    Without georeference it is the id, which follows the rows of the scene.
    """
    centres: dict[str, tuple[float, float]] = {}
    for record in records:
        with rasterio.open(record.scene.path) as raster:
            if raster.crs is not None:
                centres[record.id] = raster.xy(raster.height / 2, raster.width / 2)
    if len(centres) < len(records):
        return lambda record: (0.0, record.id)
    extents = [max(axis) - min(axis) for axis in zip(*centres.values(), strict=True)]
    longer = extents.index(max(extents))
    return lambda record: (centres[record.id][longer], record.id)
