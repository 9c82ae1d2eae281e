"""Regions of a mask and their attributes, against what a plain computation gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label, regionprops

from spex.evidence.regions import label_regions, location_word, main_location, regions


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=(70, 110))
    smooth = sum(np.roll(noise, (i, j), (0, 1)) for i in range(-2, 3) for j in range(-2, 3))
    return smooth > 6


def test_sizes_and_centroids_equal_those_of_skimage(mask: np.ndarray) -> None:
    found = regions(mask)
    expected = sorted(regionprops(label(mask, connectivity=2)), key=lambda r: -r.area)
    assert [r.pixels for r in found] == [int(r.area) for r in expected]
    assert sum(r.pixels for r in found) == mask.sum()
    by_label = {r.label: r for r in found}
    labels, count = label_regions(mask)
    assert count == len(found)
    for number, region in by_label.items():
        rows, cols = np.nonzero(labels == number)
        assert region.pixels == len(rows)
        assert region.centroid == pytest.approx(
            ((cols.mean() + 0.5) / 110, (rows.mean() + 0.5) / 70)
        )


def test_diagonal_neighbours_are_one_region() -> None:
    assert [r.pixels for r in regions(np.eye(5, dtype=bool))] == [5]


def test_index_means_leave_out_nan(mask: np.ndarray) -> None:
    plane = np.random.default_rng(4).normal(size=mask.shape).astype(np.float32)
    plane[::7] = np.nan
    labels, _ = label_regions(mask)
    for region in regions(mask, planes={"NDVI": plane}):
        inside = plane[labels == region.label]
        expected = np.nanmean(inside) if np.isfinite(inside).any() else math.nan
        assert region.stats["NDVI"] == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_areas_follow_the_rows_of_a_geographic_grid() -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:4] = True
    (region,) = regions(mask, area_m2=np.array([10.0, 20.0, 30.0, 40.0]))
    assert region.area_m2 == 3 * 20 + 3 * 30
    assert regions(mask, area_m2=25.0)[0].area_m2 == 150
    assert regions(mask)[0].area_m2 is None


def test_the_box_is_the_smallest_and_holds_every_pixel() -> None:
    rows, cols = np.mgrid[0:100, 0:200]
    along, across = (cols - 100) * 0.8 + (rows - 50) * 0.6, (rows - 50) * 0.8 - (cols - 100) * 0.6
    mask = (abs(along) < 40) & (abs(across) < 6)
    (region,) = regions(mask)
    corners = np.array(region.box) * [200, 100]
    sides = sorted(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1))
    assert sides[0] == pytest.approx(12, abs=2) and sides[3] == pytest.approx(80, abs=2)
    assert sides[0] * sides[3] < 1.25 * mask.sum()


def test_one_pixel_has_a_box_of_one_pixel() -> None:
    mask = np.zeros((10, 20), bool)
    mask[9, 19] = True
    (region,) = regions(mask)
    assert {(round(x * 20), round(y * 10)) for x, y in region.box} == {
        (19, 9),
        (20, 9),
        (19, 10),
        (20, 10),
    }
    assert region.location == "southeast"


def test_a_limit_gives_the_first_of_all(mask: np.ndarray) -> None:
    plane = np.ones(mask.shape, np.float32)
    every = regions(mask, area_m2=1.0, planes={"NDVI": plane})
    assert regions(mask, area_m2=1.0, planes={"NDVI": plane}, limit=5) == every[:5]


def test_empty_and_full_masks() -> None:
    assert regions(np.zeros((5, 5), bool)) == []
    (whole,) = regions(np.ones((5, 5), bool), planes={"NDVI": np.ones((5, 5))})
    assert whole.pixels == 25 and whole.location == "center" and whole.stats == {"NDVI": 1}


@pytest.mark.parametrize(
    ("x", "y", "word"),
    [(0, 0, "northwest"), (1, 1, "southeast"), (0.5, 0.1, "north"), (0.9, 0.5, "east")],
)
def test_places_in_words(x: float, y: float, word: str) -> None:
    assert location_word(x, y) == word


def test_main_location() -> None:
    mask = np.zeros((30, 60), bool)
    assert main_location(mask) == "everywhere"
    mask[:8, 45:] = True
    assert main_location(mask) == "northeast"
    assert main_location(np.ones((30, 60), bool)) == "everywhere"


def test_many_regions_stay_affordable() -> None:
    mask = np.random.default_rng(0).random((3000, 3000)) < 0.05
    assert len(regions(mask, limit=10)) == 10


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (90, 2000), (300, 700)])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.95])
def test_labels_equal_those_of_ndimage(shape: tuple[int, int], share: float) -> None:
    mask = np.random.default_rng(6).random(shape) < share
    labels, count = label_regions(mask)
    expected, expected_count = ndimage.label(mask, np.ones((3, 3)))
    assert count == expected_count and np.array_equal(labels, expected) and labels.dtype == np.int32
