"""Spectral indices of a scene's band roles, every one of them computed by spyndex."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import spyndex

from spex.errors import MissingBandError
from spex.sensors import Band, role_weights

if TYPE_CHECKING:
    from spex.raster.scene import Pixels

Planes = Mapping[str, "np.ndarray[Any, np.dtype[np.float32]]"]
"""Reflectance per band role, each ``(h, w)`` float32."""

EVIDENCE_INDICES = ("NDVI", "NDWI", "MNDWI", "NDBI", "NBR", "BI")
"""The indices whose scene thresholds and maps the model reads; ``BI`` is the bare soil index."""

OFFERED_INDICES = (*EVIDENCE_INDICES, "NDSI", "NDMI", "NDREI", "NBR2", "EVI", "SAVI", "GNDVI", "NDTI", "NDYI", "GLI")
"""The indices that ``available`` lists; ``index`` computes any other spyndex index of the same bands as well."""


@lru_cache(maxsize=64)
def _weights(bands: tuple[Band, ...]) -> dict[str, np.ndarray[Any, Any]]:
    return dict(role_weights(bands))


def role_planes(pixels: Pixels) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """One plane ``(h, w)`` float32 per band role; several bands of one role are averaged by their weights."""
    planes = {}
    for role, weights in _weights(tuple(pixels.bands)).items():
        used = np.flatnonzero(weights)
        if len(used) == 1:
            planes[role] = pixels.values[used[0]]
        else:
            planes[role] = np.tensordot(weights[used].astype(np.float32), pixels.values[used], axes=1)
    return planes


def index_roles(name: str) -> frozenset[str]:
    """The band roles that index ``name`` needs.

    Raises:
        MissingBandError: spyndex has no such index.
    """
    if name not in spyndex.indices:
        raise MissingBandError(f"index {name!r} is not known to spyndex; use one of {', '.join(OFFERED_INDICES)}")
    return frozenset(band for band in spyndex.indices[name].bands if band not in spyndex.constants)


def available(roles: Collection[str]) -> list[str]:
    """The offered indices that can be computed from ``roles``."""
    return [name for name in OFFERED_INDICES if index_roles(name) <= set(roles)]


def compute(names: Iterable[str], planes: Planes) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Several indices at once, each ``(h, w)`` float32 with NaN where undefined.

    Negative reflectance (over-corrected dark pixels) counts as zero, so a normalised difference stays within -1..1.

    Raises:
        MissingBandError: an index is unknown or needs a role that ``planes`` lacks.
    """
    names = list(dict.fromkeys(names))
    needed = {name: index_roles(name) for name in names}
    for name, roles in needed.items():
        if missing := ", ".join(sorted(roles - set(planes))):
            raise MissingBandError(f"index {name} needs band role {missing}; the scene has {', '.join(planes)}")
    if not names:
        return {}
    params: dict[str, Any] = {role: np.maximum(planes[role], 0) for role in frozenset().union(*needed.values())}
    for name in names:
        params |= {c: spyndex.constants[c].default for c in spyndex.indices[name].bands if c in spyndex.constants}
    with np.errstate(divide="ignore", invalid="ignore"):
        # One call: spyndex reads its table anew at every call.
        results = spyndex.computeIndex(names, params, returnOrigin=False)
    maps = [results] if len(names) == 1 else results
    defined = (np.where(np.isfinite(x), x, np.nan).astype(np.float32, copy=False) for x in maps)
    return dict(zip(names, defined, strict=True))


def index(name: str, planes: Planes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Index ``name`` as ``(h, w)`` float32, NaN where undefined.

    Raises:
        MissingBandError: the index is unknown or needs a role that ``planes`` lacks.
    """
    return compute([name], planes)[name]
