"""Anyone's own scenes as items: rasters of a folder or glob, the rows of a CSV, a STAC item collection.

Listing opens headers for footprints and reads no pixels. What is wrong with one scene (no label, a damaged file)
becomes an item whose reading raises, so that a build names it in its report and goes on.
"""

from __future__ import annotations

import csv
import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from instruction_data.sources.chips import Box, Chip, SceneItem, Split
from instruction_data.sources.labels import (
    VECTOR_SUFFIXES,
    Labels,
    bounds_in,
    empty_polygons,
    open_labels,
)
from instruction_data.sources.legends import legend
from instruction_data.sources.pseudo_labels import PseudoLabels
from instruction_data.sources.stac import Asset, opened_assets, read_items
from instruction_data.sources.windows import scene_chips
from spex.errors import RecordError, SceneError
from spex.raster.pixel_source import open_raster
from spex.raster.scene import Scene

RASTER_SUFFIXES = (
    ".tif",
    ".tiff",
    ".vrt",
    ".jp2",
    ".img",
    ".dat",
    ".bil",
    ".bip",
    ".bsq",
    ".nc",
    ".png",
)
_LABEL_STEM = re.compile(r"(.+)[_-](?:labels?|mask)", re.IGNORECASE)
_LABEL_FOLDERS = ("labels", "label", "masks")
_COLUMNS = ("scene", "label", "class", "legend", "sensor", "place", "split", "date")


@dataclass(frozen=True)
class SceneOptions:
    """How scenes and their labels are to be read; picklable.

    Args:
        labels: a folder or glob of labels with the scenes' stems, or one file for all scenes; None: labels that lie
            beside the scenes or that a CSV or STAC item names, else pseudo-labels.
        legend: a named legend, a YAML mapping, or ``mask:CLASS``.
        column: the attribute of polygons that holds their class.
        sensor: name of a sensor of the table.
        bands: the bands, as ``spex extract --bands`` takes them.
        chip: side of a chip in pixels.
    """

    labels: Path | str | None = None
    legend: str | Path | None = None
    column: str | None = None
    sensor: str | None = None
    bands: str | None = None
    chip: int = 256


@dataclass(frozen=True)
class _ListedScene:
    """One scene as listed: its file, or the assets that make it, its label, and what is wrong with it, if anything."""

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


def scene_items(spec: str | Path, options: SceneOptions) -> Iterator[SceneItem]:
    """The scenes that ``spec`` names, in a fixed order.

    Args:
        spec: a folder, a glob, a raster, a CSV, or a JSON file with a STAC item collection.
        options: how to read them.

    Raises:
        RecordError: nothing is found, or a table that cannot be understood.
    """
    path = Path(spec)
    if options.legend is not None:
        legend(options.legend)  # a wrong legend is wrong for every scene: say so before any is read
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        listed = _of_csv(path, options)
    elif path.is_file() and path.suffix.lower() in (".json", ".geojson"):
        listed = _of_stac(path, options)
    else:
        listed = _of_files(str(spec), options)
    seen: Counter[str] = Counter()
    for found in (*_hollow_labels(options), *listed):
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", found.name).strip("_.") or "scene"
        seen[name] += 1
        name = name if seen[name] == 1 else f"{name}-{seen[name]}"
        footprint = None if found.problem or found.assets else _footprint(found.path)
        yield SceneItem(
            name,
            partial(_read, found, name),
            found.place,
            found.split,
            found.footprint or footprint,
        )


def _hollow_labels(options: SceneOptions) -> Iterator[_ListedScene]:
    """The empty polygons of a label file that all scenes share, to be named in the report; scenes do without them."""
    shared = str(options.labels)
    if (
        shared.lower().endswith(VECTOR_SUFFIXES)
        and Path(shared).is_file()
        and (hollow := empty_polygons(shared))
    ):
        numbers = ", ".join(map(str, hollow[:12]))
        problem = (
            f"{shared}: features {numbers} enclose no ground and were left out; remove or mend them"
        )
        yield _ListedScene(Path(shared).name, shared, options, problem=problem)


