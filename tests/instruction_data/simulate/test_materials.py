"""Spectra of materials: the physics of plants, water, soil and snow; libraries as they come."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from instruction_data.simulate.land.landscape import MATERIAL_KINDS
from instruction_data.simulate.materials import canopy
from instruction_data.simulate.materials.ground import draw_snow, moisten
from instruction_data.simulate.materials.library import WAVELENGTHS, SpectralLibrary
from instruction_data.simulate.materials.spectra import Spectra
from instruction_data.simulate.materials.water_optics import bottom_contribution, draw_water_body
from spex.errors import MissingExtraError, RecordError


def at(spectrum: np.ndarray, nm: float) -> float:
    return float(np.interp(nm, WAVELENGTHS, spectrum))


@pytest.mark.parametrize("kind", MATERIAL_KINDS)
def test_every_material_has_spectra_with_and_without_a_library(kind: str, library: Spectra) -> None:
    for spectra in (Spectra(), library):
        drawn = np.stack([spectra.draw(np.random.default_rng(n), kind) for n in range(8)])
        assert drawn.shape == (8, len(WAVELENGTHS)) and drawn.dtype == np.float32
        assert (drawn >= 0).all() and (drawn < 1.3).all() and len(np.unique(drawn[:, 30])) > 4
        assert np.array_equal(drawn[3], spectra.draw(np.random.default_rng(3), kind))


@pytest.mark.parametrize(
    "kind", ["canopy_broadleaf", "canopy_conifer", "crop_green", "grass_green"]
)
def test_green_plants_have_a_red_edge_and_are_dark_in_water_bands(kind: str) -> None:
    for number in range(10):
        plant = Spectra().draw(np.random.default_rng(number), kind)
        assert (
            at(plant, 850) > 2 * at(plant, 670)
            and at(plant, 550) > at(plant, 450)
            and at(plant, 1940) < at(plant, 1650)
        )


def test_sediment_brightens_water_and_swir_stays_black() -> None:
    ground = np.full(len(WAVELENGTHS), 0.2, np.float32)
    bodies = {
        hint: [draw_water_body(np.random.default_rng(n), hint, ground) for n in range(20)]
        for hint in ("clear", "turbid")
    }
    red = {hint: np.median([at(body.deep, 660) for body in of]) for hint, of in bodies.items()}
    assert red["turbid"] > 3 * red["clear"]
    assert all(
        at(body.deep, 1610) <= at(body.deep, 560) + 0.01 for of in bodies.values() for body in of
    )


def test_a_bright_bottom_shows_through_shallow_clear_water_only() -> None:
    body = draw_water_body(
        np.random.default_rng(1), "clear", np.full(len(WAVELENGTHS), 0.4, np.float32)
    )
    green = np.exp(-(((WAVELENGTHS - 560) / 20) ** 2)).astype(np.float32)[None]
    added = bottom_contribution(body, green / green.sum(), np.array([0.1, 1, 4, 100], np.float32))[
        0
    ]
    assert added[0] > added[1] > added[2] > added[3] and added[0] > 0.05 and abs(added[3]) < 0.005


def test_moisture_darkens_soil_most_where_water_absorbs() -> None:
    dry = np.full(len(WAVELENGTHS), 0.3, np.float32)
    wettest = min((moisten(np.random.default_rng(n), dry) for n in range(30)), key=np.sum)
    assert at(wettest, 700) < 0.25 and at(wettest, 1940) < 0.6 * at(wettest, 700)


def test_snow_is_bright_to_the_eye_and_dark_in_swir_the_coarser_the_darker() -> None:
    fresh, ice = (
        np.stack([draw_snow(np.random.default_rng(n), kind) for n in range(40)])
        for kind in ("snow", "ice")
    )
    near, swir = np.searchsorted(WAVELENGTHS, (1030, 1610))
    assert np.median(fresh[:, 30]) > 0.7 and fresh[:, swir].max() < 0.3
    assert np.median(ice[:, near]) < 0.5 * np.median(fresh[:, near])


def test_groups_weigh_more_than_repeats(tmp_path: Path) -> None:
    spectra = np.concatenate(
        [np.full((99, len(WAVELENGTHS)), 0.1), np.full((1, len(WAVELENGTHS)), 0.5)]
    )
    names = np.array([f"beach.{n}" for n in range(99)] + ["dune"])
    path = tmp_path / "spectra.npz"
    np.savez(
        path,
        wavelengths_nm=WAVELENGTHS,
        reflectance=spectra,
        names=names,
        **{"class": np.full(100, "sand")},
    )
    drawn = [SpectralLibrary(path).draw(np.random.default_rng(n), "sand")[0] for n in range(200)]
    assert 0.04 < np.mean(np.array(drawn) > 0.3) < 0.2  # one of eleven parts, not one of a hundred


def test_envi_libraries_are_read_by_the_names_of_their_spectra(tmp_path: Path) -> None:
    micrometres = np.linspace(0.4, 2.45, 120)
    values = np.stack([np.full(120, v) for v in (1200, 3000, 900, 5000)]).astype("<i2")
    values.tofile(tmp_path / "town.sli")
    (tmp_path / "town.hdr").write_text(
        "ENVI\nsamples = 120\nlines = 4\nbands = 1\nheader offset = 0\n"
        "file type = ENVI Spectral Library\n"
        "data type = 2\nbyte order = 0\nwavelength units = Micrometers\n"
        "spectra names = {\n asphalt 1, red clay tile,\n lawn grass, nobody knows}\n"
        f"wavelength = {{{', '.join(f'{w:.4f}' for w in micrometres)}}}\n"
    )
    library = SpectralLibrary(tmp_path / "town.hdr")
    kinds = {kind for kind in MATERIAL_KINDS if kind in library}
    assert kinds == {"asphalt", "crop_green", "grass_green", "roof"}
    assert library.draw(np.random.default_rng(0), "roof") == pytest.approx(0.3)


def test_what_is_no_library_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "odd.npz", reflectance=np.ones((2, 3)))
    (tmp_path / "alone.sli").write_bytes(b"")
    for name, reason in (
        ("odd.npz", "lacks the arrays"),
        ("alone.sli", "its .hdr"),
        ("none.npz", "no spectral library"),
    ):
        with pytest.raises(RecordError, match=reason):
            SpectralLibrary(tmp_path / name)


def test_plants_without_prosail_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prosail", None)
    canopy._prosail.cache_clear()
    with pytest.raises(MissingExtraError, match=r"spex\[sim\]"):
        Spectra().draw(np.random.default_rng(0), "shrub")
