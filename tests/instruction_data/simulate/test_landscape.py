"""Simulated land: the contract of a landscape, and that its processes do what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from instruction_data.simulate.land.biomes import BIOMES
from instruction_data.simulate.land.canvas import Canvas
from instruction_data.simulate.land.fire import burn
from instruction_data.simulate.land.landscape import KINDS, SURFACES, Landscape, landscape
from instruction_data.simulate.land.light import clouds, lit
from instruction_data.simulate.land.noise import coarse_side, finer, fractal, ranks
from instruction_data.simulate.land.paths import spread, upstream, way
from instruction_data.simulate.land.terrain import Terrain, terrain
from instruction_data.simulate.land.water import RIVER, add_lakes, add_rivers, add_sea, no_water
from instruction_data.simulate.truth import truth

SIZE = 192
GSD_M = (0.15, 0.3, 0.5, 1.0, 2.5, 5.0, 5.0, 10.0, 15.0, 30.0)


def draw(number: int, size: int = SIZE, biome: str | None = None) -> Landscape:
    return landscape(np.random.default_rng([7, number]), GSD_M[number % len(GSD_M)], size, biome)


@pytest.fixture(scope="module")
def lands() -> list[Landscape]:
    return [draw(number) for number in range(120)]


def hills(
    seed: int = 3, relief_m: float = 100, inflow_km2: float = 0.0, size: int = SIZE
) -> Terrain:
    return terrain(
        np.random.default_rng(seed),
        10.0,
        size,
        relief_m=relief_m,
        base_m=0,
        tilt=1.0,
        inflow_km2=inflow_km2,
    )


def test_contract(lands: list[Landscape]) -> None:
    for land in lands:
        assert np.allclose(np.sum(list(land.materials.values()), axis=0), 1, atol=1e-4)
        assert {name.partition(":")[0] for name in land.materials} <= set(KINDS)
        planes = [*land.materials.values(), land.elevation_m, land.water_depth_m, land.light]
        assert all(plane.dtype == np.float32 and plane.shape == (SIZE, SIZE) for plane in planes)
        assert all(np.isfinite(plane).all() for plane in planes)
        assert min(plane.min() for plane in land.materials.values()) >= 0
        assert land.cover.max() < len(SURFACES)
        assert (land.water_depth_m[land.is_("water")] > 0).all()
        assert (land.water_depth_m[~land.is_("water")] == 0).all()
        assert land.light.min() > 0 and land.light.max() < 2
        assert (land.cloud is None) == (land.shadow is None)


def test_same_random_state_same_land() -> None:
    for number in (1, 5, 8):
        one, two = draw(number), draw(number)
        assert (one.cover == two.cover).all() and one.sun == two.sun
        assert all((one.materials[name] == plane).all() for name, plane in two.materials.items())


@pytest.mark.parametrize("biome", list(BIOMES))
def test_every_biome_at_every_scale(biome: str) -> None:
    for number in (0, 5, 9):
        land = draw(number, 96, biome)
        assert land.biome == biome
        assert np.allclose(np.sum(list(land.materials.values()), axis=0), 1, atol=1e-4)


def test_cover_agrees_with_materials(lands: list[Landscape]) -> None:
    main = {"water": "water", "building": "roof", "burned": "char", "sand": "sand", "rock": "rock"}
    for surface, kind in main.items():
        shares = [
            sum(
                (plane for name, plane in land.materials.items() if name.startswith(f"{kind}:")),
                np.zeros(1),
            )[where]
            for land in lands
            if (where := land.is_(surface)).sum() > 50
        ]
        assert len(shares) > 5
        assert np.mean(np.concatenate(shares)) > 0.4, surface


def test_classes_are_frequent_enough(lands: list[Landscape]) -> None:
    found = [truth(land) for land in lands]
    fine = [land.gsd_m * 2 <= 10 for land in lands]

    def share(name: str, only: list[bool]) -> float:
        return float(
            np.mean(
                [one[name][0].mean() > 0.01 for one, keep in zip(found, only, strict=True) if keep]
            )
        )

    at_least = {"water": 0.4, "tree_cover": 0.4, "grassland": 0.35, "cropland": 0.25, "built_up": 0.4, "burned": 0.08,
                "snow_ice": 0.05, "wetland": 0.07, "shrubland": 0.2, "cloud": 0.07, "soil": 0.3, "sand": 0.15,
                "rock": 0.12}  # fmt: skip
    shares = {name: share(name, [True] * len(found)) for name in at_least}
    assert {name: shares[name] for name, least in at_least.items() if shares[name] < least} == {}
    assert share("building", fine) > 0.2 and share("road", fine) > 0.25


def test_some_scenes_are_of_one_surface(lands: list[Landscape]) -> None:
    single = [np.bincount(land.cover.ravel()).max() > 0.95 * land.cover.size for land in lands]
    assert 0.03 < np.mean(single) < 0.3


def test_water_gathers_downhill() -> None:
    land = hills()
    before, drained = land.drains.before, land.drained_km2
    inner = np.flatnonzero(before >= 0)
    assert (drained[before[inner]] > drained[inner]).all()
    outlets = np.flatnonzero(before < 0)
    assert drained[outlets].sum() == pytest.approx((SIZE * 10 / 1000) ** 2)
    big = np.argsort(drained)[-40:]
    assert land.coarse_m.ravel()[big].mean() < land.coarse_m.mean()


def test_rivers_grow_downstream_and_lie_low() -> None:
    land, water = hills(inflow_km2=3000), no_water(SIZE)
    add_rivers(np.random.default_rng(0), water, land, 10.0)
    assert 0.01 < water.mask.mean() < 0.4
    assert (water.kind[water.mask] == RIVER).all() and (water.depth_m[water.mask] > 0).all()
    assert land.above_stream_m[water.mask].mean() < land.above_stream_m.mean()
    assert water.bank_m[water.mask].max() == 0 < water.bank_m[~water.mask].min() + 1e-6


def test_lakes_and_sea_stand_in_low_ground() -> None:
    land = hills()
    for add, share in ((add_sea, 0.3), (add_lakes, 0.1)):
        water = no_water(SIZE)
        add(np.random.default_rng(1), water, land, share)
        assert share / 3 < water.mask.mean() < share * 2
        assert land.elevation_m[water.mask].mean() < land.elevation_m[~water.mask].mean()
    flat = no_water(SIZE)
    add_sea(np.random.default_rng(1), flat, land, 0.3)
    assert land.elevation_m[flat.mask].max() <= land.elevation_m[~flat.mask].min() + 1e-3


def test_spreading_takes_the_cheapest_way() -> None:
    cost = np.ones((9, 9), np.float32)
    cost[4, :8] = 1000
    tree = spread(cost, 0)
    cells = way(tree, 8 * 9)
    assert cells[0] == 72 and cells[-1] == 0 and 4 * 9 + 8 in cells  # through the only gap
    assert upstream(tree, np.ones(81))[0] == 81


def test_fire_stops_at_water() -> None:
    size, one_sided = 128, 0
    land = hills(size=size)
    for seed in range(10):
        canvas = Canvas(size)
        canvas.paint(np.ones((size, size), bool), "shrubland", {"shrub:0": 1.0})
        canvas.paint(
            np.abs(np.arange(size) - 64)[:, None] + np.zeros((1, size)) < 6,
            "water",
            {"water:0": 1.0},
        )
        burn(np.random.default_rng(seed), canvas, land, 0.3)
        burned = canvas.is_("burned")
        assert 0.05 < burned.mean() < 0.5 and canvas.is_("water").sum() == 11 * size
        one_sided += burned[:50].any() != burned[78:].any()
    assert one_sided >= 2


def test_shadows_fall_away_from_the_sun() -> None:
    size = 128
    flat = hills(relief_m=1e-6, size=size)
    height = np.zeros((size, size), np.float32)
    height[60:68, 60:68] = 20
    light = lit(
        flat, height, np.ones_like(height), 1.0, (45.0, 90.0)
    )  # sun in the east: shadow to the west
    assert light[64, 45:58].max() < 0.5 and light[64, 72:90].min() > 0.9
    assert light[:50].min() > 0.9 and light[64, 20] > 0.9
    slope = np.repeat(np.linspace(0, 60, size, dtype=np.float32)[None], size, axis=0)
    east = Terrain(**{**flat.__dict__, "elevation_m": slope})
    assert lit(east, 0 * height, np.ones_like(height), 1.0, (45.0, 90.0)).mean() < 0.9
    assert lit(east, 0 * height, np.ones_like(height), 1.0, (45.0, 270.0)).mean() > 1.1


@pytest.mark.parametrize("azimuth", [90.0, 180.0, 225.0])
def test_cloud_shadows_lie_away_from_the_sun(azimuth: float) -> None:
    cloud, shadow = clouds(np.random.default_rng(4), 256, 40.0, (25.0, azimuth))
    match = np.fft.ifft2(
        np.fft.fft2(shadow - shadow.mean()) * np.conj(np.fft.fft2(cloud - cloud.mean()))
    ).real
    row, column = (int(i) - 256 * (i > 128) for i in np.unravel_index(match.argmax(), match.shape))
    away = np.cos(np.radians(azimuth)), -np.sin(np.radians(azimuth))
    assert (row * away[0] + column * away[1]) / np.hypot(row, column) > 0.95
    assert ((cloud + shadow) <= 1 + 1e-5).all()


def test_snow_lies_high() -> None:
    higher = []
    for number in range(60):
        land = draw(10 * number + 8, 96, "mountain")
        snow = land.is_("snow_ice")
        if 0.05 < snow.mean() < 0.8:
            higher.append(land.elevation_m[snow].mean() > land.elevation_m[~snow].mean())
    assert len(higher) > 5 and np.mean(higher) > 0.8


def test_noise_and_the_finer_grid() -> None:
    noise = fractal(np.random.default_rng(0), 128, 1.5, 0.3)
    assert abs(noise.mean()) < 1e-3 and noise.std() == pytest.approx(1, abs=1e-3)
    assert ranks(noise).min() >= 0 and np.mean(ranks(noise) < 0.25) == pytest.approx(0.25, abs=0.05)
    side = coarse_side(256)
    assert np.allclose(finer(np.full((side, side), 3, np.float32), 256), 3, atol=1e-4)
    ramp = finer(np.repeat(np.arange(side, dtype=np.float32)[:, None], side, axis=1), 256)
    assert np.allclose(np.diff(ramp[32:-32, 5]), side / 256, atol=1e-3)


def made(cover: np.ndarray, gsd_m: float = 0.5, **materials: np.ndarray) -> Landscape:
    zero = np.zeros(cover.shape, np.float32)
    return Landscape(
        gsd_m, cover.astype(np.uint8), {f"{name}:0": plane.astype(np.float32) for name, plane in materials.items()},
        zero, zero, zero + 1, None, None, 0.5, (40.0, 150.0), "made",
    )  # fmt: skip


def test_truth_by_shares() -> None:
    number = {name: SURFACES.index(name) for name in SURFACES}
    cover = np.full((4, 8), number["grassland"])
    cover[:, 0] = cover[0, 1] = number["water"]
    cover[:, 4:6], cover[:, 6:] = number["fallow"], number["building"]
    green = (cover == number["grassland"]) * 1.0
    found = truth(made(cover, grass_green=green, soil=1 - green))
    assert found["water"][0][:, 0].tolist() == [True, False] and found["water"][1][
        :, 0
    ].tolist() == [False, True]
    assert (
        found["soil"][0][:, 2].all()
        and found["cropland"][1][:, 2].all()
        and not found["cropland"][0].any()
    )
    assert found["building"][0][:, 3].all() and found["built_up"][0][:, 3].all()
    assert found["vegetation"][0][:, 1].all()
    assert not found["vegetation"][0][:, 2:].any() and not found["vegetation"][1][:, 2:].any()
    coarse = truth(made(cover, 10.0, grass_green=green, soil=1 - green))
    assert (
        not coarse["building"][0].any()
        and coarse["building"][1][:, 3].all()
        and coarse["built_up"][0][:, 3].all()
    )


def test_truth_under_clouds() -> None:
    cover = np.full((4, 8), SURFACES.index("sand"))
    land = made(cover, sand=np.ones((4, 8)))
    land.cloud, land.shadow = np.zeros((4, 8), np.float32), np.zeros((4, 8), np.float32)
    land.cloud[:, :2], land.cloud[:, 2:4], land.shadow[:, 4:6] = 1, 0.3, 0.9
    found = truth(land)
    assert found["cloud"][0][0].tolist() == [True, False, False, False]
    assert found["sand"][0][0].tolist() == [False, True, True, True]
    assert found["sand"][1][0].tolist() == [False, True, True, False]
    assert found["cloud_shadow"][0][0].tolist() == [False, False, True, False]
