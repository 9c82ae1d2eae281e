"""From the planned answer to the text a person reads: slots filled, absences said, invented numbers taken out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from spex.evidence.measured import SceneEvidence
from spex.postprocess.facts import MaskFacts, fact_text
from spex.query.answer_markup import SPAN_OPEN, Answer, Span, fill_slots, format_span, parse_answer
from spex.query.numbers import stated_numbers
from spex.query.wording import constraints_text

_TAGS = re.compile(rf"{SPAN_OPEN}|</seg>|<fact:[^>]*>|</?refuse>")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def unavailable(answer: Answer, evidence: SceneEvidence) -> dict[int, str]:
    """Spans whose class cannot be told from the bands of this scene, with the reason."""
    states = [evidence.classes[span.class_name] for span in answer.spans]
    return {
        number: state.reason for number, state in enumerate(states) if state.status == "unavailable"
    }


def absence(span: Span, evidence: SceneEvidence, taken_by: str | None, *, likely: bool) -> str:
    """Why a mask is empty: a narrower mask took its pixels, its constraints removed them, or nothing was likely enough.

    Args:
        span: the span whose mask is empty.
        evidence: of the scene.
        taken_by: phrase of the narrower mask, if there is one.
        likely: whether any pixel reached probability 0.5 before the constraints.
    """
    state = evidence.classes[span.class_name]
    if taken_by:
        return f"all of its pixels belong to {taken_by}"
    if likely:
        asked = constraints_text(span.constraints)
        return (
            f"nothing meets: {asked}"
            if asked
            else "other masks are more likely at all of its pixels"
        )
    if state.status == "present":
        return f"no pixel reaches probability 0.5, although {state.reason}"
    return state.reason


def write_answer(
    answer: Answer, facts: Sequence[MaskFacts], absent: Mapping[int, str], query: str
) -> tuple[str, list[str]]:
    """Fill an answer from the measured facts.

    Args:
        absent: numbers of the spans whose mask is empty, and why; their sentences become one that says so.

    Returns:
        The text, and warnings about sentences taken out because they held numbers that nothing measured.
    """
    allowed = set(stated_numbers(query)) | {
        n for span in answer.spans for n in stated_numbers(constraints_text(span.constraints))
    }
    parts: list[str] = []
    kept: list[int] = []  # spans in the new text, in order
    said: set[int] = set()
    warnings: list[str] = []
    for start, end, owners in _sentences(answer):
        sentence, own = (
            answer.text[start:end],
            [i for i in owners if start <= answer.spans[i].start < end],
        )
        if not owners or any(i not in absent for i in owners):
            invented = [
                number
                for number in stated_numbers(_TAGS.sub(" ", sentence))
                if number not in allowed
            ]
            if invented:
                warnings.append(
                    f"a sentence of the answer held the unmeasured number {invented[0]} and was replaced"
                )
                sentence = " ".join(_plain(answer.spans[i]) for i in own if i not in absent)
                own = [i for i in own if i not in absent]
            parts.append(sentence)
            kept += own
        for i in owners:
            if i in absent and i not in said:
                parts.append(f"No {answer.spans[i].phrase} found: {absent[i].rstrip('.')}.")
                said.add(i)
    rebuilt = parse_answer(" ".join(part for part in parts if part))
    text = fill_slots(
        rebuilt, lambda number, name, index_name: fact_text(facts[kept[number]], name, index_name)
    )
    return re.sub(r"(^|[.!?]\s+)([a-z])", lambda match: match[1] + match[2].upper(), text), warnings


def _plain(span: Span) -> str:
    tagged = format_span(span.class_name, span.phrase, span.constraints)
    return f"{tagged}: <fact:area>, <fact:share> of the scene."


def _sentences(answer: Answer) -> list[tuple[int, int, list[int]]]:
    """Start, end and spans of each sentence: the spans inside it, else the last one before it."""
    # Full stops inside tags (min_area=0.5ha) do not end a sentence.
    hidden = _TAGS.sub(lambda match: "\0" * len(match[0]), answer.text)
    found: list[tuple[int, int, list[int]]] = []
    start, last = 0, list[int]()
    for stop, following in [match.span() for match in _SENTENCE_END.finditer(hidden)] + [
        (len(hidden), len(hidden))
    ]:
        last = [i for i, span in enumerate(answer.spans) if start <= span.start < stop] or last[-1:]
        found.append((start, stop, last))
        start = following
    return found
