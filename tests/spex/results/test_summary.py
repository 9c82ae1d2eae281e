"""The repr of a result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spex.engine import extract


def test_it_names_query_answer_masks_and_warnings(painter, painted):
    water = np.full((100, 120), 0.1, np.float32)
    water[20:60, 30:50] = 0.9
    text = (
        "<seg class=water>lakes</seg>: <fact:area>. <seg class=cropland>fields</seg>: <fact:area>."
    )
    result = extract(painted(water=water), "lakes and fields", painter(text))
    lines = repr(replace(result, warnings=("mind the gap",))).splitlines()
    assert lines[:2] == ["Extraction from array, painter", "Query: lakes and fields"]
    assert lines[2].startswith("Answer: Lakes: 8.00 ha. No fields found: ")
    assert "  1 water, lakes: 8.00 ha, 6.67 %" in lines
    assert lines[-2:] == ["Warnings:", "  mind the gap"]


def test_it_fits_on_a_screen_whatever_the_result(painter, painted):
    plane = np.full((100, 120), 0.9, np.float32)
    spans = " ".join(f"<seg class=water>{'long ' * 30}lake {n}</seg>." for n in range(12))
    result = extract(painted(water=plane), "where " * 80, painter(spans))
    crowded = replace(result, warnings=tuple(f"warning {n} " * 40 for n in range(30)))
    lines = repr(crowded).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert "  and 26 more" in lines


def test_a_refusal_says_why(painter, painted):
    result = extract(painted(), "cars", painter("<refuse>Cars are too small.</refuse>"))
    assert repr(result).splitlines()[-1] == "Refused: Cars are too small."
