"""Readings of requests: what is executed, what is left over, what a conversation does."""

from __future__ import annotations

import numpy as np
import pytest

from spex.query.answer_markup import format_span
from spex.query.prompt import Exchange
from spex.query.reader import read_request
from spex.query.reading import Reading

Expected = list[tuple[str, dict[str, object]]]


def masks_of(reading: Reading) -> Expected:
    return [(mask.class_name, mask.constraints.to_dict()) for mask in reading.masks]


def in_conversation(*turns: str) -> Reading:
    """The reading of the last turn after the others."""
    history: list[Exchange] = []
    for turn in turns[:-1]:
        reading = read_request(turn, history)
        spans = [format_span(m.class_name, m.class_name, m.constraints) for m in reading.masks]
        history.append(Exchange(turn, " ".join(spans)))
    return read_request(turns[-1], history)


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("water", [("water", {})]),
        ("everything that is NOT water", [("any", {"not": "water"})]),
        ("everything but water", [("any", {"not": "water"})]),
        ("cloud free area", [("any", {"not": "cloud"})]),
        ("forest, excluding the eastern half", [("tree_cover", {"where": "west"})]),
        ("lakes smaller than 10 ha", [("water", {"max_area": "10ha"})]),
        ("ponds no bigger than 1 ha", [("water", {"max_area": "1ha"})]),
        ("vegetation with NDVI of at least 0.8", [("vegetation", {"index": "NDVI:above:0.8"})]),
        (
            "crops with NDVI between 0.3 and 0.5",
            [("cropland", {"index": "NDVI:above:0.3,NDVI:below:0.5"})],
        ),
        ("grassland over .5 ha", [("grassland", {"min_area": "0.5ha"})]),
        ("fields over 10 acres", [("cropland", {"min_area": "4.04686ha"})]),
        ("los tres lagos más grandes", [("water", {"top": 3})]),
        (
            "lakes larger than 2 ha and forests larger than 10 ha",
            [("water", {"min_area": "2ha"}), ("tree_cover", {"min_area": "10ha"})],
        ),
        (
            "water in the north and forest in the south",
            [("water", {"where": "north"}), ("tree_cover", {"where": "south"})],
        ),
        ("vegetation within 100 m of buildings", [("vegetation", {"near": "building:100"})]),
        ("meadws and pastuers", [("grassland", {})]),
        ("forêts de plus de 5 ha au nord", [("tree_cover", {"min_area": "5ha", "where": "north"})]),
        ("die drei größten Seen", [("water", {"top": 3})]),
        ("florestas com mais de 2 ha", [("tree_cover", {"min_area": "2ha"})]),
        ("grassland east of the middle of the image", [("grassland", {"where": "east"})]),
        ("water > 1e3 m2", [("water", {"min_area": "1000m2"})]),
        ("大于2公顷的湖泊", [("water", {"min_area": "2ha"})]),
    ],
)
def test_what_a_request_asks_for(request_text: str, expected: Expected) -> None:
    assert masks_of(read_request(request_text)) == expected


@pytest.mark.parametrize("text", ["land cover map, all classes", "what is in this image?"])
def test_a_map_of_everything(text: str) -> None:
    assert read_request(text).whole_scene


@pytest.mark.parametrize(
    ("text", "language", "reply"),
    [
        ("hello", "en", "greeting"),
        ("thanks, bye", "en", "thanks"),
        ("gracias", "es", "thanks"),
        ("danke schön", "de", "thanks"),
        ("asdf", "en", "nonsense"),
    ],
)
def test_what_asks_for_nothing_is_replied_to(text: str, language: str, reply: str) -> None:
    reading = read_request(text)
    assert (reading.language, reading.reply, reading.masks) == (language, reply, ())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("second largest lake", ("ordinal", "second largest")),
        ("solar farms", ("unknown_thing", "solar farms")),
        ("forest north of the lake", ("unsupported_constraint", "north of the lake")),
        ("bosque al norte del lago", ("unsupported_constraint", "norte del lago")),
        ("lakes larger than -1 ha", ("unsupported_constraint", "larger than -1 ha")),
        ("lakes over 5 ha but under 2 ha", ("unsupported_constraint", "5 ha / but under 2 ha")),
    ],
)
def test_what_cannot_be_mapped_is_refused_with_the_words(
    text: str, reason: tuple[str, str]
) -> None:
    assert read_request(text).refusal == reason


