"""Settlements: streets cut blocks, blocks are cut to lots, on lots stand houses with roofs, yards, trees and cars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.canvas import Canvas
from instruction_data.simulate.noise import Mask, Plane, coarse_side, finer, fractal, level

FINEST_HOUSES_M = 5.0
"""Pixels wider than this (metres) show a settlement, not its houses."""
_TABLE = 4096
_ROOFS, _PAINTS = 6, 3


@dataclass(frozen=True)
class Zone:
    """How a quarter is built (metres): blocks, streets, lots, what houses cover of them and how tall they are."""

    block: tuple[float, float]
    street: float
    lot: float
    covers: tuple[float, float]
    built: float
    tall: tuple[float, float]
    green: float
    trees: float
    gabled: float


ZONES = {
    "core": Zone((70, 130), 9, 22, (0.75, 1.0), 0.95, (9, 25), 0.25, 0.06, 0.25),
    "houses": Zone((80, 190), 8, 20, (0.45, 0.7), 0.93, (4, 8), 0.85, 0.22, 0.75),
    "estate": Zone((130, 240), 11, 60, (0.3, 0.5), 0.8, (12, 45), 0.7, 0.2, 0.05),
    "works": Zone((160, 380), 12, 110, (0.5, 0.8), 0.8, (6, 14), 0.2, 0.03, 0.1),
    "village": Zone((60, 140), 6, 26, (0.35, 0.65), 0.75, (4, 7), 0.8, 0.25, 0.7),
}


def town_mask(rng: Generator, land_side: int, size: int, dry: Mask, slope: Plane, share: float) -> Mask:
    """Where a settlement of ``share`` of the scene spreads: round a centre, on level dry ground."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    cy, cx = rng.uniform(0.05, 0.95, 2)
    good = finer(fractal(rng, land_side, 1.2, 0.4), size) - 3.5 * np.hypot(y - np.float32(cy), x - np.float32(cx))
    good -= 1.5 * np.clip(slope / 0.25, 0, 3)
    good[~dry] = -99
    return (good > level(good, 1 - share)) & dry


