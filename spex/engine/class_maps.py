"""Probabilities of classes kept for a session: a class is computed once, however often it is asked.

They lie in temporary files, one byte a pixel before compression, as ``write_probability`` writes
them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio

from spex.engine.mosaic import Mosaic
from spex.raster.scene import Scene
from spex.raster.working_rasters import NODATA, row_strips, working_profile


class _Kept(NamedTuple):
    """Where the probabilities of a class are, and whether a pixel of them reaches 0.5."""

    path: Path
    band: int
    likely: bool


class ClassMaps:
    """The probability maps of one scene's classes that were computed so far.

    Args:
        scene: gives the size and the georeference.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._kept: dict[str, _Kept] = {}
        self._rasters = 0

    def missing(self, class_names: Sequence[str]) -> list[str]:
        """Those of the classes that are not kept, each once."""
        return [name for name in dict.fromkeys(class_names) if name not in self._kept]

    def new_path(self) -> Path:
        """Path of the next raster to write."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="spex-classes-")
        self._rasters += 1
        return Path(self._folder.name, f"{self._rasters}.tif")

    def add(self, class_names: Sequence[str], path: Path, mosaic: Mosaic) -> None:
        """Keep the bands of a raster of ``new_path``: a class each, in order."""
        for band, (name, likely) in enumerate(
            zip(class_names, mosaic.likely, strict=True), start=1
        ):
            self._kept[name] = _Kept(path, band, likely > 0)

    def forget(self, class_names: Sequence[str]) -> None:
        """Compute these classes anew when they are asked for again."""
        for name in class_names:
            del self._kept[name]

    def likely(self, class_names: Sequence[str]) -> list[bool]:
        """Whether any pixel of each class reaches probability 0.5."""
        return [self._kept[name].likely for name in class_names]

    def write(self, class_names: Sequence[str], path: Path) -> None:
        """Write the maps of classes into one raster.

        A pixel that is no data in one of them is no data in all.

        Args:
            class_names: of the bands, in order; a class may come twice.
            path: of the raster to write.
        """
        class_maps = [self._kept[name] for name in class_names]
        sources = list(dict.fromkeys(item.path for item in class_maps))
        if len(sources) == 1:
            with rasterio.open(sources[0]) as source:
                whole = [item.band for item in class_maps] == list(source.indexes)
            if whole:
                shutil.copyfile(sources[0], path)
                return
        scene = self._scene
        with ExitStack() as stack:
            opened = {source: stack.enter_context(rasterio.open(source)) for source in sources}
            profile = working_profile(scene, len(class_maps))
            out = stack.enter_context(rasterio.open(path, "w", **profile))
            for window in row_strips(scene.height, scene.width, len(class_maps)):
                planes = [opened[item.path].read(item.band, window=window) for item in class_maps]
                levels = np.stack(planes)
                levels[:, (levels == NODATA).any(axis=0)] = NODATA
                out.write(levels, window=window)

    def close(self) -> None:
        """Drop all maps and remove the temporary files."""
        self._kept.clear()
        if self._folder:
            self._folder.cleanup()
            self._folder = None
