"""Whether the pixels and regions of written masks meet the constraints that the result states.

``not``, ``near`` and ``far`` are left out: they depend on masks that a result does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.postprocess.constraint_masks import Frame
from spex.query.answer_markup import read_constraints
from spex.query.constraints import AREA_UNITS, Constraints
from spex.raster.scene import Scene

_OVERVIEW = 1024  # longer side of the overview that parts of the scene are measured on
_TOLERANCE = 1e-5  # relative; sums of areas differ in order


class ConstraintAudit:
    """Checks the masks of a result: pixels strip by strip, then the sizes of regions.

    Args:
        scene: that the result is about.
        masks: entries of ``extraction.json``.
    """

    def __init__(self, scene: Scene, masks: Sequence[Mapping[str, Any]]) -> None:
        self._in_metres = scene.pixel_area_m2() is not None
        self._constraints: dict[int, Constraints] = {
            mask["value"]: read_constraints(mask["constraints"]) for mask in masks
        }
        self._frame = None
        if any(constraints.where for constraints in self._constraints.values()):
            self._frame = Frame.of(scene, scene.overview(_OVERVIEW))

    def broken_by_pixels(
        self, window: Window, values: NDArray[np.uint8], indices: Mapping[str, NDArray[np.floating]]
    ) -> str | None:
        """What pixels of a strip break, in words; None if they meet all.

        Args:
            window: of the strip.
            values: of the mask raster, ``(h, w)``.
            indices: maps ``(h, w)`` by the name of the index.
        """
        for value, constraints in self._constraints.items():
            inside = values == value
            if not inside.any():
                continue
            part = self._frame.parts(constraints.where, window) if self._frame else inside
            if constraints.where and (inside & ~part).any():
                return f"mask {value} holds pixels outside where={'+'.join(constraints.where)}"
            for condition in constraints.index:
                plane = indices[condition.name][inside]
                above = condition.side == "above"
                met = plane > condition.value if above else plane < condition.value
                if not met.all():
                    return f"mask {value} holds pixels that do not meet {condition}"
        return None

    def broken_by_regions(
        self,
        value: int,
        pixels: NDArray[np.float64],
        areas: NDArray[np.float64],
        valid_size: float,
    ) -> str | None:
        """What the regions of a mask break, in words; None if they meet all.

        Args:
            value: of the mask.
            pixels: of each region.
            areas: of each region in square metres, in pixels without map units.
            valid_size: of the valid scene in the same unit.
        """
        constraints = self._constraints[value]
        limits = {"min_area": constraints.min_area, "max_area": constraints.max_area}
        for name, limit in limits.items():
            if limit is None:
                continue
            number, unit = limit
            sizes = pixels if unit == "px" else areas
            size = valid_size * number / 100 if unit == "%" else number * (AREA_UNITS[unit] or 1)
            smaller = sizes < size * (1 - _TOLERANCE)
            larger = sizes > size * (1 + _TOLERANCE)
            if (smaller if name == "min_area" else larger).any():
                return f"mask {value} holds regions that break {name}={number:g}{unit}"
        for name, count in (("top", constraints.top), ("bottom", constraints.bottom)):
            if count and 0 < count < len(pixels):
                return f"mask {value} holds {len(pixels)} regions under {name}={count}"
        return None
