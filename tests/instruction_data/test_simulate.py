"""Simulated scenes: reproducible, complete truth, and pixels that show it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from instruction_data.landscape import fractal, landscape
from instruction_data.simulate import SIZE, Library, simulate, simulated_chips
from instruction_data.sources import Chip, complete
from spex.errors import RecordError
from spex.evidence.classes import classes
from spex.sensors import Band, role_weights


@pytest.fixture(scope="module")
def chips(library: Library) -> list[Chip]:
    return [simulate(np.random.default_rng([5, number]), library, f"s{number}") for number in range(40)]


def index(chip: Chip, first: str, second: str) -> np.ndarray:
    weights = role_weights([Band(b.name, b.wavelength_nm, b.fwhm_nm) for b in chip.bands])
    a, b = (np.tensordot(weights[role], chip.values * chip.scale, axes=1) for role in (first, second))
    return (a - b) / np.maximum(a + b, 1e-3)


def test_a_scene_is_a_function_of_seed_and_number(spectra: Path) -> None:
    first, again = (next(simulated_chips(spectra, [3], 7)) for _ in range(2))
    (other,) = simulated_chips(spectra, [4], 7)
    assert np.array_equal(first.values, again.values)
    assert all(np.array_equal(first.truth[name], again.truth[name]) for name in first.truth)
    assert first.values.shape != other.values.shape or not np.array_equal(first.values, other.values)


def test_every_class_is_known(chips: list[Chip]) -> None:
    for chip in chips:
        truth = complete(chip.truth)
        assert set(truth) >= set(classes()) - {"building", "road"}
        assert all(mask.shape == (SIZE, SIZE) and not (mask & unknown).any() for mask, unknown in truth.values())
        assert chip.split == "train" and chip.values.shape[1:] == (SIZE, SIZE) and len(chip.bands) == len(chip.values)


def test_sensors_and_radiometries_are_mixed(chips: list[Chip]) -> None:
    levels = Counter(chip.level for chip in chips)
    assert 8 <= levels["uncalibrated"] <= 28
    assert all((chip.values.dtype == np.uint8) == (chip.level == "uncalibrated") for chip in chips)
    assert len({chip.sensor for chip in chips}) >= 6
    assert any(len(chip.bands) >= 60 for chip in chips)
    present = Counter(name for chip in chips for name, (mask, _) in complete(chip.truth).items() if mask.mean() > 0.01)
    assert {"water", "tree_cover", "cropland", "grassland", "built_up", "building", "soil", "burned"} <= set(present)


def test_pixels_show_the_truth(chips: list[Chip]) -> None:
    seen = 0
    for chip in chips:
        truth = complete(chip.truth)
        if chip.level == "surface" and min(truth["water"][0].sum(), truth["cropland"][0].sum()) > 200:
            ndwi = index(chip, "G", "N")
            assert np.median(ndwi[truth["water"][0]]) > 0 > np.median(ndwi[truth["cropland"][0]])
            seen += 1
    assert seen >= 4


def test_houses_are_told_apart_only_where_pixels_are_fine(chips: list[Chip]) -> None:
    for chip in chips:
        truth = complete(chip.truth)
        if chip.gsd_m and chip.gsd_m > 10 and truth["built_up"][0].any():
            assert not truth["building"][0].any() and truth["building"][1][truth["built_up"][0]].all()


def test_fractal_noise_is_ranked() -> None:
    noise = fractal(np.random.default_rng(0), 64, 2.0)
    assert (noise < 0.25).mean() == pytest.approx(0.25, abs=0.01)
    neighbours = np.abs(np.diff(noise)).mean()
    assert neighbours < 0.1 < np.abs(np.diff(np.random.default_rng(0).permutation(noise.ravel()))).mean()


def test_materials_fill_every_pixel() -> None:
    land = landscape(np.random.default_rng(2), 5.0, 128)
    total = sum(land.materials.values())
    assert (total > 0.05).all() and total.max() < 3


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no spectral library"):
        list(simulated_chips(tmp_path / "spectra.npz", [0], 0))
