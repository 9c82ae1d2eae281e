from __future__ import annotations

import logging
import os

import numpy as np
import pytest
import rasterio

from spex.engine import Extractor, Session, extract, load
from spex.engine.cache import FeatureCache
from spex.raster.working_rasters import NODATA

WATER = "<seg class=water>water</seg>: <fact:area>."


@pytest.fixture
def lake(painted):
    plane = np.full((100, 120), 0.1, np.float32)
    plane[20:60, 30:90] = 0.9
    return painted(water=plane)


@pytest.mark.parametrize("memory", [1 << 30, 3 * 5 * 64 * 64 * 4, 0])
def test_the_second_query_computes_no_features(painter, lake, memory):
    predictor = painter(WATER)
    with Session(lake, predictor, tile=64, overlap=16, memory=memory) as session:
        first = session.ask("water")
        calls = predictor.calls["features"]
        second = session.ask("water again")
    assert calls == first.tiles == 6
    assert predictor.calls == {"features": calls, "decode": calls}
    assert first.answer == second.answer == "Water: 24.0 ha."


@pytest.fixture
def land(painted):
    """4 ha of water, 8 ha of vegetation, half of which is cropland."""
    planes = {name: np.full((100, 120), 0.1, np.float32) for name in ("water", "vegetation")}
    planes["cropland"] = np.full((100, 120), 0.1, np.float32)
    planes["water"][10:30, 10:30] = 0.9
    planes["vegetation"][50:70, 40:80] = 0.8
    planes["cropland"][50:70, 40:60] = 0.7
    return painted(**planes)


def test_a_class_is_computed_once_in_a_session(painter, answer_with, land):
    predictor = painter()
    texts = (
        "<seg class=water>lakes</seg>: <fact:area>.",
        "<seg class=water where=south>water</seg>: <fact:area>.",
        "<seg class=vegetation not=cropland>plants</seg>: <fact:area>.",
        "<seg class=cropland>fields</seg> and <seg class=water>water</seg>.",
    )
    computed = []
    with Session(land, predictor, tile=64, overlap=16) as session:
        for text in texts:
            answer_with(text)
            predictor.decoded.clear()
            result = session.ask("as told")
            computed.append(list(dict.fromkeys(predictor.decoded)))
            assert result.tiles == 6
    assert computed == [["water"], [], ["vegetation", "cropland"], []]
    assert predictor.calls["features"] == 6
    assert [mask.sum() for mask in result.masks] == [400, 400]


def test_constraints_cut_a_mask_and_leave_its_probability(painter, answer_with, land):
    levels = []
    with Session(land, painter(), tile=64, overlap=16) as session:
        for attributes in ("", " where=west", " min_area=1ha", " not=water", ""):
            answer_with(f"<seg class=vegetation{attributes}>plants</seg>: <fact:area>.")
            result = session.ask("plants")
            with rasterio.open(result.probability_path) as source:
                levels.append(source.read())
    for other in levels[1:]:
        np.testing.assert_array_equal(other, levels[0])


def test_every_valid_pixel_needs_no_predictor(painter, answer_with, painted):
    predictor = painter()
    valid = np.ones((100, 120), bool)
    valid[:10] = False
    answer_with("<seg class=any>everything</seg>: <fact:area>.")
    result = extract(painted(valid=valid), "everything", predictor, tile=64, overlap=16)
    assert predictor.calls == {"features": 0, "decode": 0}
    np.testing.assert_array_equal(result.masks[0], valid)


def test_everything_but_a_class(painter, answer_with, land):
    answer_with("<seg class=any not=water>land</seg>: <fact:area>.")
    result = extract(land, "everything but water", painter())
    assert extract(land, "everything but water", painter()).masks[0].sum() == 100 * 120 - 400
    with rasterio.open(result.probability_path) as source:
        assert source.count == 1


def test_progress_ends_though_nothing_is_left_to_compute(painter, lake):
    seen = []
    with Session(lake, painter(WATER), tile=64, overlap=16) as session:
        session.ask("water")
        session.ask("water", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(6, 6)]


