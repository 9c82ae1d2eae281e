"""Numbers in prose, in six languages."""

from __future__ import annotations

import pytest

from spex.query.numbers import all_numbers, grouped, localised, stated_numbers


def test_a_number_within_a_word_is_not_stated() -> None:
    assert stated_numbers("S2 shows 1,200 fields, 3.5 ha each.") == ["1200", "3.5"]


def test_all_numbers_are_found_in_markup_as_well() -> None:
    assert all_numbers('"min_area": "1ha", "index": "B8:above:0.6"') == ["1", "8", "0.6"]


def test_a_comma_or_full_stop_behind_a_number_is_none_of_it() -> None:
    assert stated_numbers("in 2020, 5 fields; 1,200.") == ["2020", "5", "1200"]
    assert stated_numbers("en 2020, 5 campos; 1.200.", "es") == ["2020", "5", "1200"]


def test_digits_that_are_no_group_are_read_one_by_one() -> None:
    assert stated_numbers("1,2345 and 12,34") == ["1", "2345", "12", "34"]


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("en", "1,234,567.80 and 0.05"),
        ("es", "1.234.567,80 and 0,05"),
        ("pt", "1.234.567,80 and 0,05"),
        ("de", "1.234.567,80 and 0,05"),
        ("fr", "1\u202f234\u202f567,80 and 0,05"),
        ("zh", "1,234,567.80 and 0.05"),
    ],
)
def test_numbers_are_written_and_read_in_each_language(language: str, written: str) -> None:
    assert localised("1,234,567.80 and 0.05", language) == written
    assert stated_numbers(written, language) == ["1234567.80", "0.05"]


def test_chinese_numbers_need_no_space_before_them() -> None:
    assert stated_numbers("面积3.5公顷，S2共1,200处", "zh") == ["3.5", "1200"]


def test_grouped() -> None:
    assert [grouped(text) for text in ("20000", "0.4047", "1234.5")] == [
        "20,000",
        "0.4047",
        "1,234.5",
    ]
