"""What a scene's pixels say about each class, measured once on its overview and used for every tile and every prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spex.evidence.classes import Condition, LandClass, classes, index_range
from spex.evidence.indices import EVIDENCE_INDICES, compute, index_roles, role_planes
from spex.evidence.recipes import RecipeMaps
from spex.evidence.regions import Region, label_regions, main_location, regions
from spex.evidence.thresholds import scene_threshold

if TYPE_CHECKING:
    from spex.raster.scene import Pixels

Array = np.ndarray[Any, Any]
Status = Literal["present", "absent", "unavailable"]

KEPT_REGIONS = 10
_SAMPLE = 1 << 16  # pixels that thresholds and statistics are estimated from
_MIN_SHARE = 3e-4
_MIN_PIXELS = 6  # of the largest region; less is noise
_TAIL = 0.25  # a tail's mean excess over the threshold, as a share of the threshold's distance from the rest


@dataclass(frozen=True)
class IndexStats:
    """An index over the scene: mean, standard deviation, the scene's threshold, and whether two modes were found."""

    mean: float
    std: float
    threshold: float
    bimodal: bool


@dataclass(frozen=True)
class ClassEvidence:
    """What the scene shows of one class.

    ``index`` is the quantity of the recipe's first condition, ``inside`` and ``outside`` its means in and out of the class's mask,
    ``separability`` their distance in pooled standard deviations. ``fraction`` is the share of valid pixels, ``region_count`` the number
    of 8-connected regions and ``regions`` the largest of them. Numbers are 0 and NaN where the class is not present.
    """

    name: str
    status: Status
    reason: str
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


