"""The user's own scenes as items: rasters of a folder or glob, rows of a CSV, a STAC collection.

Listing opens headers for footprints and reads no pixels. A problem with one scene (no label, a
damaged file) becomes an item whose reading raises, so that a build reports it and continues.
"""

from __future__ import annotations

import csv
import glob
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from instruction_data.sources.chips import Box, Chip, SceneItem, Split
from instruction_data.sources.extents import transform_box
from instruction_data.sources.label_files import (
    RASTER_SUFFIXES,
    is_scene,
    labels_at,
    labels_beside,
    list_files,
)
from instruction_data.sources.labels import Labels, open_labels
from instruction_data.sources.legends import legend
from instruction_data.sources.polygons import VECTOR_SUFFIXES, empty_polygons
from instruction_data.sources.pseudo_labels import PseudoLabels
from instruction_data.sources.stac import Asset, open_assets, read_items
from instruction_data.sources.windows import scene_chips
from spex.errors import RecordError, SceneError
from spex.raster.pixel_source import open_raster
from spex.raster.scene import Scene

_COLUMNS = ("scene", "label", "class", "legend", "sensor", "place", "split", "date")
_SPLITS: Mapping[str, Split | None] = {"": None, "train": "train", "val": "val"}
_LISTED = 12  # features named in a message


@dataclass(frozen=True)
class SceneOptions:
    """How scenes and their labels are read; picklable.

    Args:
        labels: a folder or glob of labels with the scenes' stems, or one file for all scenes; None:
            labels beside the scenes or named by a CSV or STAC item, else pseudo-labels.
        legend: a named legend, a YAML mapping, or ``mask:CLASS``.
        column: the attribute of polygons that holds their class.
        sensor: name of a sensor in the sensor table.
        bands: band metadata as ``spex extract --bands`` takes it.
        chip: maximum side of a chip in pixels.
    """

    labels: Path | str | None = None
    legend: str | Path | None = None
    column: str | None = None
    sensor: str | None = None
    bands: str | None = None
    chip: int = 256


@dataclass(frozen=True)
class _ListedScene:
    """One scene as listed: its file or STAC assets, its label, and its problem, if any."""

    name: str
    path: str
    options: SceneOptions
    label: str | None = None
    problem: str | None = None
    assets: tuple[Asset, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    place: str | None = None
    split: Split | None = None
    footprint: Box | None = None


def scene_items(location: str | Path, options: SceneOptions) -> Iterator[SceneItem]:
    """List the scenes at a location, in a fixed order.

    Args:
        location: a folder, a glob, a raster, a CSV, or a JSON file with a STAC item collection.
        options: how to read them.

    Raises:
        RecordError: no scene is found, or a table or collection is malformed.
    """
    path = Path(location)
    if options.legend is not None:
        legend(options.legend)  # a wrong legend is refused before any scene is read
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        scenes = _list_csv(path, options)
    elif path.is_file() and path.suffix.lower() in (".json", ".geojson"):
        scenes = _list_stac(path, options)
    else:
        scenes = _list_rasters(str(location), options)
    name_counts: Counter[str] = Counter()
    for scene in (*_list_empty_polygons(options), *scenes):
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", scene.name).strip("_.") or "scene"
        name_counts[name] += 1
        if name_counts[name] > 1:
            name = f"{name}-{name_counts[name]}"
        footprint = scene.footprint
        if footprint is None and not scene.problem and not scene.assets:
            footprint = _footprint(scene.path)
        yield SceneItem(name, partial(_read, scene, name), scene.place, scene.split, footprint)


def _list_empty_polygons(options: SceneOptions) -> Iterator[_ListedScene]:
    """An item whose problem lists the empty polygons of a vector file that all scenes share."""
    shared = str(options.labels)
    if not shared.lower().endswith(VECTOR_SUFFIXES) or not Path(shared).is_file():
        return
    if features := empty_polygons(shared):
        listed = ", ".join(map(str, features[:_LISTED]))
        problem = (
            f"{shared}: features {listed} have no area and were left out; remove or repair them"
        )
        yield _ListedScene(Path(shared).name, shared, options, problem=problem)


def _list_rasters(location: str, options: SceneOptions) -> Iterator[_ListedScene]:
    root = Path(location)
    if not glob.has_magic(location) and not root.exists():
        raise RecordError(f"{location}: no such file or folder")
    scenes = [file for file in list_files(location) if is_scene(file)]
    if not scenes:
        raise RecordError(
            f"no scenes in {location}; expected rasters ({', '.join(RASTER_SUFFIXES)}), a CSV or a "
            "STAC JSON"
        )
    find_label = labels_beside(scenes) if options.labels is None else labels_at(str(options.labels))
    labels = [find_label(scene) for scene in scenes]
    labelled = options.labels is not None or any(labels)
    for scene, label in zip(scenes, labels, strict=True):
        problem = None
        if labelled and not label:
            problem = f"{scene} has no label: no label file is named {scene.stem}"
        name = scene.relative_to(root) if root.is_dir() else Path(scene.name)
        yield _ListedScene(str(name.with_suffix("")), str(scene), options, label, problem)


def _list_csv(path: Path, options: SceneOptions) -> Iterator[_ListedScene]:
    text = path.read_text(encoding="utf-8-sig")
    header = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=max(",;\t|", key=header.count))
    columns = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = columns
    if "scene" not in columns or not set(columns) <= set(_COLUMNS):
        raise RecordError(
            f"{path}: columns {', '.join(columns)}; use scene and any of {', '.join(_COLUMNS[1:])}"
        )
    rows = [{key: (row.get(key) or "").strip() for key in _COLUMNS} for row in reader]
    find_label = None if options.labels is None else labels_at(str(options.labels))
    labelled = find_label is not None or any(row["label"] for row in rows)
    for line, row in enumerate(rows, start=2):
        label = None
        if row["label"]:
            label = _beneath(path.parent, row["label"])
        elif find_label:
            label = find_label(Path(row["scene"]))
        problem = _row_problem(row, labelled and not label)
        class_legend = f"mask:{row['class']}" if row["class"] else row["legend"]
        yield _ListedScene(
            name=str(Path(row["scene"]).with_suffix("")) if row["scene"] else f"line_{line}",
            path=_beneath(path.parent, row["scene"]),
            options=replace(
                options,
                sensor=row["sensor"] or options.sensor,
                legend=class_legend or options.legend,
            ),
            label=label,
            problem=problem and f"{path}, line {line}: {problem}",
            extra={"date": row["date"]} if row["date"] else {},
            place=row["place"] or None,
            split=_SPLITS.get(row["split"]),
        )


