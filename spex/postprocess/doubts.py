"""What speaks against a mask: which similar class fits part of it, and what was left out beyond its index's threshold.

Both are told in clauses that stand within a sentence: "2 % of the mask also looks like cloud shadow", "0.80 ha beyond
the NDWI threshold were left out, most of it like cloud shadow".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spex.evidence.classes import Condition, classes
from spex.evidence.recipes import RecipeMaps
from spex.evidence.scene_evidence import SceneEvidence

_ROLES = {"A": "violet", "B": "blue", "G": "green", "R": "red", "RE1": "red edge", "RE2": "red edge", "RE3": "red edge",
          "N": "near infrared", "S1": "short-wave infrared", "S2": "short-wave infrared"}  # fmt: skip
_ASKED, _ELSEWHERE, _UNLIKELY = "by what was asked", "as part of another mask", "as unlikely"

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Doubts:
    """Areas in square metres, or pixels without map units; ``None`` where the scene's bands cannot tell.

    Args:
        similar: the similar class that fits most of the mask ("" if none fits) and the share of the mask's area.
        beyond: whose threshold it is, in words. left_out: area outside the mask beyond it.
        against: what speaks against most (or part) of that area, in words, and its share.
    """

    similar: tuple[str, float] | None
    beyond: str
    left_out: float | None
    left_out_pixels: int
    against: tuple[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Keys of the mask's entry in ``extraction.json``."""
        confusion = self.similar and {"class": self.similar[0] or None, "fraction": self.similar[1]}
        against = {"against": self.against[0] or None, "fraction": self.against[1]}
        left = {
            "area": self.left_out,
            "pixels": self.left_out_pixels,
            "beyond": self.beyond,
            **against,
        }
        return {"confusion": confusion, "left_out": None if self.left_out is None else left}


class DoubtSweep:
    """Adds up the doubts about one mask strip by strip."""

    def __init__(self, class_name: str, evidence: SceneEvidence) -> None:
        self._class, self._evidence = classes()[class_name], evidence
        alike = dict.fromkeys((*self._class.confused_with, *self._class.without))
        self._alike = [name for name in alike if evidence.present(name)]
        self._told = any(evidence.classes[name].status != "unavailable" for name in alike)
        self._inside = 0.0
        self._fits = dict.fromkeys(self._alike, 0.0)
        self._left, self._left_pixels = 0.0, 0
        self._against: dict[str, float] = {}
        self._beyond = ""

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
            inside: the mask ``(h, w)``. elsewhere: pixels of the other masks. likely: where the probability of the
                mask's class is 0.5 or more. valid: pixels with data. area: of a pixel, ``(h, 1)``.
            maps: the recipes on the strip.
        """
        recipe, parent = maps.recipe(self._class.name), self._class.parent
        if recipe is None or (parent and maps.recipe(parent) is None):
            return

        def size(mask: Mask) -> float:
            return float(mask.sum(axis=1) @ area[:, 0])

        fits = {name: maps.margin(name) > 0 for name in self._alike}
        self._inside += size(inside)
        for name, fit in fits.items():
            self._fits[name] += size(inside & fit)
        first, *others = recipe.conditions
        self._beyond = f"the {first.quantity} threshold" if first.is_index else "its threshold"
        left = valid & ~inside & _meets(first, maps)
        self._left += size(left)
        self._left_pixels += int(left.sum())
        open_to = left & ~likely & ~elsewhere
        reasons = {_ASKED: left & likely & ~elsewhere, _ELSEWHERE: left & elsewhere}
        reasons |= {f"like {classes()[name].title}": open_to & fit for name, fit in fits.items()}
        if parent:
            reasons[f"outside {classes()[parent].title}"] = open_to & ~(maps.margin(parent) > 0)
        reasons |= {_failing(other, maps): open_to & ~_meets(other, maps) for other in others}
        reasons[_UNLIKELY] = open_to
        for words, mask in reasons.items():
            self._against[words] = self._against.get(words, 0.0) + size(mask)

    def finish(self) -> Doubts:
        """The doubts about the whole mask."""
        similar = max(self._fits.items(), key=lambda pair: pair[1], default=("", 0.0))
        similar = similar if similar[1] else ("", 0.0)
        known = bool(self._beyond)
        words, most = "", 0.0
        if self._left:
            # The first reason that holds for most of it; the order is that of how much each one says.
            found = [(words, size / self._left) for words, size in self._against.items()]
            words, most = next(
                (pair for pair in found if pair[1] > 0.5), max(found, key=lambda pair: pair[1])
            )
        return Doubts(
            similar=(similar[0], similar[1] / max(self._inside, 1e-9))
            if self._told and known
            else None,
            beyond=self._beyond,
            left_out=self._left if known else None,
            left_out_pixels=self._left_pixels,
            against=(words, most),
        )


def _meets(condition: Condition, maps: RecipeMaps) -> Mask:
    quantity, threshold = maps.quantity(condition), maps.threshold(condition)
    met: Mask = quantity > threshold if condition.above else quantity < threshold
    return met


def _failing(condition: Condition, maps: RecipeMaps) -> str:
    """What a pixel that does not meet a condition looks like."""
    value, name = maps.threshold(condition), condition.quantity
    if condition.standardised:
        value = maps.mean[name] + value * maps.std[name]
    return f"with {_ROLES.get(name, name)} {'below' if condition.above else 'above'} {value:.2f}"
