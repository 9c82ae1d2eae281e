"""Answers to requests: spans and fact slots in English, slots and few words in other languages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from instruction_data.dialogues.acts import DialogueRequest
from instruction_data.dialogues.arguments import (
    NOTHING_STANDS_OUT,
    draw_argument,
    nameable_index,
    unavailable_sentence,
)
from instruction_data.dialogues.phrases import NounPhrase
from instruction_data.dialogues.words import WordingSampler, load_wording
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import SceneEvidence

_INDEX_MEANS = " {i} is <fact:index:{i}> inside and <fact:outside:{i}> outside."
_ACTS_FOR_SEVERAL = ("explain", "area", "count", "share")
_MAX_DESCRIBED = 4


@dataclass(frozen=True)
class AnswerContext:
    """What an answer depends on besides the request.

    Attributes:
        evidence: of the scene.
        evidence_text: what the prompt says about it; empty: nothing.
        queries: text of all queries up to this one.
    """

    evidence: SceneEvidence
    evidence_text: str
    queries: str


def draw_answer(
    sampler: WordingSampler, request: DialogueRequest, context: AnswerContext
) -> tuple[str, tuple[NounPhrase, ...]]:
    """Draw the answer to a request, and the phrases that became its spans."""
    if request.refusal:
        return _refuse(request.refusal), ()
    if request.act == "describe":
        return _describe(context)
    unavailable = _unavailable_classes(context.evidence_text)
    possible = []
    reasons = []
    for phrase in request.phrases:
        if phrase.class_name in unavailable:
            reasons.append(_reason(phrase, request, context))
        else:
            possible.append(phrase)
    if not possible:
        return _refuse(" ".join(reasons)), ()
    if request.language == "en":
        sentences = _english_sentences(sampler, request, possible, context)
    else:
        sentences = _foreign_sentences(request, possible, context)
    return " ".join([*sentences, *reasons]), tuple(possible)


def _describe(context: AnswerContext) -> tuple[str, tuple[NounPhrase, ...]]:
    """The classes that the evidence text shows, or that none stands out."""
    phrases = []
    for name in _shown_classes(context.evidence_text)[:_MAX_DESCRIBED]:
        title = classes()[name].title
        phrases.append(NounPhrase(name, title, title))
    if not phrases:
        return _refuse(NOTHING_STANDS_OUT), ()
    frame = load_wording("acts")["answers"]["describe"]
    sentences = [frame.format(np=phrase.answer_words("")) for phrase in phrases]
    return " ".join(sentences), tuple(phrases)


def _reason(phrase: NounPhrase, request: DialogueRequest, context: AnswerContext) -> str:
    """Why the class of a phrase cannot be mapped."""
    if request.language == "en":
        return unavailable_sentence(phrase.class_name, context.evidence)
    frame: str = load_wording(request.language)["unavailable"]
    return frame.format(words=phrase.span_words(context.queries))


def _english_sentences(
    sampler: WordingSampler,
    request: DialogueRequest,
    phrases: Sequence[NounPhrase],
    context: AnswerContext,
) -> list[str]:
    """One sentence or more for each phrase."""
    answers = load_wording("acts")["answers"]
    single = len(phrases) == 1
    act = _answer_act(request.act, single=single)
    sentences = []
    for phrase in phrases:
        text = answers[act].format(np=phrase.answer_words(context.queries), i=request.index)
        name = phrase.class_name
        if act == "explain":
            length = request.length if single else "short"
            argument = draw_argument(sampler, name, context.evidence, context.evidence_text, length)
            text += f" {argument}"
        elif single and act in ("ask", "sure"):
            index = nameable_index(name, context.evidence, context.evidence_text)
            text += _INDEX_MEANS.format(i=index) if index else ""
        sentences.append(text)
    return sentences


def _answer_act(act: str, *, single: bool) -> str:
    """The act whose answer fits a request for a single class or for several."""
    if act == "possible":
        act = "exists"
    has_answer = act in load_wording("acts")["answers"]
    if not has_answer or not (single or act in _ACTS_FOR_SEVERAL):
        act = "several"
    return "ask" if single and act == "several" else act


def _foreign_sentences(
    request: DialogueRequest, phrases: Sequence[NounPhrase], context: AnswerContext
) -> list[str]:
    """One sentence for each phrase, of slots and few words."""
    table = load_wording(request.language)
    names_index = request.act == "explain" or len(request.phrases) == 1
    sentences = []
    for phrase in phrases:
        text = table["answers"].texts[0].format(np=phrase.answer_words(context.queries))
        index = nameable_index(phrase.class_name, context.evidence, context.evidence_text)
        if index and names_index:
            text += table["evidence"].format(i=index)
        sentences.append(text)
    return sentences


def _shown_classes(evidence_text: str) -> list[str]:
    """Classes without a parent that have a line in the evidence text, in its order."""
    lines = r"^(\w+)(?: \(weak\))?: \S+ (?:above|below) "
    names = re.findall(lines, evidence_text, re.MULTILINE)
    return [name for name in names if classes()[name].parent is None]


def _unavailable_classes(evidence_text: str) -> set[str]:
    line = re.search(r"^unavailable: (.*)$", evidence_text, re.MULTILINE)
    if line is None:
        return set()
    return {name for name in classes() if re.search(rf"\b{name}\b \(", line[1])}


def _refuse(reason: str) -> str:
    return f"<refuse>{reason}</refuse>"