def test_words_of_every_part_are_kept() -> None:
    (mask,) = read_request("open water larger than 1 ha in the northern half").masks
    assert [(part.what, part.words) for part in mask.understood] == [
        ("class=water", "open water"),
        ("min_area=1ha", "larger than 1 ha"),
        ("where=north", "northern half"),
    ]


def test_a_condition_that_is_not_met_is_named() -> None:
    reading = read_request("water wider than 3000 m")
    assert masks_of(reading) == [("water", {})]
    assert reading.ignored == ("wider than 3000 m",)


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("dense forest", ("dense",)),
        ("big lakes", ("big",)),
        ("large lakes over 10 ha", ()),
        ("roads through the forest", ("through",)),
        ("forest larger than 5 football fields", ("larger than 5 football fields",)),
    ],
)
def test_words_that_narrow_what_no_constraint_can_are_named(
    text: str, ignored: tuple[str, ...]
) -> None:
    assert read_request(text).ignored[:1] == ignored


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("the largest lakes", "doubt", "largest"),
        ("les plus grands lacs", "doubt", "plus grands"),
        ("lakes of 2 ha", "implied_size", "2 ha"),
        ("water 200 m", "doubt", "200 m"),
        ("shade for a picnic", "implied", "shade"),
    ],
)
def test_what_may_be_meant_otherwise_is_said(text: str, kind: str, words: str) -> None:
    assert (kind, words) in [(remark.kind, remark.words) for remark in read_request(text).remarks]


def test_the_largest_one_is_no_doubt() -> None:
    assert read_request("the largest lake").remarks == ()


def test_a_distance_that_is_not_stated_is_assumed_and_said() -> None:
    reading = read_request("houses near water")
    assert masks_of(reading) == [("building", {"near": "water:100"})]
    assert [(r.kind, r.value) for r in reading.remarks] == [("distance", "100m")]


def test_a_narrower_word_is_said_to_be_all_of_the_class() -> None:
    (remark,) = read_request("wheat fields").remarks
    assert (remark.kind, remark.words, remark.value) == ("nearest", "wheat fields", "cropland")


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (("water", "trees"), [("tree_cover", {})]),
        (("water in the north", "trees"), [("tree_cover", {})]),
        (("water", "only in the north"), [("water", {"where": "north"})]),
        (("water", "now only in the north", "in the south"), [("water", {"where": "south"})]),
        (("water over 2 ha", "no, I meant vegetation"), [("vegetation", {"min_area": "2ha"})]),
        (("forest over 2 ha", "same for water"), [("water", {"min_area": "2ha"})]),
        (("water", "also trees"), [("water", {}), ("tree_cover", {})]),
        (("water and trees", "without the trees"), [("water", {})]),
        (("water under 3 ha", "make it over 3 ha"), [("water", {"min_area": "3ha"})]),
        (("houses within 100 m of forest", "the other way round"),
         [("tree_cover", {"near": "building:100"})]),
        (("cropland in the east", "opposite side please"), [("cropland", {"where": "west"})]),
        (("water", "why?"), [("water", {})]),
        (("show water", "now wetlands", "now both"), [("water", {}), ("wetland", {})]),
        (("seen über 2 ha", "nur im norden"), [("water", {"min_area": "2ha", "where": "north"})]),
    ],
)  # fmt: skip
def test_what_a_turn_does_to_the_turns_before(turns: tuple[str, ...], expected: Expected) -> None:
    assert masks_of(in_conversation(*turns)) == expected


def test_thanks_ends_nothing() -> None:
    assert in_conversation("water", "thanks").reply == "thanks"


def test_the_same_request_is_read_the_same_every_time() -> None:
    texts = ["water", "lakes over 2 ha in the north", "forest near roads, the three largest"]
    first = [read_request(text) for text in texts]
    rng = np.random.default_rng(0)
    for number in rng.permutation(np.repeat(np.arange(len(texts)), 5)):
        assert read_request(texts[number]) == first[number]
