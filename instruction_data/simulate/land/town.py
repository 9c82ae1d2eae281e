"""Settlements: streets cut blocks, blocks are cut into lots, lots hold houses, yards and cars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from instruction_data.simulate.land.canvas import Mix
from instruction_data.simulate.land.context import LandContext
from instruction_data.simulate.land.noise import (
    Mask,
    Plane,
    fractal_noise,
    quantile,
    upsample,
)
from instruction_data.simulate.land.streets import (
    TABLE_SIZE,
    StreetGrid,
    cut_axis,
    street_coordinates,
)

MAX_HOUSE_GSD_M = 5.0
"""Pixels wider than this (metres) show a settlement, not its houses."""
_MAX_CAR_GSD_M = 0.5
_ROOF_KINDS = 6
_CAR_COLOURS = 3
_LAWN, _PAVED, _BARE = range(3)


@dataclass(frozen=True)
class Zone:
    """How a quarter of a town is built; lengths in metres.

    Args:
        block: least and largest width of a block.
        street: width of a street.
        lot: width of a lot.
        coverage: least and largest share of a lot's width and depth that a house takes.
        built: share of lots with a house.
        height: least and largest height of the walls.
        green: share of yards that are lawns.
        trees: chance of a tree in a yard.
        gabled: share of houses with a gable roof.
    """

    block: tuple[float, float]
    street: float
    lot: float
    coverage: tuple[float, float]
    built: float
    height: tuple[float, float]
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


def draw_town_mask(rng: Generator, land: LandContext, share: float) -> Mask:
    """Where a settlement on ``share`` of the scene spreads: round a centre, on level dry ground."""
    size = land.size
    dry = ~land.water.mask
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    centre_y, centre_x = rng.uniform(0.05, 0.95, 2)
    noise = upsample(fractal_noise(rng, land.terrain.side, 1.2, 0.4), size)
    distance = np.hypot(y - np.float32(centre_y), x - np.float32(centre_x))
    suitability = noise - 3.5 * distance
    suitability -= 1.5 * np.clip(land.terrain.slope / 0.25, 0, 3)
    suitability[~dry] = -99
    return (suitability > quantile(suitability, 1 - share)) & dry


@dataclass(frozen=True)
class _Quarter:
    """A part of a town built in one way.

    Attributes:
        land: the landscape on whose canvas it is painted.
        zone: how it is built.
        pixels: (n,) flat numbers of its pixels; its own planes hold one value for each of them.
    """

    land: LandContext
    zone: Zone
    pixels: NDArray[np.intp]

    def paint(self, chosen: Mask, surface: str, mix: Mix) -> None:
        """Paint the chosen (n,) pixels."""
        where = np.zeros((self.land.size, self.land.size), bool)
        where.ravel()[self.pixels[chosen]] = True
        self.land.canvas.paint(where, surface, mix)

    def on_land(self, values: Plane | float) -> Plane:
        """Values (n,) as a plane of the whole land, 0 outside the quarter."""
        plane = np.zeros((self.land.size, self.land.size), np.float32)
        plane.ravel()[self.pixels] = values
        return plane


def build_town(rng: Generator, land: LandContext, town: Mask) -> Plane:
    """Build on the pixels of ``town``; return the chance of a tree (size, size), 0 elsewhere."""
    pixels = np.flatnonzero(town)
    no_trees = np.zeros(town.shape, np.float32)
    if not pixels.size:
        return no_trees
    zone = ZONES[str(rng.choice(land.biome.town_zones))]
    quarter = _Quarter(land, zone, pixels)
    u, v = street_coordinates(rng, pixels, land.size, land.gsd_m)
    block_m = rng.uniform(*zone.block)
    grid = StreetGrid(
        u=cut_axis(rng, u, block_m),
        v=cut_axis(rng, v, block_m * rng.uniform(0.45, 1)),
        half_width=np.float32(zone.street / 2 * rng.uniform(0.8, 1.3)),
    )
    street, half_u = grid.draw_streets(rng)
    park = (rng.random(TABLE_SIZE) < 0.06)[grid.block]
    if land.gsd_m > MAX_HOUSE_GSD_M:
        _paint_mixed_settlement(rng, quarter, street, park)
        return no_trees
    houses = _draw_houses(rng, zone, grid)
    roof = houses.roof & ~street & ~park
    yard = _paint_yards(rng, quarter, houses.lot, park)
    full = 0.45 if zone.green < 0.5 else 0.1
    _park_cars(rng, quarter, yard == _PAVED, grid.u.offset, grid.v.offset, full)
    edge_u = grid.u.from_edge
    edge_v = grid.v.from_edge
    if zone.street > 8:
        pavement = (edge_u < half_u + 2) | (edge_v < grid.half_width + 2)
        pavement_mix = {"concrete:1": 0.9, "asphalt:1": 0.1}
        quarter.paint(pavement & ~street & ~roof, "paved", pavement_mix)
    quarter.paint(street, "road", {"asphalt:0": 0.95, "concrete:0": 0.05})
    from_kerb = np.minimum(edge_u - half_u, edge_v - grid.half_width)
    _park_cars(rng, quarter, street & (np.abs(from_kerb + 1.2) < 0.9), u, v, 0.3)
    _paint_roofs(rng, quarter, roof, houses.lot)
    land.canvas.height_m.ravel()[pixels] = np.where(roof, houses.wall_m + houses.gable_m, 0)
    yard_trees = zone.trees * rng.uniform(0.2, 2)
    return quarter.on_land(np.where(roof | street, 0, np.where(park, 0.6, yard_trees)))


@dataclass(frozen=True)
class _Houses:
    """Houses of a quarter, per pixel (n,).

    Attributes:
        lot: style number of the lot, under ``TABLE_SIZE``.
        roof: where a roof is.
        gable_m: height of the roof's gable above the walls.
        wall_m: height of the walls.
    """

    lot: NDArray[np.int32]
    roof: Mask
    gable_m: Plane
    wall_m: Plane


def _draw_houses(rng: Generator, zone: Zone, grid: StreetGrid) -> _Houses:
    """Cut blocks into two rows of lots and put a house on most of them."""
    frontage = grid.u.width - 2 * grid.half_width
    depth = grid.v.width - 2 * grid.half_width
    lots = np.maximum(np.round(frontage / np.float32(zone.lot)), 1)
    along = (grid.u.offset - grid.half_width) / np.maximum(frontage, 1) * lots
    number = np.clip(np.floor(along), 0, lots - 1)
    back_row = (grid.v.offset > grid.v.width / 2).astype(np.int32)
    lot = (grid.block + number.astype(np.int32) * 29 + back_row * 613) & (TABLE_SIZE - 1)
    lot_width = frontage / lots
    lot_depth = depth / 2
    x = (along - number - 0.5) * lot_width
    y = np.abs(grid.v.offset - grid.v.width / 2) - lot_depth / 2
    coverage = rng.uniform(*zone.coverage, (2, TABLE_SIZE)).astype(np.float32) / 2
    largest = np.float32(zone.lot * 0.9)
    half_x = np.minimum(coverage[0][lot] * lot_width, largest)
    half_y = np.minimum(coverage[1][lot] * lot_depth, largest)
    jitter = rng.uniform(-1, 1, (2, TABLE_SIZE)).astype(np.float32)
    x = x - jitter[0][lot] * (lot_width / 2 - half_x) * 0.6
    y = y - jitter[1][lot] * (lot_depth / 2 - half_y) * 0.6
    roof = (np.abs(x) < half_x) & (np.abs(y) < half_y)
    l_shaped = (rng.random(TABLE_SIZE) < 0.35)[lot]
    corner_x = np.sign(jitter[0])[lot] * x
    corner_y = np.sign(jitter[1])[lot] * y
    roof &= ~(l_shaped & (corner_x > half_x * 0.2) & (corner_y > half_y * 0.1))
    roof &= (rng.random(TABLE_SIZE) < zone.built)[lot]
    shed = (rng.random(TABLE_SIZE) < 0.3)[lot] & (zone.gabled > 0.5)
    roof |= shed & (np.abs(x + half_x + 3.5) < 2) & (np.abs(y) < 2)
    from_eaves = np.where(half_x > half_y, half_y - np.abs(y), half_x - np.abs(x))
    gabled = (rng.random(TABLE_SIZE) < zone.gabled)[lot]
    gable = np.where(gabled, np.clip(from_eaves, 0, 8) * 0.6, 0).astype(np.float32)
    wall = rng.uniform(*zone.height, TABLE_SIZE).astype(np.float32)[lot]
    return _Houses(lot, roof, gable, wall)


def _paint_yards(
    rng: Generator, quarter: _Quarter, lot: NDArray[np.int32], park: Mask
) -> NDArray[np.int_]:
    """Paint lawn, pavement or bare ground around the houses; return which, per pixel (n,)."""
    zone = quarter.zone
    lushness = rng.beta(2, 1.2, TABLE_SIZE).astype(np.float32)[lot]
    lushness = lushness * np.float32(max(quarter.land.greenness, 0.35))
    shares = [zone.green, (1 - zone.green) * 0.75, (1 - zone.green) * 0.25]
    yard = rng.choice(3, TABLE_SIZE, p=shares)[lot]
    yard[park] = _LAWN
    grass = quarter.on_land(lushness)
    lawn: Mix = {"grass_green:2": grass, "grass_dry:0": 1 - grass, "soil:0": 0.15}
    quarter.paint(yard == _LAWN, "grassland", lawn)
    pavement = {"concrete:0": 0.9, "asphalt:1": 0.1}
    if rng.random() < 0.6:
        pavement = {"asphalt:1": 0.7, "concrete:0": 0.3}
    quarter.paint(yard == _PAVED, "paved", pavement)
    quarter.paint(yard == _BARE, "soil", {"soil:1": 0.7, "sand:0": 0.2, "litter:0": 0.1})
    return yard


def _paint_roofs(rng: Generator, quarter: _Quarter, roof: Mask, lot: NDArray[np.int32]) -> None:
    kind = rng.integers(0, _ROOF_KINDS, TABLE_SIZE)
    if rng.random() < 0.5:  # in some towns most roofs are of one kind
        most_common = rng.integers(_ROOF_KINDS)
        kind[rng.random(TABLE_SIZE) < 0.7] = most_common
    for number in range(_ROOF_KINDS):
        quarter.paint(roof & (kind[lot] == number), "building", {f"roof:{number}": 1.0})


def _park_cars(
    rng: Generator, quarter: _Quarter, chosen: Mask, u: Plane, v: Plane, full: float
) -> None:
    """Paint cars in stalls of 3 x 6 m, where pixels are fine enough.

    Args:
        rng: random generator.
        quarter: painted on.
        chosen: (n,) pixels where cars may stand.
        u: (n,) position across the stalls in metres.
        v: (n,) position along the stalls in metres.
        full: share of stalls with a car.
    """
    if quarter.land.gsd_m > _MAX_CAR_GSD_M or not chosen.any():
        return
    stall_u = np.floor(u / 3).astype(np.int32)
    stall_v = np.floor(v / 6).astype(np.int32)
    shares = [1 - full, *[full / _CAR_COLOURS] * _CAR_COLOURS]
    cars = rng.choice(_CAR_COLOURS + 1, TABLE_SIZE, p=shares)
    colour = cars[(stall_u * 37 + stall_v * 101) & (TABLE_SIZE - 1)]
    body = (np.abs(u - stall_u * 3 - 1.5) < 0.9) & (np.abs(v - stall_v * 6 - 3) < 2.2)
    body = body & chosen & (stall_v % 3 > 0)
    for number in range(_CAR_COLOURS):
        quarter.paint(body & (colour == number + 1), "paved", {f"paint:{number}": 1.0})


def _paint_mixed_settlement(rng: Generator, quarter: _Quarter, street: Mask, park: Mask) -> None:
    """Paint a settlement whose houses are finer than a pixel: shares of roofs, pavement, green."""
    zone = quarter.zone
    greenness = quarter.land.greenness
    roof_share = float(np.mean(zone.coverage)) ** 2 * zone.built * rng.uniform(0.7, 1.3)
    texture = 1 + 0.3 * fractal_noise(rng, quarter.land.size, 0.8, 0.1)
    texture += 0.5 * rng.standard_normal(texture.shape, np.float32)
    roof = quarter.on_land(np.where(street, 0.15, roof_share))
    roof = np.clip(roof * texture, 0, 0.85)
    paved = quarter.on_land(np.where(street, 0.45, 0.05 + 0.4 * (1 - zone.green)))
    unbuilt = np.clip(1 - roof - paved, 0, 1)
    lawn = unbuilt * np.float32(zone.green * 0.6)
    mix: Mix = {
        "roof:0": roof * 0.6,
        "roof:1": roof * 0.25,
        "roof:2": roof * 0.15,
        "asphalt:0": paved * 0.6,
        "concrete:0": paved * 0.4,
        "grass_green:2": lawn * greenness,
        "grass_dry:0": lawn * (1 - greenness),
        "canopy_broadleaf:0": unbuilt * zone.trees,
        "soil:1": unbuilt * (1 - zone.green),
    }
    quarter.paint(~park, "settlement", mix)
    park_mix = {
        "grass_green:2": 0.3 + 0.5 * greenness,
        "canopy_broadleaf:0": 0.2,
        "grass_dry:0": 0.3,
    }
    quarter.paint(park, "grassland", park_mix)
