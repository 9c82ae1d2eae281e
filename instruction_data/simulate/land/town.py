"""Settlements: streets cut blocks, blocks are cut to lots, on lots stand houses with roofs, yards, trees and cars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from instruction_data.simulate.land.canvas import Canvas, Mix
from instruction_data.simulate.land.noise import Mask, Plane, coarse_side, finer, fractal, level

FINEST_HOUSES_M = 5.0
"""Pixels wider than this (metres) show a settlement, not its houses."""
_TABLE = 4096
_ROOFS, _PAINTS = 6, 3
_LAWN, _PAVED, _EARTH = range(3)


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


def town_mask(
    rng: Generator, land_side: int, size: int, dry: Mask, slope: Plane, share: float
) -> Mask:
    """Where a settlement of ``share`` of the scene spreads: round a centre, on level dry ground."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    cy, cx = rng.uniform(0.05, 0.95, 2)
    good = finer(fractal(rng, land_side, 1.2, 0.4), size) - 3.5 * np.hypot(
        y - np.float32(cy), x - np.float32(cx)
    )
    good -= 1.5 * np.clip(slope / 0.25, 0, 3)
    good[~dry] = -99
    return (good > level(good, 1 - share)) & dry


@dataclass(frozen=True)
class _Quarter:
    """A part of a town; planes of it are flat, one value for each of its ``pixels``."""

    zone: Zone
    pixels: np.ndarray
    size: int
    gsd_m: float
    green: float

    def where(self, chosen: Mask) -> Mask:
        """The chosen pixels on the whole land."""
        whole = np.zeros((self.size, self.size), bool)
        whole.ravel()[self.pixels[chosen]] = True
        return whole

    def plane(self, values: Plane | float) -> Plane:
        """Values on the whole land, 0 outside."""
        whole = np.zeros((self.size, self.size), np.float32)
        whole.ravel()[self.pixels] = values
        return whole


def build_town(
    rng: Generator, canvas: Canvas, town: Mask, zones: tuple[str, ...], gsd_m: float, green: float
) -> Plane:
    """Build ``town``; returns the chance of a tree at every spot in it (elsewhere 0)."""
    pixels = np.flatnonzero(town)
    if not pixels.size:
        return np.zeros(town.shape, np.float32)
    zone = ZONES[str(rng.choice(zones))]
    quarter = _Quarter(zone, pixels, len(town), gsd_m, green)
    u, v = _streets(rng, quarter)
    block = rng.uniform(*zone.block)
    iu, du, wide = _cut(rng, u, block)
    iv, dv, deep = _cut(rng, v, block * rng.uniform(0.45, 1))
    half = np.float32(zone.street / 2 * rng.uniform(0.8, 1.3))
    missing, main = rng.random(_TABLE) < 0.12, rng.random(_TABLE) < 0.15
    half_u = half * (1 + 0.8 * main[iu & (_TABLE - 1)])
    near_u, near_v = np.minimum(du, wide - du), np.minimum(dv, deep - dv)
    street = (near_u < half_u) | (near_v < half) & ~missing[(iu * 31 + iv * 17) & (_TABLE - 1)]
    key = (iu * 73 + iv * 151) & (_TABLE - 1)
    park = (rng.random(_TABLE) < 0.06)[key]
    if gsd_m > FINEST_HOUSES_M:
        _blur(rng, canvas, quarter, street, park)
        return np.zeros(town.shape, np.float32)
    lot, roof, gable, tall = _houses(rng, zone, du, dv, wide, deep, half, key)
    roof &= ~street & ~park
    yards = _yards(rng, canvas, quarter, lot, park)
    _park_cars(rng, canvas, quarter, yards == _PAVED, du, dv, 0.45 if zone.green < 0.5 else 0.1)
    if zone.street > 8:
        walk = ~street & ~roof & ((near_u < half_u + 2) | (near_v < half + 2))
        canvas.paint(quarter.where(walk), "paved", {"concrete:1": 0.9, "asphalt:1": 0.1})
    canvas.paint(quarter.where(street), "road", {"asphalt:0": 0.95, "concrete:0": 0.05})
    kerb = street & (np.abs(np.minimum(near_u - half_u, near_v - half) + 1.2) < 0.9)
    _park_cars(rng, canvas, quarter, kerb, u, v, 0.3)
    sort = rng.integers(0, _ROOFS, _TABLE)
    if rng.random() < 0.5:  # places where most roofs are of one sort
        sort[rng.random(_TABLE) < 0.7] = rng.integers(_ROOFS)
    for number in range(_ROOFS):
        canvas.paint(
            quarter.where(roof & (sort[lot] == number)), "building", {f"roof:{number}": 1.0}
        )
    canvas.height_m.ravel()[pixels] = np.where(roof, tall + gable, 0)
    return quarter.plane(
        np.where(roof | street, 0, np.where(park, 0.6, zone.trees * rng.uniform(0.2, 2)))
    )


