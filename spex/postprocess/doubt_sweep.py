"""Measures what speaks against a mask, strip by strip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spex.evidence.classes import Condition, classes
from spex.evidence.recipes import RecipeMaps
from spex.evidence.scene_evidence import SceneEvidence
from spex.postprocess.doubts import Doubts, Reason, RulesDifference
from spex.postprocess.location import GRID, location_of
from spex.raster.working_rasters import HALF_PROBABILITY, PROBABILITY_SCALE

_ALMOST = round(0.4 * PROBABILITY_SCALE)
_SURE = round(0.6 * PROBABILITY_SCALE)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Strip:
    """The pixels of one mask in a strip of rows.

    Attributes:
        inside: the mask, ``(h, w)``.
        elsewhere: pixels of the other masks, ``(h, w)``.
        levels: stored probabilities of the mask's class, ``(h, w)`` uint8.
        valid: pixels with data, ``(h, w)``.
        area: of one pixel of each row, ``(h, 1)``.
        cells: number of the cell of ``GRID`` that each pixel lies in, ``(h, w)``.
    """

    inside: Mask
    elsewhere: Mask
    levels: NDArray[np.uint8]
    valid: Mask
    area: NDArray[np.float64]
    cells: NDArray[np.int8]

    def size(self, mask: Mask) -> float:
        """The area of some pixels."""
        return float(mask.sum(axis=1) @ self.area[:, 0])


class DoubtSweep:
    """Adds up the doubts about one mask strip by strip."""

    def __init__(self, class_name: str, evidence: SceneEvidence) -> None:
        self._class = classes()[class_name]
        similar = dict.fromkeys((*self._class.confused_with, *self._class.without))
        self._similar = [name for name in similar if evidence.present(name)]
        self._similar_measured = any(
            evidence.classes[name].status != "unavailable" for name in similar
        )
        # Stays None where the bands lack what the class's recipe needs.
        self._beyond: str | None = None
        self._mask_area = 0.0
        self._fitting_area = dict.fromkeys(self._similar, 0.0)
        self._left_out_area = 0.0
        self._left_out_pixels = 0
        self._reason_areas: dict[Reason, float] = {}
        self._wrong_side = 0.0
        self._unsure = 0.0
        self._almost = 0.0
        self._both = 0.0
        self._only_mask = 0.0
        self._only_rules = 0.0
        self._cells = np.zeros(GRID * GRID)

    def add(self, strip: Strip, maps: RecipeMaps) -> None:
        """Add a strip.

        Args:
            strip: of the mask.
            maps: the recipes on the strip.
        """
        inside = strip.inside
        levels = strip.levels
        free = strip.valid & ~inside & ~strip.elsewhere
        self._mask_area += strip.size(inside)
        self._unsure += strip.size(inside & (levels < _SURE))
        self._almost += strip.size(free & (levels >= _ALMOST) & (levels < HALF_PROBABILITY))
        recipe = maps.recipe(self._class.name)
        parent = self._class.parent
        if recipe is None or (parent and maps.recipe(parent) is None):
            return
        fits = {name: maps.margin(name) > 0 for name in self._similar}
        for name, fit in fits.items():
            self._fitting_area[name] += strip.size(inside & fit)
        first = recipe.conditions[0]
        self._beyond = first.quantity if first.is_index else ""
        met = _meets(first, maps)
        self._wrong_side += strip.size(inside & ~met)
        self._add_left_out(strip, strip.valid & ~inside & met, fits, maps)
        self._add_rules(strip, maps.margin(self._class.name) > 0)

    def _add_left_out(
        self, strip: Strip, left_out: Mask, fits: Mapping[str, Mask], maps: RecipeMaps
    ) -> None:
        """Add what lies beyond the threshold outside the mask.

        Args:
            strip: of the mask.
            left_out: those pixels, ``(h, w)``.
            fits: pixels that fit each similar class.
            maps: the recipes on the strip.
        """
        likely = strip.levels >= HALF_PROBABILITY
        elsewhere = strip.elsewhere
        self._left_out_area += strip.size(left_out)
        self._left_out_pixels += int(left_out.sum())
        unlikely = left_out & ~likely & ~elsewhere
        # In the order of how much each reason says.
        reasons = {
            Reason("asked"): left_out & likely & ~elsewhere,
            Reason("other_mask"): left_out & elsewhere,
        }
        for name, fit in fits.items():
            reasons[Reason("like", name)] = unlikely & fit
        parent = self._class.parent
        if parent:
            reasons[Reason("outside", parent)] = unlikely & ~(maps.margin(parent) > 0)
        recipe = maps.recipe(self._class.name)
        assert recipe is not None, self._class.name
        for condition in recipe.conditions[1:]:
            reasons[_failing(condition, maps)] = unlikely & ~_meets(condition, maps)
        reasons[Reason("unlikely")] = unlikely
        for reason, mask in reasons.items():
            self._reason_areas[reason] = self._reason_areas.get(reason, 0.0) + strip.size(mask)

    def _add_rules(self, strip: Strip, by_rule: Mask) -> None:
        free = strip.valid & ~strip.elsewhere
        by_mask = free & (strip.levels >= HALF_PROBABILITY)
        by_rule = free & by_rule
        self._both += strip.size(by_mask & by_rule)
        self._only_mask += strip.size(by_mask & ~by_rule)
        self._only_rules += strip.size(by_rule & ~by_mask)
        self._cells += np.bincount(strip.cells[by_mask ^ by_rule], minlength=GRID * GRID)

    def finish(self) -> Doubts:
        """The doubts about the whole mask."""
        measured = self._beyond is not None
        rules = RulesDifference(
            self._both, self._only_mask, self._only_rules, location_of(self._cells)
        )
        return Doubts(
            similar=self._most_similar() if self._similar_measured and measured else None,
            beyond=self._beyond or "",
            left_out=self._left_out_area if measured else None,
            left_out_pixels=self._left_out_pixels,
            against=self._main_reason(),
            wrong_side=self._wrong_side / max(self._mask_area, 1e-9),
            unsure=self._unsure,
            almost=self._almost,
            rules=rules if measured else None,
        )

    def _most_similar(self) -> tuple[str, float]:
        name, area = max(self._fitting_area.items(), key=lambda pair: pair[1], default=("", 0.0))
        return (name, area / max(self._mask_area, 1e-9)) if area else ("", 0.0)

    def _main_reason(self) -> tuple[Reason, float] | None:
        """The first reason that holds for most of what was left out, else the largest."""
        if not self._left_out_area:
            return None
        shares = [
            (reason, area / self._left_out_area) for reason, area in self._reason_areas.items()
        ]
        largest = max(shares, key=lambda pair: pair[1])
        return next((pair for pair in shares if pair[1] > 0.5), largest)


def _meets(condition: Condition, maps: RecipeMaps) -> Mask:
    quantity = maps.quantity(condition)
    threshold = maps.threshold(condition)
    met: Mask = quantity > threshold if condition.above else quantity < threshold
    return met


def _failing(condition: Condition, maps: RecipeMaps) -> Reason:
    """How a pixel that does not meet a condition looks."""
    name = condition.quantity
    value = maps.threshold(condition)
    if condition.standardised:
        value = maps.mean[name] + value * maps.std[name]
    return Reason("below" if condition.above else "above", name, f"{value:.2f}")
