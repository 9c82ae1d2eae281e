"""A scene's own threshold of an index: Otsu's, if two modes are really there and it is physically possible."""

from __future__ import annotations

from typing import Any

import numpy as np

from spex.evidence.classes import IndexRange

_BINS = 128
_SMOOTH = np.exp(-0.5 * (np.arange(-4, 5) / 1.6) ** 2)
_REACH = 0.45  # an index further than this from the bounds says nothing about a threshold within them
MIN_SHARE = 0.005  # of the sample, on either side
MAX_VALLEY = 0.6  # density at the threshold over that of the lower of the two modes
MIN_ASHMAN_D = 2.0


def scene_threshold(sample: np.ndarray[Any, Any], limits: IndexRange) -> tuple[float, bool]:
    """Threshold of an index in a scene, and whether the index has two modes there.

    Otsu's threshold is taken on the values near the physical bounds. It stands only if it lies within the bounds and passes three
    tests: enough pixels on either side, two components further apart than their spread (Ashman's D), and a real valley between
    them. Otherwise the physical default is returned, so that one mode is never cut in half.

    Args:
        sample: finite index values ``(n,)`` of the scene's valid pixels.
        limits: default and bounds of the index.
    """
    from skimage.filters import threshold_otsu

    edges = np.linspace(limits.low - _REACH, limits.high + _REACH, _BINS + 1)
    counts = np.histogram(sample, edges)[0].astype(np.float64)
    if counts.sum() < 64 or np.count_nonzero(counts) < 4:
        return limits.threshold, False
    centers = (edges[:-1] + edges[1:]) / 2
    density = np.convolve(counts, _SMOOTH / _SMOOTH.sum(), mode="same")
    cut = int(np.searchsorted(edges, threshold_otsu(hist=(counts, centers)))) - 1
    cut = _valley(density, cut, centers, limits)
    if cut < 0 or not _two_modes(counts, density, centers, cut):
        return limits.threshold, False
    return float(centers[cut]), True


def _valley(density: np.ndarray[Any, Any], cut: int, centers: np.ndarray[Any, Any], limits: IndexRange) -> int:
    """The bin of least density within the bounds and near Otsu's cut, -1 if the cut is too far outside the bounds."""
    inside = np.flatnonzero((centers >= limits.low) & (centers <= limits.high))
    if not limits.low - 0.1 <= centers[cut] <= limits.high + 0.1:
        return -1
    near = inside[np.abs(inside - cut) <= 0.1 / (centers[1] - centers[0])]
    if not len(near):
        return -1
    least = density[near].min()
    flat = near[density[near] <= least * 1.02 + 1e-9]
    return int(flat[len(flat) // 2])


def _two_modes(counts: np.ndarray[Any, Any], density: np.ndarray[Any, Any], centers: np.ndarray[Any, Any], cut: int) -> bool:
    sides = (slice(None, cut + 1), slice(cut + 1, None))
    weights = [counts[side].sum() for side in sides]
    if min(weights) < MIN_SHARE * sum(weights):
        return False
    means = [float((counts[s] * centers[s]).sum() / w) for s, w in zip(sides, weights, strict=True)]
    variances = [
        float((counts[s] * (centers[s] - m) ** 2).sum() / w) for s, w, m in zip(sides, weights, means, strict=True)
    ]
    ashman = np.sqrt(2.0) * abs(means[1] - means[0]) / np.sqrt(sum(variances) + 1e-12)
    peak = min(density[side].max() for side in sides)
    return bool(ashman >= MIN_ASHMAN_D and density[cut] <= MAX_VALLEY * peak)
