"""What the files of a result add up to for each mask, by other means than those that made it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spex.evidence.indices import compute_index, role_planes
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.postprocess.doubt_sweep import DoubtSweep, Strip
from spex.postprocess.facts import DOUBT_PLANES
from spex.raster.damaged_scene import read_around_damage
from spex.raster.scene import Scene
from spex.raster.working_rasters import HALF_PROBABILITY, NODATA
from spex.results.constraint_audit import ConstraintAudit

_OVERVIEW = 1024  # longer side of the overview that evidence is measured on

Mask = NDArray[np.bool_]


class AuditError(AssertionError):
    """A result states a quantity that its own files do not bear out: a defect of SPEX."""


def require_met(broken: str | None) -> None:
    """Nothing where no constraint is broken; ``broken`` says which one is."""
    if broken:
        raise AuditError(broken)


class MaskSums:
    """Adds up the quantities of all masks strip by strip.

    Attributes:
        pixels: number of pixels by mask value, ``(masks + 1,)``; value 0 is the background.
        area: square metres, or pixels without map units, ``(masks + 1,)``.
        levels: sum of the stored probabilities of each mask's own pixels, ``(masks + 1,)``.
        doubts: by mask value, where the result states doubts.
        constraints: checks the masks against what was asked.
        planes: float32 planes that are held for each strip.
    """

    def __init__(self, scene: Scene, masks: list[dict[str, Any]]) -> None:
        self._scene = scene
        self._count = len(masks)
        self._row_areas = scene.pixel_area_m2()
        self.pixels = np.zeros(self._count + 1)
        self.area = np.zeros(self._count + 1)
        self.levels = np.zeros(self._count + 1)
        names = dict.fromkeys(name for mask in masks for name in mask["evidence"])
        # Sum and count of the finite values of each index, by mask value.
        self._index_sums = {name: np.zeros((2, self._count + 1)) for name in names}
        self.doubts: dict[int, DoubtSweep] = {}
        self._evidence: SceneEvidence | None = None
        if any("left_out" in mask for mask in masks):
            self._evidence = measure(scene.overview(_OVERVIEW))
            self.doubts = {
                mask["value"]: DoubtSweep(mask["class"], self._evidence)
                for mask in masks
                if "left_out" in mask
            }
        self.constraints = ConstraintAudit(scene, masks)
        planes = len(scene.bands) + 2 * len(names) + self._count + 4
        self.planes = planes + DOUBT_PLANES * bool(self.doubts)

    def add(self, window: Any, values: NDArray[np.uint8], levels: NDArray[np.uint8]) -> None:
        """Add a strip.

        Args:
            window: of the strip in the scene.
            values: of the mask raster, ``(h, w)``.
            levels: of the probability raster, ``(masks, h, w)``.
        """
        valid = values != NODATA
        if ((levels[0] == NODATA) == valid).any():
            raise AuditError("mask.tif and probability.tif do not have the same valid pixels")
        rows = np.ones(self._scene.height) if self._row_areas is None else self._row_areas
        row_areas = rows[int(window.row_off) : int(window.row_off + window.height), None]
        area = np.broadcast_to(row_areas, values.shape)[valid]
        owner = values[valid].astype(np.intp)
        self.pixels += self._per_mask(owner)
        self.area += self._per_mask(owner, area)
        for value in range(1, self._count + 1):
            inside = levels[value - 1][values == value]
            if (inside < HALF_PROBABILITY).any():
                raise AuditError(f"mask {value} holds pixels with a probability below 0.5")
            self.levels[value] += inside.sum(dtype=np.float64)
        indices = {}
        if (self._index_sums or self.doubts) and valid.any():
            planes = role_planes(read_around_damage(self._scene, window, valid))
            self._add_doubts(values, levels, valid, row_areas, planes)
            for name, sums in self._index_sums.items():
                indices[name] = compute_index(name, planes)
                plane = indices[name][valid]
                finite = np.isfinite(plane)
                sums[0] += self._per_mask(owner[finite], plane[finite].astype(np.float64))
                sums[1] += self._per_mask(owner[finite])
        require_met(self.constraints.broken_by_pixels(window, values, indices))

    def _per_mask(
        self, owner: NDArray[np.intp], weights: NDArray[np.float64] | None = None
    ) -> NDArray[Any]:
        return np.bincount(owner, weights, minlength=self._count + 1)

    def _add_doubts(
        self,
        values: NDArray[np.uint8],
        levels: NDArray[np.uint8],
        valid: Mask,
        row_areas: NDArray[np.float64],
        planes: Any,
    ) -> None:
        if self._evidence is None:
            return
        recipes = self._evidence.recipe_maps(planes)
        nowhere = np.zeros(values.shape, np.int8)  # where masks lie is words, which nobody audits
        for value, sweep in self.doubts.items():
            inside = values == value
            others = valid & (values > 0) & ~inside
            strip = Strip(inside, others, levels[value - 1], valid, row_areas, nowhere)
            sweep.add(strip, recipes)

    def index_means(self, name: str, value: int) -> dict[str, float | None]:
        """Mean of an index inside and outside a mask; None where it is undefined."""
        sums = self._index_sums[name]
        inside = sums[:, value]
        outside = sums.sum(axis=1) - inside
        return {
            side: float(total / count) if count else None
            for side, (total, count) in (("inside", inside), ("outside", outside))
        }
