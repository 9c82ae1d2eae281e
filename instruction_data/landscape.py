"""Simulated land, twice as fine as the scene to be: which surface lies where, and of which materials it is mixed.

Fractal relief carries water, snow and woods; people add straight-cut fields, houses on a street grid and roads; fire
and clouds come last. Lengths are metres: a house is twenty pixels across in an aerial image, part of one in Landsat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

SURFACES = (
    "water", "tree_cover", "shrubland", "grassland", "cropland", "fallow", "wetland", "building", "road", "paved",
    "settlement", "soil", "sand", "rock", "snow_ice", "burned",
)  # fmt: skip
"""``fallow``: a field without plants; ``paved``: no road, no building; ``settlement``: houses finer than a pixel."""
FINEST_FOR_HOUSES_M = 10.0
_ROUGH = {"tree_cover": 0.3, "shrubland": 0.2, "rock": 0.2, "settlement": 0.2, "burned": 0.15, "grassland": 0.1}


@dataclass
class Landscape:
    """Cover as an index into ``SURFACES``, the share of every material (brightness included), cloud and its shadow."""

    cover: NDArray[np.uint8]
    materials: dict[str, Plane] = field(default_factory=dict)
    cloud: Plane | None = None
    shadow: Plane | None = None

    def is_(self, *surfaces: str) -> Mask:
        """Where one of ``surfaces`` lies."""
        return np.isin(self.cover, [SURFACES.index(name) for name in surfaces])

    def paint(self, where: Mask, surface: str, mix: Mapping[str, float | Plane]) -> None:
        """Put ``surface``, a mix of materials, over whatever lay there."""
        self.cover[where] = SURFACES.index(surface)
        for plane in self.materials.values():
            plane[where] = 0
        for material, share in mix.items():
            plane = self.materials.setdefault(material, np.zeros(self.cover.shape, np.float32))
            plane[where] += share[where] if isinstance(share, np.ndarray) else share


def fractal(rng: Generator, size: int, roughness: float) -> Plane:
    """Power-law noise (size, size), as ranks 0-1, so that ``< share`` marks exactly that share of the pixels."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    amplitude = np.maximum(np.hypot(fy, fx), 1 / size) ** -roughness
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * amplitude, s=(size, size))
    ranks = np.empty(size * size, np.float32)
    ranks[np.argsort(noise, axis=None)] = np.linspace(0, 1, size * size, dtype=np.float32)
    return ranks.reshape(size, size)


def landscape(rng: Generator, gsd_m: float, size: int = 256) -> Landscape:
    """Draw a landscape whose pixels are ``gsd_m`` metres wide."""
    land = Landscape(np.zeros((size, size), np.uint8))
    relief = fractal(rng, size, rng.uniform(1.6, 2.4))
    patches, blobs = fractal(rng, size, rng.uniform(1.2, 2.0)), fractal(rng, size, 2.0)
    natural = ["grassland", "tree_cover", "shrubland", "soil", "sand", "rock", "water"]
    base = rng.choice(natural, p=[0.32, 0.22, 0.14, 0.14, 0.06, 0.06, 0.06])
    land.paint(np.ones_like(relief, bool), base, _mix(rng, base, patches))
    if base != "water":
        _cover_land(rng, land, relief, patches, blobs, gsd_m)
    if rng.random() < 0.15:
        land.paint(relief > 1 - rng.uniform(0.05, 0.6), "snow_ice", _mix(rng, "snow_ice", patches))
    _light(rng, land, relief, gsd_m)
    if gsd_m * size > 1500 and rng.random() < 0.25:
        _clouds(rng, land, gsd_m)
    return land


def _cover_land(rng: Generator, land: Landscape, relief: Plane, patches: Plane, blobs: Plane, gsd_m: float) -> None:
    size = len(relief)
    for surface in rng.permutation(["grassland", "shrubland", "soil", "sand", "rock"])[: rng.integers(0, 3)]:
        noise = fractal(rng, size, rng.uniform(1.0, 2.0))
        land.paint(noise < rng.uniform(0.03, 0.3), surface, _mix(rng, surface, noise))
    if rng.random() < 0.5:
        _fields(rng, land, blobs < rng.uniform(0.2, 1.0), gsd_m)
    if rng.random() < 0.6:
        land.paint(patches < rng.uniform(0.03, 0.5), "tree_cover", _mix(rng, "tree_cover", relief))
    if rng.random() < 0.6:
        level = rng.uniform(0.01, 0.35)
        if rng.random() < 0.3:
            land.paint(relief < level + rng.uniform(0.03, 0.15), "wetland", _mix(rng, "wetland", patches))
        elif rng.random() < 0.3:
            land.paint(relief < level + rng.uniform(0.01, 0.05), "sand", _mix(rng, "sand", patches))
        land.paint(relief < level, "water", _mix(rng, "water", patches))
    if rng.random() < 0.3:
        river = np.abs(fractal(rng, size, 2.2) - 0.5) < rng.uniform(0.004, 0.03)
        land.paint(river, "water", _mix(rng, "water", patches))
    if rng.random() < 0.25:
        burn = (fractal(rng, size, 1.8) < rng.uniform(0.05, 0.4)) & ~land.is_("water", "sand", "rock")
        char = 0.35 + 0.6 * fractal(rng, size, 1.0)
        land.paint(burn, "burned", {"char": char, "soil:0": 0.6 * (1 - char), "dry": 0.4 * (1 - char)})
    if rng.random() < 0.5:
        town = (fractal(rng, size, 2.0) < rng.uniform(0.05, 0.7)) & ~land.is_("water")
        if gsd_m * 2 <= FINEST_FOR_HOUSES_M:
            _houses(rng, land, town, gsd_m)
        else:
            _settlement(rng, land, town)
    if gsd_m * 2 <= FINEST_FOR_HOUSES_M and rng.random() < 0.6:
        _roads(rng, land, gsd_m)


