"""From probabilities to masks, facts and answers, each number checked against painted truth."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine

from spex.engine import extract
from spex.errors import ConfigError, QueryError
from spex.raster.working_rasters import NODATA, PROBABILITY_SCALE

WATER = "<seg class=water>water</seg>: <fact:area>, <fact:count> regions, largest <fact:largest>."


def values_of(extraction) -> np.ndarray:
    with rasterio.open(extraction.mask_path) as source:
        return source.read(1)


def blocks(*boxes: tuple[int, int, int, int], shape=(100, 120), high=0.9) -> np.ndarray:
    """0.05, and ``high`` in boxes of (row, col, height, width)."""
    plane = np.full(shape, 0.05, np.float32)
    for row, col, height, width in boxes:
        plane[row : row + height, col : col + width] = high
    return plane


def ask(painter, scene, text: str, query: str = "water", **options):
    return extract(scene, query, painter(text), **options)


def test_mask_facts_and_answer_agree(painter, painted):
    scene = painted(water=blocks((10, 10, 20, 20), (60, 80, 5, 4)))
    result = ask(painter, scene, WATER)
    assert result.answer == "Water: 4.20 ha, 2 regions, largest 4.00 ha."
    (mask,) = result.to_dict()["masks"]
    assert mask["pixels"] == 420
    assert mask["area_m2"] == pytest.approx(42_000)
    assert mask["fraction"] == pytest.approx(420 / 12_000)
    assert mask["regions"] == 2
    assert mask["mean_probability"] == pytest.approx(0.9)
    assert result.masks["water"].sum() == 420
    assert result.masks[0][10, 10]
    with pytest.raises(KeyError, match="burned"):
        result.masks["burned"]


def test_invalid_pixels_are_no_data_everywhere(painter, painted):
    valid = np.ones((100, 120), bool)
    valid[:, :30] = False
    result = ask(painter, painted(water=blocks((10, 10, 20, 40)), valid=valid), WATER)
    values = values_of(result)
    assert (values[:, :30] == NODATA).all()
    assert (values[:, 30:] != NODATA).all()
    assert result.masks[0].sum() == 20 * 20
    assert result.valid_fraction == pytest.approx(0.75)
    with rasterio.open(result.probability_path) as source:
        assert ((source.read(1) == NODATA) == (values == NODATA)).all()


@pytest.mark.parametrize(("tile", "overlap"), [(32, 0), (32, 8), (40, 20), (64, 13), (512, 64)])
def test_tiles_leave_no_seam(painter, painted, tile, overlap):
    row, col = np.mgrid[0:100, 0:120]
    smooth = (0.5 + 0.45 * np.sin(row / 17) * np.cos(col / 23)).astype(np.float32)
    result = ask(painter, painted(water=smooth), WATER, tile=tile, overlap=overlap)
    with rasterio.open(result.probability_path) as source:
        written = source.read(1) / PROBABILITY_SCALE
    assert abs(written - smooth).max() <= 0.5 / PROBABILITY_SCALE + 1e-6


def test_strips_of_rows_do_not_show(painter, painted):
    # Taller than a strip: one region crosses both seams, and the size of all of it counts.
    boxes = ((100, 10, 1000, 3), (300, 20, 10, 10), (505, 25, 20, 2))
    text = (
        "<seg class=water min_area=101px where=west>water</seg>: <fact:count> regions, <fact:area>."
    )
    result = ask(
        painter, painted(shape=(1200, 70), crs=None, water=blocks(*boxes, shape=(1200, 70))), text
    )
    assert result.answer == "Water: 1 regions, 3,000 pixels."


class TestConstraints:
    boxes = (
        (10, 10, 20, 20),
        (60, 80, 5, 4),
        (40, 100, 10, 10),
        (2, 60, 1, 1),
    )  # 4 ha, 0.2 ha, 1 ha, 0.01 ha

    @pytest.mark.parametrize(
        ("attributes", "pixels"),
        [
            ("min_area=1ha", 500),
            ("min_area=101px", 400),
            ("max_area=0.2ha", 21),
            ("min_area=0.05ha max_area=1ha", 120),
            ("top=1", 400),
            ("top=2", 500),
            ("where=north", 401 + 100),
            ("where=southeast", 20),
            ("where=northwest", 400),
            ("where=center", 20),
            ("max_area=3ha top=1", 100),
            ("where=east top=1", 100),
            ("where=north_third+southeast", 401 + 20),
            ("where=-northwest+-edge", 20),
            ("top=-1", 121),
            ("bottom=2", 21),
            ("min_area=0.5%", 500),
            ("max_area=0.5%", 21),
            ("min_area=1km2", 0),
        ],
    )
    def test_are_executed_exactly(self, painter, painted, attributes, pixels):
        text = f"<seg class=water {attributes}>water</seg>: <fact:area>."
        result = ask(painter, painted(water=blocks(*self.boxes)), text, tile=32, overlap=8)
        assert (values_of(result) == 1).sum() == pixels
        assert (pixels == 0) == bool(result.absent)

    @pytest.mark.parametrize(
        ("attributes", "pixels", "text"),
        [
            ("near=building:30", 3 * 20, "Water: 6,000 m²."),
            ("far=building:30", 500 - 3 * 20, "Water: 4.40 ha."),
            ("near=building:30 far=building:10", 2 * 20, "Water: 4,000 m²."),
            ("near=cropland:99999", 0, "No water found: no cropland was found here."),
            ("far=cropland:99999", 500, "Water: 5.00 ha."),
        ],
    )
    def test_distances_are_from_the_mask_of_another_class(
        self, painter, painted, attributes, pixels, text
    ):
        # A wall along the lake: its pixels lie 10, 20 and 30 m from the first three columns.
        scene = painted(
            water=blocks((10, 10, 20, 20), (40, 100, 10, 10)), building=blocks((0, 9, 100, 1))
        )
        answer = f"<seg class=water {attributes}>water</seg>: <fact:area>."
        result = ask(painter, scene, answer, tile=32, overlap=8)
        assert (values_of(result) == 1).sum() == pixels
        assert result.answer == text

    def test_a_region_is_cut_at_the_edge_of_a_part(self, painter, painted):
        scene = painted(water=blocks((40, 10, 20, 10)))
        result = ask(painter, scene, "<seg class=water where=south>water</seg>: <fact:area>.")
        rows = np.flatnonzero(result.masks[0].any(axis=1))
        assert (rows.min(), rows.max()) == (50, 59)

    def test_parts_are_map_directions(self, painter, painted):
        south_up = Affine(10, 0, 500_000, 0, 10, 5_300_000)
        scene = painted(water=blocks((10, 10, 20, 20)), transform=south_up)
        result = ask(
            painter, scene, "<seg class=water where=south>water</seg> in the <fact:location>."
        )
        assert result.masks[0].sum() == 400
        assert result.answer == "Water in the southwest."

    def test_index_conditions(self, painter, painted):
        # NDVI of the painted bands: (cropland - tree_cover) / (cropland + tree_cover).
        scene = painted(
            water=blocks((10, 10, 20, 20)), cropland=blocks((10, 10, 20, 10), high=0.45)
        )
        result = ask(
            painter,
            scene,
            "<seg class=water index=NDVI:above:0.5>water</seg>: mean <fact:index:NDVI>.",
        )
        assert result.masks[0].sum() == 200
        assert result.answer == "Water: mean 0.80."
        assert result.to_dict()["masks"][0]["evidence"]["NDVI"]["inside"] == pytest.approx(
            0.8, abs=1e-6
        )

    def test_excluded_classes_are_decoded_and_taken_away(self, painter, painted):
        scene = painted(vegetation=blocks((10, 10, 20, 20)), cropland=blocks((10, 10, 20, 5)))
        result = ask(
            painter, scene, "<seg class=vegetation not=cropland>plants</seg>: <fact:area>."
        )
        assert result.masks[0].sum() == 300
        with rasterio.open(result.probability_path) as source:
            assert source.count == 1

    def test_map_units_need_a_scene_that_has_them(self, painter, painted):
        text = "<seg class=water min_area={}>water</seg>: <fact:area>, largest <fact:largest>."
        scene = painted(water=blocks((10, 10, 20, 20), (60, 80, 5, 4)), crs=None)
        with pytest.raises(QueryError, match=r"1 ha .*--gsd"):
            ask(painter, scene, text.format("1ha"))
        in_pixels = ask(painter, scene, text.format("100px")).answer
        assert in_pixels == "Water: 400 pixels, largest 400 pixels."
        stated = painted(water=blocks((10, 10, 20, 20), (60, 80, 5, 4)), crs=None, gsd_m=20)
        assert ask(painter, stated, text.format("1ha")).answer == "Water: 16.0 ha, largest 16.0 ha."

    def test_an_index_without_its_bands_is_refused(self, painter, painted):
        with pytest.raises(QueryError, match="NBR"):
            ask(painter, painted(), "<seg class=water index=NBR:above:0>water</seg>.")

    def test_pixel_areas_of_a_geographic_scene(self, painter, painted):
        scene = painted(
            water=blocks((0, 0, 10, 10)), crs=4326, transform=Affine(0.001, 0, 9, 0, -0.001, 60)
        )
        area = ask(painter, scene, WATER).to_dict()["masks"][0]["area_m2"]
        assert area == pytest.approx(
            100 * 111.4 * 55.8, rel=0.01
        )  # a degree is 111.4 km by 55.8 km at 60 north


class TestOverlap:
    def test_the_child_wins_over_its_parent(self, painter, painted):
        scene = painted(
            vegetation=blocks((10, 10, 20, 20), high=0.95),
            tree_cover=blocks((10, 10, 20, 10), high=0.6),
        )
        text = (
            "<seg class=vegetation>plants</seg>: <fact:area>. "
            "<seg class=tree_cover>trees</seg>: <fact:area>."
        )
        result = ask(painter, scene, text)
        assert result.answer == "Plants: 2.00 ha. Trees: 2.00 ha."
        assert any("plants that also belong to trees" in warning for warning in result.warnings)

    def test_otherwise_the_higher_probability_wins(self, painter, painted):
        scene = painted(
            water=blocks((10, 10, 20, 20), high=0.6), cropland=blocks((10, 10, 20, 5), high=0.8)
        )
        result = ask(
            painter, scene, "<seg class=water>water</seg> and <seg class=cropland>fields</seg>."
        )
        assert [mask.sum() for mask in result.masks] == [300, 100]

    def test_the_closer_request_wins_within_a_class(self, painter, painted):
        scene = painted(water=blocks((10, 10, 20, 20), (60, 80, 5, 4)))
        text = (
            "<seg class=water>water</seg>: <fact:area>. "
            "<seg class=water top=1>main lake</seg>: <fact:area>."
        )
        result = ask(painter, scene, text)
        assert result.answer == "Water: 2,000 m². Main lake: 4.00 ha."

    def test_regions_left_by_another_mask_meet_their_size(self, painter, painted):
        # Trees cut the vegetation into a piece of 3 ha and one of 0.5 ha, which is too small.
        scene = painted(vegetation=blocks((10, 10, 10, 40)), tree_cover=blocks((10, 40, 10, 5)))
        text = (
            "<seg class=vegetation min_area=1ha>plants</seg> and <seg class=tree_cover>trees</seg>."
        )
        result = ask(painter, scene, text)
        assert [mask.sum() for mask in result.masks] == [300, 50]
        assert result.facts[0].sizes().min() >= 10_000


class TestAbsence:
    def test_an_empty_mask_is_said_and_not_made_up(self, painter, painted):
        text = (
            "<seg class=water>lakes</seg>: <fact:area>. They are <fact:location>. "
            "<seg class=cropland>fields</seg>: <fact:area>."
        )
        result = ask(painter, painted(cropland=blocks((10, 10, 20, 20))), text)
        assert "No lakes found: " in result.answer
        assert "They are" not in result.answer
        assert result.answer.endswith("Fields: 4.00 ha.")
        document = result.to_dict()
        assert [one["class"] for one in document["absent"]] == ["water"]
        assert [(mask["value"], mask["class"]) for mask in document["masks"]] == [(1, "cropland")]
        assert set(np.unique(values_of(result))) == {0, 1}

    def test_everything_absent(self, painter, painted):
        result = ask(painter, painted(), WATER)
        assert result.answer.startswith("No water found: ")
        assert result.masks == [] or len(result.masks) == 0
        assert not values_of(result).any()

    def test_unmet_constraints_are_the_reason(self, painter, painted):
        scene = painted(water=blocks((10, 10, 20, 20)), vegetation=blocks((10, 10, 20, 20)))
        result = ask(painter, scene, "<seg class=water min_area=50ha>water</seg>: <fact:area>.")
        assert result.absent == (("water", "no region of at least 50 ha"),)
        assert result.answer == "No water region of at least 50 ha was found."

    @pytest.mark.parametrize(
        ("attributes", "words"),
        [
            (
                "min_area=1ha max_area=9ha where=north",
                "between 1 and 9 ha in the northern half",
            ),
            ("index=NDVI:above:0.99,NDWI:below:0", "with NDVI above 0.99 and NDWI below 0"),
            ("where=south not=cropland", "in the southern half, without cropland"),
        ],
    )
    def test_every_unmet_constraint_is_named(self, painter, painted, attributes, words):
        plane = blocks((10, 10, 40, 40))
        scene = painted(water=plane, cropland=plane)
        text = f"<seg class=water {attributes}>water</seg>: <fact:area>."
        result = ask(painter, scene, text)
        assert result.answer == f"No water region {words} was found."

    def test_a_mask_that_another_takes_whole(self, painter, painted):
        plane = blocks((10, 10, 20, 20))
        text = "<seg class=vegetation>plants</seg> and <seg class=tree_cover>trees</seg>."
        result = ask(painter, painted(vegetation=plane, tree_cover=plane), text)
        assert result.absent == (("vegetation", "all of its pixels belong to trees"),)
        assert result.answer.endswith("No plants found: all of its pixels belong to trees.")

    def test_a_class_that_cannot_be_told_is_refused(self, painter, painted):
        predictor = painter("<seg class=burned>burn scars</seg>: <fact:area>.")
        scene = painted()
        without_swir = type(scene).from_array(scene.read().values[:4], scene.bands[:4])
        result = extract(without_swir, "burn scars", predictor)
        assert result.refused is not None
        assert result.refused.startswith("burn scars cannot be mapped in this scene: requires ")
        assert "SWIR" in result.refused
        assert predictor.calls["features"] == 0
        assert result.mask_path is None


class TestInventedNumbers:
    def test_a_sentence_with_one_is_replaced(self, painter, painted):
        text = "There are 17 lakes in <seg class=water>water</seg>. It covers <fact:area>."
        result = ask(painter, painted(water=blocks((10, 10, 20, 20))), text)
        assert "17" not in result.answer
        assert "4.00 ha" in result.answer
        assert any("17" in warning for warning in result.warnings)

    def test_numbers_of_the_query_may_stand(self, painter, painted):
        text = "Water larger than 2 ha: <seg class=water min_area=2ha>water</seg>, <fact:area>."
        result = ask(
            painter, painted(water=blocks((10, 10, 20, 20))), text, query="water larger than 2 ha"
        )
        assert result.answer == "Water larger than 2 ha: water, 4.00 ha."


@pytest.mark.parametrize(("tile", "overlap"), [(16, 0), (64, 33), (64, -1)])
def test_impossible_tiles(painter, painted, tile, overlap):
    with pytest.raises(ConfigError, match=f"tile {tile}"):
        ask(painter, painted(), WATER, tile=tile, overlap=overlap)
