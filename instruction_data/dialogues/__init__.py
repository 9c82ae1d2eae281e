"""Dialogues about a scene: queries in ever other wordings, the prior, and answers whose numbers are slots.

Everything comes from the scene's evidence and chance; labels are not an argument. Wordings are data (``wording/``),
combined by grammar. About one in five of each list is held out: a ``train`` dialogue never uses it, half of the ``val``
dialogues do. One in four has a second or third turn, one in five is not in English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from numpy.random import Generator

from instruction_data.dialogues import acts, foreign, turns
from instruction_data.dialogues.acts import DialogueRequest
from instruction_data.dialogues.arguments import (
    NOTHING_STANDS_OUT,
    argument,
    false_claims,
    named_index,
    unavailable,
)
from instruction_data.dialogues.phrases import NounPhrase
from instruction_data.dialogues.words import Words, wording
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import SceneEvidence
from spex.evidence.text import evidence_text
from spex.query.answer_markup import parse_answer
from spex.query.prompt import Exchange
from spex.records import SpanTarget

__all__ = ["Dialogue", "dialogue", "false_claims"]

_ENGLISH = 0.8
_SINGLE, _AT_MOST_TWO = 0.72, 0.93
_WITH_INDEX = " {i} is <fact:index:{i}> inside and <fact:outside:{i}> outside."


@dataclass(frozen=True)
class Dialogue:
    """A conversation of one to three exchanges; ``spans`` are those of the last answer and carry no masks.

    ``template`` is the wording of each exchange, ``held_out`` whether any wording is kept from training.
    """

    prior: str
    exchanges: tuple[Exchange, ...]
    spans: tuple[SpanTarget, ...]
    template: str
    language: str
    held_out: bool


def dialogue(
    rng: Generator, evidence: SceneEvidence, split: str, *, with_prior: float = 0.5
) -> Dialogue:
    """Draw one conversation about a scene, a pure function of its arguments.

    Args:
        rng: chance.
        evidence: what the scene's pixels say.
        split: ``train`` or ``val`` decides which wordings may be used.
        with_prior: how often the prior text is given; without it an answer names no index of its own accord.
    """
    words = Words(rng, split)
    given = words.chance(with_prior)
    language = "en" if words.chance(_ENGLISH) else str(words.one(foreign.LANGUAGES))
    length = 1 if (chance := rng.random()) < _SINGLE else 2 if chance < _AT_MOST_TWO else 3
    prior, exchanges, templates = "", list[Exchange](), list[str]()
    phrases: tuple[NounPhrase, ...] = ()
    for number in range(length):
        if language == "en" and number == 0:
            asked = acts.request(words, evidence, described=given)
        elif language == "en":
            asked = turns.follow_up(words, phrases, evidence, described=given)
        elif number == 0:
            asked = foreign.request(words, evidence, language)
        else:
            asked = foreign.follow_up(words, phrases, evidence, language)
        if number == 0 and given:
            prior = evidence_text(evidence, asked.query)
        heard = " ".join([*(one.query for one in exchanges), asked.query])
        answer, phrases = _answer(words, asked, heard, evidence, prior)
        parse_answer(answer)
        exchanges.append(Exchange(asked.query, answer))
        templates.append(asked.template)
    spans = tuple(
        SpanTarget(class_name=p.class_name, phrase=p.phrase(heard), attributes=p.attributes)
        for p in phrases
    )
    return Dialogue(prior, tuple(exchanges), spans, " | ".join(templates), language, words.held_out)


def _answer(
    words: Words, asked: DialogueRequest, heard: str, evidence: SceneEvidence, prior: str
) -> tuple[str, tuple[NounPhrase, ...]]:
    """The answer to a request and the phrases that became spans; ``heard`` are all queries up to this one."""
    if asked.refusal:
        return _refuse(asked.refusal), ()
    if asked.act == "describe":
        shown = [
            NounPhrase(name, title, title)
            for name in _shown(prior)[:4]
            for title in (classes()[name].title,)
        ]
        sentence = wording("acts")["answers"]["describe"]
        return " ".join(sentence.format(np=p.said("")) for p in shown) or _refuse(
            NOTHING_STANDS_OUT
        ), tuple(shown)
    missing = _listed(prior, "unavailable")
    possible = tuple(p for p in asked.phrases if p.class_name not in missing)
    reasons = [
        unavailable(p.class_name, evidence)
        if asked.language == "en"
        else wording(asked.language)["unavailable"].format(words=p.phrase(heard))
        for p in asked.phrases
        if p not in possible
    ]
    if not possible:
        return _refuse(" ".join(reasons)), ()
    tell = _told_abroad if asked.language != "en" else _told
    return " ".join([*tell(words, asked, possible, heard, evidence, prior), *reasons]), possible


def _told(
    words: Words,
    asked: DialogueRequest,
    phrases: Sequence[NounPhrase],
    heard: str,
    evidence: SceneEvidence,
    prior: str,
) -> list[str]:
    """One sentence or more for each phrase in English."""
    answers = wording("acts")["answers"]
    act = "exists" if asked.act == "possible" else asked.act
    act = (
        act
        if act in answers and (len(phrases) == 1 or act in ("explain", "area", "count", "share"))
        else "several"
    )
    act = "ask" if len(phrases) == 1 and act == "several" else act
    sentences = []
    for phrase in phrases:
        text = answers[act].format(np=phrase.said(heard), i=asked.index)
        if act == "explain":
            length = asked.length if len(phrases) == 1 else "short"
            text += f" {argument(words, phrase.class_name, evidence, prior, length)}"
        elif len(phrases) == 1 and act in ("ask", "sure"):
            index = named_index(phrase.class_name, evidence, prior)
            text += _WITH_INDEX.format(i=index) if index else ""
        sentences.append(text)
    return sentences


def _told_abroad(
    words: Words,
    asked: DialogueRequest,
    phrases: Sequence[NounPhrase],
    heard: str,
    evidence: SceneEvidence,
    prior: str,
) -> list[str]:
    """One sentence for each phrase in the language of the request, of slots and few words."""
    table = wording(asked.language)
    sentences = []
    for phrase in phrases:
        text = table["answers"].texts[0].format(np=phrase.said(heard))
        index = named_index(phrase.class_name, evidence, prior)
        if index and (asked.act == "explain" or len(asked.phrases) == 1):
            text += table["evidence"].format(i=index)
        sentences.append(text)
    return sentences


def _shown(prior: str) -> list[str]:
    """Classes without a parent that have a line in the prior, in its order."""
    names = re.findall(r"^(\w+)(?: \(weak\))?: \S+ (?:above|below) ", prior, re.MULTILINE)
    return [name for name in names if classes()[name].parent is None]


def _listed(prior: str, kind: str) -> set[str]:
    line = re.search(rf"^{kind}: (.*)$", prior, re.MULTILINE)
    return {name for name in classes() if line and re.search(rf"\b{name}\b \(", line[1])}


def _refuse(reason: str) -> str:
    return f"<refuse>{reason}</refuse>"