def _mix(rng: Generator, surface: str, noise: Plane) -> dict[str, float | Plane]:
    """Shares of materials; ``noise`` lets them drift over the scene."""
    a, b = rng.uniform(0.15, 1.0), rng.uniform(0.0, 0.35)
    drift = np.clip(a + rng.uniform(-0.4, 0.4) * (noise - 0.5), 0.05, 1).astype(np.float32)
    if surface == "tree_cover":
        canopy = 0.35 + 0.35 * drift
        return {"tree:0": canopy * (1 - b), "tree:1": canopy * b, "soil:0": rng.uniform(0, 0.12)}
    if surface == "shrubland":
        return {"shrub": 0.3 + 0.35 * drift, "soil:0": 0.35 * (1 - drift), "dry": 0.2 * (1 - drift)}
    if surface == "grassland":
        return {"grass:0": drift * (1 - 0.5 * b), "dry": (1 - drift) * 0.7, "soil:0": (1 - drift) * 0.25 + 0.1 * b}
    if surface == "wetland":
        return {"marsh": 0.35 + 0.3 * drift, "water:0": 0.3, "soil:0": 0.1 * (1 - drift)}
    if surface == "water":
        return {"water:0": 1 - b * (noise > 0.5), "water:1": b * (noise > 0.5), "glint": rng.uniform(0, 0.02)}
    if surface == "snow_ice":
        return {"snow": 0.5 + 0.5 * drift, "rock": 0.2 * (1 - drift)}
    return {f"{surface}:0" if surface == "soil" else surface: 1 - b, "soil:1": b * 0.8, "dry": b * 0.2}


def _grid(rng: Generator, size: int) -> tuple[Plane, Plane]:
    angle = rng.uniform(0, np.pi / 2)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _cells(rng: Generator, along: Plane, step: float) -> NDArray[np.intp]:
    low, high = float(along.min()), float(along.max())
    steps = rng.uniform(0.5, 1.5, int((high - low) / step) + 2) * step
    return np.searchsorted(low + np.cumsum(steps), along)


def _fields(rng: Generator, land: Landscape, farmed: Mask, gsd_m: float) -> None:
    u, v = _grid(rng, len(farmed))
    length = np.exp(rng.uniform(np.log(60), np.log(500))) / gsd_m
    strip = _cells(rng, u, max(length, 6))
    cell = strip * 1009 + _cells(rng, v + 37 * strip, max(length * rng.uniform(0.6, 2), 6))
    _, number = np.unique(cell, return_inverse=True)
    number = number.reshape(cell.shape)
    count = number.max() + 1
    green = rng.choice([0.0, 1.0], count, p=[0.3, 0.7]) * rng.uniform(0.3, 1.0, count)
    ripe = (rng.random(count) < 0.2) * rng.uniform(0.3, 0.8, count)
    second, bright = rng.random(count) < 0.5, rng.uniform(0.75, 1.15, count)
    g, r, light, other = (table[number].astype(np.float32) for table in (green, ripe, bright, second))
    bare = 1 - np.minimum(g + r, 1)
    mix = {"crop:0": g * light * (1 - other), "crop:1": g * light * other, "dry": np.minimum(r, 1 - g) * light,
           "soil:0": bare * light * other, "soil:1": bare * light * (1 - other)}  # fmt: skip
    planted = g + r > 0.25
    land.paint(farmed & planted, "cropland", mix)
    land.paint(farmed & ~planted, "fallow", mix)


def _settlement(rng: Generator, land: Landscape, town: Mask) -> None:
    density = 0.35 + 0.55 * fractal(rng, len(town), 0.8)
    roof = rng.uniform(0.3, 0.6)
    mix = {"roof:0": density * roof, "roof:1": density * (0.8 - roof), "asphalt": density * 0.15,
           "concrete": density * 0.1, "grass:0": (1 - density) * 0.5, "tree:0": (1 - density) * 0.3}  # fmt: skip
    land.paint(town, "settlement", mix)