def _streets(rng: Generator, quarter: _Quarter) -> tuple[Plane, Plane]:
    """Coordinates (metres) along and across the streets: a straight grid, a bent one, or rings and spokes."""
    gsd_m, size = np.float32(quarter.gsd_m), quarter.size
    y, x = (a.astype(np.float32) * gsd_m for a in np.divmod(quarter.pixels, size))
    style, extent = rng.choice(["grid", "bent", "rings"], p=[0.45, 0.4, 0.15]), quarter.gsd_m * size
    if style == "rings":
        y, x = y - np.float32(rng.uniform(0, extent)), x - np.float32(rng.uniform(0, extent))
        return np.hypot(y, x), np.arctan2(y, x) * np.float32(max(extent / 3, 80))
    angle = rng.uniform(0, np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = x * cos + y * sin, y * cos - x * sin
    if style == "bent":
        longest = float(np.clip(rng.uniform(400, 1500) / extent, 0.15, 1))
        bend = np.float32(rng.uniform(0.02, 0.06) * longest * extent)
        u, v = (
            along
            + finer(fractal(rng, coarse_side(size), 3.0, longest) * bend, size).ravel()[
                quarter.pixels
            ]
            for along in (u, v)
        )
    return u, v


def _cut(rng: Generator, along: Plane, step: float) -> tuple[np.ndarray, Plane, Plane]:
    """Which block along an axis, how far from its start, and how wide it is."""
    low, high = float(along.min()), float(along.max())
    widths = rng.uniform(0.65, 1.35, int((high - low) / step / 0.65) + 3) * step
    ends = low - rng.uniform(0, 1) * step + np.concatenate([[0], np.cumsum(widths)])
    number = np.searchsorted(ends, along, side="right") - 1
    return (
        number.astype(np.int32),
        along - ends[number].astype(np.float32),
        widths[number].astype(np.float32),
    )


def _houses(
    rng: Generator,
    zone: Zone,
    du: Plane,
    dv: Plane,
    wide: Plane,
    deep: Plane,
    half: np.float32,
    block: np.ndarray,
) -> tuple[np.ndarray, Mask, Plane, Plane]:
    """Lot number, where its roof is, how far the roof's gable rises and how tall the walls are."""
    inner, depth = wide - 2 * half, deep - 2 * half
    lots = np.maximum(np.round(inner / np.float32(zone.lot)), 1)
    along = (du - half) / np.maximum(inner, 1) * lots
    lot = np.clip(np.floor(along), 0, lots - 1)
    back = (dv > deep / 2).astype(np.int32)
    key = (block + lot.astype(np.int32) * 29 + back * 613) & (_TABLE - 1)
    lot_width, lot_depth = inner / lots, depth / 2
    x = (along - lot - 0.5) * lot_width
    y = np.abs(dv - deep / 2) - lot_depth / 2
    reach = rng.uniform(*zone.covers, (2, _TABLE)).astype(np.float32) / 2
    most = np.float32(zone.lot * 0.9)
    half_x, half_y = (
        np.minimum(reach[0][key] * lot_width, most),
        np.minimum(reach[1][key] * lot_depth, most),
    )
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
    gable = np.where((rng.random(_TABLE) < zone.gabled)[key], np.clip(ridge, 0, 8) * 0.6, 0).astype(
        np.float32
    )
    tall = rng.uniform(*zone.tall, _TABLE).astype(np.float32)[key]
    return key, roof, gable, tall


def _yards(
    rng: Generator, canvas: Canvas, quarter: _Quarter, lot: np.ndarray, park: Mask
) -> np.ndarray:
    """Lawn, pavement or earth round the houses; returns which of them."""
    zone, lush = (
        quarter.zone,
        rng.beta(2, 1.2, _TABLE).astype(np.float32)[lot] * np.float32(max(quarter.green, 0.35)),
    )
    ground = rng.choice(
        3, _TABLE, p=[zone.green, (1 - zone.green) * 0.75, (1 - zone.green) * 0.25]
    )[lot]
    ground[park] = _LAWN
    grass = quarter.plane(lush)
    lawn: Mix = {"grass_green:2": grass, "grass_dry:0": 1 - grass, "soil:0": 0.15}
    canvas.paint(quarter.where(ground == _LAWN), "grassland", lawn)
    pavement = (
        {"asphalt:1": 0.7, "concrete:0": 0.3}
        if rng.random() < 0.6
        else {"concrete:0": 0.9, "asphalt:1": 0.1}
    )
    canvas.paint(quarter.where(ground == _PAVED), "paved", pavement)
    canvas.paint(
        quarter.where(ground == _EARTH), "soil", {"soil:1": 0.7, "sand:0": 0.2, "litter:0": 0.1}
    )
    return ground


def _park_cars(
    rng: Generator, canvas: Canvas, quarter: _Quarter, chosen: Mask, u: Plane, v: Plane, full: float
) -> None:
    """Cars in stalls of 3 x 6 m, where pixels show them."""
    if quarter.gsd_m > 0.5 or not chosen.any():
        return
    iu, iv = np.floor(u / 3).astype(np.int32), np.floor(v / 6).astype(np.int32)
    taken = rng.choice(_PAINTS + 1, _TABLE, p=[1 - full, *[full / _PAINTS] * _PAINTS])[
        (iu * 37 + iv * 101) & (_TABLE - 1)
    ]
    body = (np.abs(u - iu * 3 - 1.5) < 0.9) & (np.abs(v - iv * 6 - 3) < 2.2) & chosen & (iv % 3 > 0)
    for number in range(_PAINTS):
        canvas.paint(quarter.where(body & (taken == number + 1)), "paved", {f"paint:{number}": 1.0})


def _blur(rng: Generator, canvas: Canvas, quarter: _Quarter, street: Mask, park: Mask) -> None:
    """A settlement whose houses are finer than a pixel: shares of roofs, pavement and green by block."""
    zone, green = quarter.zone, quarter.green
    roofs = float(np.mean(zone.covers)) ** 2 * zone.built * rng.uniform(0.7, 1.3)
    texture = 1 + 0.3 * fractal(rng, quarter.size, 0.8, 0.1)
    texture += 0.5 * rng.standard_normal(texture.shape, np.float32)
    roof = np.clip(quarter.plane(np.where(street, 0.15, roofs)) * texture, 0, 0.85)
    paved = quarter.plane(np.where(street, 0.45, 0.05 + 0.4 * (1 - zone.green)))
    rest = np.clip(1 - roof - paved, 0, 1)
    lawn = rest * np.float32(zone.green * 0.6)
    mix = {"roof:0": roof * 0.6, "roof:1": roof * 0.25, "roof:2": roof * 0.15, "asphalt:0": paved * 0.6,
           "concrete:0": paved * 0.4, "grass_green:2": lawn * green, "grass_dry:0": lawn * (1 - green),
           "canopy_broadleaf:0": rest * zone.trees, "soil:1": rest * (1 - zone.green)}  # fmt: skip
    canvas.paint(quarter.where(~park), "settlement", mix)
    lawn_and_trees = {
        "grass_green:2": 0.3 + 0.5 * green,
        "canopy_broadleaf:0": 0.2,
        "grass_dry:0": 0.3,
    }
    canvas.paint(quarter.where(park), "grassland", lawn_and_trees)
