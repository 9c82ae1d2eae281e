"""Layouts that the builder knows: the repository's data folders, and published data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from instruction_data.layouts import (
    chesapeake,
    highres,
    landcovernet,
    repository,
    sentinel,
    spacenet,
    worldcover,
)
from instruction_data.sources.chips import Layout
from spex.errors import RecordError

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        *repository.LAYOUTS,
        *chesapeake.LAYOUTS,
        *highres.LAYOUTS,
        *spacenet.LAYOUTS,
        *sentinel.LAYOUTS,
        *landcovernet.LAYOUTS,
        *worldcover.LAYOUTS,
    )
}


def detect(folder: Path) -> Layout | None:
    """The layout of a folder, detected by its characteristic files; None if no layout matches.

    Raises:
        RecordError: several layouts match.
    """
    matching = [layout for layout in LAYOUTS.values() if layout.matches(folder)]
    if len(matching) > 1:
        names = " and ".join(layout.name for layout in matching)
        raise RecordError(f"{folder} matches the layouts {names}; choose one with --layout")
    return matching[0] if matching else None
