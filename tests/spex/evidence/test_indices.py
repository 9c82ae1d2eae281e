"""Indices by spyndex on band roles."""

from __future__ import annotations

import numpy as np
import pytest
import spyndex

from spex.errors import MissingBandError
from spex.evidence.indices import (
    OFFERED_INDICES,
    available_indices,
    compute_index,
    compute_indices,
    index_roles,
    role_planes,
)
from spex.raster.scene import Pixels
from spex.sensors import get_sensor
from tests.scenes import even_bands, synthetic_scene


def _pixels(bands: tuple) -> Pixels:
    values, _ = synthetic_scene(bands, 32, 32)
    return Pixels(values, np.ones((32, 32), bool), bands, "surface", 10.0)


def test_a_multispectral_role_is_its_band() -> None:
    pixels = _pixels(get_sensor("sentinel-2a").bands)
    planes = role_planes(pixels)
    names = [band.name for band in pixels.bands]
    assert np.shares_memory(planes["G"], pixels.values) and np.array_equal(
        planes["G"], pixels.values[names.index("B03")]
    )
    assert {"B", "G", "R", "N", "S1", "S2"} <= set(planes)


def test_roles_of_many_narrow_bands_agree_with_a_multispectral_sensor() -> None:
    wide = role_planes(_pixels(get_sensor("sentinel-2a").bands))
    narrow = role_planes(_pixels(even_bands(200)))
    for role in ("B", "G", "R", "N", "S1", "S2"):
        assert narrow[role].dtype == np.float32
        assert abs(float(np.median(wide[role])) - float(np.median(narrow[role]))) < 0.03, role


def test_an_index_is_what_its_formula_says() -> None:
    planes = {"N": np.array([[0.4, 0.1]], np.float32), "R": np.array([[0.1, 0.3]], np.float32)}
    np.testing.assert_allclose(compute_index("NDVI", planes), [[0.6, -0.5]], rtol=1e-6)


def test_undefined_is_nan_and_negative_reflectance_counts_as_zero() -> None:
    planes = {"G": np.array([[0.0, 0.1]], np.float32), "S1": np.array([[0.0, -0.05]], np.float32)}
    with np.errstate(all="raise"):
        mndwi = compute_index("MNDWI", planes)
    assert np.isnan(mndwi[0, 0]) and mndwi[0, 1] == 1


def test_constants_take_spyndex_defaults() -> None:
    planes = {"N": np.full((1, 1), 0.4, np.float32), "R": np.full((1, 1), 0.1, np.float32)}
    planes["B"] = np.full((1, 1), 0.05, np.float32)
    np.testing.assert_allclose(
        compute_index("EVI", planes), 2.5 * 0.3 / (0.4 + 0.6 - 0.375 + 1), rtol=1e-5
    )


def test_several_indices_at_once_equal_each_alone() -> None:
    planes = role_planes(_pixels(get_sensor("sentinel-2a").bands))
    both = compute_indices(["NDVI", "BI", "NDVI"], planes)
    assert list(both) == ["NDVI", "BI"]
    assert np.array_equal(both["BI"], compute_index("BI", planes))
    assert compute_indices([], planes) == {}


def test_what_is_available_follows_the_roles() -> None:
    assert available_indices({"B", "G", "R"}) == ["NDTI", "NDYI", "GLI"]
    assert set(available_indices({"B", "G", "R", "N", "S1", "S2"})) >= {
        "NDVI",
        "NDWI",
        "MNDWI",
        "NDBI",
        "NBR",
        "BI",
    }
    assert available_indices(set()) == []


@pytest.mark.parametrize(("name", "told"), [("MNDWI", "S1"), ("NOSUCH", "NOSUCH")])
def test_missing_band_or_index_is_named(name: str, told: str) -> None:
    with pytest.raises(MissingBandError, match=told):
        compute_index(name, {"G": np.zeros((1, 1), np.float32), "N": np.zeros((1, 1), np.float32)})


@pytest.mark.parametrize("name", [*OFFERED_INDICES, "MBI", "WI2015", "TGI", "IAVI", "MSAVI", "CIG"])
def test_every_value_is_what_spyndex_computes(name: str) -> None:
    rng = np.random.default_rng(5)
    planes = {
        role: rng.normal(0.1, 0.1, (150, 700)).astype(np.float32)
        for role in ("B", "G", "R", "RE1", "N", "S1", "S2")
    }
    planes["RE2"] = planes["RE3"] = planes["A"] = planes["N"]
    for plane in planes.values():
        plane[140:] = 0
    params = {role: np.maximum(planes[role], 0) for role in index_roles(name)}
    params |= {
        c: spyndex.constants[c].default
        for c in spyndex.indices[name].bands
        if c in spyndex.constants
    }
    with np.errstate(all="ignore"):
        expected = np.asarray(spyndex.computeIndex([name], params))
    found = compute_index(name, planes)
    assert found.dtype == np.float32 and np.array_equal(
        found, np.where(np.isfinite(expected), expected, np.nan), equal_nan=True
    )
