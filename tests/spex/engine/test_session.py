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

    def test_if_every_tile_fails_the_reason_is_raised(self, painter, painted):
        class Broken(painter):
            def features(self, pixels):
                raise RuntimeError("no weights fit")

        with pytest.raises(RuntimeError, match="no weights fit"):
            extract(self.scene(painted), "water", Broken(WATER))


def test_a_probability_that_is_not_finite_is_no_data(painter, lake):
    class Holes(painter):
        def decode(self, features, class_names, pixels):
            found = super().decode(features, class_names, pixels)
            found[:, 30, 40] = np.nan
            return found

    result = extract(lake, "water", Holes(WATER))
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
