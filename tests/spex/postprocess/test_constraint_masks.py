"""Every constraint, executed in strips that cut regions, against plain sums on the whole array."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window
from scipy import ndimage

from spex.errors import QueryError
from spex.evidence.scene_evidence import measure
from spex.postprocess import composition
from spex.postprocess.constraint_masks import check
from spex.query.answer_markup import parse_answer
from spex.query.constraints import SCENE_PARTS
from spex.raster.scene import Scene
from spex.raster.working_rasters import NODATA

SHAPE = (61, 50)

Mask = NDArray[np.bool_]


@pytest.fixture(params=[3, 16, 61])
def strips(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of so many rows, so that regions and distances cross many of their edges."""

    def row_strips(height: int, width: int, planes: int) -> Iterator[Window]:
        for row in range(0, height, request.param):
            yield Window(0, row, width, min(request.param, height - row))

    monkeypatch.setattr(composition, "row_strips", row_strips)


@pytest.fixture
def painted(paint: Any) -> Any:
    return paint(7)


def part_of_valid_columns(name: str) -> Mask:
    """A part of the scene: rows 0-60, and columns 5-49, which are those with data."""
    south, east = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    south, east = (south + 0.5) / 61, (east - 5 + 0.5) / 45
    center = (abs(south - 0.5) <= 0.25) & (abs(east - 0.5) <= 0.25)
    halves = {"north": south < 0.5, "south": south >= 0.5, "west": east < 0.5, "east": east >= 0.5}
    parts = {
        "center": center,
        "edge": ~center,
        "north_third": south < 1 / 3,
        "south_third": south >= 2 / 3,
        "west_third": east < 1 / 3,
        "east_third": east >= 2 / 3,
        **halves,
    }
    if name in parts:
        return np.asarray(parts[name])
    return halves[name[:5]] & halves[name[5:]]