@dataclass(frozen=True)
class SceneEvidence:
    """Statistics, thresholds and classes of one scene; picklable.

    ``shape`` is (height, width) of the overview that was measured, ``band_mean`` and ``band_std`` are per band role.
    """

    roles: tuple[str, ...]
    calibrated: bool
    shape: tuple[int, int]
    valid_pixels: int
    band_mean: Mapping[str, float]
    band_std: Mapping[str, float]
    indices: Mapping[str, IndexStats]
    classes: Mapping[str, ClassEvidence]

    def present(self, name: str) -> bool:
        """Whether the scene shows the class."""
        return self.classes[name].status == "present"

    def recipe_maps(self, planes: Mapping[str, Array]) -> RecipeMaps:
        """The recipes on the role planes of a tile, with this scene's thresholds."""
        thresholds = {name: stats.threshold for name, stats in self.indices.items()}
        return RecipeMaps(planes, self.calibrated, thresholds, self.band_mean, self.band_std, self.present)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, NaN as None."""

        def plain(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key: plain(item) for key, item in value.items()}
            if isinstance(value, (list, tuple)):
                return [plain(item) for item in value]
            if isinstance(value, float):
                return round(value, 6) if math.isfinite(value) else None
            return value

        document: dict[str, Any] = plain(asdict(self))
        return document


def is_calibrated(level: str) -> bool:
    """Whether values of a processing level are reflectance, so that physical thresholds apply."""
    return level in ("toa", "surface")


def measure(pixels: Pixels) -> SceneEvidence:
    """Measure a scene on its overview.

    Args:
        pixels: the overview, reflectance ``(C, h, w)`` with its validity mask. A scene without a valid pixel has every class absent.
    """
    planes = role_planes(pixels)
    calibrated = is_calibrated(pixels.level)
    valid = pixels.valid
    every = max(1, int(np.ceil(valid.size / _SAMPLE)))
    sampled = np.flatnonzero(valid)[::every]
    samples = {role: plane.ravel()[sampled] for role, plane in planes.items()}
    mean = {role: float(x.mean(dtype=np.float64)) if x.size else 0.0 for role, x in samples.items()}
    std = {role: float(x.std(dtype=np.float64)) if x.size else 0.0 for role, x in samples.items()}

    maps = compute((name for name in EVIDENCE_INDICES if index_roles(name) <= set(planes)), planes)
    stats = {}
    for name, values in maps.items():
        sample = values.ravel()[sampled]
        sample = sample[np.isfinite(sample)]
        threshold, bimodal = scene_threshold(sample, index_range(name, calibrated))
        average, spread = (float(sample.mean()), float(sample.std())) if sample.size else (0.0, 0.0)
        stats[name] = IndexStats(average, spread, threshold, bimodal)

    found = _Findings(planes, valid, calibrated, stats, mean, std, maps)
    return SceneEvidence(
        roles=tuple(planes),
        calibrated=calibrated,
        shape=(int(valid.shape[0]), int(valid.shape[1])),
        valid_pixels=int(np.count_nonzero(valid)),
        band_mean=mean,
        band_std=std,
        indices=stats,
        classes={name: found.evidence(name) for name in classes()},
    )


class _Findings:
    """Decides each class once; a class may depend on its parent and on classes that take pixels away from it."""

    def __init__(
        self,
        planes: Mapping[str, Array],
        valid: Array,
        calibrated: bool,
        stats: Mapping[str, IndexStats],
        mean: Mapping[str, float],
        std: Mapping[str, float],
        indices: Mapping[str, Array],
    ) -> None:
        self.valid = valid
        self.valid_count = int(np.count_nonzero(valid))
        self.calibrated = calibrated
        self.stats = stats
        thresholds = {name: s.threshold for name, s in stats.items()}
        self.maps = RecipeMaps(planes, calibrated, thresholds, mean, std, lambda name: self.evidence(name).status == "present", indices)
        self.maps.prepare(list(classes()))
        self._done: dict[str, ClassEvidence] = {}

    def evidence(self, name: str) -> ClassEvidence:
        if name not in self._done:
            self._done[name] = self._decide(classes()[name])
        return self._done[name]

    def _decide(self, land_class: LandClass) -> ClassEvidence:
        name = land_class.name
        recipe = self.maps.recipe(name)
        if recipe is None:
            other_level = land_class.recipe(self.maps.planes, not self.calibrated) is not None
            reason = "needs calibrated reflectance" if other_level else f"needs {land_class.needs}"
            return ClassEvidence(name, "unavailable", reason)
        first = recipe.conditions[0]
        known = dict(
            index=("z:" if first.standardised else "") + first.quantity,
            threshold=self.maps.threshold(first),
            above=first.above,
            weak=recipe.weak,
        )
        for needed, why in ((land_class.parent, "no {} in the scene"), (land_class.beside, "no {} in the scene")):
            if needed is not None and (other := self.evidence(needed)).status != "present":
                reason = other.reason if other.status == "unavailable" else why.format(classes()[needed].title)
                return ClassEvidence(name, other.status, reason, **known)
        mask = (self.maps.margin(name) > 0) & self.valid
        quantity = self.maps.quantity(first)
        share = float(np.count_nonzero(mask)) / max(self.valid_count, 1)
        in_mean, in_std = _moments(quantity[mask])
        out_mean, out_std = _moments(quantity[~mask & self.valid])
        labelled = label_regions(mask)
        largest = regions(mask, limit=KEPT_REGIONS, labelled=labelled, planes={first.quantity: quantity})
        reason = self._doubt(first, share, largest, in_mean, out_mean)
        if reason:
            return ClassEvidence(name, "absent", reason, fraction=share, **known)
        spread = math.sqrt((in_std**2 + out_std**2) / 2) if math.isfinite(out_std) else in_std
        separability = abs(in_mean - out_mean) / (spread + 1e-6) if math.isfinite(out_mean) else 0.0
        return ClassEvidence(
            name,
            "present",
            f"{_side(first)} {known['threshold']:.2f} in {share:.1%} of the pixels",
            separability=separability,
            fraction=share,
            region_count=labelled[1],
            regions=tuple(largest),
            location=main_location(mask),
            inside=in_mean,
            outside=out_mean,
            **known,
        )

    def _doubt(self, first: Condition, share: float, largest: list[Region], inside: float, outside: float) -> str:
        """Why a mask is not believed, or "" if it is."""
        threshold = self.maps.threshold(first)
        rule = f"{_side(first)} {threshold:.2f}"
        if share < _MIN_SHARE or largest[0].pixels < _MIN_PIXELS:
            return f"{rule} in {share:.2%} of the pixels only" if share else f"{rule} nowhere, mean {outside:.2f}"
        two_modes = first.quantity in self.stats and self.stats[first.quantity].bimodal and first.relative
        if share < 0.1 and not two_modes and abs(inside - threshold) < _TAIL * abs(threshold - outside):
            return f"the {share:.1%} {rule} are the tail of one mode, mean {inside:.2f}"
        return ""


def _side(condition: Condition) -> str:
    return f"{'z:' if condition.standardised else ''}{condition.quantity} {'above' if condition.above else 'below'}"


def _moments(values: Array) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    return (float(values.mean()), float(values.std())) if values.size else (math.nan, math.nan)
