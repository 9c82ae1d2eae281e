"""What speaks against a mask: a similar class that also fits, and pixels that were left out.

Both read as clauses within a sentence: "2 % of the mask also looks like cloud shadow", "0.80 ha
beyond the NDWI threshold were left out, most of it like cloud shadow".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spex.evidence.classes import Condition, classes
from spex.evidence.recipes import RecipeMaps
from spex.evidence.scene_evidence import SceneEvidence

_ROLE_NAMES = {
    "A": "violet",
    "B": "blue",
    "G": "green",
    "R": "red",
    "RE1": "red edge",
    "RE2": "red edge",
    "RE3": "red edge",
    "N": "near infrared",
    "S1": "short-wave infrared",
    "S2": "short-wave infrared",
}
_BY_CONSTRAINTS = "by what was asked"
_IN_ANOTHER_MASK = "as part of another mask"
_UNLIKELY = "as unlikely"

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Doubts:
    """What speaks against one mask. Areas are in square metres, or in pixels without map units.

    Attributes:
        similar: the similar class that fits most of the mask ("" if none fits), and the share of
            the mask's area that it fits; ``None`` where the scene's bands cannot show it.
        beyond: the threshold that ``left_out`` is about, in words.
        left_out: area beyond that threshold outside the mask; ``None`` where the scene's bands
            cannot show it.
        left_out_pixels: the same as a number of pixels.
        against: what speaks against most (or part) of that area, in words, and its share of it.
    """

    similar: tuple[str, float] | None
    beyond: str
    left_out: float | None
    left_out_pixels: int
    against: tuple[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Keys of the mask's entry in ``extraction.json``."""
        confusion = self.similar and {"class": self.similar[0] or None, "fraction": self.similar[1]}
        if self.left_out is None:
            return {"confusion": confusion, "left_out": None}
        reason, share = self.against
        left_out = {
            "area": self.left_out,
            "pixels": self.left_out_pixels,
            "beyond": self.beyond,
            "against": reason or None,
            "fraction": share,
        }
        return {"confusion": confusion, "left_out": left_out}


class DoubtSweep:
    """Adds up the doubts about one mask strip by strip."""

    def __init__(self, class_name: str, evidence: SceneEvidence) -> None:
        self._class = classes()[class_name]
        similar = dict.fromkeys((*self._class.confused_with, *self._class.without))
        self._similar = [name for name in similar if evidence.present(name)]
        self._similar_measured = any(
            evidence.classes[name].status != "unavailable" for name in similar
        )
        self._beyond = ""  # stays empty where the bands lack what the class's recipe needs
        self._mask_area = 0.0
        self._fitting_area = dict.fromkeys(self._similar, 0.0)
        self._left_out_area = 0.0
        self._left_out_pixels = 0
        self._reason_areas: dict[str, float] = {}

    def add(
        self,
        inside: Mask,
        elsewhere: Mask,
        likely: Mask,
        valid: Mask,
        area: NDArray[np.float64],
        maps: RecipeMaps,
    ) -> None:
        """Add a strip.

        Args:
            inside: the mask, ``(h, w)``.
            elsewhere: pixels of the other masks, ``(h, w)``.
            likely: where the probability of the mask's class is 0.5 or more, ``(h, w)``.
            valid: pixels with data, ``(h, w)``.
            area: of one pixel of each row, ``(h, 1)``.
            maps: the recipes on the strip.
        """
        recipe = maps.recipe(self._class.name)
        parent = self._class.parent
        if recipe is None or (parent and maps.recipe(parent) is None):
            return

        def size(mask: Mask) -> float:
            return float(mask.sum(axis=1) @ area[:, 0])

        fits = {name: maps.margin(name) > 0 for name in self._similar}
        self._mask_area += size(inside)
        for name, fit in fits.items():
            self._fitting_area[name] += size(inside & fit)
        first, *others = recipe.conditions
        self._beyond = f"the {first.quantity} threshold" if first.is_index else "its threshold"
        left_out = valid & ~inside & _meets(first, maps)
        self._left_out_area += size(left_out)
        self._left_out_pixels += int(left_out.sum())
        unlikely = left_out & ~likely & ~elsewhere
        # In the order of how much each reason says.
        reasons = {
            _BY_CONSTRAINTS: left_out & likely & ~elsewhere,
            _IN_ANOTHER_MASK: left_out & elsewhere,
        }
        for name, fit in fits.items():
            reasons[f"like {classes()[name].title}"] = unlikely & fit
        if parent:
            reasons[f"outside {classes()[parent].title}"] = unlikely & ~(maps.margin(parent) > 0)
        for condition in others:
            reasons[_failing(condition, maps)] = unlikely & ~_meets(condition, maps)
        reasons[_UNLIKELY] = unlikely
        for words, mask in reasons.items():
            self._reason_areas[words] = self._reason_areas.get(words, 0.0) + size(mask)

    def finish(self) -> Doubts:
        """The doubts about the whole mask."""
        measured = bool(self._beyond)
        return Doubts(
            similar=self._most_similar() if self._similar_measured and measured else None,
            beyond=self._beyond,
            left_out=self._left_out_area if measured else None,
            left_out_pixels=self._left_out_pixels,
            against=self._main_reason(),
        )

    def _most_similar(self) -> tuple[str, float]:
        name, area = max(self._fitting_area.items(), key=lambda pair: pair[1], default=("", 0.0))
        return (name, area / max(self._mask_area, 1e-9)) if area else ("", 0.0)

    def _main_reason(self) -> tuple[str, float]:
        """The first reason that holds for most of what was left out, else the largest."""
        if not self._left_out_area:
            return "", 0.0
        shares = [(words, area / self._left_out_area) for words, area in self._reason_areas.items()]
        largest = max(shares, key=lambda pair: pair[1])
        return next((pair for pair in shares if pair[1] > 0.5), largest)


def _meets(condition: Condition, maps: RecipeMaps) -> Mask:
    quantity = maps.quantity(condition)
    threshold = maps.threshold(condition)
    met: Mask = quantity > threshold if condition.above else quantity < threshold
    return met


def _failing(condition: Condition, maps: RecipeMaps) -> str:
    """How a pixel that does not meet a condition looks."""
    name = condition.quantity
    value = maps.threshold(condition)
    if condition.standardised:
        value = maps.mean[name] + value * maps.std[name]
    side = "below" if condition.above else "above"
    return f"with {_ROLE_NAMES.get(name, name)} {side} {value:.2f}"