def _houses(rng: Generator, land: Landscape, town: Mask, gsd_m: float) -> None:
    size = len(town)
    u, v = _grid(rng, size)
    green = fractal(rng, size, 0.6)
    lawn, crowns = rng.uniform(0.2, 0.9), rng.uniform(0, 0.3)
    land.paint(town, "grassland", _mix(rng, "grassland", green))
    land.paint(town & (green > lawn), "paved", {"concrete": rng.uniform(0.2, 0.9), "asphalt": 0.1})
    trees = gaussian_filter(rng.standard_normal((size, size)), max(2.5 / gsd_m, 0.7))
    land.paint(town & (trees > np.quantile(trees, 1 - crowns)), "tree_cover", _mix(rng, "tree_cover", green))

    pitch = max(rng.uniform(14, 40), 6 * gsd_m) / gsd_m
    cu, cv = np.floor(u / pitch).astype(int), np.floor(v / pitch).astype(int)
    _, number = np.unique(cu * 4001 + cv, return_inverse=True)
    number = number.reshape(cu.shape)
    count = number.max() + 1
    half_u, half_v = rng.uniform(0.25, 0.45, (2, count)).astype(np.float32)
    stands = rng.random(count) < rng.uniform(0.4, 1.0)
    inside = (np.abs(u / pitch - cu - 0.5) < half_u[number]) & (np.abs(v / pitch - cv - 0.5) < half_v[number])
    house = town & inside & stands[number]
    drop = max(1, round(rng.uniform(2, 6) / gsd_m))
    shade = np.roll(house, (-drop, drop // 2), (0, 1)) & ~house & (gsd_m < 4)
    kind, bright = rng.integers(0, 4, count)[number], rng.uniform(0.7, 1.2, count)[number].astype(np.float32)
    land.paint(house, "building", {f"roof:{k}": bright * (kind == k) for k in range(4)})
    block, half_width = rng.integers(2, 5) * pitch, max(3.0 / gsd_m, 0.5)
    away = np.minimum(np.abs(u - block * np.round(u / block)), np.abs(v - 3 * block * np.round(v / 3 / block)))
    street = town & (away < half_width)
    land.paint(street, "road", {"asphalt": 1.0})
    for plane in land.materials.values():
        plane[shade & ~street] *= 0.45


def _roads(rng: Generator, land: Landscape, gsd_m: float) -> None:
    size = len(land.cover)
    for _ in range(rng.integers(1, 4)):
        u, v = _grid(rng, size)
        bend = rng.uniform(0, 12) * np.sin(v / rng.uniform(20, 60))
        half = max(rng.uniform(2, 6) / gsd_m, 0.7)
        strip = np.abs(u + bend - rng.uniform(u.min(), u.max())) < half
        pavement = "concrete" if rng.random() < 0.15 else "asphalt"
        land.paint(strip & ~land.is_("water", "building"), "road", {pavement: 1.0})


def _light(rng: Generator, land: Landscape, relief: Plane, gsd_m: float) -> None:
    size = len(relief)
    slope = gaussian_filter(relief, 2)
    sun = rng.uniform(0, 2 * np.pi)
    shade = np.gradient(slope, axis=0) * np.sin(sun) + np.gradient(slope, axis=1) * np.cos(sun)
    light = 1 + rng.uniform(0, 0.25) * np.clip(shade / (shade.std() + 1e-6), -2, 2) * (gsd_m > 3)
    light[land.is_("water", "building", "road")] = 1
    # Crowns and shrubs of a few metres make texture where pixels are fine, and average out where they are coarse.
    grain = gaussian_filter(rng.standard_normal((size, size)), max(1.5 / gsd_m, 0.3))
    grain /= grain.std()
    for surface, strength in _ROUGH.items():
        where = land.is_(surface)
        light[where] *= 1 + strength * min(1.0, 3 / gsd_m + 0.25) * grain[where]
    light *= 1 + 0.02 * rng.standard_normal((size, size))
    for plane in land.materials.values():
        plane *= np.clip(light, 0.15, 2)


def _clouds(rng: Generator, land: Landscape, gsd_m: float) -> None:
    size = len(land.cover)
    share = rng.uniform(0.02, 0.4)
    noise = fractal(rng, size, rng.uniform(1.6, 2.2))
    land.cloud = np.clip((share - noise) / rng.uniform(0.02, 0.1), 0, 1).astype(np.float32)
    away = np.clip(rng.uniform(300, 1500) / gsd_m, 4, size // 3)
    angle = rng.uniform(0, 2 * np.pi)
    shift = int(away * np.sin(angle)), int(away * np.cos(angle))
    shadow = gaussian_filter(np.roll(land.cloud, shift, (0, 1)), 1)
    rows, columns = (np.arange(size) - s for s in shift)
    inside = ((rows >= 0) & (rows < size))[:, None] & ((columns >= 0) & (columns < size))
    land.shadow = (shadow * inside * (1 - land.cloud)).astype(np.float32)
