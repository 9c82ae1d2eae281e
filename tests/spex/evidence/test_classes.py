"""Classes of classes.yaml: their data, and the words that name them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from spex.errors import ConfigError
from spex.evidence.class_additions import add_classes, read_class_entries
from spex.evidence.class_words import mentioned_classes, resolve_class
from spex.evidence.classes import classes, index_range
from spex.evidence.indices import EVIDENCE_INDICES
from tests.added_classes import remove_added_classes

NAMES = [
    *("water", "vegetation", "tree_cover", "shrubland", "grassland", "cropland", "wetland"),
    *(
        "built_up",
        "building",
        "road",
        "bare",
        "soil",
        "sand",
        "rock",
        "snow_ice",
        "burned",
        "cloud",
        "cloud_shadow",
    ),
]


def test_the_eighteen_classes_are_there_and_complete() -> None:
    assert list(classes()) == NAMES
    for name, land_class in classes().items():
        assert land_class.name == name
        assert land_class.synonyms and land_class.needs and land_class.recipes
        assert re.fullmatch(r"#[0-9a-f]{6}", land_class.colour)
        assert set(land_class.codes) == {"esa_worldcover", "corine", "nlcd", "dynamic_world"}
        assert all(other in classes() for other in (*land_class.children, *land_class.without))


def test_parents_stand_before_their_children() -> None:
    assert classes()["vegetation"].children == (
        "tree_cover",
        "shrubland",
        "grassland",
        "cropland",
        "wetland",
    )
    for name, land_class in classes().items():
        for child in land_class.children:
            assert classes()[child].parent == name
            assert NAMES.index(name) < NAMES.index(child)


def test_no_legend_code_and_no_word_belongs_to_two_classes() -> None:
    for legend in ("esa_worldcover", "corine", "nlcd", "dynamic_world"):
        codes = [code for c in classes().values() for code in c.codes[legend]]
        assert len(codes) == len(set(codes)), legend
    words = [word for c in classes().values() for word in c.synonyms]
    assert sorted(words) == sorted(set(words))


def test_colours_differ() -> None:
    assert len({c.colour for c in classes().values()}) == len(NAMES)


def test_every_word_resolves_to_its_class() -> None:
    for name, land_class in classes().items():
        assert resolve_class(name) == resolve_class(land_class.title) == name
        assert all(resolve_class(word) == name for word in land_class.synonyms)


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("the Lakes", "water"),
        ("LAKES AND PONDS", "water"),
        ("forested areas", "tree_cover"),
        ("seaweed", None),
        ("built-up areas", "built_up"),
        ("a cloud's shadow", "cloud_shadow"),
        ("shadows of clouds", "cloud_shadow"),
        ("burnt forest", "burned"),
        ("forest lake", "water"),
        ("bare soils", "soil"),
        ("marshes", "wetland"),
        ("canopies", "tree_cover"),
        ("sandy beaches", "sand"),
        ("cars", None),
        ("", None),
    ],
)
def test_phrases_resolve_by_their_longest_word(phrase: str, name: str | None) -> None:
    assert resolve_class(phrase) == name


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("Show me lakes and the forests larger than 1 ha", ["water", "tree_cover"]),
        ("forest fire scars", ["burned"]),
        ("water, cropland, more water", ["water", "cropland"]),
        ("cloud shadows but no clouds", ["cloud_shadow", "cloud"]),
        ("fields that are not rice paddies", ["cropland"]),
        ("seaweed watering", []),
        ("Where is snow, ice or bare rock?", ["snow_ice", "rock"]),
    ],
)
def test_classes_mentioned_in_order_of_appearance(query: str, names: list[str]) -> None:
    assert mentioned_classes(query) == names


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("Muéstrame los ÁRBOLES y el río", ["tree_cover", "water"]),
        ("arboles sin acentos", ["tree_cover"]),
        ("montre les forêts et l'eau au nord", ["tree_cover", "water"]),
        ("Zeige alle Seen größer als 2 ha und die Straßen", ["water", "road"]),
        ("as plantações, exceto a água", ["cropland", "water"]),
        ("提取北部面积大于2公顷的湖泊和森林", ["water", "tree_cover"]),
        ("水稻", ["cropland"]),
        ("can you see what we have seen before the pre-fire culture? rue the champ!", []),
    ],
)
def test_classes_are_known_in_other_languages(query: str, names: list[str]) -> None:
    assert [name for name in mentioned_classes(query) if name != "burned"] == names


def test_words_of_other_languages_name_one_class_and_no_english_query_changes_by_them() -> None:
    owners: dict[str, set[str]] = {}
    for name, land_class in classes().items():
        for word in (
            *land_class.synonyms,
            *(w for words in land_class.words.values() for w in words),
        ):
            assert resolve_class(word) == name, word
            owners.setdefault(word.lower(), set()).add(name)
    assert all(len(names) == 1 for names in owners.values())
    queries = yaml.safe_load(
        (Path(__file__).parents[2] / "benchmarks" / "queries.yaml").read_text(encoding="utf-8")
    )
    foreign = [
        (word.lower(), name)
        for name, c in classes().items()
        for words in c.words.values()
        for word in words
    ]
    for one in queries:
        found = {
            name
            for word, name in foreign
            if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", one["ask"].lower())
        }
        assert found <= {span["class"] for span in one["spans"]}, one


def test_default_thresholds_lie_within_their_bounds() -> None:
    for name in EVIDENCE_INDICES:
        for calibrated in (True, False):
            limits = index_range(name, calibrated)
            assert limits.low <= limits.threshold <= limits.high


def test_a_recipe_fits_the_bands_there_are() -> None:
    water = classes()["water"]
    full = water.recipe({"B", "G", "R", "N", "S1"}, "surface")
    assert full is not None and full.conditions[0].quantity == "MNDWI"
    no_swir = water.recipe({"B", "G", "R", "N"}, "toa")
    assert no_swir is not None and no_swir.conditions[0].quantity == "NDWI"
    assert water.recipe({"B", "G", "R"}, "surface") is None
    assert classes()["burned"].recipe({"B", "G", "R", "N"}, "surface") is None
    assert classes()["snow_ice"].recipe({"B", "G", "R", "N", "S1"}, "uncalibrated") is None


@pytest.fixture
def only_own() -> Iterator[None]:
    """Classes that a test adds are gone after it."""
    yield
    remove_added_classes()


def test_a_class_comes_by_data_and_takes_its_words_along(tmp_path: Path, only_own: None) -> None:
    assert resolve_class("solar farm") == "cropland"  # by its last word
    path = tmp_path / "classes.yaml"
    path.write_text(
        "classes: {solar_farm: {title: solar farms, synonyms: [solar park], parent: built_up}}"
    )
    add_classes(read_class_entries(path), str(path))
    add_classes(read_class_entries(path), str(path))  # the same again is no conflict
    assert list(classes())[-1] == "solar_farm" and "solar_farm" in classes()["built_up"].children
    assert mentioned_classes("Solar parks, lakes and a solar farm") == ["solar_farm", "water"]
    assert not classes()["solar_farm"].recipes


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("water: {title: sea}", "there is another class 'water'"),
        ("Farm: {title: farm}", "is not a class name"),
        ("farm: {synonyms: [farm]}", "has no title"),
        ("farm: {title: open land, colour: red}", "has the colour 'red'"),
        ("farm: {title: open land, parent: city}", "the parent 'city'"),
        ("farm: {title: open land, size: 3}", "unknown field 'size'"),
        ("farm: {title: cloud shadow}", "as 'cloud_shadow' is"),
        ("farm: {title: '...'}", "holds no word"),
        ("farm: {title: open land, synonyms: park}", "are not a list of words"),
        (
            "farm: {title: open land, recipes: [{level: any, when: [NDVI is 3]}]}",
            "condition 'NDVI is 3'",
        ),
    ],
)
def test_entries_that_are_none_are_refused_and_leave_nothing_behind(
    entry: str, said: str, tmp_path: Path, only_own: None
) -> None:
    before = list(classes())
    path = tmp_path / "classes.yaml"
    path.write_text(f"classes: {{{entry}}}")
    with pytest.raises(ConfigError, match=said):
        add_classes(read_class_entries(path), str(path))
    assert list(classes()) == before


def test_a_file_without_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text("solar_farm: {title: solar farms}")
    with pytest.raises(ConfigError, match="has no 'classes'"):
        read_class_entries(path)
    with pytest.raises(ConfigError, match="cannot read the classes"):
        read_class_entries(tmp_path / "none.yaml")
