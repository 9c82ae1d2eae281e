"""Farmland: blocks of parcels along a common direction, each with its crop, stage, rows and damp patches."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.biomes import Biome
from instruction_data.simulate.canvas import Canvas
from instruction_data.simulate.noise import Mask, Plane, finer, fractal
from instruction_data.simulate.terrain import Terrain

_STATES = 2048
BARE, GREEN, RIPE, STUBBLE, WET, FRUIT, MEADOW = range(7)


def lay_fields(
    rng: Generator, canvas: Canvas, land: Terrain, biome: Biome, farmed: Mask, gsd_m: float, green: float
) -> tuple[Mask, Plane]:
    """Cut ``farmed`` land to parcels and sow them; returns lanes between parcels and how near an edge is (0-1)."""
    size = len(canvas.cover)
    style = str(rng.choice(biome.farms))
    pixels = np.flatnonzero(farmed)
    lane, edge = np.zeros((size, size), bool), np.zeros((size, size), np.float32)
    if not pixels.size:
        return lane, edge
    y, x = (
        (pixels // size * np.float32(gsd_m)).astype(np.float32),
        (pixels % size * np.float32(gsd_m)).astype(np.float32),
    )
    extent = gsd_m * size
    parcel = float(np.clip(biome.parcel_m * rng.lognormal(0, 0.5), max(extent / 60, 5 * gsd_m), max(extent * 1.2, 40)))
    block, angle, wide, long = _blocks(rng, y, x, extent, parcel, style)
    cos, sin = np.cos(angle)[block], np.sin(angle)[block]
    u, v = x * cos + y * sin, y * cos - x * sin
    if style == "terraces":
        u = land.elevation_m.ravel()[pixels] * np.float32(parcel / max(float(np.ptp(land.elevation_m)) / 12, 0.3))
    a = u / wide[block]
    i = np.floor(a).astype(np.int32)
    b = v / long[block] + (i * np.float32(0.37) + block * np.float32(0.61)) * np.float32(style != "pivot")
    j = np.floor(b).astype(np.int32)
    fa, fb = a - i, b - j
    from_edge = np.minimum(np.minimum(fa, 1 - fa) * wide[block], np.minimum(fb, 1 - fb) * long[block])
    # Neighbours are often worked as one.
    joined = rng.random(_STATES) < 0.25
    i = i - (joined[(i * 7 + block * 131) % _STATES] & (i % 2 == 1))
    key = (i * 97 + j * 389 + block * 1031) % _STATES
    state, crop, lush, tone = _sow(rng, biome, green, style)
    kind, crops, vigour = state[key], crop[key], lush[key]
    if style == "pivot":
        outside = np.hypot(fa - 0.5, fb - 0.5) > 0.49
        kind = np.where(outside, np.where(tone[key] < 0.5, BARE, MEADOW), kind)
        vigour = np.where(outside, 0.25 * green, vigour)
    damp = land.moisture.ravel()[pixels] - 0.5
    soil_patches = finer(fractal(rng, land.side, 1.2, 0.25), size).ravel()[pixels]
    vigour = vigour + np.float32(0.25) * damp + np.float32(0.07) * soil_patches
    vigour = vigour * _rows(rng, u, v, key, gsd_m, kind)
    margin = max(rng.uniform(0.5, 2.5), 0.4 * gsd_m)
    verge = (from_edge < margin) & (rng.random(_STATES)[key] < 0.8) & (style != "pivot")
    _paint(canvas, pixels, kind, crops, np.clip(vigour, 0.02, 1), tone[key], verge, green)
    strip_edge = np.minimum(fa, 1 - fa) * wide[block]
    tracked = (i % max(2, int(rng.integers(2, 6))) == 0) & (fa < 0.5)
    lane.ravel()[pixels] = tracked & (strip_edge < max(rng.uniform(1.5, 3), 0.5 * gsd_m)) & (style != "pivot")
    edge.ravel()[pixels] = np.clip(1 - from_edge / max(4.0, gsd_m), 0, 1)
    return lane, edge


def _blocks(
    rng: Generator, y: Plane, x: Plane, extent: float, parcel: float, style: str
) -> tuple[np.ndarray, Plane, Plane, Plane]:
    """Which block every pixel belongs to, and the direction, parcel width and length of every block."""
    count = 1 if style in ("grid", "pivot", "terraces") else int(np.clip((extent / parcel / 4) ** 2, 1, 12))
    centres = rng.uniform(-0.1, 1.1, (count, 2)) * extent
    block, nearest = np.zeros(y.size, np.int32), np.full(y.size, np.inf, np.float32)
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


def _sow(rng: Generator, biome: Biome, green: float, style: str) -> tuple[np.ndarray, np.ndarray, Plane, Plane]:
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
    shade = np.ones(u.size, np.float32)
    spacing = rng.choice([0.75, 1.5, 2.2, 3.0])
    if gsd_m < spacing / 2.2:
        shade -= np.float32(rng.uniform(0.1, 0.5)) * (0.5 + 0.5 * np.sin(across * np.float32(2 * np.pi / spacing)))
    if gsd_m < 1.2 and rng.random() < 0.7:
        wide = rng.uniform(12, 28)
        shade[(np.abs(across % wide - wide / 2) < max(0.35, 0.6 * gsd_m)) & (kind == GREEN)] *= 0.55
    return shade


def _paint(
    canvas: Canvas,
    pixels: np.ndarray,
    kind: np.ndarray,
    crop: np.ndarray,
    vigour: Plane,
    tone: Plane,
    verge: Mask,
    green: float,
) -> None:
    def plane(values: Plane) -> Plane:
        whole = np.zeros(canvas.cover.shape, np.float32)
        whole.ravel()[pixels] = values
        return whole

    def where(chosen: Mask) -> Mask:
        whole = np.zeros(canvas.cover.shape, bool)
        whole.ravel()[pixels[chosen]] = True
        return whole

    live, tones = plane(vigour), plane(tone)
    earth = {"soil:0": 0.15 + 0.85 * tones, "soil:1": 1 - 0.85 * tones}
    under = {name: share * (1 - live) for name, share in earth.items()}
    for number in np.unique(crop[kind == GREEN]):
        chosen = (kind == GREEN) & (crop == number)
        canvas.paint(where(chosen & (vigour >= 0.25)), "cropland", {f"crop_green:{number}": live, **under})
        canvas.paint(where(chosen & (vigour < 0.25)), "fallow", {f"crop_green:{number}": live, **under})
    dry = 0.5 + 0.5 * live
    canvas.paint(where((kind == RIPE) & (tone < 0.5)), "cropland", {"crop_ripe:0": dry, "soil:0": 1 - dry})
    canvas.paint(where((kind == RIPE) & (tone >= 0.5)), "cropland", {"crop_ripe:1": dry, "soil:1": 1 - dry})
    canvas.paint(where(kind == BARE), "fallow", {**earth, "litter:0": 0.15 * live})
    canvas.paint(where(kind == STUBBLE), "fallow", {"crop_ripe:2": 0.4 * dry, **under})
    canvas.paint(where(kind == WET), "paddy", {"water:3": 0.9 - 0.6 * live**2, "crop_green:5": live**2, "soil:2": 0.1})
    canvas.paint(
        where(kind == FRUIT), "orchard", {"canopy_broadleaf:2": 0.6 * live, "grass_green:1": 0.2 * green, "soil:0": 0.3}
    )
    canvas.paint(where(kind == MEADOW), "grassland", {"grass_green:1": live * green, "grass_dry:1": 1 - live * green})
    canvas.paint(where(verge), "grassland", {"grass_green:0": green, "grass_dry:0": 1 - green, "soil:0": 0.1})
