"""The band-shift benchmark: its band sets, mixed bands and table are right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spex.model.spectral import band_batch
from spex.raster.scene import Pixels
from spex.sensors import Band
from tests.benchmarks import bandshift
from tests.benchmarks.bandshift import SETS, SMALL, LinearPatches, varied


def image(bands: tuple[Band, ...], spectrum: np.ndarray) -> Pixels:
    values = np.repeat(spectrum.astype(np.float32), 64).reshape(-1, 8, 8)
    return Pixels(values, np.ones((8, 8), bool), bands, "surface", 20.0)


def test_shifted_bands_are_new_and_disjoint_ones_share_no_light() -> None:
    assert (
        len(SETS["eight"])
        == len(SETS["shifted"])
        == len(SETS["disjoint"])
        == 2 * len(SETS["every second"])
    )
    assert set(SETS["every second"]) < set(SETS["eight"])
    for name in ("shifted", "disjoint"):
        nearest = min(
            abs(a.wavelength_nm - b.wavelength_nm) for a in SETS["eight"] for b in SETS[name]
        )
        assert nearest >= 40  # responses of FWHM 40 then overlap by less than 2 %


def test_mixed_bands_see_what_a_sensor_with_such_bands_would() -> None:
    bands = SETS["eight"]
    slope = image(bands, np.array([band.wavelength_nm for band in bands]) / 3000)
    rng = np.random.default_rng(0)
    for _ in range(20):
        made = varied(slope, rng)
        assert 4 <= len(made.bands) <= 8
        for values, band in zip(made.values, made.bands, strict=True):
            assert values[0, 0] == pytest.approx(band.wavelength_nm / 3000, abs=1e-6)
            assert band.fwhm_nm > 39.9


def test_linear_patches_take_the_nearest_band() -> None:
    torch.manual_seed(0)
    model, ours = LinearPatches(SMALL, SETS["eight"]).eval(), SETS["eight"]
    values = np.random.default_rng(0).uniform(0, 0.5, 8)

    def tokens(pixels: Pixels) -> torch.Tensor:
        kernels = model.generate(band_batch([pixels]))
        values, valid = torch.from_numpy(pixels.values), torch.from_numpy(pixels.valid)
        return model.embed(values, valid, kernels.kernel[0], kernels.bias[0])

    moved = tuple(replace(band, wavelength_nm=band.wavelength_nm + 20) for band in ours)
    whole = tokens(image(ours, values))
    assert torch.allclose(whole, tokens(image(moved[::-1], values[::-1])), atol=1e-6)
    half = tokens(image(ours[::2], values[::2]))
    assert torch.allclose(half, tokens(image(ours, values[[0, 0, 2, 2, 4, 4, 6, 6]])), atol=1e-6)


def test_a_tiny_run_gives_the_whole_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "table.json"
    bandshift.main(
        ["--minutes", "0.001", "--seeds", "1", "--landscapes", "1", "--output", str(output)]
    )
    found = json.loads(output.read_text())
    lines = found["tables"]["simulated"]["miou"]
    assert [(line["tested"], line["budget"]) for line in lines] == [
        ("shifted", 0.1), ("disjoint", 0.2), ("every second", 0.05), ("landsat-8", 0.1),
    ]  # fmt: skip
    assert all(0 <= one["other"] <= 1 for line in lines for one in line["arms"].values())
    assert "sentinel-2 -> landsat-8" in capsys.readouterr().out
