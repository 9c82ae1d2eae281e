"""The answer to a reading, in the markup and in the language of the request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from spex.evidence.indices import OFFERED_INDICES
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.answer_markup import format_span, parse_answer
from spex.query.constraints import ANY
from spex.query.reading import Reading, Remark, RequestedMask
from spex.query.wording import (
    area_in_words,
    class_title,
    constraints_text,
    listed,
    paragraph,
    quoted,
    with_constraints,
    wording,
)

_SEPARATING = 1.0
"""Distance of two means, in standard deviations, from which an index is evidence."""


def answer_for(reading: Reading, evidence: SceneEvidence) -> str:
    """What is answered to a reading, as text with spans and fact slots.

    The warning about words that were not understood stands in front, each mask has a line that
    states all of its constraints, and assumptions stand at the end.

    Args:
        reading: of the request. Where it asks for the whole scene, its ``masks`` are unset; see
            ``whole_scene_answer``.
        evidence: of the scene.
    """
    language = reading.language
    if reading.refusal is not None:
        return f"<refuse>{refusal_text(*reading.refusal, language)}</refuse>"
    if reading.reply is not None:
        return reply_text(reading.reply, language)
    lines = [ignored_text(reading.ignored, language)] if reading.ignored else []
    lines += [_mask_text(mask, reading, evidence) for mask in reading.masks]
    remarks = [remark_text(remark, language) for remark in reading.remarks]
    return "\n".join([*lines, *dict.fromkeys(remarks)])


def whole_scene_answer(names: Iterable[str], language: str, ignored: Sequence[str] = ()) -> str:
    """The markup of a map of classes: their spans, without slots.

    Args:
        names: of the classes.
        language: one of ``LANGUAGES``.
        ignored: words of the request that were not understood.
    """
    spans = [format_span(name, class_title(name, language)) for name in names]
    pattern = wording(language)["answer"]["whole_scene"]
    lines = [ignored_text(ignored, language)] if ignored else []
    return "\n".join([*lines, pattern.format(classes=listed(spans, language))])


def refusal_text(key: str, words: str, language: str = "en") -> str:
    """Why nothing can be extracted.

    Args:
        key: of the table of refusals in ``wording/``.
        words: of the request that are the reason; may be empty.
        language: one of ``LANGUAGES``.
    """
    patterns = wording(language)["refusals"][key]
    pattern = patterns if isinstance(patterns, str) else patterns[0 if words else 1]
    examples = wording(language)["examples"]
    return str(pattern.format(words=quoted(words, language), examples=examples))


def reply_text(key: str, language: str = "en") -> str:
    """The reply to what asks for no extraction; ``key`` is one of the table of replies."""
    words = wording(language)
    return str(words["replies"][key].format(examples=words["examples"]))


def ignored_text(ignored: Sequence[str], language: str = "en") -> str:
    """The warning that words were not understood."""
    words = listed([quoted(item, language) for item in ignored], language)
    return str(wording(language)["ignored"].format(words=words))


def remark_text(remark: Remark, language: str = "en") -> str:
    """An assumption as a sentence."""
    pattern = wording(language)["remarks"][remark.kind]
    words = quoted(remark.words, language)
    if remark.kind == "typo":
        return str(pattern.format(words=words, value=quoted(remark.value, language)))
    if remark.kind == "doubt":
        return str(pattern.format(words=words))
    if remark.kind == "distance":
        metres = re.findall(r"\d+(?:\.\d+)?", remark.value)[-1]
        return str(pattern.format(distance=area_in_words(float(metres), "m", language)))
    value = _value_text(remark.value, language)
    return str(pattern.format(words=words, title=value, constraints=value))


def _value_text(value: str, language: str) -> str:
    """A class or a constraint, as a remark has it, in words."""
    if "=" not in value:
        return class_title(value, language)
    span = parse_answer(f"<seg class={ANY} {value}>{ANY}</seg>").spans[0]
    return constraints_text(span.constraints, language)


def shown_phrase(mask: RequestedMask, remarks: Sequence[Remark], language: str = "en") -> str:
    """The words for a mask: the person's own, but never for what has no class.

    Args:
        mask: of the reading.
        remarks: of the reading; a typing error is put right, and a class that stands in for
            something else has its own title.
        language: of the request.
    """
    phrase = mask.phrase
    for remark in remarks:
        if remark.kind == "typo":
            phrase = phrase.replace(remark.words, remark.value)
        elif remark.value == mask.class_name and _share_words(remark.words, mask.phrase):
            return class_title(mask.class_name, language)
    return re.sub(r"[<>]", "", phrase).strip() or class_title(mask.class_name, language)


def _share_words(words: str, phrase: str) -> bool:
    words = words.casefold()
    phrase = phrase.casefold()
    return words in phrase or phrase in words


def _mask_text(mask: RequestedMask, reading: Reading, evidence: SceneEvidence) -> str:
    """What the answer says of a mask: one sentence, and more where more was asked."""
    language = reading.language
    words = wording(language)["answer"]
    phrase = shown_phrase(mask, reading.remarks, language)
    span = format_span(mask.class_name, phrase, mask.constraints)
    head = with_constraints(span, mask.constraints, language)
    kind = next((name for name in ("count", "share") if name in reading.asks), "plain")
    parts = [words[kind].format(head=head)]
    if "sure" in reading.asks:
        parts.append(words["sure"])
    if "why" in reading.asks and mask.class_name != ANY:
        index = _telling_index(mask.class_name, evidence)
        if index:
            parts.append(words["contrast"].format(index=index))
        parts.append(words["doubts"])
    if kind == "count" and mask is reading.masks[-1]:
        parts.append(words["count_note"])
    return paragraph(parts, language)


def _telling_index(class_name: str, evidence: SceneEvidence) -> str:
    """The index of a class where it separates the class from the rest of the scene, else ""."""
    measured = evidence.classes[class_name]
    tells = measured.separability >= _SEPARATING and not measured.weak
    return measured.index if tells and measured.index in OFFERED_INDICES else ""
