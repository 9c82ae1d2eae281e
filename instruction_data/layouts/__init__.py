"""Layouts that the builder knows: the repository's data folders and data sets as they are published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from instruction_data.layouts import highres, repository, sentinel, worldcover
from instruction_data.sources.chips import Layout
from spex.errors import RecordError

LAYOUTS: Mapping[str, Layout] = {
    source.name: source
    for module in (repository, highres, sentinel, worldcover)
    for source in module.LAYOUTS
}


def detect(folder: Path) -> Layout | None:
    """The layout that a folder is in, by its telling files; None where no layout fits.

    Raises:
        RecordError: several layouts fit.
    """
    found = [source for source in LAYOUTS.values() if source.matches(folder)]
    if len(found) > 1:
        raise RecordError(
            f"{folder} looks like {' and '.join(s.name for s in found)}; choose one with --layout"
        )
    return found[0] if found else None
