"""Simulated scenes: reproducible, with complete truth, and pixels of all sensors that show it."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from instruction_data.simulate.items import CHIP_SIZE, simulate, simulated_items
from instruction_data.simulate.materials.spectra import Spectra
from instruction_data.sources.chips import Chip, complete_truth
from spex.errors import BandError, RecordError
from spex.evidence.classes import classes
from spex.sensors import Band, role_weights


@pytest.fixture(scope="module")
def chips(library: Spectra) -> list[Chip]:
    return [
        chip for n in range(9) for chip in simulate(np.random.default_rng([5, n]), library, f"s{n}")
    ]


def planes(chip: Chip) -> dict[str, np.ndarray]:
    weights = role_weights([Band(b.name, b.wavelength_nm, b.fwhm_nm) for b in chip.bands])
    values = chip.values * chip.scale + chip.offset
    return {role: np.tensordot(weight, values, axes=1) for role, weight in weights.items()}


def test_items_are_functions_of_seed_and_number(spectra: Path) -> None:
    items = list(simulated_items(spectra, 6, seed=7, per_landscape=4))
    assert [item.split for item in items] == ["train", "train"]
    assert len({item.place for item in items}) == 2
    first = list(items[0].read("train"))
    again = list(pickle.loads(pickle.dumps(items[0])).read("train"))
    other = list(items[1].read("train"))
    assert (len(first), len(other)) == (4, 2)
    assert len({chip.id for chip in first + other}) == 6
    for chip, repeated in zip(first, again, strict=True):
        assert chip.values.tobytes() == repeated.values.tobytes() and chip.id == repeated.id
        for name, truth in chip.truth.items():
            assert np.array_equal(truth, repeated.truth[name])
    assert first[0].values.tobytes() != other[0].values.tobytes()


def test_every_class_is_known_or_said_to_be_unknown(chips: list[Chip]) -> None:
    for chip in chips:
        truth = complete_truth(chip.truth)
        assert set(truth) >= set(classes()) - {"building", "road"} or chip.nodata is not None
        assert all(
            mask.shape == (CHIP_SIZE, CHIP_SIZE) and not (mask & unknown).any()
            for mask, unknown in truth.values()
        )
        assert (
            chip.values.shape == (len(chip.bands), CHIP_SIZE, CHIP_SIZE)
            and np.isfinite(chip.values).all()
        )


def test_nothing_is_claimed_where_nothing_was_measured(chips: list[Chip]) -> None:
    for chip in chips:
        if chip.nodata is not None:
            missing = (chip.values == chip.nodata).all(axis=0)
            assert missing.any() and all(
                unknown[missing].all() for _, unknown in chip.truth.values()
            )


def test_sensors_and_radiometries_are_mixed(chips: list[Chip]) -> None:
    levels = Counter(chip.level for chip in chips)
    assert levels["surface"] >= 10 and levels["uncalibrated"] >= 8 and levels["toa"] >= 1
    assert len({chip.sensor for chip in chips}) >= 8 and {"uint8", "uint16"} <= {
        str(c.values.dtype) for c in chips
    }
    assert max(len(chip.bands) for chip in chips) <= 120
    for chip in chips:
        if chip.level in ("surface", "toa"):
            bright = np.median(chip.values * chip.scale + chip.offset)
            assert -0.05 < bright < 1.2, (chip.id, chip.sensor, chip.level)


def test_pixels_show_the_truth(chips: list[Chip]) -> None:
    compared = 0
    for chip in chips:
        truth = complete_truth(chip.truth)
        if chip.level != "surface" or not {"water", "vegetation"} <= set(truth):
            continue
        water = truth["water"][0]
        vegetation = truth["vegetation"][0]
        if min(water.sum(), vegetation.sum()) > 200:
            green = planes(chip)["G"]
            nir = planes(chip)["N"]
            ndwi = (green - nir) / (green + nir).clip(1e-3)
            assert np.median(ndwi[water]) > np.median(ndwi[vegetation]) + 0.2
            compared += 1
    assert compared >= 2


def test_several_sensors_see_the_same_ground(library: Spectra) -> None:
    fine, coarse, cube = simulate(
        np.random.default_rng(4), library, "together", sensors=["sentinel-2a", "Landsat 8", "emit"]
    )
    assert [chip.sensor for chip in (fine, coarse, cube)] == ["sentinel-2a", "landsat-8", "emit"]
    for other in (coarse, cube):
        factor = round(other.gsd_m / fine.gsd_m)
        assert factor > 1 and other.gsd_m == pytest.approx(factor * fine.gsd_m)
        side = min(other.values.shape[1], fine.values.shape[1] // factor)

        def averaged(plane: np.ndarray, side: int = side, factor: int = factor) -> np.ndarray:
            blocks = plane[: side * factor, : side * factor]
            return blocks.reshape(side, factor, side, factor).mean(axis=(1, 3))

        water = averaged(fine.truth["water"][0]) > 0.5
        assert (water == other.truth["water"][0][:side, :side]).mean() > 0.95
        nir = averaged(planes(fine)["N"])
        other_nir = planes(other)["N"][:side, :side]
        assert np.corrcoef(nir.ravel(), other_nir.ravel())[0, 1] > 0.8


def test_a_sensor_that_cannot_be_simulated_is_named(library: Spectra) -> None:
    with pytest.raises(BandError, match="no sensor is called 'sputnik'"):
        simulate(np.random.default_rng(0), library, "x", sensors=["sputnik"])


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    (item,) = simulated_items(tmp_path / "spectra.npz", 1, 0)
    with pytest.raises(RecordError, match="no spectral library at"):
        list(item.read("train"))
