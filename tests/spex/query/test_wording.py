"""Constraints and answers in words."""

from __future__ import annotations

import pytest

from spex.query.constraints import ANY, Constraints, Distance, IndexCondition
from spex.query.wording import class_title, constraints_text, with_constraints

NDVI = (IndexCondition("NDVI", "above", 0.5), IndexCondition("NDVI", "below", 0.7))
CASES = {
    "at_least": Constraints(min_area=(1, "ha")),
    "at_most": Constraints(max_area=(0.4047, "ha")),
    "range": Constraints(min_area=(2, "ha"), max_area=(5, "ha")),
    "two_units": Constraints(min_area=(2500, "m2"), max_area=(1.5, "km2")),
    "share": Constraints(min_area=(2, "%")),
    "north": Constraints(where=("north",)),
    "parts": Constraints(where=("north_third", "center", "-southeast")),
    "not_east": Constraints(where=("-east",)),
    "top": Constraints(top=3),
    "largest": Constraints(top=1),
    "not_largest": Constraints(top=-1),
    "smallest": Constraints(bottom=1),
    "index": Constraints(index=NDVI),
    "two_indices": Constraints(index=(NDVI[0], IndexCondition("NBR", "below", -0.25))),
    "without": Constraints(exclude=("cropland",)),
    "without_two": Constraints(exclude=("cropland", "water")),
    "near": Constraints(near=(Distance("road", 100),)),
    "far": Constraints(far=(Distance("water", 1500),)),
    "all": Constraints(
        min_area=(1, "ha"),
        where=("north",),
        top=3,
        index=NDVI[:1],
        exclude=("cropland",),
        near=(Distance("building", 50),),
    ),
}
WORDS = {
    "en": {
        "at_least": "of at least 1 ha",
        "at_most": "of at most 0.4047 ha",
        "range": "between 2 and 5 ha",
        "two_units": "between 2,500 m² and 1.5 km²",
        "share": "of at least 2 % of the scene",
        "north": "in the northern half",
        "parts": "in the northern third or in the centre, outside the southeast quarter",
        "not_east": "outside the eastern half",
        "top": "only the 3 largest regions",
        "largest": "only the largest region",
        "not_largest": "all but the largest region",
        "smallest": "only the smallest region",
        "index": "with NDVI above 0.5 and below 0.7",
        "two_indices": "with NDVI above 0.5 and NBR below -0.25",
        "without": "without cropland",
        "without_two": "without cropland and water",
        "near": "within 100 m of roads and paved ground",
        "far": "farther than 1,500 m from water",
        "all": "of at least 1 ha in the northern half, within 50 m of buildings, without cropland, "
        "with NDVI above 0.5, only the 3 largest regions",
    },
}


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.parametrize("case", CASES)
def test_each_constraint_in_words(language: str, case: str) -> None:
    assert constraints_text(CASES[case], language) == WORDS[language][case]


def test_a_mask_with_its_constraints() -> None:
    assert with_constraints("lakes", CASES["at_least"]) == "lakes of at least 1 ha"
    assert with_constraints("lakes", CASES["largest"]) == "lakes, only the largest region"
    assert with_constraints("lakes", Constraints()) == "lakes"


def test_titles() -> None:
    assert class_title(ANY) == "all valid pixels"
    assert class_title("road") == "roads and paved ground"
