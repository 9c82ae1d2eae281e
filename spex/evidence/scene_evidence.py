"""What a scene's pixels say about each class, measured once on its overview and used for every tile and prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spex.evidence.classes import Condition, LandClass, classes, index_range, is_calibrated
from spex.evidence.indices import EVIDENCE_INDICES, compute_indices, index_roles, role_planes
from spex.evidence.recipes import RecipeMaps, recipe_indices
from spex.evidence.regions import Region, label_runs, main_location, regions
from spex.evidence.thresholds import scene_threshold

if TYPE_CHECKING:
    from spex.raster.scene import Pixels

_WATER_INDICES = ("MNDWI", "NDWI")
Array = np.ndarray[Any, Any]
Status = Literal["present", "absent", "unavailable", "unmeasured"]
"""``unavailable``: these bands cannot tell; ``unmeasured``: no index shows the class on any bands, a model may."""

MAX_REGIONS = 10
_SAMPLE = 1 << 16  # pixels that thresholds and statistics are estimated from
_MIN_PIXELS = 9  # smaller regions are noise and do not count towards a class's presence
_MIN_SHARE = 3e-4
_MIN_SHARE_DOUBTFUL = 5e-3
_MIN_COHERENT = 0.5  # of a doubtful mask's pixels; the rest are specks
_TAIL = 1.2  # a mean excess below this many times that of a normal tail is a tail


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

    ``index`` is the quantity of the recipe's first condition, ``inside`` and ``outside`` its means in and out of the
    class's mask, ``separability`` their distance in pooled standard deviations. ``weak`` says that no index really
    tells the class apart. ``fraction`` is the share of valid pixels, ``region_count`` the number of 8-connected regions
    and ``regions`` the largest of them, ``location`` where most of the mask lies.
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
    level: str
    shape: tuple[int, int]
    valid_pixels: int
    band_mean: Mapping[str, float]
    band_std: Mapping[str, float]
    indices: Mapping[str, IndexStats]
    classes: Mapping[str, ClassEvidence]

    @property
    def calibrated(self) -> bool:
        """Whether the values are reflectance rather than display values or radiance."""
        return is_calibrated(self.level)

    def present(self, name: str) -> bool:
        """Whether the scene shows the class."""
        return self.classes[name].status == "present"

    def recipe_maps(self, planes: Mapping[str, Array]) -> RecipeMaps:
        """The recipes on the role planes of a tile, with this scene's thresholds."""
        thresholds = {name: stats.threshold for name, stats in self.indices.items()}
        return RecipeMaps(
            planes, self.level, thresholds, self.band_mean, self.band_std, self.present
        )

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


def measure(pixels: Pixels) -> SceneEvidence:
    """Measure a scene on its overview.

    Args:
        pixels: the overview, reflectance ``(C, h, w)`` with its validity mask.
    """
    planes = role_planes(pixels)
    valid = pixels.valid
    every = max(1, int(np.ceil(valid.size / _SAMPLE)))
    sampled = np.flatnonzero(valid)[::every]
    samples = {role: plane.ravel()[sampled] for role, plane in planes.items()}
    mean = {role: float(x.mean(dtype=np.float64)) if x.size else 0.0 for role, x in samples.items()}
    std = {role: float(x.std(dtype=np.float64)) if x.size else 0.0 for role, x in samples.items()}

    own = [name for name in EVIDENCE_INDICES if index_roles(name) <= set(planes)]
    maps = compute_indices([*own, *recipe_indices(planes, pixels.level)], planes)
    stats = _index_stats(
        {name: maps[name].ravel()[sampled] for name in own}, is_calibrated(pixels.level)
    )

    found = _Findings(planes, valid, pixels.level, stats, mean, std, maps)
    return SceneEvidence(
        roles=tuple(planes),
        level=pixels.level,
        shape=(int(valid.shape[0]), int(valid.shape[1])),
        valid_pixels=int(np.count_nonzero(valid)),
        band_mean=mean,
        band_std=std,
        indices=stats,
        classes={name: found.evidence(name) for name in classes()},
    )


def _index_stats(samples: Mapping[str, Array], calibrated: bool) -> dict[str, IndexStats]:
    """Statistics of the indices on the scene's sample; thresholds of land indices are taken on land alone."""
    stats: dict[str, IndexStats] = {}
    for name in sorted(samples, key=lambda name: name not in _WATER_INDICES):
        values = chosen = samples[name]
        if name not in _WATER_INDICES and (
            water := next((w for w in _WATER_INDICES if w in stats), None)
        ):
            chosen = values[~(samples[water] > stats[water].threshold)]
        threshold, bimodal = scene_threshold(
            chosen[np.isfinite(chosen)], index_range(name, calibrated)
        )
        defined = values[np.isfinite(values)]
        average, spread = (
            (float(defined.mean()), float(defined.std())) if defined.size else (0.0, 0.0)
        )
        stats[name] = IndexStats(average, spread, threshold, bimodal)
    return {name: stats[name] for name in samples}


