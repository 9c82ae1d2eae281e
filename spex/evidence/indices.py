"""Spectral indices of a scene's band roles, every one of them by spyndex's own formula.

``spyndex.computeIndex`` sweeps whole planes once per operation and reads its table anew at every
call. Here the same operations run block by block, so that what is in between stays in the
processor's cache.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

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

OFFERED_INDICES = (
    *EVIDENCE_INDICES,
    "NDSI",
    "NDMI",
    "NDREI",
    "NBR2",
    "EVI",
    "SAVI",
    "GNDVI",
    "NDTI",
    "NDYI",
    "GLI",
)
"""The indices that ``available_indices`` lists; ``compute_index`` also computes others."""


_BLOCK = 1 << 16  # pixels; the planes of a few operations on them fit into a core's second cache
_RESULT = "0"
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
    """One plane ``(h, w)`` float32 per band role, a weighted mean where several bands have it."""
    planes = {}
    for role, weights in _weights(tuple(pixels.bands)).items():
        used = np.flatnonzero(weights)
        if len(used) == 1:
            planes[role] = pixels.values[used[0]]
        else:
            planes[role] = np.tensordot(
                weights[used].astype(np.float32), pixels.values[used], axes=1
            )
    return planes


def index_roles(name: str) -> frozenset[str]:
    """The band roles that index ``name`` needs.

    Raises:
        MissingBandError: spyndex has no such index.
    """
    if name not in spyndex.indices:
        raise MissingBandError(
            f"spyndex has no index {name!r}; use one of {', '.join(OFFERED_INDICES)}"
        )
    return frozenset(band for band in spyndex.indices[name].bands if band not in spyndex.constants)


def available_indices(roles: Collection[str]) -> list[str]:
    """The offered indices that can be computed from ``roles``."""
    return [name for name in OFFERED_INDICES if index_roles(name) <= set(roles)]


def compute_indices(
    names: Iterable[str], planes: Planes
) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Several indices at once, each ``(h, w)`` float32 with NaN where undefined.

    Negative reflectance (over-corrected dark pixels) counts as zero, so a normalised difference
    stays within -1..1.

    Raises:
        MissingBandError: an index is unknown or needs a role that ``planes`` lacks.
    """
    names = list(dict.fromkeys(names))
    needed = {name: index_roles(name) for name in names}
    for name, roles in needed.items():
        if missing := ", ".join(sorted(roles - set(planes))):
            raise MissingBandError(
                f"index {name} requires band role {missing}; the scene has {', '.join(planes)}"
            )
    if not names:
        return {}
    values: dict[Any, Any] = {}
    for name in names:
        constants = set(spyndex.indices[name].bands) & set(spyndex.constants)
        values |= {constant: spyndex.constants[constant].default for constant in constants}
    wanted = {role: planes[role] for role in frozenset().union(*needed.values())}
    shape = next(iter(wanted.values())).shape
    index_maps = {name: np.empty(shape, np.float32) for name in names}
    programs = {name: _program(name) for name in names}
    rows = max(1, _BLOCK // max(1, int(np.prod(shape[1:]))))
    targets = set()
    for steps in programs.values():
        targets |= {step.target for step in steps}
    scratch_keys = [*wanted, *(targets - {_RESULT})]
    scratch = {key: np.empty((rows, *shape[1:]), np.float32) for key in scratch_keys}
    with np.errstate(all="ignore"):
        for first in range(0, shape[0], rows):
            block = slice(first, first + rows)
            block_scratch = {key: plane[: shape[0] - first] for key, plane in scratch.items()}
            values |= block_scratch
            for role, plane in wanted.items():
                part = plane[block]
                if part.size and part.min() >= 0:
                    values[role] = part
                else:
                    values[role] = np.maximum(part, 0, out=block_scratch[role])
            for name, steps in programs.items():
                values[_RESULT] = result = index_maps[name][block]
                for operation, left, right, target in steps:
                    operation(values.get(left, left), values.get(right, right), out=values[target])
                if not np.isfinite(result).all():
                    result[~np.isfinite(result)] = np.nan
    return index_maps


class _Step(NamedTuple):
    """One operation on planes and constants by name, or on numbers."""

    operation: np.ufunc
    left: str | float
    right: str | float
    target: str


@cache
def _program(name: str) -> tuple[_Step, ...]:
    """An index's formula as steps that write to named planes.

    New arrays for the results would cost more than the arithmetic.
    """
    steps: list[_Step] = []

    def visit(node: ast.expr, level: int) -> str | float:
        match node:
            case ast.BinOp(left, kind, right):
                operands = visit(left, level), visit(right, level + 1)
                steps.append(_Step(_OPERATIONS[type(kind)], *operands, str(level)))
            case ast.UnaryOp(ast.USub(), operand):
                steps.append(_Step(np.multiply, visit(operand, level), -1.0, str(level)))
            case ast.Name(called):
                return called
            case ast.Constant(float(number) | int(number)):
                return number
            case _:
                raise AssertionError(f"spyndex's formula of {name} holds {ast.dump(node)}")
        return str(level)

    last = visit(ast.parse(spyndex.indices[name].formula, mode="eval").body, 0)
    if not steps:  # the index is a band as it is
        return (_Step(np.multiply, last, 1.0, _RESULT),)
    return tuple(steps)


def compute_index(name: str, planes: Planes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Index ``name`` as ``(h, w)`` float32, NaN where undefined.

    Raises:
        MissingBandError: the index is unknown or needs a role that ``planes`` lacks.
    """
    return compute_indices([name], planes)[name]
