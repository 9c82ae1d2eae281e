"""Undoes what tests add to the classes of this process."""

from __future__ import annotations

from spex.evidence import class_additions


def remove_added_classes() -> None:
    """Leave the classes of ``classes.yaml`` only."""
    class_additions.added_entries.clear()
    class_additions._clear_caches()