class _Findings:
    """Decides each class once; a class may depend on its parent and on classes that take pixels away from it."""

    def __init__(
        self,
        planes: Mapping[str, Array],
        valid: Array,
        level: str,
        stats: Mapping[str, IndexStats],
        mean: Mapping[str, float],
        std: Mapping[str, float],
        indices: Mapping[str, Array],
    ) -> None:
        self.valid = valid
        self.valid_count = int(np.count_nonzero(valid))
        self.stats = stats
        thresholds = {name: s.threshold for name, s in stats.items()}
        self.maps = RecipeMaps(planes, level, thresholds, mean, std, self._present, indices)
        self._done: dict[str, ClassEvidence] = {}

    def evidence(self, name: str) -> ClassEvidence:
        if name not in self._done:
            self._done[name] = self._decide(classes()[name])
        return self._done[name]

    def _present(self, name: str) -> bool:
        return self.evidence(name).status == "present"

    def _decide(self, land_class: LandClass) -> ClassEvidence:
        name = land_class.name
        recipe = self.maps.recipe(name)
        if not land_class.recipes:
            return ClassEvidence(
                name, "unmeasured", f"no spectral index shows {land_class.title}", weak=True
            )
        if recipe is None:
            elsewhere = land_class.recipe(self.maps.planes, "surface") is not None
            reason = "needs calibrated reflectance" if elsewhere else f"needs {land_class.needs}"
            return ClassEvidence(name, "unavailable", reason)
        first = recipe.conditions[0]
        threshold = self.maps.threshold(first)
        empty = ClassEvidence(
            name, "absent", "", _quantity(first), threshold, first.above, recipe.weak
        )
        for needed in filter(None, (land_class.parent, land_class.beside)):
            other = self.evidence(needed)
            if other.status == "unavailable":
                return ClassEvidence(name, "unavailable", other.reason)
            if other.status == "absent":
                return replace(empty, reason=f"no {classes()[needed].title} in the scene")
        mask = (self.maps.margin(name) > 0) & self.valid
        quantity = self.maps.quantity(first)
        runs = label_runs(mask)
        sizes = runs.sizes()[1:]
        share = float(sizes.sum()) / max(self.valid_count, 1)
        coherent = float(sizes[sizes >= _MIN_PIXELS].sum()) / max(self.valid_count, 1)
        inside, spread_in = _moments(quantity[mask])
        outside, spread_out = _moments(quantity[~mask & self.valid])
        empty = replace(empty, fraction=share, inside=inside, outside=outside)
        rule = f"{_quantity(first)} {'above' if first.above else 'below'} {threshold:.2f}"
        if not share:
            alone = np.count_nonzero((self.maps.margin_of(first) > 0) & self.valid) / max(
                self.valid_count, 1
            )
            where = (
                f"in {alone:.1%} of the pixels, but nowhere with the other conditions"
                if alone
                else "nowhere"
            )
            return replace(empty, reason=f"{rule} {where}, mean {outside:.2f}")
        doubtful = recipe.weak or not is_calibrated(self.maps.level)
        if coherent < (_MIN_SHARE_DOUBTFUL if doubtful else _MIN_SHARE):
            return replace(
                empty, reason=f"{rule} in {share:.2%} of the pixels only, {coherent:.2%} in regions"
            )
        if doubtful and coherent < _MIN_COHERENT * share:
            return replace(
                empty, reason=f"{rule} in {share:.1%} of the pixels, but mostly in specks"
            )
        if (
            first.relative
            and not self._two_modes(first)
            and _is_tail(share, inside, outside, threshold)
        ):
            return replace(
                empty,
                reason=f"the {share:.1%} with {rule} are the tail of one mode, mean {inside:.2f}",
            )
        spread = (
            math.sqrt((spread_in**2 + spread_out**2) / 2)
            if math.isfinite(spread_out)
            else spread_in
        )
        return replace(
            empty,
            status="present",
            reason=f"{rule} in {share:.1%} of the pixels",
            separability=abs(inside - outside) / (spread + 1e-6) if math.isfinite(outside) else 0.0,
            region_count=runs.count,
            regions=tuple(
                regions(mask, limit=MAX_REGIONS, runs=runs, planes={_quantity(first): quantity})
            ),
            location=main_location(mask),
        )

    def _two_modes(self, condition: Condition) -> bool:
        return condition.quantity in self.stats and self.stats[condition.quantity].bimodal


def _quantity(condition: Condition) -> str:
    return f"{'z:' if condition.standardised else ''}{condition.quantity}"


def _is_tail(share: float, inside: float, outside: float, threshold: float) -> bool:
    """Whether a small share beyond a threshold lies no further out than the tail of a normal distribution would.

    Compared is the mean excess over the threshold with the threshold's distance from the rest.
    """
    if share > 0.02:
        return False
    cut = NormalDist().inv_cdf(1 - share)
    expected = NormalDist().pdf(cut) / share / cut - 1
    return abs(inside - threshold) < _TAIL * expected * abs(threshold - outside)


def _moments(values: Array) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    return (float(values.mean()), float(values.std())) if values.size else (math.nan, math.nan)
