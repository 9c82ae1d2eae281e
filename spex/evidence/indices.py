"""Spectral indices of a scene's band roles, every one of them by spyndex's own formula.

``spyndex.computeIndex`` sweeps whole planes once per operation and reads its table anew at every call. Here the same
operations run block by block, so that what is in between stays in the processor's cache.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import spyndex

from spex.errors import MissingBandError
from spex.sensors import Band, role_weights

if TYPE_CHECKING:
    from spex.raster.scene import Pixels

Array = np.ndarray[Any, Any]
Planes = Mapping[str, "np.ndarray[Any, np.dtype[np.float32]]"]
"""Reflectance per band role, each ``(h, w)`` float32."""

EVIDENCE_INDICES = ("NDVI", "NDWI", "MNDWI", "NDBI", "NBR", "BI")
"""The indices whose scene thresholds and maps the model reads; ``BI`` is the bare soil index."""

OFFERED_INDICES = (*EVIDENCE_INDICES, "NDSI", "NDMI", "NDREI", "NBR2", "EVI", "SAVI", "GNDVI", "NDTI", "NDYI", "GLI")
"""The indices that ``available`` lists; ``index`` computes any other spyndex index of the same bands as well."""


_BLOCK = 1 << 15  # pixels; the planes of a few operations on them fit into a core's second cache
_OPERATIONS: Mapping[type[ast.operator], np.ufunc] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}


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
    formulas = {name: ast.parse(spyndex.indices[name].formula, mode="eval").body for name in names}
    constants = {c for name in names for c in spyndex.indices[name].bands if c in spyndex.constants}
    params: dict[str, Any] = {c: spyndex.constants[c].default for c in constants}
    wanted = {role: planes[role] for role in frozenset().union(*needed.values())}
    shape = next(iter(wanted.values())).shape
    found = {name: np.empty(shape, np.float32) for name in names}
    rows = max(1, _BLOCK // max(1, int(np.prod(shape[1:]))))
    clipped = {role: np.empty((rows, *shape[1:]), np.float32) for role in wanted}
    scratch: list[Array] = []
    with np.errstate(all="ignore"):
        for first in range(0, shape[0], rows):
            block = slice(first, first + rows)
            for role, plane in wanted.items():
                part = plane[block]
                usable = part.size and part.min() >= 0
                params[role] = part if usable else np.maximum(part, 0, out=clipped[role][: len(part)])
            for name, formula in formulas.items():
                values = found[name][block]
                result = _evaluate(formula, params, values, scratch)
                if result is not values:
                    values[...] = result
                if not np.isfinite(values).all():
                    values[~np.isfinite(values)] = np.nan
    return found


def _evaluate(node: ast.expr, params: Mapping[str, Any], out: Array, scratch: list[Array], level: int = 0) -> Any:
    """Value of a formula on one block: a number, a plane of ``params``, or ``out``; scratch below ``level`` is in use.

    New arrays for what is in between would cost many times the arithmetic.
    """
    match node:
        case ast.BinOp(left, kind, right):
            if level == len(scratch):
                scratch.append(np.empty_like(out))
            a = _evaluate(left, params, out, scratch, level)
            b = _evaluate(right, params, scratch[level][: len(out)], scratch, level + 1)
            return _OPERATIONS[type(kind)](a, b, out=out)
        case ast.UnaryOp(ast.USub(), operand):
            return np.negative(_evaluate(operand, params, out, scratch, level), out=out)
        case ast.Name(name):
            return params[name]
        case ast.Constant(value):
            return value
    raise AssertionError(f"spyndex has a formula with {ast.dump(node)}")


def index(name: str, planes: Planes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Index ``name`` as ``(h, w)`` float32, NaN where undefined.

    Raises:
        MissingBandError: the index is unknown or needs a role that ``planes`` lacks.
    """
    return compute([name], planes)[name]
