"""Thresholds, classes present and absent, and the maps and text made of them."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from spex.evidence.classes import classes, index_range
from spex.evidence.indices import role_planes
from spex.evidence.maps import CHANNELS, class_score, evidence_maps
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.evidence.text import MAX_CHARS, evidence_text
from spex.evidence.thresholds import scene_threshold
from spex.raster.scene import Pixels, Scene
from spex.sensors import Band
from tests.scenes import write_synthetic_scene

ROLES = ("B", "G", "R", "N", "S1", "S2")
BANDS = tuple(
    Band(role, nm, width)
    for role, nm, width in zip(
        ROLES, (490, 560, 665, 842, 1610, 2190), (65, 35, 30, 115, 90, 180), strict=True
    )
)
# Reflectance in the six roles, after the usual spectral libraries.
SPECTRA = {
    "water": (0.05, 0.06, 0.04, 0.02, 0.01, 0.01),
    "forest": (0.02, 0.04, 0.025, 0.30, 0.14, 0.06),
    "crop": (0.04, 0.08, 0.06, 0.42, 0.22, 0.12),
    "soil": (0.08, 0.12, 0.17, 0.24, 0.32, 0.28),
    "snow": (0.85, 0.84, 0.82, 0.75, 0.12, 0.08),
    "cloud": (0.55, 0.53, 0.53, 0.56, 0.45, 0.38),
    "burned": (0.04, 0.05, 0.07, 0.10, 0.22, 0.24),
}


def make(
    kinds: np.ndarray, names: list[str], level: str = "surface", count: int = 6, seed: int = 0
) -> Pixels:
    """Pixels of kind ``i`` have the spectrum ``names[i]``, with 8 % brightness and sensor noise."""
    rng = np.random.default_rng(seed)
    values = np.array([SPECTRA[name] for name in names])[kinds].transpose(2, 0, 1)
    values = values * (1 + 0.08 * rng.normal(size=kinds.shape)) + 0.003 * rng.normal(
        size=values.shape
    )
    return Pixels(
        values[:count].astype(np.float32), np.ones(kinds.shape, bool), BANDS[:count], level, 10.0
    )


def lake(size: int = 128) -> np.ndarray:
    """1 in a disc in the north-west, 0 elsewhere."""
    row, col = np.mgrid[0:size, 0:size]
    return ((row - size * 0.3) ** 2 + (col - size * 0.3) ** 2 < (size * 0.2) ** 2).astype(int)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


@pytest.mark.parametrize("level", ["surface", "toa"])
@pytest.mark.parametrize("count", [4, 6])
def test_a_lake_in_a_forest_is_found_where_it_is(level: str, count: int) -> None:
    kinds = lake()
    pixels = make(kinds, ["forest", "water"], level, count)
    evidence = measure(pixels)
    water = evidence.classes["water"]
    assert water.status == "present" and water.index == ("MNDWI" if count == 6 else "NDWI")
    assert iou(class_score(pixels, evidence, "water") > 0.5, kinds == 1) > 0.98
    assert water.fraction == pytest.approx(kinds.mean(), abs=0.005)
    assert water.inside > water.threshold > water.outside and water.separability > 4
    assert water.location == water.regions[0].location == "northwest"
    assert iou(class_score(pixels, evidence, "vegetation") > 0.5, kinds == 0) > 0.98
    assert evidence.present("tree_cover") and evidence.classes["tree_cover"].weak
    for absent in ("snow_ice", "cloud", "burned") if count == 6 else ("cloud",):
        assert evidence.classes[absent].status == "absent", absent


@pytest.mark.parametrize(
    ("kind", "here", "gone"),
    [
        ("water", {"water"}, {"vegetation", "bare", "snow_ice", "built_up"}),
        (
            "forest",
            {"vegetation", "tree_cover"},
            {"water", "bare", "snow_ice", "burned", "cloud", "built_up"},
        ),
        (
            "soil",
            {"bare", "soil"},
            {"water", "vegetation", "tree_cover", "snow_ice", "burned", "cloud"},
        ),
        ("snow", {"snow_ice"}, {"water", "vegetation", "cloud", "bare"}),
        ("cloud", {"cloud"}, {"water", "vegetation", "snow_ice", "bare", "built_up"}),
    ],
)
def test_a_scene_of_one_kind_is_not_cut_in_half(kind: str, here: set[str], gone: set[str]) -> None:
    evidence = measure(make(np.zeros((96, 96), int), [kind]))
    assert not any(stats.bimodal for stats in evidence.indices.values())
    assert {n for n in here if evidence.present(n) and evidence.classes[n].fraction > 0.97} == here
    assert {n for n in gone if evidence.classes[n].status == "absent"} == gone
    assert all(evidence.classes[n].reason for n in gone)


def test_absence_is_not_claimed_of_a_threshold_that_pixels_pass() -> None:
    grassland = measure(make(np.zeros((96, 96), int), ["forest"])).classes["grassland"]
    assert grassland.status == "absent" and grassland.outside > grassland.threshold
    assert "none of them meets the other conditions" in grassland.reason


def test_burned_land_needs_short_wave_infrared() -> None:
    kinds = lake()
    pixels = make(kinds, ["forest", "burned"])
    evidence = measure(pixels)
    assert iou(class_score(pixels, evidence, "burned") > 0.5, kinds == 1) > 0.95
    without = measure(make(kinds, ["forest", "burned"], count=4)).classes["burned"]
    assert without.status == "unavailable" and "SWIR (S2)" in without.reason


def test_three_bands_say_what_they_cannot_tell() -> None:
    evidence = measure(make(lake(), ["forest", "water"], count=3))
    assert evidence.classes["water"].status == "unavailable"
    assert (
        evidence.classes["vegetation"].weak
        or evidence.classes["vegetation"].status == "unavailable"
    )
    assert "water (needs green with NIR or SWIR)" in evidence_text(evidence)


def test_display_values_use_relative_thresholds_and_refuse_absolute_classes() -> None:
    kinds = lake()
    shown = make(kinds, ["crop", "water"], "uncalibrated", 4)
    stretched = np.clip(
        shown.values / np.quantile(shown.values, 0.99, axis=(1, 2), keepdims=True), 0, 1
    )
    pixels = Pixels(stretched.astype(np.float32), shown.valid, shown.bands, "uncalibrated", 1.0)
    evidence = measure(pixels)
    assert iou(class_score(pixels, evidence, "water") > 0.5, kinds == 1) > 0.95
    assert evidence.classes["cloud"].reason == "requires calibrated reflectance"
    assert evidence_text(evidence).startswith("display values\n")


def test_specks_of_noise_do_not_make_a_class() -> None:
    rng = np.random.default_rng(5)
    kinds = (rng.random((128, 128)) < 2e-4).astype(int)
    assert measure(make(kinds, ["forest", "water"])).classes["water"].status == "absent"


def test_children_lie_inside_their_parents_and_clouds_hide_what_is_below() -> None:
    kinds = np.zeros((96, 96), int)
    kinds[:, 32:64], kinds[:, 64:] = 1, 2
    pixels = make(kinds, ["soil", "crop", "cloud"])
    evidence = measure(pixels)
    for name, land_class in classes().items():
        score = class_score(pixels, evidence, name) > 0.5
        if land_class.parent:
            assert not (score & ~(class_score(pixels, evidence, land_class.parent) > 0.5)).any()
    assert evidence.present("cloud")
    assert not (class_score(pixels, evidence, "built_up") > 0.5)[:, 64:].any()


def test_invalid_pixels_change_nothing_and_score_zero() -> None:
    kinds = lake()
    pixels = make(kinds, ["forest", "water"])
    valid = pixels.valid.copy()
    valid[:, 100:] = False
    holed = Pixels(np.where(valid, pixels.values, 0), valid, pixels.bands, pixels.level, None)
    cut = Pixels(pixels.values[:, :, :100], valid[:, :100], pixels.bands, pixels.level, None)
    evidence, expected = measure(holed), measure(cut)
    assert evidence.indices["MNDWI"].threshold == pytest.approx(
        expected.indices["MNDWI"].threshold, abs=0.02
    )
    assert evidence.classes["water"].fraction == pytest.approx(
        expected.classes["water"].fraction, abs=1e-3
    )
    assert not class_score(holed, evidence, "vegetation")[~valid].any()
    assert not evidence_maps(holed, evidence)[:, ~valid].any()


def test_a_scene_without_valid_pixels_shows_nothing() -> None:
    pixels = Pixels(
        np.zeros((6, 16, 16), np.float32), np.zeros((16, 16), bool), BANDS, "surface", None
    )
    evidence = measure(pixels)
    assert not any(evidence.present(name) for name in classes())
    assert len(evidence_text(evidence)) <= MAX_CHARS
    json.dumps(evidence.to_dict(), allow_nan=False)


def test_thresholds_fall_back_to_physics_unless_two_modes_are_there() -> None:
    rng = np.random.default_rng(1)
    limits = index_range("MNDWI", True)
    two = np.concatenate([rng.normal(-0.4, 0.05, 8000), rng.normal(0.5, 0.05, 2000)])
    threshold, bimodal = scene_threshold(two, limits)
    assert bimodal and limits.low <= threshold <= limits.high
    for one in (
        rng.normal(0.05, 0.1, 9000),
        rng.uniform(-0.3, 0.4, 9000),
        np.full(5000, 0.3),
        np.array([]),
    ):
        assert scene_threshold(one, limits) == (limits.threshold, False)
    far = np.concatenate([rng.normal(0.5, 0.02, 5000), rng.normal(0.8, 0.02, 5000)])
    assert scene_threshold(far, limits) == (limits.threshold, False)


def test_channels_are_fixed_and_follow_their_names() -> None:
    assert len(CHANNELS) == 36 and CHANNELS[:3] == ("B:value", "B:z", "B:valid")
    assert CHANNELS[-3:] == ("BI:value", "BI:relative", "BI:valid")
    pixels = make(lake(), ["forest", "water"])
    evidence = measure(pixels)
    maps = dict(zip(CHANNELS, evidence_maps(pixels, evidence), strict=True))
    planes = role_planes(pixels)
    np.testing.assert_array_equal(maps["N:value"], planes["N"])
    z = (planes["N"] - evidence.band_mean["N"]) / evidence.band_std["N"]
    np.testing.assert_allclose(maps["N:z"], np.clip(z, -4, 4) / 2, atol=1e-4)
    relative = (maps["MNDWI:value"] - evidence.indices["MNDWI"].threshold) / 0.2
    np.testing.assert_allclose(maps["MNDWI:relative"], np.clip(relative, -3, 3), atol=1e-4)
    assert all(maps[f"{name}:valid"].all() for name in (*ROLES, "NDVI", "BI"))


def test_maps_of_bands_that_are_missing_are_zero() -> None:
    pixels = make(lake(), ["forest", "water"], count=4)
    maps = dict(zip(CHANNELS, evidence_maps(pixels, measure(pixels)), strict=True))
    for name in ("S1", "S2", "MNDWI", "NDBI", "NBR", "BI"):
        assert not any(
            plane.any() for channel, plane in maps.items() if channel.startswith(f"{name}:")
        )
    assert maps["NDWI:valid"].all()


def test_tiles_see_the_scene_as_the_whole_does() -> None:
    pixels = make(lake(), ["forest", "water"])
    evidence = measure(pixels)
    tile = Pixels(
        pixels.values[:, 20:80, 30:90], pixels.valid[20:80, 30:90], pixels.bands, pixels.level, 10.0
    )
    whole = evidence_maps(pixels, evidence)[:, 20:80, 30:90]
    np.testing.assert_array_equal(evidence_maps(tile, evidence), whole)
    score = class_score(pixels, evidence, "water")
    np.testing.assert_array_equal(class_score(tile, evidence, "water"), score[20:80, 30:90])
    assert score.dtype == np.float32 and score.min() >= 0 and score.max() <= 1


def test_evidence_is_picklable_and_plain_json() -> None:
    evidence = measure(make(lake(), ["forest", "water"]))
    assert pickle.loads(pickle.dumps(evidence)).to_dict() == evidence.to_dict()
    document = json.loads(json.dumps(evidence.to_dict(), allow_nan=False))
    assert document["classes"]["water"]["status"] == "present"
    assert len(document["classes"]["water"]["regions"]) <= 10


def test_a_file_read_by_gdal_gives_the_same_classes(tmp_path: Path) -> None:
    truth = write_synthetic_scene(tmp_path / "scene.tif")
    scene = Scene.open(tmp_path / "scene.tif", sensor="sentinel-2a")
    overview = scene.overview()
    evidence = measure(overview)
    assert iou(class_score(overview, evidence, "water") > 0.5, truth == 1) > 0.95
    assert iou(class_score(overview, evidence, "vegetation") > 0.5, truth == 2) > 0.95
    bare = class_score(overview, evidence, "bare") > 0.5
    assert bare[truth == 3].mean() > 0.95 and bare[(truth == 1) | (truth == 2)].mean() < 0.01


CLASS_LINE = re.compile(
    r"[a-z_]+(?: \(weak\))?: [A-Za-z0-9:]+ (?:above|below) -?\d+\.\d\d, share [\d.]+%, "
    r"\d+ regions, "
    r"(?:mostly [a-z]+|everywhere), inside -?\d+\.\d\d(?:, outside -?\d+\.\d\d)?"
)
REGION = re.compile(
    r"[a-z_]+ [\d.]+% [a-z]+ at \d\.\d\d,\d\.\d\d box \d\.\d\dx\d\.\d\d angle (?:\d|\d\d|1[0-7]0) "
    r"[A-Za-z0-9:]+ -?\d+\.\d\d"
)


def check_grammar(text: str) -> None:
    assert len(text) <= MAX_CHARS
    for line in text.splitlines():
        title, _, rest = line.partition(": ")
        if title == "regions":
            assert all(REGION.fullmatch(part) for part in rest.split("; ")), line
        elif title not in ("display values", "absent", "unavailable"):
            assert CLASS_LINE.fullmatch(line), line


@pytest.fixture(scope="module")
def mixed() -> SceneEvidence:
    kinds = np.random.default_rng(2).integers(0, 5, (16, 16)).repeat(8, 0).repeat(8, 1)
    return measure(make(kinds, ["forest", "water", "crop", "soil", "burned"]))


@pytest.mark.parametrize(
    "query", ["", "lakes", "burned land and forests", "snow", "cars", "all " + "water soil " * 50]
)
def test_the_evidence_text_follows_its_grammar(mixed: SceneEvidence, query: str) -> None:
    text = evidence_text(mixed, query)
    check_grammar(text)
    assert text == evidence_text(mixed, query)


def test_the_evidence_text_puts_first_what_is_asked_for(mixed: SceneEvidence) -> None:
    text = evidence_text(mixed, "where is burned land?")
    assert text.startswith("burned: NBR below ")
    told = text.splitlines()[-1].removeprefix("regions: ").split("; ")
    assert 1 <= len(told) <= 10 and all(part.startswith("burned ") for part in told)
    assert "absent: " in text and "snow_ice (NDSI below 0.40)" in text
    assert evidence_text(mixed, "burned land", max_regions=2).count(" box ") == 2
    assert "regions:" not in evidence_text(mixed, "snow")


def test_the_evidence_text_of_display_values_keeps_within_bounds() -> None:
    kinds = np.random.default_rng(2).integers(0, 4, (16, 16)).repeat(8, 0).repeat(8, 1)
    for count in (3, 4, 6):
        evidence = measure(make(kinds, ["forest", "water", "crop", "soil"], "uncalibrated", count))
        for query in ("", "lakes, trees, roads, houses, sand"):
            check_grammar(evidence_text(evidence, query))
