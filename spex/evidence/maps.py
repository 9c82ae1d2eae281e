"""Evidence of every pixel: the maps that the network reads, and the score of a class's recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from spex.evidence.indices import EVIDENCE_INDICES, compute_indices, index_roles, role_planes
from spex.evidence.scene_evidence import SceneEvidence

if TYPE_CHECKING:
    from spex.raster.scene import Pixels

Array = np.ndarray[Any, np.dtype[np.float32]]

EVIDENCE_ROLES = ("B", "G", "R", "N", "S1", "S2")
CHANNELS: tuple[str, ...] = (
    *(f"{role}:{kind}" for role in EVIDENCE_ROLES for kind in ("value", "z", "valid")),
    *(f"{name}:{kind}" for name in EVIDENCE_INDICES for kind in ("value", "relative", "valid")),
)
"""Maps in their fixed order: per role its reflectance, half its z-score in the scene (within -2..2)
and a flag; per index its value, its distance from the scene's threshold in units of 0.2 (within
-3..3) and a flag. What is absent or invalid is 0."""


def evidence_maps(pixels: Pixels, evidence: SceneEvidence) -> Array:
    """The evidence maps of a tile.

    Args:
        pixels: of the tile.
        evidence: of the whole scene, whose statistics and thresholds are used.

    Returns:
        ``(len(CHANNELS), h, w)`` float32.
    """
    planes = role_planes(pixels)
    valid = pixels.valid
    maps = np.zeros((len(CHANNELS), *valid.shape), np.float32)
    for slot, role in enumerate(EVIDENCE_ROLES):
        if role in planes and role in evidence.band_mean:
            value, z, flag = maps[3 * slot : 3 * slot + 3]
            value[...] = planes[role]
            np.subtract(value, np.float32(evidence.band_mean[role]), out=z)
            z *= np.float32(0.5 / (evidence.band_std[role] + 1e-6))
            np.clip(z, -2, 2, out=z)
            flag[...] = 1
    names = [
        name
        for name in EVIDENCE_INDICES
        if name in evidence.indices and index_roles(name) <= set(planes)
    ]
    for name, index_map in compute_indices(names, planes).items():
        slot = len(EVIDENCE_ROLES) + EVIDENCE_INDICES.index(name)
        value, relative, flag = maps[3 * slot : 3 * slot + 3]
        defined = np.isfinite(index_map)
        np.copyto(value, index_map, where=defined)
        np.subtract(value, np.float32(evidence.indices[name].threshold), out=relative)
        relative *= np.float32(5)
        np.clip(relative, -3, 3, out=relative)
        relative *= defined
        flag[...] = defined
    if not valid.all():
        maps *= valid
    return maps


def class_score(pixels: Pixels, evidence: SceneEvidence, name: str) -> Array:
    """How well each pixel fits a class's recipe; above 0.5 is the mask by indices alone.

    Args:
        pixels: of a tile.
        evidence: of the whole scene.
        name: of the class.

    Returns:
        ``(h, w)`` float32 in 0-1; 0 everywhere for a class that the scene does not show.
    """
    if not evidence.present(name):
        return np.zeros(pixels.valid.shape, np.float32)
    margin = evidence.recipe_maps(role_planes(pixels)).margin(name)
    with np.errstate(over="ignore"):
        score = 1 / (1 + np.exp(-margin))
    return np.where(pixels.valid & np.isfinite(score), score, 0).astype(np.float32)
