"""The check of built data: nothing in sound records, and every kind of fault in others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from instruction_data.dialogues.arguments import WEAK
from instruction_data.review.check import check
from instruction_data.review.remeasure import disagreements
from instruction_data.review.targets import LabelledChip
from spex.errors import RecordError
from spex.query.answer_markup import format_span, parse_answer
from spex.query.constraints import Constraints, IndexCondition
from spex.query.prompt import user_message
from spex.records import read_records

Row = dict[str, Any]


def change(file: Path, number: int, edit: Callable[[Row], None]) -> None:
    """Alter one row of a file as it is stored."""
    table = pq.read_table(file)
    rows = table.to_pylist()
    edit(rows[number])
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)


def violations(folder: Path) -> set[tuple[str, str]]:
    return {(violation.record, violation.rule) for violation in check(folder).violations}


def replace_answer(answer: str) -> Callable[[Row], None]:
    """An edit that gives a dialogue another last answer, its spans in step."""

    def edit(row: Row) -> None:
        row["turns"][-1]["content"] = answer
        row["spans"] = [
            {
                "class_name": span.class_name,
                "phrase": span.phrase,
                "attributes": json.dumps(
                    {k: str(v) for k, v in span.constraints.to_dict().items()}
                ),
                "mask": None,
                "ignore": None,
            }
            for span in parse_answer(answer).spans
        ]

    return edit


def test_sound_records(built: Path) -> None:
    report = check(built)
    assert not report.violations, report.lines()
    assert report.records == {
        (kind, split): n
        for kind, n in (("survey", 1), ("dialogue", 3))
        for split in ("train", "val")
    }
    assert report.answers == {"on labels": 4, "refused": 2}
    assert report.slots == 2 * 7
    assert len(report.places) == 2
    assert report.to_dict()["violations"] == []


def test_processes_find_the_same(built: Path) -> None:
    change(
        built / "dialogue_own_001_val.parquet", 1, lambda row: row.update(prior="water: everywhere")
    )
    one, two = check(built, workers=1), check(built, workers=2)
    assert one.violations == two.violations != []
    assert (one.records, one.answers, one.slots) == (two.records, two.answers, two.slots)


def test_one_file(built: Path) -> None:
    report = check(built / "dialogue_own_000_train.parquet")
    assert report.records["survey", "train"] == 1  # the chips' surveys are beside it
    assert not check(built / "survey_own_000_train.parquet").violations
    with pytest.raises(RecordError, match="no SPIE records"):
        check(built / "chips")


@pytest.mark.parametrize(
    ("kind", "row", "edit", "violation"),
    [
        ("survey", 0, lambda row: row.update(level="raw"), ("chip0", "schema")),
        ("survey", 0, lambda row: row["spans"][0].update(class_name="swamp"), ("chip0", "class")),
        (
            "survey",
            0,
            lambda row: row["spans"][0].update(ignore=row["spans"][0]["mask"]),
            ("chip0", "mask"),
        ),
        ("survey", 0, lambda row: row["spans"][1].update(mask=None), ("chip0", "mask")),
        ("survey", 0, lambda row: row["scene"].update(path="chips/chip1.tif"), ("chip0", "raster")),
        ("survey", 0, lambda row: row["scene"].update(path="chips/lost.tif"), ("chip0", "raster")),
        (
            "survey",
            0,
            lambda row: row.update(prior=row["prior"].replace("0.", "1.")),
            ("chip0", "prior"),
        ),
        ("survey", 0, lambda row: row.update(place="place1"), ("chip1_q000", "place")),
        (
            "dialogue",
            0,
            lambda row: row["scene"].update(path="chips/lost.tif"),
            ("chip0_q000", "survey"),
        ),
        ("dialogue", 0, lambda row: row.update(place="place1"), ("chip0_q000", "survey")),
        (
            "dialogue",
            0,
            lambda row: row["turns"][1].update(content="<seg class=water>"),
            ("chip0_q000", "grammar"),
        ),
        (
            "dialogue",
            1,
            lambda row: row["turns"][1].update(content="<fact:area>"),
            ("chip0_q001", "grammar"),
        ),
        (
            "dialogue",
            0,
            lambda row: row["spans"][0].update(phrase="ponds"),
            ("chip0_q000", "spans"),
        ),
        (
            "dialogue",
            0,
            lambda row: row["spans"][0].update(attributes="{}"),
            ("chip0_q000", "spans"),
        ),
        (
            "dialogue",
            0,
            lambda row: row["turns"][0].update(content="Query: lakes"),
            ("chip0_q000", "prompt"),
        ),
        (
            "dialogue",
            1,
            lambda row: row["turns"][2].update(content="in the east"),
            ("chip0_q001", "prompt"),
        ),
        (
            "dialogue",
            0,
            replace_answer(f"{format_span('water', 'lakes')}: 40 % of the scene."),
            ("chip0_q000", "number"),
        ),
        (
            "dialogue",
            0,
            replace_answer(f"{format_span('water', 'lakes')}: <fact:area>. {WEAK}"),
            ("chip0_q000", "claim"),
        ),
        (
            "dialogue",
            0,
            replace_answer(f"{format_span('water', 'lakes')}: <fact:index:MNDWI>."),
            ("chip0_q000", "fact"),
        ),
        (
            "dialogue",
            0,
            replace_answer(f"{format_span('water', 'lakes')}: <fact:contrast:NBR>."),
            ("chip0_q000", "fact"),
        ),
    ],
)
def test_every_fault_is_a_violation(
    built: Path, kind: str, row: int, edit: Callable[[Row], None], violation: tuple[str, str]
) -> None:
    change(built / f"{kind}_own_000_train.parquet", row, edit)
    assert violation in violations(built)


def test_a_prior_that_the_pixels_do_not_give(built: Path) -> None:
    def edit(row: Row) -> None:
        row["prior"] = row["prior"].replace("water", "snow_ice")
        row["turns"][0]["content"] = user_message("lakes larger than 0.1 ha", row["prior"])

    change(built / "dialogue_own_000_train.parquet", 0, edit)
    assert violations(built) == {("chip0_q000", "prior")}


def test_damaged_file_is_named_and_the_rest_read(built: Path) -> None:
    (built / "dialogue_own_000_train.parquet").write_bytes(b"PAR1 not really")
    report = check(built)
    assert [(v.record, v.rule) for v in report.violations] == [("own_000_train.parquet", "file")]
    assert report.records["dialogue", "val"] == 3


def test_lines_name_the_first_violations(built: Path) -> None:
    change(built / "survey_own_000_train.parquet", 0, lambda row: row.update(prior=""))
    text = "\n".join(check(built).lines())
    assert (
        "violations: 1 (1 prior)" in text
        and "chip0 [prior]" in text
        and "dialogue, val: 3 records" in text
    )


def test_constraints_are_executed_on_the_labels(built: Path) -> None:
    chip = LabelledChip(next(read_records(built / "survey_own_000_train.parquet")))
    answer = parse_answer(
        "<seg class=tree_cover where=north>trees</seg> <seg class=water top=1>lake</seg>"
    )
    expected = chip.carry_out(answer)
    trees, water = expected.values == 1, expected.values == 2
    assert trees[:32, 32:].all() and trees.sum() == 32 * 32
    assert water[:, :29].all() and water.sum() == 64 * 29  # unknown columns are not water
    assert expected.facts[0].area_m2 == 32 * 32 * 100
    nothing = chip.carry_out(parse_answer("<seg class=burned>scars</seg>"))
    assert nothing.absences.keys() == {0} and not (nothing.values == 1).any()


def test_a_class_without_labels_is_where_the_evidence_states_it(built: Path) -> None:
    chip = LabelledChip(next(read_records(built / "survey_own_000_train.parquet")))
    assert not chip.known("vegetation") and chip.known("burned")
    assert np.array_equal(chip.mask("vegetation"), np.arange(64) >= np.full((64, 1), 32))


def test_facts_that_the_raster_does_not_confirm(built: Path) -> None:
    chip = LabelledChip(next(read_records(built / "survey_own_000_train.parquet")))
    answer = parse_answer(
        "<seg class=water>lakes</seg>: <fact:index:NDWI>, <fact:confusion>, <fact:left_out>."
    )
    expected = chip.carry_out(answer)
    assert disagreements(chip, expected) == []
    expected.values[:8] = 0
    lines = " ".join(disagreements(chip, expected))
    assert "water pixels: stated 1856, measured again 1624" in lines and "left_out area" in lines


def test_impossible_constraint_is_counted(built: Path) -> None:
    asked = format_span("water", "lakes", Constraints(index=(IndexCondition("NBR", "above", 0.1),)))
    change(built / "dialogue_own_000_train.parquet", 0, replace_answer(f"{asked}: <fact:area>."))
    report = check(built)
    assert report.answers["with a constraint that this scene cannot answer"] == 1
