"""The sensor table and the spectral roles."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest
import spyndex
from hypothesis import given, settings
from hypothesis import strategies as st

from spex.errors import BandError
from spex.raster.band_metadata import check_bands
from spex.sensors import LEVELS, ROLES, Band, get_sensor, recognise, role_weights

FAMILIES = {
    "sentinel-2": "abc", "landsat-": "5789", "hls-": ["l30", "s30"], "hls": "7",
    "planetscope-": "48", "worldview-": ["2", "3", "3-swir"], "spot-": "67",
    "aviris-": ["c", "ng", "3"],
}  # fmt: skip
NAMED = ["naip", "pleiades", "enmap", "prisma", "desis", "emit", "hyperion"]
NAMED += [family + member for family, members in FAMILIES.items() for member in members]


@pytest.mark.parametrize("key", NAMED)
def test_every_sensor_is_complete_and_possible(key: str) -> None:
    sensor = get_sensor(key)
    assert sensor.key == key and sensor.title and sensor.level in LEVELS
    assert len(sensor.source) > 20
    check_bands(sensor.bands, key)
    assert all(b.wavelength_nm and b.fwhm_nm and b.gsd_m for b in sensor.bands)
    assert all(sensor.layout(len(order)) for order in sensor.orders)
    roles = role_weights(sensor.bands)
    assert {"B", "G", "R", "N"} <= set(roles)


def test_the_table_has_no_sensor_without_a_source() -> None:
    table = json.loads(
        resources.files("spex").joinpath("data/sensors.json").read_text(encoding="utf-8")
    )
    assert set(table) == set(NAMED)
    assert all(entry["source"] for entry in table.values())


@pytest.mark.parametrize("spelling", ["Sentinel 2A", "SENTINEL_2A", "s2a", "S2", "sentinel-2"])
def test_spellings_of_a_sensor(spelling: str) -> None:
    assert get_sensor(spelling).key == "sentinel-2a"


def test_an_unknown_sensor_names_its_neighbours() -> None:
    with pytest.raises(BandError, match=r"no sensor is called 'sentinel-2x'.*sentinel-2"):
        get_sensor("sentinel-2x")
    with pytest.raises(BandError, match="`spex sensors` lists the names"):
        get_sensor("???")


def test_band_names_forgive_spelling() -> None:
    sensor = get_sensor("sentinel-2a")
    assert [sensor.find(n).name for n in ("b3", "B03", "b_03", "green", "B8A", "swir22")] == [
        "B03"
    ] * 4 + [
        "B8A",
        "B12",
    ]  # type: ignore[union-attr]
    assert sensor.find("B13") is None


@pytest.mark.parametrize(
    ("platform", "key"),
    [
        ("sentinel2a", "sentinel-2a"),
        ("sentinel2b", "sentinel-2b"),
        ("landsat5", "landsat-5"),
        ("landsat8", "landsat-8"),
    ],
)
def test_roles_lie_where_spyndex_puts_them(platform: str, key: str) -> None:
    bands = get_sensor(key).bands
    weights = role_weights(bands)
    both = {
        role: getattr(spyndex.bands[role], platform)
        for role in ROLES
        if hasattr(spyndex.bands[role], platform)
    }
    assert len(both) >= 6
    for role, known in both.items():
        ours = sum(
            w * b.wavelength_nm
            for w, b in zip(weights[role], bands, strict=True)
            if b.wavelength_nm
        )
        assert ours == pytest.approx(known.wavelength, abs=30), role


def test_nir_is_the_broad_band_and_never_water_vapour() -> None:
    bands = get_sensor("sentinel-2a").bands
    assert bands[int(np.argmax(role_weights(bands)["N"]))].name == "B08"
    lone = [
        Band("vapour", 945.0, 20.0),
        Band("cirrus", 1375.0, 30.0),
        Band("pan", 650.0, 300.0),
        Band("?", None, None),
    ]
    assert role_weights(lone) == {}


@pytest.mark.parametrize("key", ["aviris-c", "enmap", "emit", "hyperion", "desis"])
def test_hyperspectral_roles_average_narrow_bands_around_the_centre(key: str) -> None:
    bands = get_sensor(key).bands
    centre = np.array([b.wavelength_nm for b in bands])
    weights = role_weights(bands)
    for role, expected in {"B": 490, "G": 560, "R": 665, "N": 842}.items():
        assert np.count_nonzero(weights[role]) >= 4
        assert weights[role] @ centre == pytest.approx(expected, abs=8)


def test_denser_sampling_does_not_move_a_role() -> None:
    coarse = [Band(str(i), 600.0 + 5 * i, 5.0) for i in range(30)]
    extra = [Band(f"x{i}", 666.0 + i, 1.0) for i in range(0, 8)]

    def spectrum(bands: list[Band]) -> np.ndarray:
        return np.array([(b.wavelength_nm or 0) / 1000 for b in bands])

    plain, dense = (
        role_weights(coarse)["R"] @ spectrum(coarse),
        role_weights(coarse + extra)["R"] @ spectrum(coarse + extra),
    )
    assert dense == pytest.approx(plain, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(300, 2600), st.floats(1, 200) | st.none()), min_size=1, max_size=60
    )
)
def test_weights_are_a_mean(bands: list[tuple[float, float | None]]) -> None:
    for weights in role_weights(
        [Band(str(i), centre, width) for i, (centre, width) in enumerate(bands)]
    ).values():
        assert weights.shape == (len(bands),)
        assert (weights >= 0).all() and weights.sum() == pytest.approx(1)


def test_recognised_only_where_nothing_else_fits() -> None:
    assert recognise(13, "uint16").key == "sentinel-2a"  # type: ignore[union-attr]
    assert recognise(285, "int16").key == "emit"  # type: ignore[union-attr]
    assert recognise(224, "int16") is None  # AVIRIS Classic or EnMAP
    assert recognise(4, "uint8") is None
    assert recognise(13, "float32") is None
