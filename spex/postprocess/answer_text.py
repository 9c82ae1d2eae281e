"""From the planned answer to the text a person reads.

Fact slots are filled with measured values, a sentence about an empty mask is replaced by one that
says why it is empty, and a sentence with a number that nothing measured is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spex.evidence.class_evidence import ClassEvidence
from spex.evidence.scene_evidence import SceneEvidence
from spex.postprocess.fact_text import area_text, fact_text, share_text
from spex.postprocess.facts import MaskFacts
from spex.query.answer_markup import SPAN_OPEN, Answer, Span, fill_slots, format_span, parse_answer
from spex.query.constraints import ANY, Constraints
from spex.query.numbers import stated_numbers
from spex.query.wording import (
    QUOTATION,
    class_title,
    constraints_text,
    paragraph,
    reason_text,
    with_constraints,
    wording,
)

_NO_CLAIM = re.compile(rf"{SPAN_OPEN}|</seg>|<fact:[^>]*>|</?refuse>|{QUOTATION}")
_WHOLE = re.compile(rf"{SPAN_OPEN}[^<>]*</seg>|<fact:[^>]*>|</?refuse>|{QUOTATION}")
_SENTENCE_END = re.compile(r"\s*\n\s*|(?<=[.!?])\s+|(?<=[。！？])(?=.)")

_NO_REST = 1e-6  # a share that is left by rounding


@dataclass(frozen=True)
class Absence:
    """Why a mask is empty.

    Attributes:
        span: of the mask.
        kind: a key of ``absence`` in ``wording/``, or ``evidence``: the scene does not show the
            class.
        evidence: of the class.
        taken_by: phrase of the narrower mask that took its pixels.
        nowhere: class that the mask must lie near, and that the scene does not have.
    """

    span: Span
    kind: str
    evidence: ClassEvidence
    taken_by: str = ""
    nowhere: str = ""

    @property
    def reason(self) -> str:
        """The reason in English, as ``extraction.json`` has it."""
        return self.clause()

    @property
    def sentence(self) -> str:
        """The sentence in English."""
        return self.text()

    def clause(self, language: str = "en") -> str:
        """The reason, as lists show it."""
        evidence = reason_text(self.evidence, language)
        if self.kind in ("evidence", "unavailable"):
            return evidence.rstrip(".")
        pattern: str = wording(language)["absence"][self.kind]
        stated = self.span.constraints if self.kind == "rank" else _of_regions(self.span)
        return pattern.format(
            other=class_title(self.nowhere, language) if self.nowhere else self.taken_by,
            reason=evidence,
            constraints=constraints_text(stated, language),
        )

    def text(self, language: str = "en") -> str:
        """The reason as a sentence of the answer, without its full stop."""
        words = wording(language)["absence"]
        keys = {"unavailable": "unavailable", "unmet": "unmet_sentence"}
        pattern: str = words[keys.get(self.kind, "sentence")]
        constraints = constraints_text(_of_regions(self.span), language)
        reason = self.clause(language)
        return pattern.format(phrase=self.span.phrase, reason=reason, constraints=constraints)


def _of_regions(span: Span) -> Constraints:
    """The constraints that can leave a mask empty: all but those that pick regions by rank."""
    return replace(span.constraints, top=None, bottom=None)


def _all_but(constraints: Constraints) -> bool:
    """Whether the largest or smallest regions are taken away."""
    return (constraints.top or 0) < 0 or (constraints.bottom or 0) < 0


def unavailable(answer: Answer, evidence: SceneEvidence) -> dict[int, Absence]:
    """Spans whose class cannot be mapped from the bands of this scene, by number."""
    absences = {}
    for number, span in enumerate(answer.spans):
        state = evidence.of(span.class_name)
        if state.status == "unavailable":
            absences[number] = Absence(span, "unavailable", state)
    return absences


def absence(
    span: Span, evidence: SceneEvidence, taken_by: str | None, *, nowhere: str | None, likely: bool
) -> Absence:
    """Why the mask of a span is empty.

    Args:
        span: the span.
        evidence: of the scene.
        taken_by: phrase of the narrower mask that took its pixels, if there is one.
        nowhere: class that the mask must lie near, if this scene has no pixel of it.
        likely: whether any pixel reached probability 0.5 before the constraints.
    """
    state = evidence.of(span.class_name)
    if likely and nowhere:
        return Absence(span, "nowhere", state, nowhere=nowhere)
    if likely and (not taken_by or span.class_name == ANY) and _all_but(span.constraints):
        return Absence(span, "rank", state)
    constrained = bool(constraints_text(_of_regions(span)))
    if span.class_name == ANY or (likely and not taken_by and constrained):
        return Absence(span, "unmet", state)
    if taken_by:
        return Absence(span, "taken", state, taken_by)
    if likely:
        return Absence(span, "less_likely", state)
    return Absence(span, "unlikely" if state.status == "present" else "evidence", state)


def write_answer(
    answer: Answer,
    facts: Sequence[MaskFacts],
    absences: Mapping[int, Absence],
    query: str,
    language: str = "en",
) -> tuple[str, list[str]]:
    """Fill an answer from the measured facts.

    Args:
        answer: the planned answer.
        facts: of each span, in order.
        absences: why a mask is empty, by the number of its span.
        query: its numbers may stand in the answer.
        language: of the answer.

    Returns:
        The text, and warnings about sentences that held numbers which nothing measured.
    """
    allowed = {*stated_numbers(query), *stated_numbers(query, language)}
    for span in answer.spans:
        constraints = constraints_text(span.constraints, language)
        allowed.update(stated_numbers(f"{constraints} {span.phrase}", language))
    text = ""
    new_spans: list[int] = []  # numbers of the spans in the new text, in order
    explained: set[int] = set()
    warnings: list[str] = []
    for gap, start, end, owners in _sentences(answer):
        parts = []
        sentence = answer.text[start:end]
        inside = [i for i in owners if start <= answer.spans[i].start < end]
        if not owners or any(i not in absences for i in owners):
            numbers = stated_numbers(_NO_CLAIM.sub(" ", sentence), language)
            invented = [number for number in numbers if number not in allowed]
            if invented:
                warnings.append(
                    f"a sentence of the answer held the unmeasured number {invented[0]} "
                    "and was replaced"
                )
                inside = [i for i in inside if i not in absences]
                sentence = paragraph(
                    (_plain_sentence(answer.spans[i], language) for i in inside), language
                )
            parts.append(sentence)
            new_spans += inside
        for i in owners:
            if i in absences and i not in explained:
                parts.append(absences[i].text(language) + wording(language)["full_stop"])
                explained.add(i)
        sentence = paragraph(parts, language)
        text += (gap if text else "") + sentence if sentence else ""
    rebuilt = parse_answer(text)

    def fact(number: int, name: str, index_name: str | None) -> str:
        return fact_text(facts[new_spans[number]], name, index_name, language)

    return _capitalised(fill_slots(rebuilt, fact)), warnings


def whole_scene_text(facts: Sequence[MaskFacts], language: str = "en") -> str:
    """A map of classes as a sentence and a Markdown table of their shares, the largest first.

    Args:
        facts: of each mask; no pixel is in two of them.
        language: of the answer.
    """
    words = wording(language)["answer"]
    ranked = sorted((item for item in facts if item.pixels), key=lambda item: -item.fraction)
    if not ranked:
        return str(words["shares_none"])
    first = ranked[0]
    share = share_text(first.fraction, language)
    pattern = words["shares" if first.fraction > 0.5 else "shares_largest"]
    sentences = [pattern.format(first=first.span.phrase, share=share)]
    unmapped = 1 - sum(item.fraction for item in ranked)
    *titles, unknown = words["shares_table"]
    rows = [
        (
            item.span.phrase,
            share_text(item.fraction, language),
            area_text(item.area_m2, item.pixels, language),
        )
        for item in ranked
    ]
    if unmapped > _NO_REST:
        scale = unmapped / first.fraction
        area_m2 = None if first.area_m2 is None else first.area_m2 * scale
        area = area_text(area_m2, first.pixels * scale, language)
        rows.append((unknown, share_text(unmapped, language), area))
        sentences.append(words["shares_rest"].format(share=share_text(unmapped, language)))
    table = [titles, ["---", "---:", "---:"], *rows]
    lines = [f"| {' | '.join(cells)} |" for cells in table]
    return _capitalised(paragraph(sentences, language)) + "\n\n" + "\n".join(lines)


def _capitalised(text: str) -> str:
    """The text with a capital at the start of each sentence."""
    return re.sub(r"(^|[.!?]\s+|\n)([^\W\d_])", lambda match: match[1] + match[2].upper(), text)


def _plain_sentence(span: Span, language: str) -> str:
    tagged = format_span(span.class_name, span.phrase, span.constraints)
    head = with_constraints(tagged, span.constraints, language)
    return str(wording(language)["answer"]["area"].format(head=head))


def _sentences(answer: Answer) -> list[tuple[str, int, int, list[int]]]:
    """The sentences of an answer.

    Returns:
        What parts each from the one before, its start and end, and its spans: those inside it,
        else the last one before it in its line.
    """
    # Full stops inside tags (min_area=0.5ha), phrases and quotations do not end a sentence.
    hidden = _WHOLE.sub(lambda match: "\0" * len(match[0]), answer.text)
    gaps = [match.span() for match in _SENTENCE_END.finditer(hidden)]
    sentences: list[tuple[str, int, int, list[int]]] = []
    start = 0
    gap = ""
    owners: list[int] = []
    for end, next_start in [*gaps, (len(hidden), len(hidden))]:
        inside = [i for i, span in enumerate(answer.spans) if start <= span.start < end]
        owners = inside or ([] if "\n" in gap else owners[-1:])
        sentences.append(("\n" if "\n" in gap else gap, start, end, owners))
        gap = answer.text[end:next_start]
        start = next_start
    return sentences
