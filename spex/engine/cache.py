"""Features of tiles kept between queries: in memory up to a budget, then in temporary files."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

BUDGET = 1 << 30  # bytes


class FeatureCache:
    """The features of each tile; what exceeds the budget is read back from disk.

    Args:
        budget: bytes of features that stay in memory.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._free = budget
        self._in_memory: dict[int, Any] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def get(self, number: int, compute: Callable[[], Any]) -> Any:
        """The features of a tile, computed on the first call.

        Args:
            number: of the tile.
            compute: returns an array, or tuples, lists and dicts of arrays.
        """
        if number in self._in_memory:
            return self._in_memory[number]
        path = self._folder and Path(self._folder.name, f"{number}.features")
        if path and path.exists():
            # This process wrote the file into its private folder: nothing foreign is unpickled.
            return pickle.loads(path.read_bytes())
        features = compute()
        size = _size(features)
        if size <= self._free:
            self._free -= size
            self._in_memory[number] = features
        else:
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="spex-features-")
            _write(features, Path(self._folder.name, f"{number}.features"))
        return features

    def close(self) -> None:
        """Drop all features and remove the temporary files."""
        self._in_memory.clear()
        if self._folder:
            self._folder.cleanup()
            self._folder = None


def _write(features: Any, path: Path) -> None:
    """Write a file that is there whole or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        pickle.dump(features, file, protocol=pickle.HIGHEST_PROTOCOL)
    partial.replace(path)


def _size(features: Any) -> int:
    """Bytes of all arrays."""
    if isinstance(features, dict):
        return sum(map(_size, features.values()))
    if isinstance(features, (list, tuple)):
        return sum(map(_size, features))
    return int(getattr(features, "nbytes", 0))