def _of_files(spec: str, options: SceneOptions) -> Iterator[_ListedScene]:
    root = Path(spec)
    if not glob.has_magic(spec) and not root.exists():
        raise RecordError(f"{spec}: no such file or folder")
    scenes = [file for file in _files(spec) if _is_scene(file)]
    if not scenes:
        raise RecordError(
            f"no scenes in {spec}; expected rasters ({', '.join(RASTER_SUFFIXES)}), a CSV or a STAC JSON"
        )
    labels = _labels_around(scenes) if options.labels is None else _given_labels(options)
    found = [labels(scene) for scene in scenes]
    labelled = options.labels is not None or any(found)
    for scene, label in zip(scenes, found, strict=True):
        problem = (
            f"{scene} has no label: no label is named {scene.stem}"
            if labelled and not label
            else None
        )
        name = scene.relative_to(root) if root.is_dir() else Path(scene.name)
        yield _ListedScene(str(name.with_suffix("")), str(scene), options, label, problem)


def _files(spec: str) -> list[Path]:
    """The files that a glob names, or all below a folder, in order of their paths."""
    pattern = f"{glob.escape(spec)}/**/*" if Path(spec).is_dir() else spec
    return sorted(Path(name) for name in glob.glob(pattern, recursive=True))


def _is_scene(file: Path) -> bool:
    suffix = file.suffix.lower()
    known = suffix in RASTER_SUFFIXES or (not suffix and file.with_suffix(".hdr").exists())
    return (
        known
        and file.is_file()
        and not _LABEL_STEM.fullmatch(file.stem)
        and file.parent.name not in _LABEL_FOLDERS
    )


class _LabelFinder:
    """Finds the label of a scene: the one file of all, or the file of its stem, near it or anywhere."""

    def __init__(self, shared: str | None, by_stem: Mapping[tuple[Path | None, str], str]) -> None:
        self._shared, self._by_stem = shared, by_stem

    def __call__(self, scene: Path) -> str | None:
        places = (None, scene.parent, scene.parent.parent)
        return self._shared or next(
            filter(None, (self._by_stem.get((place, scene.stem)) for place in places)), None
        )


def _given_labels(options: SceneOptions) -> _LabelFinder:
    where = str(options.labels)
    if Path(where).is_file() or "://" in where:
        return _LabelFinder(where, {})
    found: dict[tuple[Path | None, str], str] = {}
    for file in _files(where):
        if file.suffix.lower() in (*VECTOR_SUFFIXES, *RASTER_SUFFIXES):
            twin = found.setdefault((None, _scene_stem(file)), str(file))
            if twin != str(file):
                raise RecordError(
                    f"{twin} and {file} are labels of the same stem; keep one, or list them in a CSV"
                )
    if not found:
        raise RecordError(f"no labels at {where}; give a folder, a glob or one file for all scenes")
    return _LabelFinder(None, found)


def _labels_around(scenes: Iterable[Path]) -> _LabelFinder:
    """Labels beside scenes, and in a folder ``labels`` there or one above."""
    folders = {scene.parent for scene in scenes}
    apart = {
        base / name
        for folder in folders
        for base in (folder, folder.parent)
        for name in _LABEL_FOLDERS
    }
    found: dict[tuple[Path | None, str], str] = {}
    for folder in sorted(folders | apart):
        for file in sorted(folder.glob("*")):
            suffix = file.suffix.lower()
            vector = suffix in VECTOR_SUFFIXES and suffix != ".json"
            if vector or (
                suffix in RASTER_SUFFIXES and (folder in apart or _LABEL_STEM.fullmatch(file.stem))
            ):
                found[(folder.parent if folder in apart else folder, _scene_stem(file))] = str(file)
    return _LabelFinder(None, found)


def _scene_stem(label: Path) -> str:
    match = _LABEL_STEM.fullmatch(label.stem)
    return match[1] if match else label.stem


