"""Farmland: blocks of parcels along a common direction, each with its crop, stage, rows and damp patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.land.biomes import Biome
from instruction_data.simulate.land.canvas import SURFACES, Canvas, Mix
from instruction_data.simulate.land.noise import Mask, Plane, finer, fractal
from instruction_data.simulate.land.terrain import Terrain

_STATES = 2048
_TOO_STEEP = -3.0
BARE, GREEN, RIPE, STUBBLE, WET, FRUIT, MEADOW = range(7)
_NOT_FARMED = -1


@dataclass(frozen=True)
class Farm:
    """Where fields lie, and how near the edge of a parcel every pixel is (0-1)."""

    fields: Mask
    edge: Plane


@dataclass(frozen=True)
class _Parcels:
    """How land is cut: which parcel (a number under ``_STATES`` for its looks, one of 16 bits for itself), where in it.

    ``u`` and ``v`` run across and along (metres), ``across`` and ``along`` 0-1 within the parcel.
    """

    looks: NDArray[np.int32]
    number: NDArray[np.int32]
    u: Plane
    v: Plane
    across: Plane
    along: Plane
    from_edge_m: Plane
    track_m: Plane


def lay_fields(
    rng: Generator,
    canvas: Canvas,
    land: Terrain,
    biome: Biome,
    good: Plane,
    share: float,
    gsd_m: float,
    green: float,
) -> Farm:
    """Cut the land to parcels and sow those on the best ``share`` of it by ``good``, whole parcels at a time."""
    style = str(rng.choice(biome.farms))
    cut = _cut(rng, land, biome, style, gsd_m)
    flat, count = cut.number.ravel(), 1 << 16
    worth = np.bincount(flat, good.ravel(), count) / np.maximum(
        np.bincount(flat, minlength=count), 1
    )
    least = (
        max(float(np.quantile(worth[cut.number[::4, ::4]], 1 - share)), _TOO_STEEP)
        if share < 1
        else -np.inf
    )
    farmed = (worth >= least)[cut.number]
    state, crop, lush, tones = _sow(rng, biome, green)
    kind, vigour, tone = state[cut.looks], lush[cut.looks], tones[cut.looks]
    if style == "pivot":
        outside = np.hypot(cut.across - 0.5, cut.along - 0.5) > 0.49
        if rng.random() < 0.6:
            farmed &= ~outside
        kind[outside] = np.where(tone < 0.5, BARE, MEADOW)[outside]
        vigour[outside] = 0.25 * green
    patches = finer(fractal(rng, land.side, 1.2, 0.25) * np.float32(0.07), len(good))
    vigour = vigour + np.float32(0.25) * (land.moisture - 0.5) + patches
    vigour = np.clip(vigour * _rows(rng, cut, gsd_m, kind), 0.02, 1)
    kind[~farmed] = _NOT_FARMED
    _paint(canvas, kind, crop[cut.looks], vigour, tone, green)
    tracks = farmed & (cut.track_m < max(rng.uniform(1.5, 3), 0.5 * gsd_m))
    if style != "pivot":
        margin = max(rng.uniform(0.5, 2.5), 0.4 * gsd_m)
        verge = farmed & (cut.from_edge_m < margin) & (rng.random(_STATES) < 0.8)[cut.looks]
        canvas.paint(
            verge, "grassland", {"grass_green:0": green, "grass_dry:0": 1 - green, "soil:0": 0.1}
        )
        canvas.paint(tracks, "road", {"soil:1": 0.6, "sand:0": 0.2, "grass_dry:1": 0.2})
    return Farm(farmed, np.clip(1 - cut.from_edge_m / max(4.0, gsd_m), 0, 1) * farmed)


def _cut(rng: Generator, land: Terrain, biome: Biome, style: str, gsd_m: float) -> _Parcels:
    size = len(land.elevation_m)
    extent = gsd_m * size
    y = np.arange(size, dtype=np.float32)[:, None] * np.float32(gsd_m)
    parcel = float(
        np.clip(
            biome.parcel_m * rng.lognormal(0, 0.5),
            max(extent / 60, 5 * gsd_m),
            max(extent * 1.2, 40),
        )
    )
    block, angles, widths, lengths = _blocks(rng, y, y.T, extent, parcel, style)
    cos, sin, wide, long = (
        np.cos(angles)[block],
        np.sin(angles)[block],
        widths[block],
        lengths[block],
    )
    u, v = y.T * cos + y * sin, y * cos - y.T * sin
    if style == "terraces":
        u = land.elevation_m * np.float32(parcel / max(float(np.ptp(land.elevation_m)) / 12, 0.3))
    across, along = u / wide, v / long
    i = np.floor(across).astype(np.int32)
    if style != "pivot":  # strips end at different lengths
        along += i * np.float32(0.37) + block * np.float32(0.61)
    j = np.floor(along).astype(np.int32)
    across, along = across - i, along - j
    track_m = np.where(i % int(rng.integers(2, 6)) == 0, across * wide, np.float32(np.inf))
    if style != "pivot":  # some parcels are divided, some worked with their neighbours
        parts = rng.choice(np.arange(1, 6, dtype=np.int32), _STATES, p=[0.6, 0.2, 0.12, 0, 0.08])
        parts = parts[(i * 53 + j * 211) & (_STATES - 1)]
        along, long = along * parts, long / parts
        part = along.astype(np.int32)
        j, along = j * 5 + part, along - part
    from_edge = np.minimum(
        np.minimum(across, 1 - across) * wide, np.minimum(along, 1 - along) * long
    )
    if style != "pivot":
        joined = rng.random(_STATES) < 0.25
        i -= joined[(i * 7 + block * 131) & (_STATES - 1)] & (i & 1 == 1)
    looks = (i * 97 + j * 389 + block * 1031) & (_STATES - 1)
    number = (i * 769 + j * 3079 + block * 12289) & 0xFFFF
    return _Parcels(looks, number, u, v, across, along, from_edge, track_m)


def _blocks(
    rng: Generator, y: Plane, x: Plane, extent: float, parcel: float, style: str
) -> tuple[np.ndarray, Plane, Plane, Plane]:
    """Which block every pixel belongs to, and the direction, parcel width and length of every block."""
    count = (
        1
        if style in ("grid", "pivot", "terraces")
        else int(np.clip((extent / parcel / 4) ** 2, 1, 12))
    )
    centres = rng.uniform(-0.1, 1.1, (count, 2)) * extent
    size = len(y)
    block, nearest = np.zeros((size, size), np.int32), np.full((size, size), np.inf, np.float32)
    for number, (cy, cx) in enumerate(centres.astype(np.float32)):
        away = (y - cy) ** 2 + (x - cx) ** 2
        closer = away < nearest
        np.copyto(block, np.int32(number), where=closer)
        np.minimum(nearest, away, out=nearest)
    turn = rng.uniform(0, np.pi) if rng.random() < 0.6 else 0.0
    angle = turn + (rng.choice([0, np.pi / 2], count) + rng.normal(0, 0.3, count)) * (count > 1)
    aspect = {"pivot": 1.0, "grid": 1.0, "terraces": 0.25}.get(style, rng.uniform(0.15, 0.7))
    wide = (
        parcel
        * aspect**0.5
        * (rng.lognormal(0, 0.25, count) if style == "strips" else np.ones(count))
    )
    return (
        block,
        angle.astype(np.float32),
        wide.astype(np.float32),
        (wide / aspect).astype(np.float32),
    )


def _sow(rng: Generator, biome: Biome, green: float) -> tuple[np.ndarray, np.ndarray, Plane, Plane]:
    """State, crop, vigour and tone by parcel number: some crops are up, some ripe, some land lies bare."""
    growing = float(np.clip(green * rng.uniform(0.6, 1.3), 0.1, 0.95))
    rest = 1 - growing
    weights = np.zeros(7)
    weights[[BARE, GREEN, RIPE, STUBBLE, MEADOW]] = (
        rest * 0.5,
        growing,
        rest * 0.3,
        rest * 0.2,
        0.12,
    )
    weights[GREEN] += biome.irrigated
    if rng.random() < 0.4:
        weights[FRUIT] = biome.orchard * 4
    if biome.rice and rng.random() < 0.8:
        weights[WET], weights[GREEN] = (
            biome.rice * rng.uniform(0.1, 1.2),
            weights[GREEN] * rng.uniform(0.3, 1.5),
        )
    state = rng.choice(7, _STATES, p=weights / weights.sum()).astype(np.int8)
    common = rng.integers(0, 6, 3)
    crop = rng.choice(common, _STATES, p=[0.5, 0.3, 0.2]).astype(np.int8)
    lush = rng.beta(3, 1.3, _STATES).astype(np.float32)
    return state, crop, lush, rng.random(_STATES).astype(np.float32)


def _rows(rng: Generator, cut: _Parcels, gsd_m: float, kind: np.ndarray) -> Plane | float:
    """Darkening between rows and along tramlines, where pixels are fine enough for them; else 1."""
    spacing, lines = rng.choice([0.75, 1.5, 2.2, 3.0]), gsd_m < 1.2 and rng.random() < 0.7
    if gsd_m > spacing / 2.2 and not lines:
        return 1.0
    u = np.where((rng.random(_STATES) < 0.8)[cut.looks], cut.u, cut.v)
    shade = np.ones(u.shape, np.float32)
    if gsd_m < spacing / 2.2:
        shade -= np.float32(rng.uniform(0.1, 0.5)) * (
            0.5 + 0.5 * np.sin(u * np.float32(2 * np.pi / spacing))
        )
    if lines:
        apart = np.float32(rng.uniform(12, 28))
        shade[(np.abs(u % apart - apart / 2) < max(0.35, 0.6 * gsd_m)) & (kind == GREEN)] *= 0.55
    return shade


def _paint(
    canvas: Canvas, kind: np.ndarray, crop: np.ndarray, live: Plane, tone: Plane, green: float
) -> None:
    earth: dict[str, Plane] = {"soil:0": 0.15 + 0.85 * tone, "soil:1": 1 - 0.85 * tone}
    under: Mix = {name: share * (1 - live) for name, share in earth.items()}
    up = kind == GREEN
    for number in np.unique(crop[up]):
        mix: Mix = {f"crop_green:{number}": live, **under}
        canvas.paint(up & (crop == number), "cropland", mix)
    canvas.cover[up & (live < 0.25)] = SURFACES.index("fallow")
    dry = 0.5 + 0.5 * live
    canvas.paint((kind == RIPE) & (tone < 0.5), "cropland", {"crop_ripe:0": dry, "soil:0": 1 - dry})
    canvas.paint(
        (kind == RIPE) & (tone >= 0.5), "cropland", {"crop_ripe:1": dry, "soil:1": 1 - dry}
    )
    canvas.paint(kind == BARE, "fallow", {**earth, "litter:0": 0.15 * live})
    canvas.paint(kind == STUBBLE, "fallow", {"crop_ripe:2": 0.4 * dry, **under})
    canvas.paint(
        kind == WET,
        "paddy",
        {"water:3": 0.9 - 0.6 * live**2, "crop_green:5": live**2, "soil:2": 0.1},
    )
    fruit: Mix = {"canopy_broadleaf:2": 0.6 * live, "grass_green:1": 0.2 * green, "soil:0": 0.3}
    canvas.paint(kind == FRUIT, "orchard", fruit)
    canvas.paint(
        kind == MEADOW,
        "grassland",
        {"grass_green:1": live * green, "grass_dry:1": 1 - live * green},
    )
