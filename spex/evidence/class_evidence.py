"""What a scene shows of each land-cover class: its status, the reason and measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from spex.evidence.classes import Condition, LandClass, Recipe, classes, is_calibrated
from spex.evidence.recipes import RecipeMaps
from spex.evidence.regions import Region, Runs, label_runs, main_location, regions

Array = np.ndarray[Any, Any]
Status = Literal["present", "absent", "unavailable", "unmeasured"]
"""``unavailable``: the bands of the scene cannot show the class. ``unmeasured``: no spectral index
shows the class in any bands, but a model may."""

MAX_REGIONS = 10
_MIN_PIXELS = 9  # smaller regions are noise and do not count towards a class's presence
_MIN_SHARE = 3e-4
_MIN_SHARE_DOUBTFUL = 5e-3
_MIN_COHERENT = 0.5  # of a doubtful mask's pixels; the rest are specks
_MAX_TAIL_SHARE = 0.02
_MAX_TAIL_EXCESS = 1.2  # a mean excess below this many times that of a normal tail is a tail


@dataclass(frozen=True)
class Cause:
    """Why a class has its status, for sentences in any language.

    Attributes:
        key: of ``_REASONS``.
        values: shares and means as English writes them, and names of classes.
    """

    key: str
    values: Mapping[str, str]


_REASONS = {
    "no_index": "no spectral index shows {title}",
    "requires": "requires {requires}",
    "no_other": "there is no {title} in the scene",
    "everything": "it is every pixel with data",
    "present": "{share} of the pixels have {rule}",
    "none": "no pixel has {rule} (mean {mean})",
    "none_all": (
        "{share} of the pixels have {rule}, but none of them meets the other conditions of the "
        "class (mean {mean})"
    ),
    "few": (
        "only {share} of the pixels have {rule}, and only {coherent} in regions of at least "
        "{least} pixels"
    ),
    "specks": "the {share} of pixels with {rule} are mostly single pixels and specks",
    "tail": "the {share} of pixels with {rule} do not stand out from the others (mean {mean})",
}


@dataclass(frozen=True)
class ClassEvidence:
    """What the scene shows of one class.

    Attributes:
        name: of the class.
        status: whether the scene shows the class.
        cause: why.
        requires: bands and calibration that an unavailable class requires, in words.
        index: quantity of the recipe's first condition, such as ``MNDWI`` or ``z:N``.
        threshold: of that quantity in this scene.
        above: the class lies above the threshold.
        weak: no index really separates the class.
        separability: distance of ``inside`` from ``outside`` in pooled standard deviations.
        fraction: share of the valid pixels, 0-1.
        region_count: number of 8-connected regions.
        regions: the largest of them, at most ``MAX_REGIONS``.
        location: where most of the mask lies, in words.
        inside: mean of the quantity inside the class's mask.
        outside: mean of the quantity outside it.
    """

    name: str
    status: Status
    cause: Cause
    index: str = ""
    threshold: float = math.nan
    above: bool = True
    weak: bool = False
    separability: float = 0.0
    fraction: float = 0.0
    region_count: int = 0
    regions: tuple[Region, ...] = ()
    location: str = ""
    inside: float = math.nan
    outside: float = math.nan
    requires: str = ""

    @property
    def reason(self) -> str:
        """Why the class has its status, in English."""
        values = dict(self.cause.values)
        if "class" in values:
            values["title"] = classes()[values["class"]].title
        index = self.index.removeprefix("z:")
        rule = f"{index} {'above' if self.above else 'below'} {self.threshold:.2f}"
        if index != self.index:
            rule += " standard deviations from the mean of the scene"
        return _REASONS[self.cause.key].format(rule=rule, requires=self.requires, **values)


class ClassMeasurer:
    """Measures each class once.

    A class may depend on its parent, and on classes that take pixels away from it.

    Args:
        planes: reflectance ``(h, w)`` per band role.
        valid: ``(h, w)``.
        level: processing level of the scene.
        thresholds: the scene's threshold per index.
        bimodal: per index, whether it has two modes in the scene.
        mean: the scene's mean per role.
        std: the scene's standard deviation per role.
        indices: index maps ``(h, w)`` that are computed already.
    """

    def __init__(
        self,
        planes: Mapping[str, Array],
        valid: Array,
        level: str,
        thresholds: Mapping[str, float],
        bimodal: Mapping[str, bool],
        mean: Mapping[str, float],
        std: Mapping[str, float],
        indices: Mapping[str, Array],
    ) -> None:
        self._valid = valid
        self._valid_count = max(int(np.count_nonzero(valid)), 1)
        self._calibrated = is_calibrated(level)
        self._bimodal = bimodal
        self._maps = RecipeMaps(planes, level, thresholds, mean, std, self._is_present, indices)
        self._measured: dict[str, ClassEvidence] = {}

    def evidence(self, name: str) -> ClassEvidence:
        """The evidence of a class."""
        if name not in self._measured:
            self._measured[name] = self._measure(classes()[name])
        return self._measured[name]

    def _is_present(self, name: str) -> bool:
        return self.evidence(name).status == "present"

    def _measure(self, land_class: LandClass) -> ClassEvidence:
        name = land_class.name
        if not land_class.recipes:
            return ClassEvidence(name, "unmeasured", Cause("no_index", {"class": name}), weak=True)
        recipe = self._maps.recipe(name)
        if recipe is None:
            by_calibration = land_class.recipe(self._maps.planes, "surface") is not None
            return _unavailable(
                name, "calibrated reflectance" if by_calibration else land_class.needs
            )
        first = recipe.conditions[0]
        absent = ClassEvidence(
            name,
            "absent",
            Cause("none", {}),
            _quantity_name(first),
            self._maps.threshold(first),
            first.above,
            recipe.weak,
        )
        for needed in (land_class.parent, land_class.beside):
            if needed is None:
                continue
            other = self.evidence(needed)
            if other.status == "unavailable":
                return _unavailable(name, other.requires)
            if other.status == "absent":
                return replace(absent, cause=Cause("no_other", {"class": needed}))
        return self._measure_mask(recipe, absent)

    def _measure_mask(self, recipe: Recipe, absent: ClassEvidence) -> ClassEvidence:
        """Measure the mask of a class's recipe.

        Args:
            recipe: of the class.
            absent: its evidence so far.
        """
        first = recipe.conditions[0]
        mask = (self._maps.margin(absent.name) > 0) & self._valid
        quantity = self._maps.quantity(first)
        runs = label_runs(mask)
        inside, spread_inside = _moments(quantity[mask])
        outside, spread_outside = _moments(quantity[~mask & self._valid])
        share = float(runs.sizes()[1:].sum()) / self._valid_count
        absent = replace(absent, fraction=share, inside=inside, outside=outside)
        cause = self._absence(recipe, runs, absent)
        if cause:
            return replace(absent, cause=cause)
        separability = 0.0
        if math.isfinite(outside):
            pooled = math.sqrt((spread_inside**2 + spread_outside**2) / 2)
            separability = abs(inside - outside) / (pooled + 1e-6)
        planes = {absent.index: quantity}
        return replace(
            absent,
            status="present",
            cause=Cause("present", {"share": _percent(share, 1)}),
            separability=separability,
            region_count=runs.count,
            regions=tuple(regions(mask, limit=MAX_REGIONS, runs=runs, planes=planes)),
            location=main_location(mask),
        )

    def _absence(self, recipe: Recipe, runs: Runs, absent: ClassEvidence) -> Cause | None:
        """Why the mask of a recipe is no evidence of the class; None if it is.

        Args:
            recipe: of the class.
            runs: of its mask.
            absent: evidence of the class, with share and means.
        """
        first = recipe.conditions[0]
        share = absent.fraction
        if not share:
            meets_first = (self._maps.margin_of(first) > 0) & self._valid
            first_share = np.count_nonzero(meets_first) / self._valid_count
            mean = f"{absent.outside:.2f}"
            if not first_share:
                return Cause("none", {"mean": mean})
            return Cause("none_all", {"share": _percent(first_share, 1), "mean": mean})
        sizes = runs.sizes()[1:]
        coherent = float(sizes[sizes >= _MIN_PIXELS].sum()) / self._valid_count
        doubtful = recipe.weak or not self._calibrated
        if coherent < (_MIN_SHARE_DOUBTFUL if doubtful else _MIN_SHARE):
            shares = {"share": _percent(share, 2), "coherent": _percent(coherent, 2)}
            return Cause("few", {**shares, "least": str(_MIN_PIXELS)})
        if doubtful and coherent < _MIN_COHERENT * share:
            return Cause("specks", {"share": _percent(share, 1)})
        one_mode = first.relative and not self._bimodal.get(first.quantity, False)
        if one_mode and _is_tail(share, absent.inside, absent.outside, absent.threshold):
            return Cause("tail", {"share": _percent(share, 1), "mean": f"{absent.inside:.2f}"})
        return None


def _unavailable(name: str, requires: str) -> ClassEvidence:
    return ClassEvidence(name, "unavailable", Cause("requires", {}), requires=requires)


def _quantity_name(condition: Condition) -> str:
    return f"{'z:' if condition.standardised else ''}{condition.quantity}"


def _percent(share: float, decimals: int) -> str:
    return f"{100 * share:.{decimals}f} %"


def _is_tail(share: float, inside: float, outside: float, threshold: float) -> bool:
    """Whether a small share beyond a threshold is the tail of one normal distribution.

    The mean excess over the threshold is compared with the threshold's distance from the other
    pixels.

    Args:
        share: of the pixels beyond the threshold, 0-1.
        inside: their mean.
        outside: mean of the other pixels.
        threshold: between them.
    """
    if share > _MAX_TAIL_SHARE:
        return False
    cut = NormalDist().inv_cdf(1 - share)
    expected = NormalDist().pdf(cut) / share / cut - 1
    return abs(inside - threshold) < _MAX_TAIL_EXCESS * expected * abs(threshold - outside)


def _moments(values: Array) -> tuple[float, float]:
    """Mean and standard deviation of the finite values, NaN where there are none."""
    values = values[np.isfinite(values)]
    return (float(values.mean()), float(values.std())) if values.size else (math.nan, math.nan)
