"""The evidence of a scene: measured once on its overview, used for every tile and prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spex.evidence.class_evidence import Cause, ClassEvidence, ClassMeasurer
from spex.evidence.classes import ANY_CLASS, classes, index_range, is_calibrated
from spex.evidence.indices import EVIDENCE_INDICES, compute_indices, index_roles, role_planes
from spex.evidence.recipes import RecipeMaps, recipe_indices
from spex.evidence.thresholds import scene_threshold

if TYPE_CHECKING:
    from spex.raster.scene import Pixels

Array = np.ndarray[Any, Any]

_WATER_INDICES = ("MNDWI", "NDWI")
_ANY = ClassEvidence(ANY_CLASS.name, "present", Cause("everything", {}), fraction=1.0)
_SAMPLE_SIZE = 1 << 16  # pixels that thresholds and statistics are estimated from


@dataclass(frozen=True)
class IndexStats:
    """An index over the scene.

    Attributes:
        mean: of the valid pixels.
        std: standard deviation of the valid pixels.
        threshold: of this scene.
        bimodal: the index has two modes here, and the threshold lies between them.
    """

    mean: float
    std: float
    threshold: float
    bimodal: bool


@dataclass(frozen=True)
class SceneEvidence:
    """Statistics, thresholds and classes of one scene; picklable.

    Attributes:
        roles: band roles of the scene.
        level: processing level.
        shape: (height, width) of the overview that was measured.
        valid_pixels: number of valid pixels in the overview.
        band_mean: mean reflectance per band role.
        band_std: standard deviation per band role.
        indices: by name, those of ``EVIDENCE_INDICES`` that the bands allow.
        classes: by name, every class.
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

    def of(self, name: str) -> ClassEvidence:
        """The evidence of a class, ``any`` included."""
        return _ANY if name == ANY_CLASS.name else self.classes[name]

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
        document: dict[str, Any] = _plain(asdict(self))
        return document


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def measure(pixels: Pixels) -> SceneEvidence:
    """Measure a scene on its overview.

    Args:
        pixels: the overview.
    """
    planes = role_planes(pixels)
    valid = pixels.valid
    calibrated = is_calibrated(pixels.level)
    step = max(1, int(np.ceil(valid.size / _SAMPLE_SIZE)))
    sampled = np.flatnonzero(valid)[::step]
    mean = {}
    std = {}
    for role, plane in planes.items():
        sample = plane.ravel()[sampled]
        mean[role] = float(sample.mean(dtype=np.float64)) if sample.size else 0.0
        std[role] = float(sample.std(dtype=np.float64)) if sample.size else 0.0

    names = [name for name in EVIDENCE_INDICES if index_roles(name) <= set(planes)]
    index_maps = compute_indices([*names, *recipe_indices(planes, pixels.level)], planes)
    samples = {name: index_maps[name].ravel()[sampled] for name in names}
    stats = _index_stats(samples, calibrated)

    measurer = ClassMeasurer(
        planes,
        valid,
        pixels.level,
        thresholds={name: index.threshold for name, index in stats.items()},
        bimodal={name: index.bimodal for name, index in stats.items()},
        mean=mean,
        std=std,
        indices=index_maps,
    )
    return SceneEvidence(
        roles=tuple(planes),
        level=pixels.level,
        shape=(int(valid.shape[0]), int(valid.shape[1])),
        valid_pixels=int(np.count_nonzero(valid)),
        band_mean=mean,
        band_std=std,
        indices=stats,
        classes={name: measurer.evidence(name) for name in classes()},
    )


def _index_stats(samples: Mapping[str, Array], calibrated: bool) -> dict[str, IndexStats]:
    """Statistics of the indices on a sample; thresholds of land indices are taken on land.

    Args:
        samples: index values ``(n,)`` of the same pixels, by index.
        calibrated: the scene holds reflectance.
    """
    stats: dict[str, IndexStats] = {}
    for name in sorted(samples, key=lambda name: name not in _WATER_INDICES):
        values = samples[name]
        for_threshold = values
        water_index = next((water for water in _WATER_INDICES if water in stats), None)
        if name not in _WATER_INDICES and water_index:
            is_water = samples[water_index] > stats[water_index].threshold
            for_threshold = values[~is_water]
        threshold, bimodal = scene_threshold(
            for_threshold[np.isfinite(for_threshold)], index_range(name, calibrated)
        )
        defined = values[np.isfinite(values)]
        average = float(defined.mean()) if defined.size else 0.0
        spread = float(defined.std()) if defined.size else 0.0
        stats[name] = IndexStats(average, spread, threshold, bimodal)
    return {name: stats[name] for name in samples}