def regions_by_size(mask: Mask) -> list[Mask]:
    """8-connected regions, the largest first; of equal ones, the first from the top."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    regions = [labels == number for number in range(1, count + 1)]
    return sorted(regions, key=lambda region: -region.sum())


def union(regions: list[Mask]) -> Mask:
    return np.any([np.zeros(SHAPE, bool), *regions], axis=0)


@pytest.mark.parametrize("part", SCENE_PARTS)
def test_each_part_of_the_scene(painted: Any, strips: None, tmp_path: Path, part: str) -> None:
    expected = painted.valid & part_of_valid_columns(part)
    values = painted.executed(f"<seg class=any where={part}>x</seg>", tmp_path)
    assert ((values == 1) == expected).all()
    if part != "edge":
        assert 0.08 < expected.sum() / painted.valid.sum() < 0.52


@pytest.mark.parametrize(
    ("where", "kept", "taken"),
    [
        ("north+west_third", ["north", "west_third"], []),
        ("northeast+southwest+center", ["northeast", "southwest", "center"], []),
        ("north+-center+south_third+-east", ["north", "south_third"], ["center", "east"]),
        ("-northwest+-edge", ["north", "south"], ["northwest", "edge"]),
        ("-west", ["east"], []),
        ("north+-north", [], []),
    ],
)
def test_parts_are_united_and_taken_away(
    painted: Any, strips: None, tmp_path: Path, where: str, kept: list[str], taken: list[str]
) -> None:
    expected = union([part_of_valid_columns(part) for part in kept])
    expected &= ~union([part_of_valid_columns(part) for part in taken])
    values = painted.executed(f"<seg class=water where={where}>x</seg>", tmp_path)
    assert ((values == 1) == (expected & painted.masks["water"] & painted.valid)).all()


def test_parts_follow_the_map(paint: Any, tmp_path: Path) -> None:
    south_up_and_mirrored = Affine(-10, 0, 5e5, 0, 10, 53e5)
    turned = paint(7, crs=CRS.from_epsg(32633), transform=south_up_and_mirrored)
    values = turned.executed("<seg class=any where=north_third+west_third>x</seg>", tmp_path)
    expected = part_of_valid_columns("south_third") | part_of_valid_columns("east_third")
    assert ((values == 1) == (expected & turned.valid)).all()


PIXEL_CONSTRAINTS: dict[str, Callable[[Any], Any]] = {
    "index=NDVI:above:0.3,NDVI:below:0.6": lambda p: (p.ndvi > 0.3) & (p.ndvi < 0.6),
    "index=NDVI:above:0.6,NDVI:below:0.3": lambda p: np.zeros(SHAPE, bool),
    "not=water": lambda p: ~p.masks["water"],
    "not=water,road": lambda p: ~p.masks["water"] & ~p.masks["road"],
    "near=road:0": lambda p: p.masks["road"],
    "near=road:45": lambda p: p.distance("road") <= 45,  # three rows, exactly
    "near=road:100": lambda p: p.distance("road") <= 100,
    "near=road:100000": lambda p: np.ones(SHAPE, bool),
    "far=road:100": lambda p: p.distance("road") > 100,
    "near=road:150 far=road:50": lambda p: (p.distance("road") <= 150) & (p.distance("road") > 50),
    "near=road:150,water:30": lambda p: (p.distance("road") <= 150) & (p.distance("water") <= 30),
    "near=burned:1000": lambda p: np.zeros(SHAPE, bool),
    "far=burned:1000": lambda p: np.ones(SHAPE, bool),
    "where=south index=NDVI:above:0.4 not=water near=road:200 far=tree_cover:20": lambda p: (
        part_of_valid_columns("south")
        & (p.ndvi > 0.4)
        & ~p.masks["water"]
        & (p.distance("road") <= 200)
        & (p.distance("tree_cover") > 20)
    ),
}


@pytest.mark.parametrize("class_name", ["any", "vegetation"])
@pytest.mark.parametrize("attributes", PIXEL_CONSTRAINTS)
def test_constraints_on_pixels(
    painted: Any, strips: None, tmp_path: Path, attributes: str, class_name: str
) -> None:
    expected = painted.masks[class_name] & painted.valid & PIXEL_CONSTRAINTS[attributes](painted)
    values = painted.executed(f"<seg class={class_name} {attributes}>x</seg>", tmp_path)
    assert ((values == 1) == expected).all()


SIZE_CONSTRAINTS: dict[str, Callable[[list[Mask]], list[Mask]]] = {
    "min_area=0.45ha": lambda regions: [one for one in regions if one.sum() >= 30],
    "min_area=30px": lambda regions: [one for one in regions if one.sum() >= 30],
    "min_area=1%": lambda regions: [one for one in regions if one.sum() >= 0.01 * (61 * 45 - 1)],
    "min_area=6px max_area=0.5%": lambda regions: [
        one for one in regions if 6 <= one.sum() <= 0.005 * (61 * 45 - 1)
    ],
    "max_area=4500m2": lambda regions: [one for one in regions if one.sum() <= 30],
    "top=1": lambda regions: regions[:1],
    "top=3": lambda regions: regions[:3],
    "top=-1": lambda regions: regions[1:],
    "top=-2 bottom=-3": lambda regions: regions[2:-3],
    "bottom=2": lambda regions: regions[-2:],
    "bottom=-2": lambda regions: regions[:-2],
    "top=5 bottom=2": lambda regions: regions[3:5],
    "top=999": lambda regions: regions,
    "top=-999": lambda regions: [],
    "max_area=30px top=2": lambda regions: [one for one in regions if one.sum() <= 30][:2],
}


@pytest.mark.parametrize("pixel_attributes", ["", " not=road near=water:60"])
@pytest.mark.parametrize("attributes", SIZE_CONSTRAINTS)
def test_sizes_apply_to_what_the_pixel_constraints_leave(
    painted: Any, strips: None, tmp_path: Path, attributes: str, pixel_attributes: str
) -> None:
    left = painted.masks["tree_cover"] & painted.valid
    if pixel_attributes:
        left &= ~painted.masks["road"] & (painted.distance("water") <= 60)
    regions = regions_by_size(left)
    assert len(regions) > 6
    expected = union(SIZE_CONSTRAINTS[attributes](regions))
    answer = parse_answer(f"<seg class=tree_cover {attributes}>x</seg>")
    pixel_answer = parse_answer(f"<seg class=tree_cover{pixel_attributes}>x</seg>")
    both = {**answer.spans[0].constraints.to_dict(), **pixel_answer.spans[0].constraints.to_dict()}
    order = ("min_area", "max_area", "top", "bottom", "not", "near")
    text = "".join(f" {name}={both[name]}" for name in order if name in both)
    values = painted.executed(f"<seg class=tree_cover{text}>x</seg>", tmp_path)
    assert ((values == 1) == expected).all()


def test_shares_are_of_the_ground_where_rows_differ(
    paint: Any, tmp_path: Path, strips: None
) -> None:
    # From 85 to 79 degrees north, a pixel at the bottom covers more than twice that at the top.
    place = {"crs": CRS.from_epsg(4326), "transform": Affine(0.1, 0, 10, 0, -0.1, 85)}
    painted = paint(3, **place)
    areas = np.broadcast_to(painted.scene.pixel_area_m2()[:, None], SHAPE)  # type: ignore[index]
    assert areas[-1, 0] > 2 * areas[0, 0]
    regions = regions_by_size(painted.masks["water"] & painted.valid)
    share = [areas[one].sum() / areas[painted.valid].sum() for one in regions]
    by_pixels = [one.sum() / painted.valid.sum() for one in regions]
    limit = 100 * (share[3] + by_pixels[3]) / 2
    expected = union([one for one, size in zip(regions, share, strict=True) if 100 * size >= limit])
    values = painted.executed(f"<seg class=water min_area={limit:.9f}%>x</seg>", tmp_path)
    assert ((values == 1) == expected).all()
    largest = regions[int(np.argmax(share))]
    values = painted.executed("<seg class=water top=1>x</seg>", tmp_path)
    assert ((values == 1) == largest).all()


def test_without_map_units_a_share_counts_pixels(paint: Any, tmp_path: Path, strips: None) -> None:
    painted = paint(7, crs=None)
    regions = regions_by_size(painted.masks["water"] & painted.valid)
    expected = union([one for one in regions if one.sum() >= 0.01 * painted.valid.sum()])
    values = painted.executed("<seg class=water min_area=1%>x</seg>", tmp_path)
    assert ((values == 1) == expected).all()


def test_every_class_lies_within_any(painted: Any, strips: None, tmp_path: Path) -> None:
    text = (
        "<seg class=any where=north not=burned>x</seg> <seg class=vegetation>x</seg> "
        "<seg class=tree_cover index=NDVI:above:0.4>x</seg>"
    )
    values = painted.executed(text, tmp_path)
    trees = painted.masks["tree_cover"] & (painted.ndvi > 0.4)
    expected = np.where(part_of_valid_columns("north"), 1, 0)
    expected[painted.masks["vegetation"]] = 2
    expected[trees] = 3
    assert (values == np.where(painted.valid, expected, NODATA)).all()


def test_all_but_the_largest_is_asked_once(painted: Any, strips: None, tmp_path: Path) -> None:
    text = "<seg class=water top=-1>x</seg> <seg class=road bottom=-1 not=water>x</seg>"
    values = painted.executed(text, tmp_path)
    water = union(regions_by_size(painted.masks["water"] & painted.valid)[1:])
    road = union(
        regions_by_size(painted.masks["road"] & ~painted.masks["water"] & painted.valid)[:-1]
    )
    expected = np.where(water, 1, np.where(road, 2, 0))
    assert (values == np.where(painted.valid, expected, NODATA)).all()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("near=road:100", "100 m cannot be measured: the scene has no map units"),
        ("far=road:2.5", r"2.5 m cannot be measured: .* --gsd METRES"),
        ("min_area=1ha", "1 ha cannot be measured"),
        ("index=NDRE:above:0.1", "index 'NDRE' cannot be computed"),
    ],
)
def test_what_a_scene_cannot_answer_is_refused(paint: Any, attributes: str, message: str) -> None:
    painted = paint(7, crs=None)
    answer = parse_answer(f"<seg class=any {attributes}>x</seg>")
    with pytest.raises(QueryError, match=message):
        check(answer, painted.scene, painted.evidence)


def test_a_distance_from_a_class_that_the_bands_cannot_show_is_refused(painted: Any) -> None:
    red_only = Scene.from_array(
        painted.scene.read().values[:1],
        painted.scene.bands[:1],
        crs=painted.scene.crs,
        transform=painted.scene.transform,
    )
    evidence = measure(red_only.overview(1024))
    answer = parse_answer("<seg class=any far=water:100>x</seg>")
    with pytest.raises(
        QueryError, match="the distance from water cannot be measured in this scene: "
    ):
        check(answer, red_only, evidence)
