"""The answer to a reading: its first line says what is executed, with every constraint."""

from __future__ import annotations

import numpy as np
import pytest

from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.query.answer_markup import parse_answer
from spex.query.answers import answer_for, whole_scene_answer
from spex.query.constraints import ANY, Constraints
from spex.query.reading import Reading, Remark, RequestedMask
from spex.raster.scene import Scene
from spex.sensors import Band

LAKES = RequestedMask("water", "lakes", Constraints(min_area=(1, "ha"), where=("north",)))


@pytest.fixture(scope="module")
def evidence() -> SceneEvidence:
    """A lake in a meadow."""
    values = np.full((4, 60, 60), 0.05, np.float32)
    values[3] = 0.4
    values[3, 20:40, 20:40] = 0.02
    values += np.random.default_rng(0).normal(0, 0.002, values.shape).astype(np.float32)
    bands = (Band("B", 490, 65), Band("G", 560, 35), Band("R", 665, 30), Band("N", 842, 115))
    return measure(Scene.from_array(values, bands, gsd_m=10).read())


def test_the_line_of_a_mask_states_its_constraints(evidence: SceneEvidence) -> None:
    assert answer_for(Reading("en", masks=(LAKES,)), evidence) == (
        "<seg class=water min_area=1ha where=north>lakes</seg> of at least 1 ha in the northern "
        "half: <fact:area>, <fact:share> of the scene, <fact:regions>."
    )


def test_each_mask_has_a_line_and_warnings_stand_in_front(evidence: SceneEvidence) -> None:
    reading = Reading(
        "en",
        masks=(LAKES, RequestedMask("vegetation", "plants")),
        ignored=("second largest",),
        remarks=(Remark("distance", "near", "near=road:100"),),
    )
    lines = answer_for(reading, evidence).splitlines()
    assert lines[0] == (
        "Not understood, and not used: “second largest”; check that the answer is what you meant."
    )
    assert [line.split(">")[0] for line in lines[1:3]] == [
        "<seg class=water min_area=1ha where=north",
        "<seg class=vegetation",
    ]
    assert lines[3:] == ["No distance was stated: 100 m was used."]


@pytest.mark.parametrize(
    ("remark", "phrase", "shown", "sentence"),
    [
        (
            Remark("typo", "meadws", "meadows"),
            "meadws",
            "meadows",
            "“meadws” was read as “meadows”.",
        ),
        (
            Remark("nearest", "wheat fields", "cropland"),
            "wheat fields",
            "cropland",
            "There is no class for “wheat fields”: this is all cropland.",
        ),
        (
            Remark("implied", "where could cattle graze", "grassland"),
            "where could cattle graze",
            "grassland",
            "“where could cattle graze” was read as: grassland.",
        ),
        (
            Remark("implied_size", "pond", "max_area=1ha"),
            "pond",
            "pond",
            "“pond” was read as a size, of at most 1 ha.",
        ),
    ],
)
def test_what_was_assumed_is_said_and_no_thing_without_class_is_a_label(
    evidence: SceneEvidence, remark: Remark, phrase: str, shown: str, sentence: str
) -> None:
    name = remark.value if remark.kind in ("nearest", "implied") else "water"
    reading = Reading("en", masks=(RequestedMask(name, phrase),), remarks=(remark,))
    answer = answer_for(reading, evidence)
    assert [span.phrase for span in parse_answer(answer).spans] == [shown]
    assert answer.splitlines()[1:] == [sentence]


def test_why_names_the_index_that_separates_the_class(evidence: SceneEvidence) -> None:
    why = Reading("en", masks=(RequestedMask("water", "lakes"),), asks=frozenset({"why"}))
    answer = answer_for(why, evidence)
    assert "NDWI is <fact:contrast:NDWI>" in answer and "<fact:left_out>" in answer
    anything = Reading("en", masks=(RequestedMask(ANY, "everything"),), asks=frozenset({"why"}))
    assert "<fact:left_out>" not in answer_for(anything, evidence)


def test_refusals_are_refusals_and_replies_have_no_span(evidence: SceneEvidence) -> None:
    refused = parse_answer(answer_for(Reading("en", refusal=("change", "since <2019>")), evidence))
    assert refused.refusal is not None and "“since ‹2019›”" in refused.refusal
    assert not parse_answer(answer_for(Reading("en", reply="thanks"), evidence)).spans


def test_the_whole_scene_names_its_classes() -> None:
    assert whole_scene_answer(("water", "vegetation"), "en") == (
        "Map of the whole scene: <seg class=water>water</seg> and "
        "<seg class=vegetation>vegetation</seg>."
    )