def _of_csv(path: Path, options: SceneOptions) -> Iterator[_ListedScene]:
    text = path.read_text(encoding="utf-8-sig")
    head = text.partition("\n")[0]
    delimiter = max(",;\t|", key=head.count)
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter)
    columns = [name.strip() for name in rows.fieldnames or ()]
    rows.fieldnames = columns
    if "scene" not in columns or not set(columns) <= set(_COLUMNS):
        raise RecordError(
            f"{path}: columns {', '.join(columns)}; use scene and any of {', '.join(_COLUMNS[1:])}"
        )
    labels = None if options.labels is None else _given_labels(options)
    table = list(rows)
    labelled = labels is not None or any((row.get("label") or "").strip() for row in table)
    for line, row in enumerate(table, 2):
        cell = {key: (row.get(key) or "").strip() for key in _COLUMNS}
        label = (
            _beneath(path.parent, cell["label"])
            if cell["label"]
            else labels and labels(Path(cell["scene"]))
        )
        problem = (
            "no scene" if not cell["scene"]
            else f"split {cell['split']!r} is neither train nor val" if cell["split"] not in ("", "train", "val")
            else "no label, though other rows have one; give it one or leave it out" if labelled and not label
            else None
        )  # fmt: skip
        kind = f"mask:{cell['class']}" if cell["class"] else cell["legend"] or options.legend
        yield _ListedScene(
            name=str(Path(cell["scene"]).with_suffix("")) if cell["scene"] else f"line_{line}",
            path=_beneath(path.parent, cell["scene"]),
            options=replace(options, sensor=cell["sensor"] or options.sensor, legend=kind),
            label=label or None,
            problem=problem and f"{path}, line {line}: {problem}",
            extra={"date": cell["date"]} if cell["date"] else {},
            place=cell["place"] or None,
            split="train"
            if cell["split"] == "train"
            else "val"
            if cell["split"] == "val"
            else None,
        )


def _beneath(folder: Path, name: str) -> str:
    return name if "://" in name else str(folder / name)


def _of_stac(path: Path, options: SceneOptions) -> Iterator[_ListedScene]:
    labels = None if options.labels is None else _given_labels(options)
    items = read_items(path)
    labelled = labels is not None or any(item.label for item in items)
    for item in items:
        label = item.label or (labels and labels(Path(item.id)))
        problem = (
            "none of its assets has the role 'data'" if not item.assets
            else "no label" if labelled and not label
            else None
        )  # fmt: skip
        unnamed = all("center_wavelength" not in asset.bands for asset in item.assets)
        yield _ListedScene(
            name=item.id,
            path=item.id,
            options=replace(options, sensor=options.sensor or (item.platform if unnamed else None)),
            label=label or None,
            problem=problem and f"{path}, item {item.id}: {problem}",
            assets=item.assets,
            extra=item.extra,
            footprint=item.footprint,
        )


def _footprint(path: str) -> Box | None:
    """Where a raster lies, from its header; None for one without georeference, or unreadable (reading it says why)."""
    try:
        with open_raster(path) as dataset:
            return (
                None
                if dataset.crs is None
                else bounds_in(dataset.bounds, dataset.crs.to_wkt(), "EPSG:4326")
            )
    except SceneError:
        return None


def _read(found: _ListedScene, name: str, split: Split) -> Iterator[Chip]:
    if found.problem:
        raise RecordError(found.problem)
    options = found.options
    with ExitStack() as stack:
        path = stack.enter_context(opened_assets(found.assets)) if found.assets else found.path
        scene = Scene.open(path, sensor=options.sensor, bands=options.bands)
        if found.label is None:
            labels: Labels = PseudoLabels(scene)
        else:
            meanings = None if options.legend is None else legend(options.legend)
            labels = stack.enter_context(open_labels(found.label, scene, meanings, options.column))
        extra = {**found.extra, "scene": Path(found.path).name}
        if scene.warnings:
            extra["assumed"] = "; ".join(scene.warnings)
        yield from scene_chips(scene, labels, name, options.chip, extra)