def _row_problem(row: Mapping[str, str], lacks_label: bool) -> str | None:
    if not row["scene"]:
        return "no scene"
    if row["split"] not in _SPLITS:
        return f"split {row['split']!r} is neither train nor val"
    if lacks_label:
        return "no label, although other rows have one; add a label or remove the row"
    return None


def _beneath(folder: Path, name: str) -> str:
    return name if "://" in name else str(folder / name)


def _list_stac(path: Path, options: SceneOptions) -> Iterator[_ListedScene]:
    find_label = None if options.labels is None else labels_at(str(options.labels))
    items = read_items(path)
    labelled = find_label is not None or any(item.label for item in items)
    for item in items:
        label = item.label or (find_label and find_label(Path(item.id)))
        problem = None
        if not item.assets:
            problem = "none of its assets has the role 'data'"
        elif labelled and not label:
            problem = "no label"
        sensor = options.sensor
        if all("center_wavelength" not in asset.bands for asset in item.assets):
            sensor = sensor or item.platform
        yield _ListedScene(
            name=item.id,
            path=item.id,
            options=replace(options, sensor=sensor),
            label=label or None,
            problem=problem and f"{path}, item {item.id}: {problem}",
            assets=item.assets,
            extra=item.extra,
            footprint=item.footprint,
        )


def _footprint(path: str) -> Box | None:
    """Extent of a raster in degrees from its header.

    None without a georeference, and for an unreadable file: reading the item states the reason.
    """
    try:
        with open_raster(path) as dataset:
            if dataset.crs is None:
                return None
            return transform_box(dataset.bounds, dataset.crs.to_wkt(), "EPSG:4326")
    except SceneError:
        return None


def _read(listed: _ListedScene, name: str, split: Split) -> Iterator[Chip]:
    if listed.problem:
        raise RecordError(listed.problem)
    options = listed.options
    with ExitStack() as stack:
        path = stack.enter_context(open_assets(listed.assets)) if listed.assets else listed.path
        scene = Scene.open(path, sensor=options.sensor, bands=options.bands)
        if listed.label is None:
            labels: Labels = PseudoLabels(scene)
        else:
            meanings = None if options.legend is None else legend(options.legend)
            labels = stack.enter_context(open_labels(listed.label, scene, meanings, options.column))
        extra = {**listed.extra, "scene": Path(listed.path).name}
        if scene.warnings:
            extra["assumed"] = "; ".join(scene.warnings)
        yield from scene_chips(scene, labels, name, options.chip, extra)
