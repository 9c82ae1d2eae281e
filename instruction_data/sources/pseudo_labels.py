"""Pseudo-labels: what several indices agree on, without any label.

A pixel is of a class where every voter of the class lies beyond its threshold by more than the ignore band and the
scene's evidence finds the class; it is not of the class where two voters fall short by as much and none votes for it;
where voters disagree, or in the band, it is unknown. A class needs two voters that the scene's bands allow, and
evidence that is not weak. Display values have no physical thresholds: there an index counts only if it has two modes in
the scene.
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
"""Voters of a class: a quantity (with - where little of it speaks for the class), threshold, half of the ignore band.

The threshold of None is the scene's own. AWEInsh is that of Feyisa et al. 2014, doi:10.1016/j.rse.2013.08.029. Bare and
built-up ground have none: on flood chips with WorldCover a consensus of four was right about one pixel in eleven.
"""
DISPLAY: Mapping[str, tuple[Voter, ...]] = {
    "water": (("NDWI", None, 0.1), ("-NDVI", 0.0, 0.1)),
    "vegetation": (("NDVI", None, 0.1), ("GLI", 0.04, 0.02)),
}
_BRIGHT_NIR = 0.2  # snow, cloud and foam pass every water index; water this bright is left unknown


class PseudoLabels:
    """Pseudo-labels of a scene, with the thresholds and findings of its overview."""

    described = "pseudo-labels: pixels on which several spectral indices agree"

    def __init__(self, scene: Scene) -> None:
        self._scene, self._evidence = scene, measure(scene.overview())

    def truth(self, window: Window) -> Truth:
        """What the indices agree on within a window of the scene."""
        return pseudo_truth(self._scene.read(window), self._evidence)


def pseudo_truth(pixels: Pixels, evidence: SceneEvidence | None = None) -> Truth:
    """What several indices agree on, per class.

    Args:
        pixels: calibrated pixels or display values.
        evidence: of the whole scene, where ``pixels`` are a part of it; else measured on ``pixels``.
    """
    evidence = measure(pixels) if evidence is None else evidence
    planes = role_planes(pixels)
    truth: Truth = {}
    for name, voters in (CALIBRATED if evidence.calibrated else DISPLAY).items():
        about = evidence.classes[name]
        margins = [m for voter in voters if (m := _margin(voter, planes, evidence)) is not None]
        trusted = evidence.calibrated or evidence.indices[voters[0][0]].bimodal
        if len(margins) < 2 or about.status == "unavailable" or about.weak or not trusted:
            continue
        mask = (np.minimum.reduce(margins) > 1) & pixels.valid & (about.status == "present")
        against = np.add.reduce([margin < -1 for margin in margins], dtype=np.uint8) >= 2
        none = against & (np.maximum.reduce(margins) < 1) & pixels.valid
        if name == "water" and evidence.calibrated:
            mask &= planes["N"] < _BRIGHT_NIR
        truth[name] = mask, ~(mask | none)
    return truth


def _margin(
    voter: Voter, planes: Mapping[str, NDArray[Any]], evidence: SceneEvidence
) -> NDArray[Any] | None:
    """Signed distance from the voter's threshold in half ignore bands; None where the scene lacks its bands."""
    quantity, threshold, band = voter
    sign, quantity = (-1, quantity[1:]) if quantity.startswith("-") else (1, quantity)
    if not (quantity in planes if quantity in ROLES else index_roles(quantity) <= set(planes)):
        return None
    values = (
        planes[quantity] if quantity in ROLES else compute_indices([quantity], planes)[quantity]
    )
    middle = sign * evidence.indices[quantity].threshold if threshold is None else threshold
    margin: NDArray[Any] = (sign * values - np.float32(middle)) / np.float32(band)
    return margin
