"""English noun phrases with constraints: what they mean, and how an answer repeats them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from instruction_data.dialogues.constraint_wording import (
    draw_constraint,
    draw_count,
    number_word,
)
from instruction_data.dialogues.nouns import NounForm, draw_noun
from instruction_data.dialogues.words import WordingSampler, load_wording
from spex.evidence.class_words import resolve_class
from spex.evidence.classes import classes
from spex.query.answer_markup import format_span
from spex.query.constraints import HALVES_AND_QUARTERS, Constraints

_CONSTRAINT_WEIGHTS = {
    "min_area": 0.29,
    "where": 0.26,
    "top": 0.14,
    "index": 0.12,
    "not": 0.11,
    "max_area": 0.06,
    "both_areas": 0.03,
}
_AREA_KINDS = {"both_areas", "min_area", "max_area"}


@dataclass(frozen=True)
class NounPhrase:
    """A class as a query words it.

    Attributes:
        class_name: the class.
        noun: the words for the class alone.
        text: the phrase with its constraints.
        constraints: what the constraints mean.
        core: ``noun`` with its article or "largest", where these are needed to know the class.
        language: code of the language.
    """

    class_name: str
    noun: str
    text: str
    constraints: Constraints = field(default_factory=Constraints)
    core: str = ""
    language: str = "en"

    @property
    def attributes(self) -> dict[str, str]:
        """The constraints as attributes of a span."""
        return {name: str(value) for name, value in self.constraints.to_dict().items()}

    def constrained(self, **fields: Any) -> NounPhrase:
        """The phrase with these fields of its constraints replaced."""
        return replace(self, constraints=replace(self.constraints, **fields))

    def span_words(self, queries: str) -> str:
        """The words inside the span: the person's if they name the class, else the class's title.

        Args:
            queries: text of all queries so far.
        """
        lowered = queries.lower()
        for words in (self.noun, self.core):
            if words and words.lower() in lowered and resolve_class(words) == self.class_name:
                return words
        return classes()[self.class_name].title

    def answer_words(self, queries: str) -> str:
        """The span; in English with the words of its constraints around it.

        Args:
            queries: text of all queries so far.
        """
        constraints = self.constraints
        span = format_span(self.class_name, self.span_words(queries), constraints)
        if self.language != "en":
            return span
        parts = [span]
        if constraints.min_area:
            parts.append(f"larger than {constraints.min_area[0]:g} {constraints.min_area[1]}")
        if constraints.max_area:
            parts.append(f"smaller than {constraints.max_area[0]:g} {constraints.max_area[1]}")
        if constraints.where:
            parts.append(f"in the {constraints.where[0]}")
        for condition in constraints.index:
            parts.append(f"with {condition.name} {condition.side} {condition.value:g}")
        for name in constraints.exclude:
            parts.append(f"without {classes()[name].title}")
        if constraints.top:
            largest = "largest" if constraints.top == 1 else f"{constraints.top} largest"
            parts.insert(0, f"the {largest}")
        return " ".join(parts)


def draw_phrase(
    sampler: WordingSampler,
    name: str,
    form: NounForm,
    roles: Collection[str],
    constrained: float = 0.55,
    *,
    short: bool = False,
) -> NounPhrase:
    """Draw a noun phrase for the class with none to three constraints.

    Args:
        sampler: draws the wording.
        name: the class.
        form: form of the noun; only with ``any`` it may be "the largest ...".
        roles: band roles of the scene; most index constraints name an index that it has.
        constrained: probability of any constraint.
        short: telegraphic.
    """
    table = load_wording("constraints")
    style = table["short"] if short else table
    kinds = _draw_kinds(sampler, form, constrained)
    top = None
    if "top" in kinds:
        noun, text, top = _draw_largest(sampler, name, style)
    else:
        noun = draw_noun(sampler, name, form)
        text = noun
    fields: dict[str, Any] = {"top": top}
    if form == "any" and not top:
        text = f"{sampler.pick(style['determiner'])} {noun}".lstrip()
    conditions = []
    for kind in kinds:
        if kind == "where" and text == noun and sampler.chance(0.15):
            part = sampler.choose(HALVES_AND_QUARTERS)
            fields["where"] = (part,)
            text = f"{table['adjectives'][part]} {noun}"
        elif kind != "top":
            words, drawn_fields = draw_constraint(
                sampler, kind, name, roles, short=short, clause=True
            )
            conditions.append(words)
            fields |= drawn_fields
    for words in conditions:
        text += f"{sampler.pick(style['joint'])} {words}".replace("  ", " ")
    return NounPhrase(name, noun, text, Constraints(**fields), noun)


def _draw_kinds(sampler: WordingSampler, form: NounForm, constrained: float) -> list[str]:
    """Different kinds of constraints: one that limits the area, "largest" only with form any."""
    weights = dict(_CONSTRAINT_WEIGHTS)
    if form != "any":
        del weights["top"]
    kinds: list[str] = []
    if not sampler.chance(constrained):
        return kinds
    chance = sampler.rng.random()
    for _ in range(1 if chance < 0.66 else 2 if chance < 0.92 else 3):
        kind = sampler.choose_weighted(weights)
        kinds.append(kind)
        used = _AREA_KINDS if kind in _AREA_KINDS else {kind}
        weights = {other: weight for other, weight in weights.items() if other not in used}
    return kinds


def _draw_largest(
    sampler: WordingSampler, name: str, style: dict[str, Any]
) -> tuple[str, str, int]:
    """Noun, text and number of a phrase that asks for the largest regions."""
    if sampler.chance(0.4):
        noun = draw_noun(sampler, name, "one")
        return noun, sampler.expand(sampler.pick(style["largest"]), {}, one=noun), 1
    noun = draw_noun(sampler, name, "many")
    count = draw_count(sampler)
    number = number_word(sampler, count)
    return noun, sampler.expand(sampler.pick(style["top"]), {}, n=number, nouns=noun), count
