"""Pseudo-labels: what several spectral indices agree on, without any label.

Each class has several voters: quantities with a threshold. A pixel is of the class if every voter
exceeds its threshold by more than the ignore band, and the evidence of the scene states the class
as present. It is not of the class if two voters fall short by as much and none votes for it. Pixels
in the ignore band, or on which the voters disagree, are unknown. A class requires two voters that
the bands of the scene allow, and evidence that is not weak. Display values have no physical
thresholds: there, an index only counts if it is bimodal in the scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from instruction_data.sources.chips import Truth
from spex.evidence.indices import compute_indices, index_roles, role_planes
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.raster.scene import Pixels, Scene
from spex.sensors import ROLES

Voter = tuple[str, float | None, float]
"""Quantity ("-" before it: low values vote for the class), threshold, half of the ignore band.

The threshold None is that of the scene.
"""
CALIBRATED: Mapping[str, tuple[Voter, ...]] = {
    "water": (
        ("MNDWI", None, 0.1),
        ("NDWI", None, 0.1),
        ("AWEInsh", 0.0, 0.05),
        ("-NDVI", -0.15, 0.1),
    ),
    "vegetation": (
        ("NDVI", None, 0.1),
        ("SAVI", 0.25, 0.05),
        ("EVI", 0.22, 0.05),
        ("GNDVI", 0.4, 0.05),
    ),
    "snow_ice": (("NDSI", 0.4, 0.1), ("G", 0.3, 0.05), ("-NDVI", -0.15, 0.1)),
    "burned": (("-NBR", None, 0.1), ("-NDVI", -0.25, 0.05), ("-N", -0.2, 0.03)),
}
"""Voters per class for reflectance.

The AWEInsh threshold is that of Feyisa et al. 2014, doi:10.1016/j.rse.2013.08.029. Bare and
built-up ground have no voters: on flood chips with WorldCover a consensus of four indices was right
for one pixel in eleven.
"""
DISPLAY: Mapping[str, tuple[Voter, ...]] = {
    "water": (("NDWI", None, 0.1), ("-NDVI", 0.0, 0.1)),
    "vegetation": (("NDVI", None, 0.1), ("GLI", 0.04, 0.02)),
}
"""Voters per class for display values."""
# Snow, cloud and foam pass every water index; water brighter than this in NIR is left unknown.
_BRIGHT_NIR = 0.2


class PseudoLabels:
    """Pseudo-labels of a scene, with the thresholds and evidence of its overview."""

    described = "pseudo-labels: pixels on which several spectral indices agree"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._evidence = measure(scene.overview())

    def truth(self, window: Window) -> Truth:
        """What the indices agree on within a window of the scene."""
        return pseudo_truth(self._scene.read(window), self._evidence)


def pseudo_truth(pixels: Pixels, evidence: SceneEvidence | None = None) -> Truth:
    """What several indices agree on, per class.

    Args:
        pixels: reflectance or display values.
        evidence: evidence of the whole scene if ``pixels`` are a part of it; None: measured on
            ``pixels``.
    """
    evidence = measure(pixels) if evidence is None else evidence
    planes = role_planes(pixels)
    truth: Truth = {}
    for name, voters in (CALIBRATED if evidence.calibrated else DISPLAY).items():
        class_evidence = evidence.classes[name]
        trusted = evidence.calibrated or evidence.indices[voters[0][0]].bimodal
        all_margins = [_margin(voter, planes, evidence) for voter in voters]
        margins = [margin for margin in all_margins if margin is not None]
        if len(margins) < 2 or class_evidence.status == "unavailable":
            continue
        if class_evidence.weak or not trusted:
            continue
        present = class_evidence.status == "present"
        mask = (np.minimum.reduce(margins) > 1) & pixels.valid & present
        votes_against = np.add.reduce([margin < -1 for margin in margins], dtype=np.uint8)
        absent = (votes_against >= 2) & (np.maximum.reduce(margins) < 1) & pixels.valid
        if name == "water" and evidence.calibrated:
            mask &= planes["N"] < _BRIGHT_NIR
        truth[name] = mask, ~(mask | absent)
    return truth


def _margin(
    voter: Voter, planes: Mapping[str, NDArray[Any]], evidence: SceneEvidence
) -> NDArray[Any] | None:
    """Signed distance from the threshold of a voter, in half ignore bands.

    None if the scene lacks the bands of the voter.
    """
    signed_quantity, threshold, half_band = voter
    quantity = signed_quantity.removeprefix("-")
    sign = -1 if signed_quantity.startswith("-") else 1
    if quantity in ROLES:
        if quantity not in planes:
            return None
        values = planes[quantity]
    else:
        if not index_roles(quantity) <= set(planes):
            return None
        values = compute_indices([quantity], planes)[quantity]
    middle = sign * evidence.indices[quantity].threshold if threshold is None else threshold
    margin: NDArray[Any] = (sign * values - np.float32(middle)) / np.float32(half_band)
    return margin
