"""The constraints of a span, executed exactly: parts of the scene, indices, sizes of regions.

Parts of the scene (``where=``) are halves (north, south, east, west), quadrants (northeast, ...) or
the middle half in both directions (center) of the extent of the valid pixels. They follow map
directions, so a rotated or south-up raster is handled. Pixels are clipped to the part: a region
that crosses its edge is cut there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.errors import QueryError
from spex.evidence.indices import available_indices, compute_index, role_planes
from spex.evidence.scene_evidence import SceneEvidence
from spex.postprocess.components import RegionTable
from spex.query.answer_markup import Answer
from spex.query.constraints import AREA_UNITS, Constraints
from spex.raster.scene import Pixels, Scene

_ROUNDING = 1e-9  # relative; sums of areas are rounded


@dataclass(frozen=True)
class _Axis:
    """A map direction over the valid extent.

    Attributes:
        direction: map units per column and per row, ``(2,)``.
        low: smallest coordinate of the extent along it.
        high: largest coordinate.
    """

    direction: NDArray[np.float64]
    low: float
    high: float

    def position(
        self, columns: NDArray[np.float64], rows: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Position 0-1; ``columns`` is ``(1, w)``, ``rows`` is ``(h, 1)``."""
        # A north-up grid needs one row or one column of positions, not a plane.
        terms = [
            factor * grid
            for factor, grid in zip(self.direction, (columns, rows), strict=True)
            if factor
        ]
        return np.asarray((sum(terms) - self.low) / (self.high - self.low)).astype(np.float32)


@dataclass(frozen=True)
class Frame:
    """Where pixels lie in the scene's valid extent, 0-1 from west to east and north to south.

    Attributes:
        scene: the scene.
        valid_box: left, top, right and bottom of the valid pixels, in pixels.
    """

    scene: Scene
    valid_box: tuple[float, float, float, float]

    @classmethod
    def of(cls, scene: Scene, overview: Pixels) -> Frame:
        """Measure the extent of the valid pixels on the overview."""
        rows = np.flatnonzero(overview.valid.any(axis=1))
        columns = np.flatnonzero(overview.valid.any(axis=0))
        height, width = overview.valid.shape
        across = scene.width / width
        down = scene.height / height
        left, right = columns[0] * across, (columns[-1] + 1) * across
        top, bottom = rows[0] * down, (rows[-1] + 1) * down
        return cls(scene, (left, top, right, bottom))

    @cached_property
    def _axes(self) -> tuple[_Axis, _Axis]:
        """The eastward and the southward map axis."""
        transform = self.scene.transform
        if self.scene.crs is None or transform is None or transform.is_identity:
            directions = np.array([[1.0, 0.0], [0.0, 1.0]])
        else:
            directions = np.array([[transform.a, transform.b], [-transform.d, -transform.e]])
        left, top, right, bottom = self.valid_box
        corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
        east, south = (
            _Axis(direction, (corners @ direction).min(), (corners @ direction).max())
            for direction in directions
        )
        return east, south

    def position(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """East and south position 0-1 of each pixel of a window; both broadcast to ``(h, w)``."""
        columns = window.col_off + np.arange(window.width)[None, :] + 0.5
        rows = window.row_off + np.arange(window.height)[:, None] + 0.5
        east, south = self._axes
        return east.position(columns, rows), south.position(columns, rows)

    def part(self, where: str, window: Window) -> NDArray[np.bool_]:
        """Pixels of the window that lie in a named part of the extent."""
        east, south = self.position(window)
        if where == "center":
            inside = (abs(east - 0.5) <= 0.25) & (abs(south - 0.5) <= 0.25)
        else:
            inside = np.ones((1, 1), bool)
            if "north" in where:
                inside = inside & (south < 0.5)
            if "south" in where:
                inside = inside & (south >= 0.5)
            if "east" in where:
                inside = inside & (east >= 0.5)
            if "west" in where:
                inside = inside & (east < 0.5)
        return np.broadcast_to(inside, (int(window.height), int(window.width)))


def check(answer: Answer, scene: Scene, evidence: SceneEvidence) -> None:
    """Refuse constraints that this scene cannot answer, before anything is computed.

    Args:
        answer: its spans have the constraints.
        scene: the scene.
        evidence: of the scene.

    Raises:
        QueryError: an area in map units where the scene has none, or an index without its bands.
    """
    possible = available_indices(evidence.roles)
    for span in answer.spans:
        constraints = span.constraints
        for area in (constraints.min_area, constraints.max_area):
            if area and AREA_UNITS[area[1]] is not None and scene.pixel_area_m2() is None:
                raise QueryError(
                    f"{area[0]:g} {area[1]} cannot be measured: the scene has no map units; "
                    "state the pixel size with --gsd METRES, or give the size in px"
                )
        for condition in constraints.index:
            if condition.name not in possible:
                raise QueryError(
                    f"index {condition.name!r} cannot be computed from the bands of this scene; "
                    f"possible here: {', '.join(possible) or 'none'}"
                )


def meets_index(constraints: Constraints, pixels: Pixels) -> NDArray[np.bool_]:
    """Pixels ``(h, w)`` that meet every index condition; undefined index values do not."""
    planes = role_planes(pixels)
    met = pixels.valid.copy()
    for condition in constraints.index:
        values = compute_index(condition.name, planes)
        with np.errstate(invalid="ignore"):
            if condition.side == "above":
                met &= values > condition.value
            else:
                met &= values < condition.value
    return met


def asks_regions(constraints: Constraints) -> bool:
    """Whether constraints apply to whole regions, not only to pixels."""
    return bool(constraints.min_area or constraints.max_area or constraints.top)


def kept_regions(constraints: Constraints, table: RegionTable) -> NDArray[np.bool_]:
    """Which regions meet the sizes of the constraints.

    Returns:
        ``(regions + 1,)``; the first entry is the background and False.
    """
    kept = np.ones(table.count, bool)
    if constraints.min_area:
        sizes, limit = _sizes_and_limit(constraints.min_area, table)
        kept &= sizes >= limit * (1 - _ROUNDING)
    if constraints.max_area:
        sizes, limit = _sizes_and_limit(constraints.max_area, table)
        kept &= sizes <= limit * (1 + _ROUNDING)
    if constraints.top:
        sizes = np.where(kept, table.sums["pixels"], -1.0)
        largest = np.argsort(-sizes, kind="stable")[: constraints.top]
        in_top = np.zeros(table.count, bool)
        in_top[largest] = True
        kept &= in_top
    return np.concatenate([[False], kept])


def _sizes_and_limit(
    area: tuple[float, str], table: RegionTable
) -> tuple[NDArray[np.float64], float]:
    """Sizes of the regions and the limit, both in pixels or both in square metres."""
    value, unit = area
    factor = AREA_UNITS[unit]
    if factor is None:
        return table.sums["pixels"], value
    return table.sums["area_m2"], value * factor
