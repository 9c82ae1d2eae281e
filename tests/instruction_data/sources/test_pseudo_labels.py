"""Pseudo-labels: certain where indices agree, else and around their thresholds unknown."""

from __future__ import annotations

import numpy as np
import pytest

from instruction_data.sources.pseudo_labels import PseudoLabels, pseudo_truth
from spex.raster.scene import Pixels, Scene
from spex.sensors import Band

BANDS = {"B": 482, "G": 561, "R": 655, "N": 865, "S1": 1609, "S2": 2201}
WATER = (0.06, 0.05, 0.03, 0.02, 0.01, 0.01)
WOOD = (0.02, 0.05, 0.03, 0.35, 0.15, 0.06)
TURBID = (0.09, 0.11, 0.10, 0.07, 0.05, 0.04)
SOIL = (0.10, 0.14, 0.20, 0.26, 0.34, 0.30)
SNOW = (0.85, 0.85, 0.82, 0.75, 0.10, 0.08)
CHAR = (0.04, 0.05, 0.07, 0.09, 0.20, 0.22)


def columns(
    *spectra: tuple[float, ...], bands: str = "B G R N S1 S2", level: str = "surface"
) -> Pixels:
    """Columns of 16 pixels per spectrum, with a little noise."""
    kept = [list(BANDS).index(name) for name in bands.split()]
    plane = np.repeat(np.array(spectra, np.float32)[:, kept].T[:, None, :], 16, axis=2).repeat(
        48, axis=1
    )
    values = plane * np.random.default_rng(0).normal(1, 0.02, plane.shape).astype(np.float32)
    meant = tuple(Band(name, BANDS[name], 60) for name in bands.split())
    return Pixels(values, np.ones(values.shape[1:], bool), meant, level, 30)  # type: ignore[arg-type]


def share(maps: tuple[np.ndarray, np.ndarray], column: int) -> tuple[float, float]:
    mask, unknown = (m[:, 16 * column : 16 * column + 16].mean() for m in maps)
    return float(mask), float(unknown)


def test_indices_that_agree_make_a_pixel_certain() -> None:
    truth = pseudo_truth(columns(WATER, WOOD, SOIL))
    assert share(truth["water"], 0) == (1, 0)
    assert share(truth["water"], 1) == (0, 0)
    assert share(truth["vegetation"], 1) == (1, 0)
    assert share(truth["vegetation"], 2) == (0, 0)


def test_pixels_near_the_thresholds_are_unknown() -> None:
    mixed = tuple(0.85 * a + 0.15 * b for a, b in zip(WATER, WOOD, strict=True))
    truth = pseudo_truth(columns(WATER, mixed, WOOD, WOOD))
    mask, unknown = share(truth["water"], 1)
    assert mask == 0 and unknown > 0.5


def test_where_indices_disagree_nothing_is_said() -> None:
    # Snow passes the water indices, but is brighter in the near infrared than any water.
    truth = pseudo_truth(columns(SNOW, WATER, WOOD))
    assert share(truth["water"], 0) == (0, 1)
    assert share(truth["snow_ice"], 0) == (1, 0)


def test_classes_that_indices_cannot_tell_are_left_out() -> None:
    truth = pseudo_truth(columns(WATER, WOOD, SOIL, CHAR))
    assert set(truth) <= {"water", "vegetation", "snow_ice", "burned"}
    assert share(truth["burned"], 3) == (1, 0)


def test_only_classes_with_two_voters_that_the_bands_allow() -> None:
    truth = pseudo_truth(columns(WATER, WOOD, SOIL, bands="G R N"))
    assert {"burned", "snow_ice"}.isdisjoint(truth) and {"water", "vegetation"} <= set(truth)
    assert not pseudo_truth(columns(WATER, WOOD, bands="B G R"))


def test_display_values_count_only_where_an_index_has_two_modes() -> None:
    lawn, roof = (0.20, 0.32, 0.22, 0.50, 0, 0), (0.42, 0.43, 0.45, 0.42, 0, 0)
    truth = pseudo_truth(columns(lawn, roof, level="uncalibrated", bands="B G R N"))
    assert share(truth["vegetation"], 0) == (1, 0)
    assert share(truth["vegetation"], 1) == pytest.approx((0, 0), abs=0.05)
    assert not pseudo_truth(columns(lawn, level="uncalibrated", bands="B G R N"))


def test_invalid_pixels_are_unknown() -> None:
    pixels = columns(WATER, WOOD)
    pixels.valid[:10] = False
    assert all(
        unknown[:10].all() and not mask[:10].any()
        for mask, unknown in pseudo_truth(pixels).values()
    )


def test_a_scenes_thresholds_hold_in_all_of_its_windows() -> None:
    from rasterio.windows import Window

    pixels = columns(WATER, TURBID, WOOD, SOIL)
    scene = Scene.from_array(pixels.values, pixels.bands)
    labels = PseudoLabels(scene)
    whole = labels.truth(Window(0, 0, 64, 48))
    part = labels.truth(Window(32, 8, 16, 16))
    assert "pseudo-labels" in labels.described
    for name, (mask, unknown) in part.items():
        assert np.array_equal(mask, whole[name][0][8:24, 32:48])
        assert np.array_equal(unknown, whole[name][1][8:24, 32:48])


@pytest.mark.parametrize("spectrum", [SOIL, TURBID])
def test_other_ground_is_not_called_water_or_vegetation_with_certainty(
    spectrum: tuple[float, ...],
) -> None:
    truth = pseudo_truth(columns(WOOD, spectrum, WATER))
    assert share(truth["vegetation"], 1)[0] == 0
    if spectrum is SOIL:
        assert share(truth["water"], 1)[0] == 0