def build_town(rng: Generator, canvas: Canvas, town: Mask, zones: tuple[str, ...], gsd_m: float, green: float) -> Plane:
    """Build ``town``; returns the chance of a tree at every spot in it (elsewhere 0)."""
    size = len(town)
    trees = np.zeros((size, size), np.float32)
    pixels = np.flatnonzero(town)
    if not pixels.size:
        return trees
    zone = ZONES[str(rng.choice(zones))]
    y, x = (a.astype(np.float32) * np.float32(gsd_m) for a in (pixels // size, pixels % size))
    u, v = _streets(rng, y, x, gsd_m * size, pixels, size)
    block = rng.uniform(*zone.block) * np.array([1, rng.uniform(0.45, 1)])
    iu, du, wide = _cut(rng, u, block[0])
    iv, dv, deep = _cut(rng, v, block[1])
    half = zone.street / 2 * rng.uniform(0.8, 1.3)
    missing = rng.random(_TABLE) < 0.12
    main = rng.random(_TABLE) < 0.15
    half_u = np.float32(half) * (1 + 0.8 * main[iu % _TABLE])
    near_u, near_v = np.minimum(du, wide - du), np.minimum(dv, deep - dv)
    street = (near_u < half_u) | (near_v < half) & ~missing[(iu * 31 + iv * 17) % _TABLE]
    key = (iu * 73 + iv * 151) % _TABLE
    park = (rng.random(_TABLE) < 0.06)[key]
    if gsd_m > FINEST_HOUSES_M:
        _blurred(rng, canvas, town, pixels, zone, street, park, gsd_m, green)
        return trees
    lot_key, roof, gable, height = _houses(rng, zone, du, dv, wide, deep, half, key, max(gsd_m, 0.1))
    roof &= ~street & ~park
    _yards(rng, canvas, pixels, lot_key, park, zone, gsd_m, green, du, dv)

    def where(chosen: Mask) -> Mask:
        whole = np.zeros((size, size), bool)
        whole.ravel()[pixels[chosen]] = True
        return whole

    if zone.street > 8 and rng.random() < 0.9:
        walk = ~street & ((near_u < half_u + 2) | (near_v < half + 2))
        canvas.paint(where(walk & ~roof), "paved", {"concrete:1": 0.9, "asphalt:1": 0.1})
    canvas.paint(where(street), "road", {"asphalt:0": 0.95, "concrete:0": 0.05})
    _cars(
        rng, canvas, where, street & (np.abs(np.minimum(near_u - half_u, near_v - half) + 1.2) < 0.9), u, v, gsd_m, 0.3
    )
    number = rng.integers(0, _ROOFS, _TABLE)
    if rng.random() < 0.5:  # places where all roofs are of one sort
        number[rng.random(_TABLE) < 0.7] = rng.integers(_ROOFS)
    kinds = number[lot_key]
    for kind in range(_ROOFS):
        canvas.paint(where(roof & (kinds == kind)), "building", {f"roof:{kind}": 1.0})
    canvas.height_m.ravel()[pixels] = np.where(roof, height + gable, 0)
    trees.ravel()[pixels] = np.where(roof | street, 0, np.where(park, 0.6, zone.trees * rng.uniform(0.2, 2)))
    return trees


def _streets(rng: Generator, y: Plane, x: Plane, extent: float, pixels: np.ndarray, size: int) -> tuple[Plane, Plane]:
    """Coordinates along and across the streets: a straight grid, a bent one, or rings and spokes."""
    style = rng.choice(["grid", "bent", "rings"], p=[0.45, 0.4, 0.15])
    angle = rng.uniform(0, np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = x * cos + y * sin, y * cos - x * sin
    if style == "rings":
        cy, cx = rng.uniform(0, 1, 2) * extent
        radius = np.hypot(y - np.float32(cy), x - np.float32(cx))
        return radius, (np.arctan2(y - np.float32(cy), x - np.float32(cx)) * np.float32(max(extent / 3, 80))).astype(
            np.float32
        )
    if style == "bent":
        longest = float(np.clip(rng.uniform(400, 1500) / extent, 0.15, 1))
        bend = rng.uniform(0.03, 0.09) * longest * extent
        u, v = (
            a + finer(fractal(rng, coarse_side(size), 2.3, longest) * np.float32(bend), size).ravel()[pixels]
            for a in (u, v)
        )
    return u, v


def _cut(rng: Generator, along: Plane, step: float) -> tuple[np.ndarray, Plane, Plane]:
    """Which block along an axis, how far from its start, and how wide it is."""
    low, high = float(along.min()), float(along.max())
    widths = rng.uniform(0.65, 1.35, int((high - low) / step / 0.65) + 3) * step
    ends = low - rng.uniform(0, 1) * step + np.concatenate([[0], np.cumsum(widths)])
    number = np.searchsorted(ends, along, side="right") - 1
    return number.astype(np.int32), along - ends[number].astype(np.float32), widths[number].astype(np.float32)


def _houses(
    rng: Generator,
    zone: Zone,
    du: Plane,
    dv: Plane,
    wide: Plane,
    deep: Plane,
    half: float,
    block: np.ndarray,
    gsd_m: float,
) -> tuple[np.ndarray, Mask, Plane, Plane]:
    """Lot number, where its roof is, how far the roof's gable rises and how tall the walls are."""
    inner, depth = wide - 2 * np.float32(half), deep - 2 * np.float32(half)
    lots = np.maximum(np.round(inner / np.float32(zone.lot)), 1)
    along = (du - np.float32(half)) / np.maximum(inner, 1) * lots
    lot = np.clip(np.floor(along), 0, lots - 1)
    back = (dv > deep / 2).astype(np.int32)
    key = (block + lot.astype(np.int32) * 29 + back * 613) % _TABLE
    lot_width, lot_depth = inner / lots, depth / 2
    x = (along - lot - 0.5) * lot_width
    y = np.abs(dv - deep / 2) - lot_depth / 2
    reach = rng.uniform(*zone.covers, (2, _TABLE)).astype(np.float32) / 2
    most = np.float32(zone.lot * 0.9)
    half_x, half_y = np.minimum(reach[0][key] * lot_width, most), np.minimum(reach[1][key] * lot_depth, most)
    jitter = rng.uniform(-1, 1, (2, _TABLE)).astype(np.float32)
    x = x - jitter[0][key] * (lot_width / 2 - half_x) * 0.6
    y = y - jitter[1][key] * (lot_depth / 2 - half_y) * 0.6
    roof = (np.abs(x) < half_x) & (np.abs(y) < half_y)
    notch = (rng.random(_TABLE) < 0.35)[key]
    corner = np.sign(jitter[0])[key] * x, np.sign(jitter[1])[key] * y
    roof &= ~(notch & (corner[0] > half_x * 0.2) & (corner[1] > half_y * 0.1))
    roof &= (rng.random(_TABLE) < zone.built)[key]
    shed = (rng.random(_TABLE) < 0.3)[key] & (zone.gabled > 0.5)
    roof |= shed & (np.abs(x + half_x + 3.5) < 2) & (np.abs(y) < 2)
    ridge = np.where(half_x > half_y, half_y - np.abs(y), half_x - np.abs(x))
    gable = np.where((rng.random(_TABLE) < zone.gabled)[key], np.clip(ridge, 0, 8) * 0.6, 0).astype(np.float32)
    tall = rng.uniform(*zone.tall, _TABLE).astype(np.float32)[key]
    return key, roof, gable, tall


def _yards(
    rng: Generator, canvas: Canvas, pixels: np.ndarray, lot: np.ndarray, park: Mask, zone: Zone, gsd_m: float, green: float,
    du: Plane, dv: Plane,
) -> None:  # fmt: skip
    size = len(canvas.cover)
    lush = np.zeros((size, size), np.float32)
    ground = rng.choice(3, _TABLE, p=[zone.green, (1 - zone.green) * 0.75, (1 - zone.green) * 0.25])[lot]
    ground[park] = 0
    lush.ravel()[pixels] = rng.beta(2, 1.2, _TABLE).astype(np.float32)[lot] * max(green, 0.35)

    def where(chosen: Mask) -> Mask:
        whole = np.zeros((size, size), bool)
        whole.ravel()[pixels[chosen]] = True
        return whole

    canvas.paint(where(ground == 0), "grassland", {"grass_green:2": lush, "grass_dry:0": 1 - lush, "soil:0": 0.15})
    pavement = {"asphalt:1": 0.7, "concrete:0": 0.3} if rng.random() < 0.6 else {"concrete:0": 0.9, "asphalt:1": 0.1}
    canvas.paint(where(ground == 1), "paved", pavement)
    canvas.paint(where(ground == 2), "soil", {"soil:1": 0.7, "sand:0": 0.2, "litter:0": 0.1})
    _cars(rng, canvas, where, ground == 1, du, dv, gsd_m, 0.45 if zone.green < 0.5 else 0.1)


def _cars(rng: Generator, canvas: Canvas, where, chosen: Mask, u: Plane, v: Plane, gsd_m: float, full: float) -> None:
    """Cars in stalls of 3 x 6 m, where pixels show them."""
    if gsd_m > 0.5 or not chosen.any():
        return
    iu, iv = np.floor(u / 3).astype(np.int32), np.floor(v / 6).astype(np.int32)
    taken = rng.choice(4, _TABLE, p=[1 - full, *[full / 3] * 3])[(iu * 37 + iv * 101) % _TABLE]
    body = (np.abs(u - iu * 3 - 1.5) < 0.9) & (np.abs(v - iv * 6 - 3) < 2.2) & chosen & (iv % 3 > 0)
    for number in range(_PAINTS):
        canvas.paint(where(body & (taken == number + 1)), "paved", {f"paint:{number}": 1.0})


def _blurred(
    rng: Generator, canvas: Canvas, town: Mask, pixels: np.ndarray, zone: Zone, street: Mask, park: Mask, gsd_m: float,
    green: float,
) -> None:  # fmt: skip
    size = len(town)
    whole = np.zeros((size, size), np.float32)
    texture = 1 + 0.3 * fractal(rng, size, 0.8, 0.1)
    roofs = float(np.mean(zone.covers)) ** 2 * zone.built
    whole.ravel()[pixels] = np.where(park, 0.05, np.where(street, 0.15, roofs * rng.uniform(0.7, 1.3)))
    roof = np.clip(whole * texture, 0, 0.85) * town
    paved = np.zeros((size, size), np.float32)
    paved.ravel()[pixels] = np.where(park, 0.05, np.where(street, 0.6, 0.15 + 0.35 * (1 - zone.green)))
    rest = np.clip(1 - roof - paved, 0, 1)
    mix = {"roof:0": roof * 0.6, "roof:1": roof * 0.25, "roof:2": roof * 0.15, "asphalt:0": paved * 0.6,
           "concrete:0": paved * 0.4, "grass_green:2": rest * zone.green * green * 0.6,
           "grass_dry:0": rest * zone.green * (1 - green) * 0.6, "canopy_broadleaf:0": rest * zone.trees,
           "soil:1": rest * (1 - zone.green)}  # fmt: skip
    canvas.paint(town, "settlement", mix)
    green_space = np.zeros((size, size), bool)
    green_space.ravel()[pixels[park]] = True
    canvas.paint(
        green_space, "grassland", {"grass_green:2": 0.3 + 0.5 * green, "canopy_broadleaf:0": 0.2, "grass_dry:0": 0.3}
    )
