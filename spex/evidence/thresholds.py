"""A scene's own threshold of an index: Otsu's, if the index has two modes and it is plausible."""

from __future__ import annotations

from typing import Any

import numpy as np

from spex.evidence.classes import IndexRange

Array = np.ndarray[Any, Any]

_BINS = 128
_SMOOTH = np.exp(-0.5 * (np.arange(-4, 5) / 1.6) ** 2)
_REACH = 0.45  # values further than this from the bounds say nothing about the threshold
_NEAR = 0.1  # how far from Otsu's threshold the valley may lie
MIN_SHARE = 0.005  # of the sample, on either side
MAX_VALLEY = 0.6  # density at the threshold over that of the lower of the two modes
MIN_ASHMAN_D = 2.0


def scene_threshold(sample: Array, limits: IndexRange) -> tuple[float, bool]:
    """Threshold of an index in a scene, and whether the index has two modes there.

    Otsu's threshold is taken on the values near the physical bounds and moved to the bottom of the
    valley beside it. It stands only if it lies within the bounds and passes three tests: enough
    pixels on either side, two components further apart than their spread (Ashman's D), and a real
    valley between them. Otherwise the physical default is returned, so that one mode is never cut
    in half.

    Args:
        sample: finite index values ``(n,)`` of the scene's valid pixels.
        limits: default and bounds of the index.
    """
    from skimage.filters import threshold_otsu

    counts, edges = np.histogram(sample, _BINS, (limits.low - _REACH, limits.high + _REACH))
    if counts.sum() < 64 or np.count_nonzero(counts) < 4:
        return limits.threshold, False
    centers = (edges[:-1] + edges[1:]) / 2
    density = np.convolve(counts, _SMOOTH / _SMOOTH.sum(), mode="same")
    # Across an empty gap every cut is Otsu's; skimage gives the first one, of the mirrored
    # histogram the last.
    otsu: Any = threshold_otsu
    first = float(otsu(hist=(counts, centers)))
    last = -float(otsu(hist=(counts[::-1], -centers[::-1])))
    cut = _valley(density, centers, max(limits.low, first - _NEAR), min(limits.high, last + _NEAR))
    if cut is None or not _two_modes(counts, density, centers, cut):
        return limits.threshold, False
    return float(centers[cut]), True


def _valley(density: Array, centers: Array, low: float, high: float) -> int | None:
    """The bin of least density between two values, the middle one of several, or None."""
    near = np.flatnonzero((centers >= low) & (centers <= high))
    if not len(near):
        return None
    least = density[near].min()
    flat = near[density[near] <= least * 1.02 + 1e-9]
    return int(flat[len(flat) // 2])


def _two_modes(counts: Array, density: Array, centers: Array, cut: int) -> bool:
    """Whether the histogram has a mode on either side of bin ``cut`` and a real valley there."""
    sides = (slice(None, cut + 1), slice(cut + 1, None))
    weights = [counts[side].sum() for side in sides]
    if min(weights) < MIN_SHARE * sum(weights):
        return False
    means = []
    variances = []
    for side, weight in zip(sides, weights, strict=True):
        mean = float((counts[side] * centers[side]).sum() / weight)
        means.append(mean)
        variances.append((counts[side] * (centers[side] - mean) ** 2).sum() / weight)
    ashman = np.sqrt(2.0) * abs(means[1] - means[0]) / np.sqrt(sum(variances) + 1e-12)
    peak = min(density[side].max() for side in sides)
    return bool(ashman >= MIN_ASHMAN_D and density[cut] <= MAX_VALLEY * peak)
