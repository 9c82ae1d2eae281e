"""The constraints of a span, executed exactly: parts of the scene, indices, sizes of regions.

Parts of the scene (``where=``) are parts of the extent of the valid pixels: halves (north, ...),
quadrants (northeast, ...), outer thirds (north_third, ...), the middle half in both directions
(center) and all around that (edge). They follow map directions, so a rotated or south-up raster is
handled. Pixels are clipped to the part: a region that crosses its edge is cut there.

Sizes compare regions of what the pixel constraints leave. Regions count by their ground area, by
their pixels without map units; of equal ones, the first from the top counts as larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.errors import QueryError
from spex.evidence.classes import land_class
from spex.evidence.indices import available_indices, compute_index, role_planes
from spex.evidence.scene_evidence import SceneEvidence
from spex.postprocess.components import RegionTable
from spex.postprocess.distances import ROUNDING
from spex.query.answer_markup import Answer
from spex.query.constraints import AREA_UNITS, Constraints, Distance
from spex.raster.scene import Pixels, Scene


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

    def part(self, name: str, window: Window) -> NDArray[np.bool_]:
        """Pixels of the window that lie in a part of the extent, one of ``SCENE_PARTS``."""
        east, south = self.position(window)
        if name in ("center", "edge"):
            center = (abs(east - 0.5) <= 0.25) & (abs(south - 0.5) <= 0.25)
            inside = center if name == "center" else ~center
        else:
            size = 1 / 3 if name.endswith("_third") else 1 / 2
            inside = np.ones((1, 1), bool)
            if "north" in name:
                inside = inside & (south < size)
            if "south" in name:
                inside = inside & (south >= 1 - size)
            if "east" in name:
                inside = inside & (east >= 1 - size)
            if "west" in name:
                inside = inside & (east < size)
        return np.broadcast_to(inside, (int(window.height), int(window.width)))

    def parts(self, where: Sequence[str], window: Window) -> NDArray[np.bool_]:
        """Pixels of the window in any of the parts, and in none that has a ``-`` before it.

        Args:
            where: parts as in ``Constraints``; if all are taken away, the rest of the scene stays.
            window: of the scene.
        """
        taken = [name for name in where if name.startswith("-")]
        inside = np.full((int(window.height), int(window.width)), len(taken) == len(where))
        for name in where:
            if name not in taken:
                inside |= self.part(name, window)
        for name in taken:
            inside &= ~self.part(name[1:], window)
        return inside


def check(answer: Answer, scene: Scene, evidence: SceneEvidence) -> None:
    """Refuse constraints that this scene cannot answer, before anything is computed.

    Args:
        answer: its spans have the constraints.
        scene: the scene.
        evidence: of the scene.

    Raises:
        QueryError: an area or a distance in map units where the scene has none, an index without
            its bands, or a distance from a class that the bands cannot show.
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
        for distance in (*constraints.near, *constraints.far):
            _check_distance(distance, scene, evidence)


def _check_distance(distance: Distance, scene: Scene, evidence: SceneEvidence) -> None:
    """Refuse a distance that this scene cannot answer."""
    if scene.pixel_sizes_m() is None:
        raise QueryError(
            f"{distance.metres:g} m cannot be measured: the scene has no map units; "
            "state the pixel size with --gsd METRES"
        )
    class_evidence = evidence.of(distance.class_name)
    if class_evidence.status == "unavailable":
        title = land_class(class_evidence.name).title
        raise QueryError(
            f"the distance from {title} cannot be measured in this scene: {class_evidence.reason}"
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
    sizes = (constraints.min_area, constraints.max_area, constraints.top, constraints.bottom)
    return any(sizes)


def asks_percent(constraints: Constraints) -> bool:
    """Whether a limit is a share of the valid scene."""
    limits = [area for area in (constraints.min_area, constraints.max_area) if area]
    return any(unit == "%" for _, unit in limits)


def without_all_but(constraints: Constraints) -> Constraints:
    """The constraints without "all but the largest", "all but the two smallest" and the like."""
    top = constraints.top if (constraints.top or 0) > 0 else None
    bottom = constraints.bottom if (constraints.bottom or 0) > 0 else None
    return replace(constraints, top=top, bottom=bottom)


def kept_regions(
    constraints: Constraints, table: RegionTable, valid_size: float
) -> NDArray[np.bool_]:
    """Which regions meet the sizes of the constraints.

    The limits first, then the largest, then the smallest of these.

    Args:
        constraints: of the mask.
        table: its regions, with ``area_m2`` where the scene has map units.
        valid_size: of the valid scene in square metres, in pixels without map units.

    Returns:
        ``(regions + 1,)``; the first entry is the background and False.
    """
    kept = np.ones(table.count, bool)
    if constraints.min_area:
        sizes, limit = _sizes_and_limit(constraints.min_area, table, valid_size)
        kept &= sizes >= limit * (1 - ROUNDING)
    if constraints.max_area:
        sizes, limit = _sizes_and_limit(constraints.max_area, table, valid_size)
        kept &= sizes <= limit * (1 + ROUNDING)
    order = _largest_first(table)
    order = _first_or_rest(order[kept[order]], constraints.top)
    order = _first_or_rest(order[::-1], constraints.bottom)
    chosen = np.zeros(table.count + 1, bool)
    chosen[order + 1] = True
    return chosen


def _largest_first(table: RegionTable) -> NDArray[np.intp]:
    """Numbers of the regions from 0."""
    sizes = table.sums.get("area_m2", table.sums["pixels"])
    # Sums of equal areas differ by their rounding.
    largest_pixel = (sizes / table.sums["pixels"]).max(initial=1e-9)
    return np.argsort(-np.round(sizes / largest_pixel, 6), kind="stable")


def _first_or_rest(order: NDArray[np.intp], count: int | None) -> NDArray[np.intp]:
    """The first ``count`` numbers; all but so many where it is negative; all without one."""
    if count is None:
        return order
    return order[:count] if count > 0 else order[-count:]


def _sizes_and_limit(
    area: tuple[float, str], table: RegionTable, valid_size: float
) -> tuple[NDArray[np.float64], float]:
    """Sizes of the regions and the limit, both in pixels or both in square metres."""
    value, unit = area
    factor = AREA_UNITS[unit]
    if unit == "%":
        return table.sums.get("area_m2", table.sums["pixels"]), value / 100 * valid_size
    if factor is None:
        return table.sums["pixels"], value
    return table.sums["area_m2"], value * factor
