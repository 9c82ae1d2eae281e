"""What is said of masks of any class, and of masks that are empty; painted probabilities."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spex.evidence.class_evidence import Cause
from spex.postprocess.answer_text import write_answer
from spex.postprocess.execution import ExecutedAnswer, cautions, execute
from spex.query.answer_markup import Answer, parse_answer


def carried_out(painted: Any, text: str, folder: Path) -> tuple[Answer, ExecutedAnswer]:
    answer = parse_answer(text)
    likely = painted.write_probability(answer, folder)
    executed = execute(
        painted.frame,
        answer,
        painted.evidence,
        probability=folder / "probability.tif",
        mask=folder / "mask.tif",
        likely=likely,
    )
    return answer, executed


def test_any_is_measured_as_a_class_is(paint: Any, tmp_path: Path) -> None:
    painted = paint(7)
    text = (
        "<seg class=any index=NDVI:below:0.4 not=water>dry ground</seg>: <fact:area>, NDVI "
        "<fact:index:NDVI>, <fact:probability>; <fact:left_out>; <fact:confusion>."
    )
    answer, executed = carried_out(painted, text, tmp_path)
    mask = painted.valid & (painted.ndvi < 0.4) & ~painted.masks["water"]
    (facts,) = executed.facts
    assert facts.pixels == mask.sum() and not executed.absences
    assert facts.area_m2 == pytest.approx(mask.sum() * 150)
    assert facts.fraction == pytest.approx(mask.sum() / painted.valid.sum())
    assert facts.mean_probability == 1 and facts.doubts is None
    assert facts.evidence["NDVI"].inside == pytest.approx(painted.ndvi[mask].mean(), abs=1e-5)
    document = facts.to_dict()
    assert document["class"] == "any" and "left_out" not in document
    assert document["constraints"] == {"index": "NDVI:below:0.4", "not": "water"}
    said, warnings = write_answer(answer, executed.facts, executed.absences, "dry ground")
    assert f"{mask.sum() * 0.015:.2f} ha" in said and not warnings
    assert cautions(answer, executed.facts, painted.evidence) == []


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("near=burned:100", "no burned land was found here"),
        ("min_area=1km2 near=water:10,burned:100", "no burned land was found here"),
        ("near=road:100 far=road:200", "within 100 m of"),
        ("min_area=1km2", "no region of at least 1 km²"),
        ("top=-500", "no region meets all of this: all but the 500 largest regions"),
    ],
)
def test_why_a_mask_is_empty(paint: Any, tmp_path: Path, attributes: str, reason: str) -> None:
    for class_name in ("any", "water"):
        _, executed = carried_out(
            paint(7), f"<seg class={class_name} {attributes}>x</seg>", tmp_path
        )
        assert executed.facts[0].pixels == 0
        assert reason in executed.absences[0].reason


def test_far_from_what_is_nowhere_keeps_all(paint: Any, tmp_path: Path) -> None:
    painted = paint(7)
    _, executed = carried_out(painted, "<seg class=water far=burned:9>x</seg>", tmp_path)
    assert executed.facts[0].pixels == (painted.masks["water"] & painted.valid).sum()


def test_a_class_that_could_not_be_excluded_takes_nothing_away(paint: Any, tmp_path: Path) -> None:
    painted = paint(7)
    cause = Cause("requires", {})
    road = replace(
        painted.evidence.classes["road"], status="unavailable", cause=cause, requires="luck"
    )
    painted.evidence = replace(painted.evidence, classes={**painted.evidence.classes, "road": road})
    answer, executed = carried_out(painted, "<seg class=water not=road>x</seg>", tmp_path)
    assert executed.facts[0].pixels == (painted.masks["water"] & painted.valid).sum()
    notes = cautions(answer, executed.facts, painted.evidence)
    assert notes == [
        "roads and paved ground could not be told, so nothing was left out or measured from it: "
        "requires luck"
    ]
