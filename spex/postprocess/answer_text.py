"""From the planned answer to the text a person reads.

Fact slots are filled with measured values, a sentence about an empty mask is replaced by one that
says why it is empty, and a sentence with a number that nothing measured is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spex.evidence.scene_evidence import SceneEvidence
from spex.postprocess.fact_text import fact_text
from spex.postprocess.facts import MaskFacts
from spex.query.answer_markup import SPAN_OPEN, Answer, Span, fill_slots, format_span, parse_answer
from spex.query.constraints import Constraints
from spex.query.numbers import stated_numbers
from spex.query.wording import constraints_text

_TAGS = re.compile(rf"{SPAN_OPEN}|</seg>|<fact:[^>]*>|</?refuse>")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Absence:
    """Why a mask is empty.

    Attributes:
        reason: a clause, as lists show it.
        sentence: for the answer, without its full stop.
    """

    reason: str
    sentence: str


def unavailable(answer: Answer, evidence: SceneEvidence) -> dict[int, Absence]:
    """Spans whose class cannot be mapped from the bands of this scene, by number."""
    absences = {}
    for number, span in enumerate(answer.spans):
        state = evidence.of(span.class_name)
        if state.status == "unavailable":
            sentence = f"{span.phrase} cannot be mapped in this scene: {state.reason}"
            absences[number] = Absence(state.reason, sentence)
    return absences


def absence(span: Span, evidence: SceneEvidence, taken_by: str | None, *, likely: bool) -> Absence:
    """Why the mask of a span is empty.

    Args:
        span: the span.
        evidence: of the scene.
        taken_by: phrase of the narrower mask that took its pixels, if there is one.
        likely: whether any pixel reached probability 0.5 before the constraints.
    """
    state = evidence.of(span.class_name)
    unmet = _constraint_words(span.constraints)
    if likely and not taken_by and unmet:
        return Absence(f"no region {unmet}", f"No {span.phrase} region {unmet} was found")
    if taken_by:
        reason = f"all of its pixels belong to {taken_by}"
    elif likely:
        reason = "other masks are more likely at all of its pixels"
    elif state.status == "present":
        reason = f"no pixel reaches probability 0.5, although {state.reason}"
    else:
        reason = state.reason
    return Absence(reason, f"No {span.phrase} found: {reason.rstrip('.')}")


def _constraint_words(constraints: Constraints) -> str:
    """The constraints that can leave a mask empty, as they follow the word "region"."""
    sizes = constraints_text(
        Constraints(min_area=constraints.min_area, max_area=constraints.max_area)
    )
    indices = constraints_text(Constraints(index=constraints.index))
    words = [
        f"of {sizes.replace(', ', ' and ')}" if sizes else "",
        constraints_text(Constraints(where=constraints.where)),
        f"with {indices.replace(', ', ' and ')}" if indices else "",
        constraints_text(Constraints(exclude=constraints.exclude)),
    ]
    return " ".join(filter(None, words))


def write_answer(
    answer: Answer, facts: Sequence[MaskFacts], absences: Mapping[int, Absence], query: str
) -> tuple[str, list[str]]:
    """Fill an answer from the measured facts.

    Args:
        answer: the planned answer.
        facts: of each span, in order.
        absences: why a mask is empty, by the number of its span.
        query: its numbers may stand in the answer.

    Returns:
        The text, and warnings about sentences that held numbers which nothing measured.
    """
    allowed = set(stated_numbers(query))
    for span in answer.spans:
        allowed.update(stated_numbers(constraints_text(span.constraints)))
    parts: list[str] = []
    new_spans: list[int] = []  # numbers of the spans in the new text, in order
    explained: set[int] = set()
    warnings: list[str] = []
    for start, end, owners in _sentences(answer):
        sentence = answer.text[start:end]
        inside = [i for i in owners if start <= answer.spans[i].start < end]
        if not owners or any(i not in absences for i in owners):
            numbers = stated_numbers(_TAGS.sub(" ", sentence))
            invented = [number for number in numbers if number not in allowed]
            if invented:
                warnings.append(
                    f"a sentence of the answer held the unmeasured number {invented[0]} "
                    "and was replaced"
                )
                inside = [i for i in inside if i not in absences]
                sentence = " ".join(_plain_sentence(answer.spans[i]) for i in inside)
            parts.append(sentence)
            new_spans += inside
        for i in owners:
            if i in absences and i not in explained:
                parts.append(f"{absences[i].sentence}.")
                explained.add(i)
    rebuilt = parse_answer(" ".join(part for part in parts if part))

    def fact(number: int, name: str, index_name: str | None) -> str:
        return fact_text(facts[new_spans[number]], name, index_name)

    return _capitalised(fill_slots(rebuilt, fact)), warnings


def _capitalised(text: str) -> str:
    """The text with a capital at the start of each sentence."""
    return re.sub(r"(^|[.!?]\s+)([a-z])", lambda match: match[1] + match[2].upper(), text)


def _plain_sentence(span: Span) -> str:
    tagged = format_span(span.class_name, span.phrase, span.constraints)
    return f"{tagged}: <fact:area>, <fact:share> of the scene."


def _sentences(answer: Answer) -> list[tuple[int, int, list[int]]]:
    """Start, end and spans of each sentence: the spans inside it, else the last one before it."""
    # Full stops inside tags (min_area=0.5ha) do not end a sentence.
    hidden = _TAGS.sub(lambda match: "\0" * len(match[0]), answer.text)
    gaps = [match.span() for match in _SENTENCE_END.finditer(hidden)]
    sentences: list[tuple[int, int, list[int]]] = []
    start = 0
    owners: list[int] = []
    for end, next_start in [*gaps, (len(hidden), len(hidden))]:
        inside = [i for i, span in enumerate(answer.spans) if start <= span.start < end]
        owners = inside or owners[-1:]
        sentences.append((start, end, owners))
        start = next_start
    return sentences
