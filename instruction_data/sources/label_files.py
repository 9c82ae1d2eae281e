"""Label files by the names of their scenes: beside the scenes, in a folder, or one file for all."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from instruction_data.sources.polygons import VECTOR_SUFFIXES
from spex.errors import RecordError

RASTER_SUFFIXES = (
    ".tif", ".tiff", ".vrt", ".jp2", ".img", ".dat", ".bil", ".bip", ".bsq", ".nc", ".png",
)  # fmt: skip
_LABEL_STEM = re.compile(r"(.+)[_-](?:labels?|mask)", re.IGNORECASE)
_LABEL_FOLDERS = ("labels", "label", "masks")


class LabelFinder:
    """Finds the label of a scene.

    Args:
        shared: one label file for all scenes; None: labels are found by name.
        by_stem: label file by folder (None: any folder) and stem of the scene.
    """

    def __init__(self, shared: str | None, by_stem: Mapping[tuple[Path | None, str], str]) -> None:
        self._shared = shared
        self._by_stem = by_stem

    def __call__(self, scene: Path) -> str | None:
        """The label of a scene; None if there is none."""
        if self._shared:
            return self._shared
        for folder in (None, scene.parent, scene.parent.parent):
            if label := self._by_stem.get((folder, scene.stem)):
                return label
        return None


def labels_at(location: str) -> LabelFinder:
    """Labels that the user names: one file or URL for all scenes, or a folder or glob of labels.

    Raises:
        RecordError: there is no label, or two labels have the same stem.
    """
    if Path(location).is_file() or "://" in location:
        return LabelFinder(location, {})
    labels: dict[tuple[Path | None, str], str] = {}
    for file in list_files(location):
        if file.suffix.lower() not in (*VECTOR_SUFFIXES, *RASTER_SUFFIXES):
            continue
        first = labels.setdefault((None, _scene_stem(file)), str(file))
        if first != str(file):
            raise RecordError(
                f"{first} and {file} are labels of the same stem; remove one, or list them in a CSV"
            )
    if not labels:
        raise RecordError(
            f"no labels at {location}; give a folder, a glob or one file for all scenes"
        )
    return LabelFinder(None, labels)


def labels_beside(scenes: Iterable[Path]) -> LabelFinder:
    """Labels in the folders of scenes, and in a folder ``labels`` there or one level above."""
    scene_folders = {scene.parent for scene in scenes}
    label_folders: set[Path] = set()
    for folder in scene_folders:
        for base in (folder, folder.parent):
            label_folders.update(base / name for name in _LABEL_FOLDERS)
    labels: dict[tuple[Path | None, str], str] = {}
    for folder in sorted(scene_folders | label_folders):
        in_label_folder = folder in label_folders
        for file in sorted(folder.glob("*")):
            if _is_label(file, in_label_folder):
                base = folder.parent if in_label_folder else folder
                labels[base, _scene_stem(file)] = str(file)
    return LabelFinder(None, labels)


def list_files(location: str) -> list[Path]:
    """The files that a glob names, or all below a folder, in order of their paths."""
    is_folder = Path(location).is_dir()
    pattern = f"{glob.escape(location)}/**/*" if is_folder else location
    return sorted(Path(name) for name in glob.glob(pattern, recursive=True))


def is_scene(file: Path) -> bool:
    """Whether a file is a raster and not a label by its name or folder."""
    suffix = file.suffix.lower()
    is_raster = suffix in RASTER_SUFFIXES or (not suffix and file.with_suffix(".hdr").exists())
    return (
        is_raster
        and file.is_file()
        and not _LABEL_STEM.fullmatch(file.stem)
        and file.parent.name not in _LABEL_FOLDERS
    )


def _is_label(file: Path, in_label_folder: bool) -> bool:
    suffix = file.suffix.lower()
    if suffix in VECTOR_SUFFIXES:
        return suffix != ".json"  # beside scenes a .json is metadata
    named_label = _LABEL_STEM.fullmatch(file.stem) is not None
    return suffix in RASTER_SUFFIXES and (in_label_folder or named_label)


def _scene_stem(label: Path) -> str:
    match = _LABEL_STEM.fullmatch(label.stem)
    return match[1] if match else label.stem
