"""What speaks against a mask: a similar class that also fits, and pixels that were left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spex.evidence.classes import Condition, classes
from spex.evidence.recipes import RecipeMaps
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.numbers import localised
from spex.query.wording import class_title, wording

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Reason:
    """Why pixels beyond the threshold of a class are not in its mask.

    Attributes:
        kind: ``asked`` (a constraint took them away), ``other_mask`` (they belong to another mask),
            ``like`` (they fit the class ``name``), ``outside`` (they do not fit the parent class
            ``name``), ``above`` and ``below`` (the quantity ``name`` lies there), ``unlikely``.
        name: of a class, a spectral index or a band role.
        value: of the quantity, two decimals.
    """

    kind: Literal["asked", "other_mask", "like", "outside", "above", "below", "unlikely"]
    name: str = ""
    value: str = ""

    def text(self, language: str = "en") -> str:
        """The words that follow "most of it", such as "with NDVI above 0.30"."""
        words = wording(language)
        name = self.name
        if self.kind in ("like", "outside"):
            name = class_title(name, language)
        elif self.name:
            name = words["bands"].get(name, name)
        pattern: str = words["facts"]["reasons"][self.kind]
        return pattern.format(name=name, value=localised(self.value, language))


@dataclass(frozen=True)
class Doubts:
    """What speaks against one mask. Areas are in square metres, or in pixels without map units.

    Attributes:
        similar: the similar class that fits most of the mask ("" if none fits), and the share of
            the mask's area that it fits; ``None`` where the scene's bands cannot show it.
        beyond: the index whose threshold ``left_out`` is about; "" where it is no index.
        left_out: area beyond that threshold outside the mask; ``None`` where the scene's bands
            cannot show it.
        left_out_pixels: the same as a number of pixels.
        against: why most (or part) of that area was left out, and its share of it; ``None`` where
            nothing was.
    """

    similar: tuple[str, float] | None
    beyond: str
    left_out: float | None
    left_out_pixels: int
    against: tuple[Reason, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Keys of the mask's entry in ``extraction.json``."""
        confusion = self.similar and {"class": self.similar[0] or None, "fraction": self.similar[1]}
        if self.left_out is None:
            return {"confusion": confusion, "left_out": None}
        left_out = {
            "area": self.left_out,
            "pixels": self.left_out_pixels,
            "beyond": self.threshold_text(),
            "against": self.against and self.against[0].text(),
            "fraction": self.against[1] if self.against else 0.0,
        }
        return {"confusion": confusion, "left_out": left_out}

    def threshold_text(self, language: str = "en") -> str:
        """The threshold that ``left_out`` is about, such as "the NDWI threshold"."""
        words = wording(language)["facts"]
        if not self.beyond:
            return str(words["own_threshold"])
        return str(words["index_threshold"].format(self.beyond))


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
        self._beyond = first.quantity if first.is_index else ""
        left_out = valid & ~inside & _meets(first, maps)
        self._left_out_area += size(left_out)
        self._left_out_pixels += int(left_out.sum())
        unlikely = left_out & ~likely & ~elsewhere
        # In the order of how much each reason says.
        reasons = {
            Reason("asked"): left_out & likely & ~elsewhere,
            Reason("other_mask"): left_out & elsewhere,
        }
        for name, fit in fits.items():
            reasons[Reason("like", name)] = unlikely & fit
        if parent:
            reasons[Reason("outside", parent)] = unlikely & ~(maps.margin(parent) > 0)
        for condition in others:
            reasons[_failing(condition, maps)] = unlikely & ~_meets(condition, maps)
        reasons[Reason("unlikely")] = unlikely
        for reason, mask in reasons.items():
            self._reason_areas[reason] = self._reason_areas.get(reason, 0.0) + size(mask)

    def finish(self) -> Doubts:
        """The doubts about the whole mask."""
        measured = self._beyond is not None
        return Doubts(
            similar=self._most_similar() if self._similar_measured and measured else None,
            beyond=self._beyond or "",
            left_out=self._left_out_area if measured else None,
            left_out_pixels=self._left_out_pixels,
            against=self._main_reason(),
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
