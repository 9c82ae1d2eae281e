"""What the readers of the repository's data folders share: metadata, splits, arrays, layouts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from instruction_data.sources.chips import Layout, SceneItem, Split
from spex.errors import RecordError, SceneError
from spex.records import BandRef

Bands = tuple[BandRef, ...]
Key = TypeVar("Key", int, str)


def read_meta(folder: Path) -> dict[str, Any]:
    """The ``meta.json`` of a data folder."""
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    return meta


def read_arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    """Arrays of an ``.npz`` file by name.

    Raises:
        SceneError: the file is missing, damaged or lacks an array.
    """
    try:
        with np.load(path) as arrays:
            return [arrays[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise SceneError(f"{path} cannot be read ({error}); download the file again") from error


def band_refs(entries: list[dict[str, Any]]) -> Bands:
    """Bands of their entries in ``meta.json``."""
    return tuple(
        BandRef(name=entry["name"], wavelength_nm=entry["center_nm"], fwhm_nm=entry["fwhm_nm"])
        for entry in entries
    )


def read_splits(folder: Path, places: Mapping[Key, Any]) -> dict[Key, Split]:
    """The split of every item, from ``split.json`` beside the data folder.

    Args:
        folder: the data folder.
        places: place of every item by its key.

    Returns:
        The split by key; items in neither list are left out.

    Raises:
        RecordError: a place is in both lists.
    """
    lists = json.loads((folder.parent / "split.json").read_text())[folder.name]
    train = [key for key in lists["train"] if key in places]
    val = [key for key in lists["val"] if key in places]
    shared = {places[key] for key in train} & {places[key] for key in val}
    if shared:
        raise RecordError(
            f"{folder.name}: place {min(shared)} is in both train and val; correct split.json"
        )
    splits: dict[Key, Split] = dict.fromkeys(train, "train")
    splits |= dict.fromkeys(val, "val")
    return splits


def repository_layout(
    name: str,
    items: Callable[[Path], Iterator[SceneItem]],
    title: str,
    licence: str,
    github: str,
) -> Layout:
    """The layout of a data folder that came from a GitHub repository (owner/name)."""
    return Layout(
        name=name,
        title=title,
        licence=licence,
        url=f"https://github.com/{github}",
        matches=partial(_is_folder, name),
        items=items,
    )


def _is_folder(name: str, folder: Path) -> bool:
    return folder.name == name and (folder / "meta.json").is_file()