def test_closing_a_session_removes_its_files(painter, lake, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Session(lake, painter(WATER), memory=0) as session:
        result = session.ask("water")
        assert len(list(tmp_path.iterdir())) == 3  # features, classes, the result
    assert list(tmp_path.iterdir()) == [result.mask_path.parent]


def test_spilled_features_come_back_whole_and_go_with_the_session():
    cache = FeatureCache(budget=100)
    made = {number: {"a": np.full(10, number), "b": (np.ones(3),)} for number in range(3)}
    for number, features in made.items():
        cache.get(number, lambda features=features: features)
    folder = cache._folder.name

    def never():
        raise AssertionError("computed twice")

    for number, features in made.items():
        back = cache.get(number, never)
        np.testing.assert_array_equal(back["a"], features["a"])
        np.testing.assert_array_equal(back["b"][0], features["b"][0])
    cache.close()
    with pytest.raises(FileNotFoundError):
        os.scandir(folder)


class TestFailedTiles:
    def flaky(self, painter, failures: int, where=(0, 0)):
        class Flaky(painter):
            left = failures

            def features(self, pixels):
                if self.left and pixels.values[0, 0, 0] == np.float32(0.77):
                    self.left -= 1
                    raise RuntimeError("out of luck")
                return super().features(pixels)

        return Flaky(WATER)

    def scene(self, painted):
        plane = np.full((100, 120), 0.1, np.float32)
        plane[20:60, 30:90] = 0.9
        plane[0, 0] = 0.77
        return painted(water=plane)

    def test_a_tile_is_tried_again(self, painter, painted, caplog):
        with caplog.at_level(logging.WARNING):
            result = extract(
                self.scene(painted), "water", self.flaky(painter, 1), tile=64, overlap=16
            )
        assert result.failed == ()
        assert "computed again" in caplog.text
        assert result.valid_fraction == 1

    def test_a_tile_that_fails_twice_is_no_data_and_listed(self, painter, painted):
        result = extract(self.scene(painted), "water", self.flaky(painter, 2), tile=64, overlap=16)
        (failed,) = result.failed
        assert (failed.row, failed.col) == (0, 0)
        assert "out of luck" in failed.reason
        with rasterio.open(result.mask_path) as source:
            values = source.read(1)
        empty = values == NODATA
        assert empty[:36, :28].all()  # what no neighbour covers
        assert not empty[64:].any()
        assert result.to_dict()["tiles"] == {"total": 6, "failed": 1}
        assert (values[~empty] == 1).sum() == result.facts[0].pixels

    def test_a_class_with_failed_tiles_is_computed_anew(self, painter, painted):
        predictor = self.flaky(painter, 2)
        with Session(self.scene(painted), predictor, tile=64, overlap=16) as session:
            assert len(session.ask("water").failed) == 1
            again = session.ask("water")
        assert again.failed == () and again.valid_fraction == 1

    def test_if_every_tile_fails_the_reason_is_raised(self, painter, painted):
        class Broken(painter):
            def features(self, pixels):
                raise RuntimeError("no weights fit")

        with pytest.raises(RuntimeError, match="no weights fit"):
            extract(self.scene(painted), "water", Broken(WATER))


def test_a_probability_that_is_not_finite_is_no_data(painter, answer_with, lake):
    class Holes(painter):
        def decode(self, features, class_names, pixels):
            found = super().decode(features, class_names, pixels)
            if "water" in class_names:
                found[:, 30, 40] = np.nan
            return found

    predictor = Holes()
    with Session(lake, predictor) as session:
        for text in (WATER, WATER + " <seg class=vegetation>plants</seg>: <fact:area>."):
            answer_with(text)
            result = session.ask("as told")
            with rasterio.open(result.mask_path) as source:
                assert np.argwhere(source.read(1) == NODATA).tolist() == [[30, 40]]


def test_an_interrupt_is_not_taken_for_a_failed_tile(painter, lake):
    class Interrupted(painter):
        def features(self, pixels):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(lake, "water", Interrupted(WATER))


def test_progress_counts_tiles(painter, lake):
    seen = []
    extract(
        lake,
        "water",
        painter(WATER),
        tile=64,
        overlap=16,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(n, 6) for n in range(1, 7)]


def test_the_former_name_of_the_rules_is_deprecated():
    with pytest.warns(DeprecationWarning, match="rules"):
        assert load("prior").predictor.name == "rules"


def test_extractor_opens_paths_and_scenes(scene_file, scene_bands, lake):
    rules = load("rules")
    assert isinstance(rules, Extractor)
    assert "rules" in repr(rules)
    with rules.open(lake) as session:
        assert session.ask("water").model == ("rules", None)
