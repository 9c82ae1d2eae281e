"""Legends: what a code states about every class, and the user's own mappings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instruction_data.sources.chips import complete_truth
from instruction_data.sources.legends import legend, legend_truth
from spex.errors import RecordError
from spex.evidence.classes import classes

NAMED = (
    "esa_worldcover",
    "corine",
    "corine_raster",
    "nlcd",
    "dynamic_world",
    "chesapeake",
    "chesapeake_2022",
    "globe230k",
    "segmunich",
    "gid15",
    "dfc2020",
    "landcovernet",
    "sen1floods11",
    "spacenet",
)


@pytest.mark.parametrize("name", NAMED)
def test_every_legend_of_the_table_loads_and_names_its_codes(name: str) -> None:
    found = legend(name)
    assert found.title and all(meaning.name for meaning in found.codes.values())
    assert set(found.known_classes) <= set(classes())
    assert any(meaning.candidates for meaning in found.codes.values())


@pytest.mark.parametrize("name", ["esa_worldcover", "corine", "nlcd", "dynamic_world"])
def test_the_codes_of_classes_yaml_are_all_listed(name: str) -> None:
    listed = {code for land_class in classes().values() for code in land_class.codes.get(name, ())}
    assert listed <= set(legend(name).codes)


def test_corine_counts_its_44_raster_codes_in_the_order_of_the_level_3_codes() -> None:
    raster, level_3 = legend("corine_raster"), legend("corine")
    assert raster.codes[1] == level_3.codes[111]
    assert raster.codes[23] == level_3.codes[311]
    assert raster.codes[44] == level_3.codes[523]
    assert 45 not in raster.codes and raster.codes[50].candidates == ("water",)


def test_a_code_of_one_class_says_what_is_there_and_what_is_not() -> None:
    truth = legend_truth(np.array([[10, 80, 0]]), legend("esa_worldcover"))
    assert truth["tree_cover"][0].tolist() == [[True, False, False]]
    assert truth["vegetation"][0].tolist() == [[True, False, False]]
    assert truth["water"][0].tolist() == [[False, True, False]]
    assert truth["water"][1].tolist() == [[False, False, True]]
    assert not {"cloud", "burned"} & set(truth)  # a yearly map says nothing of them


def test_a_code_of_several_classes_leaves_them_open_and_their_parent_known() -> None:
    truth = complete_truth(legend_truth(np.array([[3, 1]]), legend("chesapeake")))
    assert truth["vegetation"][0].tolist() == [[True, False]]
    for child in ("grassland", "cropland", "shrubland"):
        assert truth[child][1].tolist() == [[True, False]]
    assert truth["tree_cover"][1].tolist() == [[False, False]]
    assert not truth["tree_cover"][0].any()


def test_land_use_leaves_open_what_grows_or_lies_bare_in_it() -> None:
    tilled = legend_truth(np.array([[3, 4, 2]]), legend("chesapeake"))
    assert tilled["bare"][0].tolist() == [[False, True, False]]
    assert tilled["bare"][1].tolist() == [[True, False, False]]
    quarter = legend_truth(np.array([[2, 9]]), legend("gid15"))
    assert quarter["vegetation"][1].tolist() == [[True, False]]


def test_a_parents_code_leaves_its_children_open() -> None:
    truth = legend_truth(np.array([[50, 40]]), legend("esa_worldcover"))
    assert truth["built_up"][0].tolist() == [[True, False]]
    assert truth["building"][1].tolist() == [[True, False]]


def test_a_yearly_map_leaves_open_whether_a_field_is_green_and_where_snow_lay() -> None:
    truth = legend_truth(np.array([[40, 10]]), legend("esa_worldcover"))
    assert truth["cropland"][0].tolist() == [[True, False]]
    assert truth["vegetation"][1].tolist() == [[True, False]]
    assert truth["bare"][1].tolist() == [[True, False]]
    assert truth["tree_cover"][1].tolist() == [[False, False]]
    assert truth["snow_ice"][1].all()


def test_other_says_that_the_named_classes_are_not_there_and_nothing_of_their_parents() -> None:
    truth = legend_truth(np.array([[0, 1]]), legend("spacenet"))
    assert not truth["building"][1].any()
    assert truth["building"][0].tolist() == [[False, True]]
    assert truth["built_up"][1].tolist() == [[True, False]]


def test_unknown_codes_are_named_with_the_file() -> None:
    with pytest.raises(
        RecordError, match=r"tile\.tif: codes 7, 13 are not in the legend 'ESA WorldCover'"
    ):
        legend_truth(np.array([[10, 7, 13]]), legend("esa_worldcover"), "tile.tif")


def test_pixels_outside_are_unknown_whatever_their_code() -> None:
    truth = legend_truth(
        np.array([[10, 7]]), legend("esa_worldcover"), labelled=np.array([[True, False]])
    )
    assert all(unknown[0, 1] for _, unknown in truth.values())
    assert not truth["tree_cover"][1][0, 0]


def test_the_users_mapping_by_code_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(
        "codes: {1: water, 2: {Old forest: tree_cover}, 3: [grassland, cropland], 9: ignore}\n"
        "rest: unknown\n"
    )
    mine = legend(path)
    assert mine.codes[2].name == "Old forest"
    assert mine.presence(mine.codes[3].candidates, "vegetation") is True
    assert mine.presence(mine.codes[3].candidates, "grassland") is None
    assert mine.presence(mine.codes[9].candidates, "water") is None

    path.write_text("codes: {Lake: water, Old forest: tree_cover}\nrest: other\n")
    named = legend(path)
    assert named.codes[named.code("old-forest")].candidates == ("tree_cover",)
    assert named.codes[named.code("tree_cover")].name == "Old forest"
    assert named.code("swamp") is None and named.code("1") is None
    assert [mine.code(value) for value in ("2", 2.0, 2.6, float("nan"))] == [2, 2, None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("codes: {1: lava}", "'lava' is no SPEX class"),
        ("codes: {1: water, lake: water}", "mixes numbers and names"),
        ("1: water", "no 'codes' mapping"),
        ("codes: {1: water", "is not YAML"),
        ("codes: {1: {}}", "'' is no SPEX class"),
        ("codes: {1: water}\ndoubts: [water]", "'doubts' is not a mapping"),
    ],
)
def test_a_malformed_mapping_is_refused_with_the_reason(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "mapping.yaml").write_text(text)
    with pytest.raises(RecordError, match=message):
        legend(tmp_path / "mapping.yaml")


def test_a_legend_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(RecordError, match=r"worldcover3 is neither a legend .*esa_worldcover"):
        legend("worldcover3")
