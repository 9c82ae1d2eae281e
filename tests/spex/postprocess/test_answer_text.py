"""Answers as people read them: lines, sentences and absences, in the language of the request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spex.engine import extract
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.postprocess.answer_text import Absence, absence, unavailable, write_answer
from spex.postprocess.fact_text import area_text, share_text
from spex.postprocess.facts import MaskFacts
from spex.query.answer_markup import Answer, parse_answer
from spex.query.reading import LANGUAGES

TWO = (
    "Nicht verstanden: „z. B. 3. See“.\n"
    "<seg class=water min_area=0.5ha>Seen bei St. Anna</seg> von mindestens 0,5 ha: <fact:area>. "
    "Mehr: <fact:certainty>.\n"
    "<seg class=cropland>Felder</seg>: <fact:area>, <fact:regions>.\n"
    "Annahme am Ende."
)


@pytest.fixture
def scene(painted: Any) -> Any:
    water = np.full((100, 120), 0.05, np.float32)
    water[20:60, 30:50] = 0.9
    fields = np.full((100, 120), 0.05, np.float32)
    fields[:15, 60:] = 0.8
    return painted(water=water, cropland=fields)


@pytest.fixture
def evidence(scene: Any) -> SceneEvidence:
    return measure(scene.read())


def facts_of(scene: Any, painter: Any, answer: Answer) -> tuple[MaskFacts, ...]:
    return extract(scene, "3. See", painter(answer.text)).facts


def test_every_line_stays_a_line(scene: Any, painter: Any) -> None:
    answer = parse_answer(TWO)
    text, warnings = write_answer(answer, facts_of(scene, painter, answer), {}, "3. See", "de")
    assert not warnings
    assert text.splitlines() == [
        "Nicht verstanden: „z. B. 3. See“.",
        "Seen bei St. Anna von mindestens 0,5 ha: 8,00 ha. "
        "Mehr: die mittlere Wahrscheinlichkeit ist 0,90.",
        "Felder: 9,00 ha, als eine zusammenhängende Fläche.",
        "Annahme am Ende.",
    ]


def test_an_absent_mask_takes_its_own_line_only(
    scene: Any, painter: Any, evidence: SceneEvidence
) -> None:
    answer = parse_answer(TWO)
    facts = facts_of(scene, painter, answer)
    gone = {0: absence(answer.spans[0], evidence, None, nowhere=None, likely=True)}
    text, _ = write_answer(answer, facts, gone, "3. See", "de")
    assert text.splitlines() == [
        "Nicht verstanden: „z. B. 3. See“.",
        "Seen bei St. Anna: keine Fläche von mindestens 0,5 ha gefunden.",
        "Felder: 9,00 ha, als eine zusammenhängende Fläche.",
        "Annahme am Ende.",
    ]


def test_chinese_sentences_need_no_space(scene: Any, painter: Any, evidence: SceneEvidence) -> None:
    answer = parse_answer(
        "<seg class=water>湖泊</seg>：<fact:area>。<fact:certainty>。\n"
        "<seg class=cropland>耕地</seg>：<fact:area>，<fact:regions>。"
    )
    facts = facts_of(scene, painter, answer)
    text, _ = write_answer(answer, facts, {}, "湖泊", "zh")
    assert text == "湖泊：8.00公顷。平均概率为0.90。\n耕地：9.00公顷，为一个图斑。"
    gone = {0: absence(answer.spans[0], evidence, "河流", nowhere=None, likely=True)}
    text, _ = write_answer(answer, facts, gone, "湖泊", "zh")
    assert text == "未找到湖泊：其全部像元都属于河流。\n耕地：9.00公顷，为一个图斑。"


def test_an_invented_number_is_found_in_any_language(scene: Any, painter: Any) -> None:
    answer = parse_answer("<seg class=water>lagos</seg>: 12.345,6 ha y <fact:area>.")
    facts = facts_of(scene, painter, answer)
    text, warnings = write_answer(answer, facts, {}, "lagos", "es")
    assert text == "Lagos: 8,00 ha, el 6,67 % de la escena."
    assert "12345.6" in warnings[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_reason_of_an_empty_mask_has_words(evidence: SceneEvidence, language: str) -> None:
    (span,) = parse_answer("<seg class=snow_ice min_area=2ha top=-1>x</seg>").spans
    kinds = {
        absence(span, evidence, None, nowhere="road", likely=True).kind,
        absence(span, evidence, None, nowhere=None, likely=True).kind,
        absence(span, evidence, "y", nowhere=None, likely=True).kind,
        absence(span, evidence, None, nowhere=None, likely=False).kind,
    }
    assert len(kinds) == 4
    for kind in (*kinds, "unmet", "less_likely", "unlikely", "unavailable"):
        item = Absence(span, kind, evidence.of("snow_ice"), "y", "road")
        for text in (item.clause(language), item.text(language)):
            assert text and "{" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_cause_of_the_evidence_has_words(painted: Any, language: str) -> None:
    bare = painted()
    without = type(bare).from_array(bare.read().values[:2], bare.bands[:2])
    answer = parse_answer("<seg class=burned>x</seg>, <seg class=building>y</seg>.")
    absences = unavailable(answer, measure(without.read()))
    assert set(absences) == {0, 1}
    for item in absences.values():
        text = item.text(language)
        assert "{" not in text and ("SWIR" in text) == (language == "en")


@pytest.mark.parametrize(
    ("language", "area", "share"),
    [
        ("en", "1,000 ha", "0.005 %"),
        ("es", "1.000 ha", "0,005 %"),
        ("pt", "1.000 ha", "0,005 %"),
        ("fr", "1\u202f000 ha", "0,005\u202f%"),
        ("de", "1.000 ha", "0,005 %"),
        ("zh", "1,000公顷", "0.005%"),
    ],
)
def test_quantities_are_written_as_the_language_does(language: str, area: str, share: str) -> None:
    assert area_text(9_999_999, 1, language) == area
    assert share_text(5e-5, language) == share


def test_a_share_below_a_millionth_has_no_exponent() -> None:
    assert share_text(3e-9) == "0.0000003 %"
