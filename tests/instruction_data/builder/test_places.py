"""Places: close scenes stay on one side of the split, whatever the inputs and their order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from instruction_data.builder.places import PlacedItem, place_items
from instruction_data.sources.chips import Box, Chip, SceneItem, Split
from spex.errors import RecordError


def nothing(split: Split) -> Iterator[Chip]:
    yield from ()


def item(
    name: str, footprint: Box | None = None, place: str | None = None, split: Split | None = None
) -> SceneItem:
    return SceneItem(name, nothing, place, split, footprint)


def box(west: float, south: float, size: float = 0.1) -> Box:
    return west, south, west + size, south + size


def together(*items: SceneItem) -> set[frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for placed in place_items([("a", scene) for scene in items], 0.5):
        groups.setdefault(placed.place, set()).add(placed.item.id)
    return {frozenset(group) for group in groups.values()}


def groups(*names: str) -> set[frozenset[str]]:
    return {frozenset(name.split()) for name in names}


def test_overlapping_or_near_footprints_are_one_place_and_chains_hold() -> None:
    # Gaps of 0.01 degree, 0.7 km.
    row = [item(name, box(10 + 0.11 * n, 50)) for n, name in enumerate("abc")]
    assert together(*row, item("far", box(10.4, 50)), item("same", box(10, 50))) == groups(
        "a b c same", "far"
    )


def test_distance_is_in_kilometres_at_any_latitude() -> None:
    south = [item("s1", box(10, 0)), item("s2", box(10.13, 0))]
    north = [item("n1", box(10, 75)), item("n2", box(10.13, 75))]
    assert together(*south, *north) == groups("s1", "s2", "n1 n2"), (
        "0.03 degrees are 3.3 km and 0.9 km"
    )


@pytest.mark.parametrize("footprint", [(179.9, 5.0, -179.9, 5.2), (179.95, 5.0, 180.05, 5.2)])
def test_the_antimeridian_is_no_border(footprint: Box) -> None:
    assert together(
        item("across", footprint), item("west", box(-179.99, 5)), item("east", box(179.5, 5, 0.45))
    ) == groups("across west east")
    assert together(item("across", footprint), item("elsewhere", box(0, 5))) == groups(
        "across", "elsewhere"
    )


def test_named_places_join_what_lies_apart() -> None:
    assert together(
        item("a", box(0, 0), "river"), item("b", box(40, 0), "river"), item("c", box(40, 0))
    ) == groups("a b c")


def test_without_footprint_tiles_of_one_name_are_one_place() -> None:
    assert together(
        item("x_0_0"),
        item("x_0_256"),
        item("img_1"),
        item("img_2"),
        item("S2-r3-c4"),
        item("S2-r3-c5"),
    ) == groups("x_0_0 x_0_256", "img_1", "img_2", "S2-r3-c4 S2-r3-c5")


def test_places_reach_across_sources_but_names_do_not() -> None:
    entries = place_items(
        [("a", item("1", box(0, 0))), ("b", item("1", box(0, 0))), ("b", item("2", None, "a:1"))],
        0.5,
    )
    assert entries[0].place == entries[1].place != entries[2].place


def test_the_split_follows_the_place_whatever_else_there_is() -> None:
    many = [("a", item(f"i{n}", box(n % 20 * 5, n // 20 * 5))) for n in range(300)]
    split = {e.item.id: e.split for e in place_items(many, 0.2)}
    assert 30 < list(split.values()).count("val") < 90
    assert {e.item.id: e.split for e in place_items(many[::-1], 0.2)} == split
    assert all(split[e.item.id] == e.split for e in place_items(many[:150], 0.2))


def test_a_fixed_split_holds_for_its_place_and_cannot_contradict() -> None:
    fixed, beside = item("a", box(0, 0), split="val"), item("b", box(0.05, 0))
    assert [e.split for e in place_items([("s", fixed), ("s", beside)], 0.0)] == ["val", "val"]
    with pytest.raises(RecordError, match=r"train and for val.*\n?"):
        place_items([("s", fixed), ("t", item("c", box(0, 0), split="train"))], 0.1)


def test_no_side_stays_empty_where_both_can_be_filled() -> None:
    def splits(count: int, share: float) -> list[Split]:
        return [
            e.split
            for e in place_items([("s", item(f"i{n}", box(n * 5, 0))) for n in range(count)], share)
        ]

    assert splits(1, 0.99) == ["train"]
    assert set(splits(2, 0.01)) == {"train", "val"} == set(splits(2, 0.99))
    assert set(splits(5, 0.0)) == {"train"} and set(splits(5, 1.0)) == {"val"}
    assert place_items([], 0.5) == []
    assert isinstance(place_items([("s", item("x"))], 0.5)[0], PlacedItem)
