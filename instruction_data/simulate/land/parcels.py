"""How farmland is cut: blocks with a common direction, and the parcels in each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.land.context import LandContext
from instruction_data.simulate.land.noise import Plane

STYLES = 2048
"""Parcels with the same style number, of this many, look alike."""
_ONE_BLOCK = ("grid", "pivot", "terraces")


@dataclass(frozen=True)
class Parcels:
    """The parcel that every pixel lies in; all planes are (size, size).

    Attributes:
        style: style number of the parcel, under ``STYLES``.
        number: number of the parcel itself, under 2**16.
        u_m: position across the rows of its block, in metres.
        v_m: position along the rows of its block, in metres.
        across: position across the parcel, 0-1.
        along: position along the parcel, 0-1.
        from_edge_m: distance to the edge of the parcel.
        track_m: distance to a farm track on one side; infinite in parcels without one.
    """

    style: NDArray[np.int32]
    number: NDArray[np.int32]
    u_m: Plane
    v_m: Plane
    across: NDArray[np.float64]
    along: NDArray[np.float64]
    from_edge_m: NDArray[np.float64]
    track_m: NDArray[np.float64]


@dataclass(frozen=True)
class _Blocks:
    """The block of every pixel, and what the parcels of each block have in common.

    Attributes:
        number: (size, size) number of the block.
        angle: (blocks,) direction in radians.
        width_m: (blocks,) width of a parcel.
        length_m: (blocks,) length of a parcel.
    """

    number: NDArray[np.int32]
    angle: Plane
    width_m: Plane
    length_m: Plane


def cut_parcels(rng: Generator, land: LandContext, pattern: str) -> Parcels:
    """Cut all land into parcels; ``pattern`` is one of ``Biome.field_patterns``."""
    gsd_m = land.gsd_m
    y = np.arange(land.size, dtype=np.float32)[:, None] * np.float32(gsd_m)
    smallest_m = max(land.extent_m / 60, 5 * gsd_m)
    largest_m = max(land.extent_m * 1.2, 40)
    parcel_m = land.biome.parcel_m * rng.lognormal(0, 0.5)
    parcel_m = float(np.clip(parcel_m, smallest_m, largest_m))
    blocks = _draw_blocks(rng, y, land.extent_m, parcel_m, pattern)
    block = blocks.number
    cos = np.cos(blocks.angle)[block]
    sin = np.sin(blocks.angle)[block]
    width_m = blocks.width_m[block]
    length_m = blocks.length_m[block]
    u = y.T * cos + y * sin
    v = y * cos - y.T * sin
    if pattern == "terraces":
        elevation = land.terrain.elevation_m
        u = elevation * np.float32(parcel_m / max(float(np.ptp(elevation)) / 12, 0.3))
    across = u / width_m
    along = v / length_m
    i = np.floor(across).astype(np.int32)
    if pattern != "pivot":  # strips end at different lengths
        along += i * np.float32(0.37) + block * np.float32(0.61)
    j = np.floor(along).astype(np.int32)
    across = across - i
    along = along - j
    has_track = i % int(rng.integers(2, 6)) == 0
    track_m = np.where(has_track, across * width_m, np.float32(np.inf))
    if pattern != "pivot":  # some parcels are divided
        part_counts = np.arange(1, 6, dtype=np.int32)
        parts = rng.choice(part_counts, STYLES, p=[0.6, 0.2, 0.12, 0, 0.08])
        parts = parts[(i * 53 + j * 211) & (STYLES - 1)]
        along = along * parts
        length_m = length_m / parts
        part = along.astype(np.int32)
        j = j * 5 + part
        along = along - part
    across_edge_m = np.minimum(across, 1 - across) * width_m
    along_edge_m = np.minimum(along, 1 - along) * length_m
    if pattern != "pivot":  # some are worked with their neighbours
        joined = rng.random(STYLES) < 0.25
        i -= joined[(i * 7 + block * 131) & (STYLES - 1)] & (i & 1 == 1)
    return Parcels(
        style=(i * 97 + j * 389 + block * 1031) & (STYLES - 1),
        number=(i * 769 + j * 3079 + block * 12289) & 0xFFFF,
        u_m=u,
        v_m=v,
        across=across,
        along=along,
        from_edge_m=np.minimum(across_edge_m, along_edge_m),
        track_m=track_m,
    )


def _draw_blocks(
    rng: Generator, y: Plane, extent_m: float, parcel_m: float, pattern: str
) -> _Blocks:
    """Draw blocks around random centres.

    Args:
        rng: random generator.
        y: (size, 1) position of the rows in metres; that of the columns is its transpose.
        extent_m: width of the landscape.
        parcel_m: typical side of a parcel.
        pattern: how fields are cut.
    """
    count = 1
    if pattern not in _ONE_BLOCK:
        count = int(np.clip((extent_m / parcel_m / 4) ** 2, 1, 12))
    centres = rng.uniform(-0.1, 1.1, (count, 2)) * extent_m
    size = len(y)
    block = np.zeros((size, size), np.int32)
    nearest = np.full((size, size), np.inf, np.float32)
    for number, (centre_y, centre_x) in enumerate(centres.astype(np.float32)):
        squared = (y - centre_y) ** 2 + (y.T - centre_x) ** 2
        np.copyto(block, np.int32(number), where=squared < nearest)
        np.minimum(nearest, squared, out=nearest)
    turn = rng.uniform(0, np.pi) if rng.random() < 0.6 else 0.0
    turns = rng.choice([0, np.pi / 2], count) + rng.normal(0, 0.3, count)
    angle = turn + turns * (count > 1)
    strip_aspect = rng.uniform(0.15, 0.7)
    aspect = {"pivot": 1.0, "grid": 1.0, "terraces": 0.25}.get(pattern, strip_aspect)
    spread = rng.lognormal(0, 0.25, count) if pattern == "strips" else np.ones(count)
    width_m = parcel_m * aspect**0.5 * spread
    return _Blocks(
        number=block,
        angle=angle.astype(np.float32),
        width_m=width_m.astype(np.float32),
        length_m=(width_m / aspect).astype(np.float32),
    )
