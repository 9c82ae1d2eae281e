"""Words for places turn as the scene does, in every language that the dialogues use."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml
from rasterio.windows import Window

import train.data.symmetry
from instruction_data.dialogues.compose import draw_dialogue
from instruction_data.dialogues.words import load_wording
from spex.evidence.scene_evidence import measure
from spex.postprocess.constraint_masks import Frame
from spex.query.answer_markup import parse_answer
from spex.query.constraints import HALVES_AND_QUARTERS
from spex.query.prompt import Exchange
from spex.query.reader import read_request
from spex.raster.scene import Pixels, Scene
from spex.sensors import get_sensor
from tests.scenes import synthetic_scene
from train.data.symmetry import Symmetry, direction_of, transform_conversation

SYMMETRIES = [
    Symmetry(turns, mirrored) for turns, mirrored in itertools.product(range(4), (False, True))
]
ROWS = [
    (language, row[at], row, at)
    for language, kinds in yaml.safe_load(
        Path(train.data.symmetry.__file__).with_suffix(".yaml").read_text("utf-8")
    ).items()
    for rows in kinds.values()
    for row in rows
    for at in range(4)
    if row[at]
]


@pytest.fixture(scope="module")
def scene() -> Pixels:
    bands = get_sensor("sentinel2").bands
    values, _ = synthetic_scene(bands, 48, 48)
    return Pixels(values, np.ones((48, 48), bool), bands, "surface", 10.0)


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_a_place_is_where_the_engine_finds_it_after_the_turn(
    symmetry: Symmetry, scene: Pixels
) -> None:
    frame = Frame.of(Scene.from_array(scene.values, scene.bands), scene)
    for name in HALVES_AND_QUARTERS:
        before, after = (
            frame.part(one, Window(0, 0, 48, 48)) for one in (name, symmetry.direction(name))
        )
        assert (symmetry.apply(before) == after).all()


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_every_wording_turns_to_one_of_the_same_language(symmetry: Symmetry) -> None:
    allowed: dict[str, set[str]] = {}
    for language, words, *_ in ROWS:
        allowed.setdefault(language, set()).add(words)
    for language, words, *_ in ROWS:
        where = direction_of(words)
        talk = (
            Exchange(
                f"Show lakes {words}", f"<seg class=water where={where}>lakes</seg>: <fact:area>."
            ),
        )
        (turned,) = transform_conversation(talk, symmetry) or ()
        (answered,) = parse_answer(turned.answer).spans[0].constraints.where
        assert answered == symmetry.direction(where)
        assert turned.query.removeprefix("Show lakes ") in allowed[language]
        assert direction_of(turned.query.removeprefix("Show lakes ")) == answered
        back = [
            other
            for other in SYMMETRIES
            if all(other.direction(symmetry.direction(p)) == p for p in HALVES_AND_QUARTERS)
        ]
        assert len(back) == 1


def test_the_reader_finds_the_place_that_a_turned_query_names() -> None:
    def read(query: str) -> str | None:
        parts = [part for mask in read_request(query).masks for part in mask.constraints.where]
        return parts[0] if len(parts) == 1 else None

    # "not the south", "north of the middle" and the like are beyond the rules.
    understood = [
        words
        for language, words, *_ in ROWS
        if language == "en" and read(f"lakes {words}") == direction_of(words)
    ]
    assert len(understood) > 0.6 * sum(language == "en" for language, *_ in ROWS)
    for words in understood:
        for symmetry in SYMMETRIES:
            turned = symmetry.reword(f"lakes {words}")
            if turned.removeprefix("lakes ") in understood:
                assert read(turned) == symmetry.direction(direction_of(words))


def test_the_wordings_are_those_that_training_dialogues_use() -> None:
    constraints = load_wording("constraints")
    lists = {
        "en": [
            constraints["places"],
            constraints["short"]["places"],
            constraints["clause"]["where"],
        ],
        **{
            language: [load_wording(language)["places"]]
            for language in ("es", "fr", "de", "pt", "zh")
        },
    }
    for language, tables in lists.items():
        used = {
            (place, words) for table in tables for place in table for words in table[place].trained
        }
        used |= set(constraints["adjectives"].items()) if language == "en" else set()
        used = {(place, words) for place, words in used if place != "center"}
        assert {
            (direction_of(words), words) for code, words, *_ in ROWS if code == language
        } == used


def test_dialogues_are_turned_with_their_answers_or_left_alone(scene: Pixels) -> None:
    evidence, rng, placed, left = measure(scene), np.random.default_rng(3), 0, 0
    for number in range(400):
        exchanges = draw_dialogue(rng, evidence, "train", with_evidence=0.0).exchanges
        symmetry = SYMMETRIES[number % 8]
        spans = [
            span.constraints.where for one in exchanges for span in parse_answer(one.answer).spans
        ]
        placed += any(spans)
        turned = transform_conversation(exchanges, symmetry)
        if turned is None:
            left += 1
            continue
        after = [
            span.constraints.where for one in turned for span in parse_answer(one.answer).spans
        ]
        assert after == [tuple(map(symmetry.direction, parts)) for parts in spans]
        if symmetry == Symmetry() or not any(spans):
            assert turned == exchanges
    assert placed > 60 and left < 0.25 * placed


@pytest.mark.parametrize(
    "query",
    [
        "lakes in teh noth",
        "lakes in the north, forest wherever",
        "is the lake at the top or at the bottom?",
    ],
)
def test_a_conversation_that_is_not_understood_is_not_turned(query: str) -> None:
    where = " where=east" if "forest" in query else "" if "?" in query else " where=north"
    assert (
        transform_conversation(
            (Exchange(query, f"<seg class=water{where}>lakes</seg>."),), Symmetry(1)
        )
        is None
    )


def test_follow_ups_capitals_and_words_beside_the_span_turn_as_well() -> None:
    talk = (
        Exchange(
            "Lakes IN THE NORTH",
            "<seg class=water where=north>lakes</seg> in the north: <fact:area>.",
        ),
        Exchange(
            "the other way round",
            "<seg class=water where=south>lakes</seg> in the south: <fact:area>.",
        ),
    )
    turned = transform_conversation(talk, Symmetry(1))
    assert turned == (
        Exchange(
            "Lakes IN THE WEST", "<seg class=water where=west>lakes</seg> in the west: <fact:area>."
        ),
        Exchange(
            "the other way round",
            "<seg class=water where=east>lakes</seg> in the east: <fact:area>.",
        ),
    )


def test_each_part_of_a_place_turns_and_keeps_its_sign() -> None:
    talk = (
        Exchange(
            "lakes in the north and in the west",
            "<seg class=water where=north+west>lakes</seg>: <fact:area>.",
        ),
    )
    (turned,) = transform_conversation(talk, Symmetry(mirrored=True)) or ()
    assert turned.query == "lakes in the north and in the east"
    assert turned.answer == "<seg class=water where=north+east>lakes</seg>: <fact:area>."
