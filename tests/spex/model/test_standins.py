"""A query about an added class is read as one about a class that the language model knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spex.evidence.class_additions import add_classes
from spex.evidence.scene_evidence import measure
from spex.model.generation import GenerationRequest
from spex.model.loading import load
from spex.model.predictor import ModelPredictor
from spex.model.standins import StandIns
from spex.query.answer_markup import parse_answer
from spex.query.prompt import Exchange
from spex.raster.scene import Scene
from tests.added_classes import remove_added_classes
from tests.scenes import write_synthetic_scene


@pytest.fixture(scope="module", autouse=True)
def farms() -> Iterator[None]:
    """A class that no model has read of."""
    add_classes(
        {"solar_farm": {"title": "solar farms", "synonyms": ["solar farm", "solar park"]}}, "test"
    )
    yield
    remove_added_classes()


@pytest.fixture(scope="module")
def predictor() -> ModelPredictor:
    return load()


@pytest.mark.parametrize(
    ("query", "constraints"),
    [
        ("solar farms", {}),
        ("solar farms larger than 1 ha", {"min_area": "1ha"}),
        ("the largest solar park", {"top": 1}),
        ("solar farms in the north", {"where": "north"}),
        ("solar farms with NDVI below 0.3", {"index": "NDVI:below:0.3"}),
    ],
)
def test_constraints_of_an_added_class_are_read(
    predictor: ModelPredictor, tmp_path: Path, query: str, constraints: dict[str, object]
) -> None:
    write_synthetic_scene(tmp_path / "scene.tif")
    overview = Scene.open(tmp_path / "scene.tif").overview()
    (answer,) = predictor.open(overview, measure(overview)).propose([(query, ())])
    (span,) = answer.spans
    assert (span.class_name, span.constraints.to_dict()) == ("solar_farm", constraints)
    assert span.phrase in query


def test_the_known_class_is_one_that_nobody_spoke_of() -> None:
    request = GenerationRequest(
        "solar parks near lakes",
        history=(Exchange("forest", "<seg class=tree_cover>forest</seg>."),),
    )
    known_request = StandIns.of(request).replace_added(request)
    assert known_request.query == "buildings near lakes"
    assert known_request.history == request.history
    lakes = GenerationRequest("lakes")
    assert StandIns.of(lakes).replace_added(lakes) == lakes


def test_an_answer_is_restored_without_indices_of_the_stand_in() -> None:
    history = (Exchange("Solar parks", "<seg class=solar_farm>Solar parks</seg>: <fact:area>."),)
    request = GenerationRequest("only solar farms in the north, not lakes", history=history)
    stand_ins = StandIns.of(request)
    assert (
        stand_ins.replace_added(request).history[0].answer
        == "<seg class=tree_cover>tree cover</seg>: <fact:area>."
    )
    answer = stand_ins.restore(
        "<seg class=tree_cover where=north not=water>tree cover</seg>: <fact:area>. "
        "Mean NDVI is <fact:index:NDVI>. "
        "Tree cover lies <fact:location>."
    )
    assert answer == (
        "<seg class=solar_farm where=north not=water>solar farms</seg>: <fact:area>. "
        "Solar farms lies <fact:location>."
    )
    assert parse_answer(answer).spans[0].class_name == "solar_farm"
