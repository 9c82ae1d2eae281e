"""From reflectance to digital numbers: responses, atmosphere, detector, integers, display."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instruction_data.simulate.materials.library import WAVELENGTHS
from instruction_data.simulate.sensor.atmosphere import (
    add_adjacency,
    draw_atmosphere,
    solar_irradiance,
)
from instruction_data.simulate.sensor.detector import (
    add_detector_effects,
    draw_gaps,
    to_digital_numbers,
    to_display_values,
)
from instruction_data.simulate.sensor.instruments import (
    draw_bands,
    draw_nested_widths,
    draw_sensor,
    spectral_responses,
)
from spex.sensors import Band, get_sensor, sensors

NOTHING = np.zeros((64, 64), bool)


@pytest.fixture
def scene() -> np.ndarray:
    """Four bands of dark and bright ground with grain."""
    rng = np.random.default_rng(0)
    ground = np.where(np.arange(64) < 32, 0.05, 0.3) + rng.normal(0, 0.01, (4, 64, 64))
    return ground.astype(np.float32)


def test_every_sensor_of_the_table_can_be_simulated() -> None:
    rng = np.random.default_rng(0)
    for sensor in sensors():
        key, gsd_m = draw_sensor(rng, [sensor.key])
        bands = draw_bands(rng, sensor)
        weights = spectral_responses(key, bands)
        assert (
            1 <= len(bands) <= 120
            and gsd_m > 0
            and weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
        )
        centres = [band.wavelength_nm for band in bands]
        assert weights @ WAVELENGTHS.astype(np.float32) == pytest.approx(
            np.array(centres, float), abs=6
        )


def test_sensors_of_the_same_ground_have_whole_ratios_of_pixels() -> None:
    for seed in range(5):
        drawn = draw_nested_widths(
            np.random.default_rng(seed), ["sentinel-2a", "landsat-8", "emit"]
        )
        assert [width for _, width in drawn] == [10, 30, 60]


def test_tabulated_responses_win_where_there_are_some(tmp_path: Path) -> None:
    lines = [
        "band,wavelength_nm,response",
        *(f"B3,{nm},{float(nm >= 552)}" for nm in range(540, 581)),
    ]
    (tmp_path / "S2A_MSI.csv").write_text("\n".join(lines))
    bands = [Band("B03", 560, 35), Band("B08", 833, 106)]
    tabulated = spectral_responses("sentinel-2a", bands, tmp_path)
    gaussian = spectral_responses("sentinel-2a", bands)
    below = WAVELENGTHS < 550
    assert tabulated[0, below].sum() == 0 < gaussian[0, below].sum()
    assert np.array_equal(tabulated[1], gaussian[1])


def test_air_is_blue_and_lets_swir_through() -> None:
    blue, swir = np.searchsorted(WAVELENGTHS, (450, 2200))
    for seed in range(20):
        atmosphere = draw_atmosphere(np.random.default_rng(seed), 40)
        path = atmosphere.path_reflectance
        assert 0.03 < path[blue] < 0.3 and path[swir] < 0.5 * path[blue]
        assert atmosphere.transmittance[blue] < atmosphere.transmittance[swir] <= 1
        assert atmosphere.skylight[blue] > atmosphere.skylight[swir] >= 0


def test_solar_irradiance_is_that_of_the_sun() -> None:
    assert np.trapezoid(solar_irradiance(), WAVELENGTHS / 1000) == pytest.approx(
        1170, rel=0.04
    )  # W/m2, 0.4 to 2.5 um


def test_adjacency_moves_light_to_dark_neighbours_and_keeps_its_sum(scene: np.ndarray) -> None:
    lit = add_adjacency(scene, np.full(4, 0.2, np.float32), 10)
    assert lit[:, :, 28:32].mean() > scene[:, :, 28:32].mean() and lit.mean() == pytest.approx(
        scene.mean(), rel=0.02
    )


def test_detectors_keep_the_ground_within_their_errors(scene: np.ndarray) -> None:
    bands = [Band(name, nm, 60, 10) for name, nm in zip("BGRN", (490, 560, 665, 842), strict=True)]
    for seed in range(10):
        seen = add_detector_effects(np.random.default_rng(seed), scene, bands, 10)
        assert seen.mean(axis=(1, 2)) == pytest.approx(scene.mean(axis=(1, 2)), rel=0.25)
        assert np.corrcoef(seen.ravel(), scene.ravel())[0, 1] > 0.95


def test_integers_give_reflectance_back_and_nodata_stays_out(scene: np.ndarray) -> None:
    missing = NOTHING.copy()
    missing[:8] = True
    for dtype, offset, empty in (("uint16", -0.1, 0), ("int16", 0.0, -9999)):
        product = to_digital_numbers(scene, missing, 1e-4, offset, dtype)
        assert (
            product.values.dtype == dtype
            and product.nodata == empty
            and (product.values[:, :8] == empty).all()
        )
        back = product.values * product.scale + product.offset
        assert back[:, ~missing] == pytest.approx(scene[:, ~missing], abs=6e-5)


def test_landsat_7_has_wedges_and_other_scenes_slanted_edges() -> None:
    wedges = [draw_gaps(np.random.default_rng(n), "landsat-7", (128, 128)) for n in range(40)]
    edges = [draw_gaps(np.random.default_rng(n), "landsat-8", (128, 128)) for n in range(200)]
    assert 5 < sum(gap.any() for gap in wedges) < 30 and 3 < sum(gap.any() for gap in edges) < 40
    assert all(gap.mean() < 0.5 for gap in wedges + edges)


def test_display_values_keep_the_order_of_brightness(scene: np.ndarray) -> None:
    images = [
        to_display_values(np.random.default_rng(n), scene, NOTHING, colour_only=n < 20)
        for n in range(40)
    ]
    assert {str(image.values.dtype) for image in images[:20]} == {"uint8"}
    assert {str(image.values.dtype) for image in images} == {"uint8", "uint16"}
    for image in images:
        assert image.values.max() * image.scale <= 1
        dark = image.values[:, :, :28].mean(axis=(1, 2))
        bright = image.values[:, :, 36:].mean(axis=(1, 2))
        assert (dark < bright).all()


def test_narrow_choice_of_sensor_by_pixel_width() -> None:
    key, gsd_m = draw_sensor(np.random.default_rng(0), gsd_m=29.0)
    assert gsd_m == 29.0 and get_sensor(key)
    with pytest.raises(KeyError):
        draw_sensor(np.random.default_rng(0), gsd_m=400.0)
