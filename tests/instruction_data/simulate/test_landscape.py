"""Simulated land: the contract of a landscape, and that its processes do what their names say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from instruction_data.simulate.land.biomes import BIOMES
from instruction_data.simulate.land.canvas import SURFACES, Canvas
from instruction_data.simulate.land.fire import paint_burned_land
from instruction_data.simulate.land.landscape import MATERIAL_KINDS, Landscape, draw_landscape
from instruction_data.simulate.land.light import Sun, draw_clouds, relative_irradiance
from instruction_data.simulate.land.noise import coarse_side, fractal_noise, ranks, upsample
from instruction_data.simulate.land.paths import accumulate_flow, least_cost_tree, trace_path
from instruction_data.simulate.land.terrain import Terrain, draw_terrain
from instruction_data.simulate.land.water import RIVER, OpenWater, add_lakes, add_rivers, add_sea
from instruction_data.simulate.truth import scene_truth
from instruction_data.sources.chips import Truth

SIZE = 192
GSD_M = (0.15, 0.3, 0.5, 1.0, 2.5, 5.0, 5.0, 10.0, 15.0, 30.0)


def draw(number: int, size: int = SIZE, biome: str | None = None) -> Landscape:
    rng = np.random.default_rng([7, number])
    return draw_landscape(rng, GSD_M[number % len(GSD_M)], size, biome)


@pytest.fixture(scope="module")
def lands() -> list[Landscape]:
    return [draw(number) for number in range(120)]


def hills(
    seed: int = 3, relief_m: float = 100, inflow_km2: float = 0.0, size: int = SIZE
) -> Terrain:
    return draw_terrain(
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
        assert {name.partition(":")[0] for name in land.materials} <= set(MATERIAL_KINDS)
        planes = [*land.materials.values(), land.elevation_m, land.water_depth_m, land.irradiance]
        assert all(plane.dtype == np.float32 and plane.shape == (SIZE, SIZE) for plane in planes)
        assert all(np.isfinite(plane).all() for plane in planes)
        assert min(plane.min() for plane in land.materials.values()) >= 0
        assert land.cover.max() < len(SURFACES)
        assert (land.water_depth_m[land.mask_of("water")] > 0).all()
        assert (land.water_depth_m[~land.mask_of("water")] == 0).all()
        assert land.irradiance.min() > 0 and land.irradiance.max() < 2
        assert (land.cloud is None) == (land.shadow is None)


def test_same_random_state_same_land() -> None:
    for number in (1, 5, 8):
        first = draw(number)
        second = draw(number)
        assert (first.cover == second.cover).all() and first.sun == second.sun
        for name, plane in second.materials.items():
            assert (first.materials[name] == plane).all()


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
            if (where := land.mask_of(surface)).sum() > 50
        ]
        assert len(shares) > 5
        assert np.mean(np.concatenate(shares)) > 0.4, surface


def test_classes_are_frequent_enough(lands: list[Landscape]) -> None:
    truths = [scene_truth(land) for land in lands]
    fine = [scene_truth(land) for land in lands if land.gsd_m * 2 <= 10]
    least_shares = {
        "water": 0.4,
        "tree_cover": 0.4,
        "grassland": 0.35,
        "cropland": 0.25,
        "built_up": 0.4,
        "burned": 0.08,
        "snow_ice": 0.05,
        "wetland": 0.07,
        "shrubland": 0.2,
        "cloud": 0.07,
        "soil": 0.3,
        "sand": 0.15,
        "rock": 0.12,
    }

    def share(name: str, chosen: list[Truth]) -> float:
        return float(np.mean([truth[name][0].mean() > 0.01 for truth in chosen]))

    shares = {name: share(name, truths) for name in least_shares}
    rare = {name: shares[name] for name, least in least_shares.items() if shares[name] < least}
    assert not rare
    assert share("building", fine) > 0.2 and share("road", fine) > 0.25


def test_some_scenes_are_of_one_surface(lands: list[Landscape]) -> None:
    single = [np.bincount(land.cover.ravel()).max() > 0.95 * land.cover.size for land in lands]
    assert 0.03 < np.mean(single) < 0.3


def test_water_gathers_downhill() -> None:
    land = hills()
    before, drained = land.drainage.predecessor, land.catchment_km2
    inner = np.flatnonzero(before >= 0)
    assert (drained[before[inner]] > drained[inner]).all()
    outlets = np.flatnonzero(before < 0)
    assert drained[outlets].sum() == pytest.approx((SIZE * 10 / 1000) ** 2)
    big = np.argsort(drained)[-40:]
    assert land.coarse_elevation_m.ravel()[big].mean() < land.coarse_elevation_m.mean()


def test_rivers_grow_downstream_and_lie_low() -> None:
    land, water = hills(inflow_km2=3000), OpenWater.none(SIZE)
    add_rivers(np.random.default_rng(0), water, land, 10.0)
    assert 0.01 < water.mask.mean() < 0.4
    assert (water.kind[water.mask] == RIVER).all() and (water.depth_m[water.mask] > 0).all()
    assert land.above_stream_m[water.mask].mean() < land.above_stream_m.mean()
    assert (
        water.shore_distance_m[water.mask].max()
        == 0
        < water.shore_distance_m[~water.mask].min() + 1e-6
    )


def test_lakes_and_sea_stand_in_low_ground() -> None:
    land = hills()
    for add, share in ((add_sea, 0.3), (add_lakes, 0.1)):
        water = OpenWater.none(SIZE)
        add(np.random.default_rng(1), water, land, share)
        assert share / 3 < water.mask.mean() < share * 2
        assert land.elevation_m[water.mask].mean() < land.elevation_m[~water.mask].mean()
    flat = OpenWater.none(SIZE)
    add_sea(np.random.default_rng(1), flat, land, 0.3)
    assert land.elevation_m[flat.mask].max() <= land.elevation_m[~flat.mask].min() + 1e-3


def test_spreading_takes_the_cheapest_way() -> None:
    cost = np.ones((9, 9), np.float32)
    cost[4, :8] = 1000
    tree = least_cost_tree(cost, 0)
    cells = trace_path(tree, 8 * 9)
    assert cells[0] == 72 and cells[-1] == 0 and 4 * 9 + 8 in cells  # through the only gap
    assert accumulate_flow(tree, np.ones(81))[0] == 81


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
        paint_burned_land(np.random.default_rng(seed), canvas, land, 0.3)
        burned = canvas.mask_of("burned")
        assert 0.05 < burned.mean() < 0.5 and canvas.mask_of("water").sum() == 11 * size
        one_sided += burned[:50].any() != burned[78:].any()
    assert one_sided >= 2


def test_shadows_fall_away_from_the_sun() -> None:
    size = 128
    flat = hills(relief_m=1e-6, size=size)
    height = np.zeros((size, size), np.float32)
    height[60:68, 60:68] = 20
    even = np.ones_like(height)
    from_east = Sun(45.0, 90.0)
    light = relative_irradiance(flat, height, even, 1.0, from_east)
    assert light[64, 45:58].max() < 0.5 and light[64, 72:90].min() > 0.9  # shadow to the west
    assert light[:50].min() > 0.9 and light[64, 20] > 0.9
    slope = np.repeat(np.linspace(0, 60, size, dtype=np.float32)[None], size, axis=0)
    rising_east = replace(flat, elevation_m=slope)
    ground = 0 * height
    assert relative_irradiance(rising_east, ground, even, 1.0, from_east).mean() < 0.9
    assert relative_irradiance(rising_east, ground, even, 1.0, Sun(45.0, 270.0)).mean() > 1.1


@pytest.mark.parametrize("azimuth", [90.0, 180.0, 225.0])
def test_cloud_shadows_lie_away_from_the_sun(azimuth: float) -> None:
    cloud, shadow = draw_clouds(np.random.default_rng(4), 256, 40.0, Sun(25.0, azimuth))
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
        snow = land.mask_of("snow_ice")
        if 0.05 < snow.mean() < 0.8:
            higher.append(land.elevation_m[snow].mean() > land.elevation_m[~snow].mean())
    assert len(higher) > 5 and np.mean(higher) > 0.8


def test_noise_and_the_finer_grid() -> None:
    noise = fractal_noise(np.random.default_rng(0), 128, 1.5, 0.3)
    assert abs(noise.mean()) < 1e-3 and noise.std() == pytest.approx(1, abs=1e-3)
    assert ranks(noise).min() >= 0 and np.mean(ranks(noise) < 0.25) == pytest.approx(0.25, abs=0.05)
    side = coarse_side(256)
    assert np.allclose(upsample(np.full((side, side), 3, np.float32), 256), 3, atol=1e-4)
    ramp = upsample(np.repeat(np.arange(side, dtype=np.float32)[:, None], side, axis=1), 256)
    assert np.allclose(np.diff(ramp[32:-32, 5]), side / 256, atol=1e-3)


def land_of(cover: np.ndarray, gsd_m: float = 0.5, **materials: np.ndarray) -> Landscape:
    zero = np.zeros(cover.shape, np.float32)
    return Landscape(
        gsd_m=gsd_m,
        cover=cover.astype(np.uint8),
        materials={f"{name}:0": plane.astype(np.float32) for name, plane in materials.items()},
        elevation_m=zero,
        water_depth_m=zero,
        irradiance=zero + 1,
        cloud=None,
        shadow=None,
        season=0.5,
        sun=Sun(40.0, 150.0),
        biome="none",
    )


def test_truth_by_shares() -> None:
    number = {name: SURFACES.index(name) for name in SURFACES}
    cover = np.full((4, 8), number["grassland"])
    cover[:, 0] = cover[0, 1] = number["water"]
    cover[:, 4:6] = number["fallow"]
    cover[:, 6:] = number["building"]
    green = (cover == number["grassland"]) * 1.0
    truth = scene_truth(land_of(cover, grass_green=green, soil=1 - green))
    water, water_unknown = truth["water"]
    assert water[:, 0].tolist() == [True, False] and water_unknown[:, 0].tolist() == [False, True]
    cropland, cropland_unknown = truth["cropland"]
    assert truth["soil"][0][:, 2].all() and cropland_unknown[:, 2].all() and not cropland.any()
    assert truth["building"][0][:, 3].all() and truth["built_up"][0][:, 3].all()
    vegetation, vegetation_unknown = truth["vegetation"]
    assert vegetation[:, 1].all()
    assert not vegetation[:, 2:].any() and not vegetation_unknown[:, 2:].any()


def test_houses_are_unknown_in_coarse_pixels() -> None:
    cover = np.full((4, 8), SURFACES.index("building"))
    truth = scene_truth(land_of(cover, 10.0, roof=np.ones((4, 8))))
    building, unknown = truth["building"]
    assert not building.any() and unknown.all() and truth["built_up"][0].all()


def test_truth_under_clouds() -> None:
    cover = np.full((4, 8), SURFACES.index("sand"))
    land = land_of(cover, sand=np.ones((4, 8)))
    land.cloud = np.zeros((4, 8), np.float32)
    land.shadow = np.zeros((4, 8), np.float32)
    land.cloud[:, :2] = 1
    land.cloud[:, 2:4] = 0.3
    land.shadow[:, 4:6] = 0.9
    truth = scene_truth(land)
    sand, sand_unknown = truth["sand"]
    assert truth["cloud"][0][0].tolist() == [True, False, False, False]
    assert sand[0].tolist() == [False, True, True, True]
    assert sand_unknown[0].tolist() == [False, True, True, False]
    assert truth["cloud_shadow"][0][0].tolist() == [False, False, True, False]
