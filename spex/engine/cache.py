"""Features of tiles kept between queries: in memory up to a budget, beyond it in temporary files."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

BUDGET = 1 << 30  # bytes


class FeatureCache:
    """Remembers the features of each tile; what does not fit the budget is read back from disk."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._free = budget
        self._kept: dict[int, Any] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def get(self, number: int, compute: Callable[[], Any]) -> Any:
        """The features of a tile, computed if they are not known yet."""
        if number in self._kept:
            return self._kept[number]
        path = self._folder and Path(self._folder.name, f"{number}.features")
        if path and path.exists():
            # Our own file in a private folder: nothing foreign is unpickled.
            return pickle.loads(path.read_bytes())
        features = compute()
        size = _size(features)
        if size <= self._free:
            self._free -= size
            self._kept[number] = features
        else:
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="spex-features-")
            self._folder_write(number, features)
        return features

    def _folder_write(self, number: int, features: Any) -> None:
        assert self._folder is not None
        partial = Path(self._folder.name, f"{number}.partial")
        with partial.open("wb") as file:
            pickle.dump(features, file, protocol=pickle.HIGHEST_PROTOCOL)
        partial.replace(partial.with_suffix(".features"))

    def close(self) -> None:
        """Forget everything and remove the temporary files."""
        self._kept.clear()
        if self._folder:
            self._folder.cleanup()
            self._folder = None


def _size(features: Any) -> int:
    if isinstance(features, dict):
        return sum(map(_size, features.values()))
    if isinstance(features, (list, tuple)):
        return sum(map(_size, features))
    return int(getattr(features, "nbytes", 0))
