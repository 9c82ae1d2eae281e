from __future__ import annotations

from spex.query.numbers import all_numbers, stated_numbers


def test_a_number_within_a_word_is_not_stated() -> None:
    assert stated_numbers("S2 shows 1,200 fields, 3.5 ha each.") == ["1,200", "3.5"]


def test_all_numbers_are_found_in_markup_as_well() -> None:
    assert all_numbers('"min_area": "1ha", "index": "B8:above:0.6"') == ["1", "8", "0.6"]


def test_a_comma_behind_a_number_comes_with_it() -> None:
    assert stated_numbers("in 2020, 5 fields") == ["2020,", "5"]
