"""Explanations: what they say of painted masks, and that every number is measured again."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spex.engine import extract
from spex.evidence.scene_evidence import measure
from spex.postprocess.answer_text import whole_scene_text, write_answer
from spex.postprocess.doubts import RulesDifference
from spex.postprocess.facts import IndexFacts
from spex.postprocess.mask_text import Image, mask_paragraph
from spex.query.answer_markup import parse_answer
from spex.query.answers import answer_for
from spex.query.constraints import Constraints, Distance, IndexCondition
from spex.query.reading import LANGUAGES, Reading, Remark, RequestedMask
from spex.query.wording import class_title, wording
from spex.results.audit import AuditError, audit
from spex.results.explanation import explanation

ALL = Constraints(
    min_area=(0.25, "ha"),
    max_area=(1.5, "km2"),
    where=("north_third", "center", "-southeast"),
    top=12,
    index=(IndexCondition("NDVI", "above", -0.95),),
    exclude=("tree_cover",),
    near=(Distance("building", 1250.5),),
)


@pytest.fixture
def scene(painted: Any) -> Any:
    """Lakes of which the smaller is unsure, fields with houses beside them, 1 ha nearly field."""
    water = np.full((100, 120), 0.05, np.float32)
    water[20:60, 30:50] = 0.9
    water[80:82, 100:103] = 0.55
    fields = np.full((100, 120), 0.05, np.float32)
    fields[5:30, 60:] = 0.8
    fields[40:50, 60:70] = 0.45
    houses = np.full((100, 120), 0.05, np.float32)
    houses[70:74, 70:74] = 0.7
    return painted(water=water, cropland=fields, building=houses)


def asked(scene: Any, painter: Any, reading: Reading, query: str = "lakes") -> Any:
    """The result of a reading, in its language."""
    text = answer_for(reading, measure(scene.overview(1024)))
    result = extract(scene, query, painter(text))
    answer, warnings = write_answer(parse_answer(text), result.facts, {}, query, reading.language)
    assert not warnings
    return replace(result, reading=reading, answer=answer)


def mask(name: str, language: str = "en", constraints: Constraints | None = None) -> RequestedMask:
    return RequestedMask(name, class_title(name, language), constraints or Constraints())


def test_a_report_of_one_mask(scene: Any, painter: Any) -> None:
    text = explanation(asked(scene, painter, Reading("en", masks=(mask("cropland"),))))
    title, made, query, paragraph, check = text.strip().split("\n\n")
    assert title.startswith("# Cropland in ")
    assert "5 bands, pixels of 10 m. Extracted by SPEX" in made and "000000000000" in made
    assert query == "Asked: “lakes”"
    assert paragraph.startswith(
        "**Cropland**: 15.0 ha, 12.5 % of the scene, in one region, mostly in the northeast."
    )
    assert "The mean probability is 0.80." in paragraph
    assert "Outside it, 1.00 ha come close, with a probability from 0.4 to 0.5." in paragraph
    assert "No index of these bands separates cropland well from" in paragraph
    assert check.startswith("Every number was measured")


def test_what_is_unsure_is_said_with_its_area(scene: Any, painter: Any) -> None:
    water = Reading("en", masks=(mask("water"),), asks=frozenset({"sure"}))
    result = asked(scene, painter, water)
    assert result.answer.endswith(
        "The mean probability is 0.90; 600 m² of it (0.74 %) lies below 0.6."
    )
    (facts,) = result.facts
    assert facts.doubts.unsure == 600  # square metres
    assert facts.doubts.almost == 0


@pytest.mark.parametrize(
    ("inside", "outside", "support", "against"),
    [
        (0.01, 0.60, "NDVI supports it: 0.01 on average, 0.60 in the rest", ""),
        (0.01, -0.41, "", ""),  # lower than the threshold, but not than the rest of the scene
        (0.50, 0.90, "", "its mean NDVI, 0.50, is on the wrong side of the threshold 0.10"),
    ],
)
def test_an_index_speaks_for_a_mask_in_the_direction_of_its_class(
    scene: Any, painter: Any, inside: float, outside: float, support: str, against: str
) -> None:
    (facts,) = asked(scene, painter, Reading("en", masks=(mask("building"),))).facts
    index = IndexFacts(inside, outside, 0.1, True)
    doubts = replace(facts.doubts, beyond="NDVI", left_out=0.0, similar=("", 0.0))
    facts = replace(facts, evidence={"NDVI": index}, doubts=doubts)
    text = mask_paragraph(facts, Image(("B", "G", "R", "N"), "display", 0.5))
    assert ("supports it" in text) == bool(support) and support in text
    assert ("wrong side" in text) == bool(against) and against in text


@pytest.mark.parametrize(
    ("only_mask", "only_rules", "sentence"),
    [
        (4e4, 5e4, "By the index rules alone, 4.00 ha of it would be missing and 5.00 ha would"),
        (4e4, 0.0, "By the index rules alone, 4.00 ha of it would be missing, mostly"),
        (0.0, 5e4, "By the index rules alone, 5.00 ha would be added, mostly in the north."),
        (1e3, 1e3, ""),  # less than a tenth
    ],
)
def test_a_difference_from_the_rules_is_said_from_a_tenth_on(
    scene: Any, painter: Any, only_mask: float, only_rules: float, sentence: str
) -> None:
    (facts,) = asked(scene, painter, Reading("en", masks=(mask("cropland"),))).facts
    rules = RulesDifference(1e5, only_mask, only_rules, "north")
    facts = replace(facts, doubts=replace(facts.doubts, rules=rules))
    text = mask_paragraph(facts, Image((), "toa", None))
    assert ("index rules alone" in text) == bool(sentence) and sentence in text


def test_the_rules_are_mentioned_where_they_differ(scene: Any, painter: Any) -> None:
    (facts,) = asked(scene, painter, Reading("en", masks=(mask("cropland"),))).facts
    rules = facts.doubts.rules
    assert rules.both + rules.only_mask == 150_000
    assert rules.share == pytest.approx(
        (rules.only_mask + rules.only_rules) / (rules.both + rules.only_mask + rules.only_rules)
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("ask", ["plain", "why", "count", "share", "sure"])
def test_answers_and_reports_are_audited_in_every_language(
    scene: Any, painter: Any, tmp_path: Path, language: str, ask: str
) -> None:
    masks = (mask("cropland", language, ALL), mask("water", language))
    reading = Reading(
        language,
        masks=masks,
        asks=frozenset({ask}),
        ignored=("lakes",),
        remarks=(Remark("distance", "near", "near=building:1250.5"),),
    )
    result = asked(scene, painter, reading)
    folder = result.save(tmp_path / "out")
    report = (folder / "explanation.md").read_text(encoding="utf-8")
    left = re.findall(r"\{\w*\}|<\w+[:>]", result.answer + report)
    assert not left
    assert len(result.facts) == 2
    first = result.answer.splitlines()[1]
    assert first.startswith(class_title("cropland", language)[0].upper())
    stated = {"en": "1,250.5", "zh": "1,250.5", "fr": "1\u202f250,5"}.get(language, "1.250,5")
    assert stated in first and stated in report
    wrong = report.replace(stated, stated.replace("250", "251"))
    (folder / "explanation.md").write_text(wrong, encoding="utf-8")
    with pytest.raises(AuditError, match=r"the explanation states 1251\.5"):
        audit(folder, result.scene)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_map_of_the_scene_is_a_table_with_the_unknown_rest(
    scene: Any, painter: Any, language: str
) -> None:
    text = "<seg class=water>a</seg>, <seg class=cropland>b</seg>, <seg class=building>c</seg>."
    result = extract(scene, "map", painter(text))
    reading = Reading(language, whole_scene=True)
    answer = whole_scene_text(result.facts, language)
    rows = [line.split(" | ")[0].strip("| ") for line in answer.splitlines() if "|" in line]
    unknown = wording(language)["answer"]["shares_table"][-1]
    assert rows[2:] == ["b", "a", "c", unknown]
    report = explanation(replace(result, reading=reading, answer=answer))
    assert answer in report and report.count("\n- **") == 3


def test_what_was_not_found_and_what_was_not_understood(scene: Any, painter: Any) -> None:
    text = "<seg class=water>lakes</seg>. <seg class=vegetation>plants</seg>."
    result = extract(scene, "lakes", painter(text))
    reading = Reading("en", masks=(mask("water"),), ignored=("second largest",))
    report = explanation(replace(result, reading=reading))
    assert "**Not understood, and not used: “second largest”;" in report
    assert "## Not found\n\n- **Vegetation**: " in report


def test_an_order_of_constraints_is_told_where_it_matters(scene: Any, painter: Any) -> None:
    only_north = Reading("en", masks=(mask("water", "en", Constraints(where=("north",))),))
    assert "sizes and ranks then apply" not in explanation(asked(scene, painter, only_north))
    both = Constraints(where=("north",), top=1)
    reading = Reading("en", masks=(mask("water", "en", both),))
    assert "sizes and ranks then apply" in explanation(asked(scene, painter, reading))
