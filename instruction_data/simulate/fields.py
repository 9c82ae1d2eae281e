"""Farmland: blocks of parcels along a common direction, each with its crop, stage, rows and damp patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.biomes import Biome
from instruction_data.simulate.canvas import SURFACES, Canvas, Mix
from instruction_data.simulate.noise import Mask, Plane, finer, fractal, level
from instruction_data.simulate.terrain import Terrain

_STATES = 2048
BARE, GREEN, RIPE, STUBBLE, WET, FRUIT, MEADOW = range(7)


@dataclass(frozen=True)
class Farm:
    """Where fields lie (bool), the tracks between them (bool), and how near an edge every pixel is (0-1)."""

    fields: Mask
    tracks: Mask
    edge: Plane


def lay_fields(
    rng: Generator, canvas: Canvas, land: Terrain, biome: Biome, good: Plane, share: float, gsd_m: float, green: float
) -> Farm:
    """Cut the land to parcels and sow those on the best ``share`` of it by ``good``, whole parcels at a time."""
    size = len(canvas.cover)
    style = str(rng.choice(biome.farms))
    pivot, extent = style == "pivot", gsd_m * size
    y, x = np.mgrid[:size, :size].astype(np.float32) * np.float32(gsd_m)
    parcel = float(np.clip(biome.parcel_m * rng.lognormal(0, 0.5), max(extent / 60, 5 * gsd_m), max(extent * 1.2, 40)))
    block, angle, wide, long = _blocks(rng, y, x, extent, parcel, style)
    cos, sin = np.cos(angle)[block], np.sin(angle)[block]
    u, v = x * cos + y * sin, y * cos - x * sin
    if style == "terraces":
        u = land.elevation_m * np.float32(parcel / max(float(np.ptp(land.elevation_m)) / 12, 0.3))
    wide, long = wide[block], long[block]
    a = u / wide
    i = np.floor(a).astype(np.int32)
    b = v / long + (i * np.float32(0.37) + block * np.float32(0.61)) * np.float32(not pivot)
    j = np.floor(b).astype(np.int32)
    fa, fb = a - i, b - j
    if not pivot:  # some parcels are divided, some neighbours worked as one
        parts = rng.choice([1, 2, 3, 5], _STATES, p=[0.6, 0.2, 0.12, 0.08]).astype(np.int32)[
            (i * 53 + j * 211) & (_STATES - 1)
        ]
        fb, wide_b = fb * parts, long / parts
        j, fb, long = j * 5 + fb.astype(np.int32), fb % 1, wide_b
    from_edge = np.minimum(np.minimum(fa, 1 - fa) * wide, np.minimum(fb, 1 - fb) * long)
    joined = rng.random(_STATES) < 0.25 * (not pivot)
    lane_start = (i % max(2, int(rng.integers(2, 6))) == 0) & (fa < 0.5)
    i = i - (joined[(i * 7 + block * 131) & (_STATES - 1)] & (i % 2 == 1))
    key = (i * 97 + j * 389 + block * 1031) & (_STATES - 1)
    parcels = (i * 769 + j * 3079 + block * 12289) & 0xFFFF
    mean = np.bincount(parcels.ravel(), good.ravel(), 1 << 16) / np.maximum(
        np.bincount(parcels.ravel(), minlength=1 << 16), 1
    )
    worth = mean[parcels]
    farmed = worth > level(worth, 1 - share) if share < 1 else np.ones((size, size), bool)
    state, crop, lush, tone = _sow(rng, biome, green)
    kind, vigour, tone = state[key], lush[key], tone[key]
    if pivot:
        outside = np.hypot(fa - 0.5, fb - 0.5) > 0.49
        farmed &= ~outside if rng.random() < 0.6 else True
        kind = np.where(outside, np.where(tone < 0.5, BARE, MEADOW), kind)
        vigour = np.where(outside, 0.25 * green, vigour)
    patches = finer(fractal(rng, land.side, 1.2, 0.25), size)
    vigour = vigour + np.float32(0.25) * (land.moisture - 0.5) + np.float32(0.07) * patches
    vigour = np.clip(vigour * _rows(rng, u, v, key, gsd_m, kind), 0.02, 1)
    _paint(canvas, np.where(farmed, kind, -1), crop[key], vigour, tone, green)
    margin = max(rng.uniform(0.5, 2.5), 0.4 * gsd_m)
    verge = farmed & (from_edge < margin) & (rng.random(_STATES)[key] < 0.8)
    tracks = farmed & lane_start & (fa * wide < max(rng.uniform(1.5, 3), 0.5 * gsd_m))
    if not pivot:
        canvas.paint(verge, "grassland", {"grass_green:0": green, "grass_dry:0": 1 - green, "soil:0": 0.1})
        canvas.paint(tracks, "road", {"soil:1": 0.6, "sand:0": 0.2, "grass_dry:1": 0.2})
    edge = np.clip(1 - from_edge / max(4.0, gsd_m), 0, 1) * farmed
    return Farm(farmed, tracks, edge.astype(np.float32))


def _blocks(
    rng: Generator, y: Plane, x: Plane, extent: float, parcel: float, style: str
) -> tuple[np.ndarray, Plane, Plane, Plane]:
    """Which block every pixel belongs to, and the direction, parcel width and length of every block."""
    count = 1 if style in ("grid", "pivot", "terraces") else int(np.clip((extent / parcel / 4) ** 2, 1, 12))
    centres = rng.uniform(-0.1, 1.1, (count, 2)) * extent
    block, nearest = np.zeros(y.shape, np.int32), np.full(y.shape, np.inf, np.float32)
    for number, (cy, cx) in enumerate(centres.astype(np.float32)):
        away = (y - cy) ** 2 + (x - cx) ** 2
        closer = away < nearest
        block[closer] = number
        np.minimum(nearest, away, out=nearest)
    turn = rng.uniform(0, np.pi) if rng.random() < 0.6 else 0.0
    angle = turn + (rng.choice([0, np.pi / 2], count) + rng.normal(0, 0.3, count)) * (count > 1)
    aspect = {"pivot": 1.0, "grid": 1.0, "terraces": 0.25}.get(style, rng.uniform(0.15, 0.7))
    wide = parcel * aspect**0.5 * (rng.lognormal(0, 0.25, count) if style == "strips" else np.ones(count))
    return block, angle.astype(np.float32), wide.astype(np.float32), (wide / aspect).astype(np.float32)


def _sow(rng: Generator, biome: Biome, green: float) -> tuple[np.ndarray, np.ndarray, Plane, Plane]:
    """State, crop, vigour and tone by parcel number: some crops are up, some ripe, some land lies bare."""
    growing = float(np.clip(green * rng.uniform(0.5, 1.2), 0.05, 0.95))
    rest = 1 - growing
    weights = np.zeros(7)
    weights[[BARE, GREEN, RIPE, STUBBLE, MEADOW]] = rest * 0.5, growing, rest * 0.3, rest * 0.2, 0.12
    weights[GREEN] += biome.irrigated
    if rng.random() < 0.4:
        weights[FRUIT] = biome.orchard * 4
    if biome.rice and rng.random() < 0.8:
        weights[WET], weights[GREEN] = biome.rice * rng.uniform(0.1, 1.2), weights[GREEN] * rng.uniform(0.3, 1.5)
    state = rng.choice(7, _STATES, p=weights / weights.sum()).astype(np.int8)
    common = rng.integers(0, 6, 3)
    crop = rng.choice(common, _STATES, p=[0.5, 0.3, 0.2]).astype(np.int8)
    lush = rng.beta(3, 1.3, _STATES).astype(np.float32)
    return state, crop, lush, rng.random(_STATES).astype(np.float32)


def _rows(rng: Generator, u: Plane, v: Plane, key: np.ndarray, gsd_m: float, kind: np.ndarray) -> Plane:
    """Darkening between rows and along tramlines, where pixels are fine enough for them; else 1."""
    across = np.where(rng.random(_STATES)[key] < 0.8, u, v)
    shade = np.ones(u.shape, np.float32)
    spacing = rng.choice([0.75, 1.5, 2.2, 3.0])
    if gsd_m < spacing / 2.2:
        shade -= np.float32(rng.uniform(0.1, 0.5)) * (0.5 + 0.5 * np.sin(across * np.float32(2 * np.pi / spacing)))
    if gsd_m < 1.2 and rng.random() < 0.7:
        wide = rng.uniform(12, 28)
        shade[(np.abs(across % wide - wide / 2) < max(0.35, 0.6 * gsd_m)) & (kind == GREEN)] *= 0.55
    return shade


def _paint(canvas: Canvas, kind: np.ndarray, crop: np.ndarray, live: Plane, tone: Plane, green: float) -> None:
    earth = {"soil:0": 0.15 + 0.85 * tone, "soil:1": 1 - 0.85 * tone}
    under = {name: share * (1 - live) for name, share in earth.items()}
    up = kind == GREEN
    for number in np.unique(crop[up]):
        mix: Mix = {f"crop_green:{number}": live, **under}
        canvas.paint(up & (crop == number), "cropland", mix)
    canvas.cover[up & (live < 0.25)] = SURFACES.index("fallow")
    dry = 0.5 + 0.5 * live
    canvas.paint((kind == RIPE) & (tone < 0.5), "cropland", {"crop_ripe:0": dry, "soil:0": 1 - dry})
    canvas.paint((kind == RIPE) & (tone >= 0.5), "cropland", {"crop_ripe:1": dry, "soil:1": 1 - dry})
    canvas.paint(kind == BARE, "fallow", {**earth, "litter:0": 0.15 * live})
    canvas.paint(kind == STUBBLE, "fallow", {"crop_ripe:2": 0.4 * dry, **under})
    canvas.paint(kind == WET, "paddy", {"water:3": 0.9 - 0.6 * live**2, "crop_green:5": live**2, "soil:2": 0.1})
    fruit = {"canopy_broadleaf:2": 0.6 * live, "grass_green:1": 0.2 * green, "soil:0": 0.3}
    canvas.paint(kind == FRUIT, "orchard", fruit)
    canvas.paint(kind == MEADOW, "grassland", {"grass_green:1": live * green, "grass_dry:1": 1 - live * green})
