"""Whole dialogues about a scene: one to three exchanges, and the spans of the last answer."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from instruction_data.dialogues.acts import DialogueRequest, draw_request
from instruction_data.dialogues.answers import AnswerContext, draw_answer
from instruction_data.dialogues.foreign import (
    LANGUAGES,
    draw_foreign_follow_up,
    draw_foreign_request,
)
from instruction_data.dialogues.turns import Phrases, draw_follow_up
from instruction_data.dialogues.words import WordingSampler
from spex.evidence.scene_evidence import SceneEvidence
from spex.evidence.text import evidence_text
from spex.query.answer_markup import parse_answer
from spex.query.prompt import Exchange
from spex.records import SpanTarget

_ENGLISH_SHARE = 0.8
_ONE_EXCHANGE = 0.72  # share of the dialogues with one exchange; then with at most two
_AT_MOST_TWO_EXCHANGES = 0.93


@dataclass(frozen=True)
class Dialogue:
    """A conversation of one to three exchanges.

    Attributes:
        evidence_text: what the first prompt says about the scene; empty: nothing.
        exchanges: queries and answers.
        spans: spans of the last answer, without masks.
        template: the wording of each exchange.
        language: code of the language.
        held_out: whether any wording is kept from training.
    """

    evidence_text: str
    exchanges: tuple[Exchange, ...]
    spans: tuple[SpanTarget, ...]
    template: str
    language: str
    held_out: bool


def draw_dialogue(
    rng: Generator, evidence: SceneEvidence, split: str, *, with_evidence: float = 0.5
) -> Dialogue:
    """Draw a conversation about a scene, a pure function of its arguments.

    Args:
        rng: random generator.
        evidence: of the scene's pixels; labels are not used.
        split: ``train`` or ``val``: which wordings may be used.
        with_evidence: share of the dialogues whose prompt has the evidence text; without it an
            answer names no index unless the query does.
    """
    sampler = WordingSampler(rng, split)
    shows_evidence = sampler.chance(with_evidence)
    language = "en" if sampler.chance(_ENGLISH_SHARE) else sampler.choose(LANGUAGES)
    prompt_evidence = ""
    queries: list[str] = []
    exchanges: list[Exchange] = []
    templates: list[str] = []
    phrases: Phrases = ()
    for number in range(_draw_exchange_count(rng)):
        request = _draw_request(
            sampler, evidence, language, phrases, first=number == 0, may_describe=shows_evidence
        )
        if number == 0 and shows_evidence:
            prompt_evidence = evidence_text(evidence, request.query)
        queries.append(request.query)
        context = AnswerContext(evidence, prompt_evidence, " ".join(queries))
        answer, phrases = draw_answer(sampler, request, context)
        parse_answer(answer)  # raises where the answer breaks the grammar
        exchanges.append(Exchange(request.query, answer))
        templates.append(request.template)
    spans = tuple(
        SpanTarget(
            class_name=phrase.class_name,
            phrase=phrase.span_words(context.queries),
            attributes=phrase.attributes,
        )
        for phrase in phrases
    )
    return Dialogue(
        evidence_text=prompt_evidence,
        exchanges=tuple(exchanges),
        spans=spans,
        template=" | ".join(templates),
        language=language,
        held_out=sampler.used_held_out,
    )


def _draw_exchange_count(rng: Generator) -> int:
    chance = rng.random()
    if chance < _ONE_EXCHANGE:
        return 1
    return 2 if chance < _AT_MOST_TWO_EXCHANGES else 3


def _draw_request(
    sampler: WordingSampler,
    evidence: SceneEvidence,
    language: str,
    phrases: Phrases,
    *,
    first: bool,
    may_describe: bool,
) -> DialogueRequest:
    """The first request, or a follow-up on an answer with these phrases."""
    if language != "en":
        if first:
            return draw_foreign_request(sampler, evidence, language)
        return draw_foreign_follow_up(sampler, phrases, evidence, language)
    if first:
        return draw_request(sampler, evidence, may_describe=may_describe)
    return draw_follow_up(sampler, phrases, evidence, may_describe=may_describe)
