"""The constraints of a span, executed exactly: parts of the scene, index conditions, sizes of regions.

Parts of the scene (``where=``) are halves (north, south, east, west), quadrants (northeast, ...) or the middle half in
both directions (center) of the extent of the valid pixels, in map directions: a rotated or south-up raster is handled.
Pixels are clipped to the part, so a region that crosses its edge is cut there.
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


@dataclass(frozen=True)
class Frame:
    """Where pixels lie in the scene's valid extent: 0-1 from west to east and from north to south."""

    scene: Scene
    valid_box: tuple[
        float, float, float, float
    ]  # left, top, right, bottom of the valid pixels, in pixels

    @classmethod
    def of(cls, scene: Scene, overview: Pixels) -> Frame:
        """Measure the extent of the valid pixels on the overview."""
        rows, cols = (
            np.flatnonzero(overview.valid.any(axis=1)),
            np.flatnonzero(overview.valid.any(axis=0)),
        )
        height, width = overview.valid.shape
        across, down = scene.width / width, scene.height / height
        return cls(
            scene,
            (cols[0] * across, rows[0] * down, (cols[-1] + 1) * across, (rows[-1] + 1) * down),
        )

    @cached_property
    def _axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Map axes in pixels: eastward and southward as (per column, per row), and their range over the extent."""
        transform = self.scene.transform
        if self.scene.crs is None or transform is None or transform.is_identity:
            east, south = np.array([1.0, 0.0]), np.array([0.0, 1.0])
        else:
            east, south = (
                np.array([transform.a, transform.b]),
                np.array([-transform.d, -transform.e]),
            )
        left, top, right, bottom = self.valid_box
        corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
        return (
            east,
            south,
            np.array(
                [(corners @ axis).min() for axis in (east, south)]
                + [(corners @ axis).max() for axis in (east, south)]
            ),
        )

    def position(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """East and south position 0-1 of each pixel of a window; both broadcast to ``(h, w)``."""
        east, south, bounds = self._axes
        cols = window.col_off + np.arange(window.width)[None, :] + 0.5
        rows = window.row_off + np.arange(window.height)[:, None] + 0.5

        def along(axis: NDArray[np.float64], low: float, high: float) -> NDArray[np.float32]:
            # A north-up grid needs one row or one column of positions, not a plane.
            terms = [
                factor * grid for factor, grid in zip(axis, (cols, rows), strict=True) if factor
            ]
            return ((sum(terms) - low) / (high - low)).astype(np.float32)

        return along(east, bounds[0], bounds[2]), along(south, bounds[1], bounds[3])

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
    """Refuse constraints that this scene cannot answer before anything is computed.

    Raises:
        QueryError: an area in map units on a scene without any, or an index whose bands are missing.
    """
    possible = available_indices(evidence.roles)
    for span in answer.spans:
        asked = span.constraints
        for area in (asked.min_area, asked.max_area):
            if area and AREA_UNITS[area[1]] is not None and scene.pixel_area_m2() is None:
                raise QueryError(
                    f"{area[0]:g} {area[1]} cannot be measured: the scene has no map units; "
                    "state the pixel size with --gsd METRES, or give the size in px"
                )
        for condition in asked.index:
            if condition.name not in possible:
                raise QueryError(
                    f"index {condition.name!r} cannot be computed from the bands of this scene; "
                    f"possible here: {', '.join(possible) or 'none'}"
                )


def meets_index(constraints: Constraints, pixels: Pixels) -> NDArray[np.bool_]:
    """Pixels that meet every index condition of a span; undefined index values do not."""
    planes = role_planes(pixels)
    kept = pixels.valid.copy()
    for condition in constraints.index:
        values = compute_index(condition.name, planes)
        with np.errstate(invalid="ignore"):
            kept &= (
                values > condition.value if condition.side == "above" else values < condition.value
            )
    return kept


def asks_regions(constraints: Constraints) -> bool:
    """Whether a span's constraints look at whole regions, not only at pixels."""
    return bool(constraints.min_area or constraints.max_area or constraints.top)


def kept_regions(constraints: Constraints, table: RegionTable) -> NDArray[np.bool_]:
    """Which regions meet the sizes asked for; ``(regions + 1,)``, the first entry is the background and False."""

    def size(area: tuple[float, str]) -> tuple[NDArray[np.float64], float]:
        factor = AREA_UNITS[area[1]]
        return (
            (table.sums["pixels"], area[0])
            if factor is None
            else (table.sums["area_m2"], area[0] * factor)
        )

    kept = np.ones(table.count, bool)
    if constraints.min_area:
        sizes, limit = size(constraints.min_area)
        kept &= sizes >= limit * (1 - 1e-9)
    if constraints.max_area:
        sizes, limit = size(constraints.max_area)
        kept &= sizes <= limit * (1 + 1e-9)
    if constraints.top:
        sizes = np.where(kept, table.sums["pixels"], -1.0)
        largest = np.argsort(-sizes, kind="stable")[: constraints.top]
        chosen = np.zeros(table.count, bool)
        chosen[largest] = True
        kept &= chosen
    return np.concatenate([[False], kept])
