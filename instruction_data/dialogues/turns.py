"""Second and third turns: how a follow-up changes the phrases before it, and how it is worded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from instruction_data.dialogues.acts import DialogueRequest, draw_request
from instruction_data.dialogues.constraint_wording import draw_constraint, draw_count, number_word
from instruction_data.dialogues.nouns import NounForm, draw_excludable, draw_noun
from instruction_data.dialogues.phrases import NounPhrase, draw_phrase
from instruction_data.dialogues.typed import add_typing_style
from instruction_data.dialogues.words import WordingSampler, load_wording
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.constraints import Constraints
from spex.query.prompt import clean_query

Phrases = tuple[NounPhrase, ...]
_UNCOUNTED_OR_PLURAL: tuple[NounForm, ...] = ("mass", "many")


def add_constraint(phrases: Phrases, fields: dict[str, Any]) -> Phrases:
    """The phrases with a constraint added to each.

    Args:
        phrases: of the turn before.
        fields: fields of ``Constraints``; an index condition is added to those before, any other
            constraint replaces the one before.
    """
    if "index" not in fields:
        return tuple(phrase.constrained(**fields) for phrase in phrases)
    return tuple(
        phrase.constrained(index=(*phrase.constraints.index, *fields["index"]))
        for phrase in phrases
    )


def exclude_class(phrases: Phrases, name: str) -> Phrases:
    """The phrases without a class: dropped if it was asked for, else excluded from each."""
    if any(phrase.class_name == name for phrase in phrases):
        return tuple(phrase for phrase in phrases if phrase.class_name != name)
    excluding = []
    for phrase in phrases:
        exclude = tuple(dict.fromkeys((*phrase.constraints.exclude, name)))
        excluding.append(phrase.constrained(exclude=exclude))
    return tuple(excluding)


def replace_class(phrases: Phrases, other: NounPhrase) -> Phrases:
    """Another class under the constraints of the first phrase."""
    return (replace(other, constraints=phrases[0].constraints),)


def invert_constraint(phrases: Phrases) -> Phrases | None:
    """The opposite constraint; None unless each phrase has just one that has an opposite."""
    inverted = []
    for phrase in phrases:
        opposite = _opposite(phrase.constraints)
        if opposite is None:
            return None
        inverted.append(phrase.constrained(**opposite))
    return tuple(inverted)


def _opposite(constraints: Constraints) -> dict[str, Any] | None:
    """Fields that turn the only constraint into its opposite; None where that is not possible."""
    limits = (
        constraints.where,
        constraints.min_area,
        constraints.max_area,
        *constraints.index,
    )
    if constraints.top or sum(map(bool, limits)) != 1:
        return None
    if constraints.where:
        opposites = load_wording("constraints")["opposites"]
        (where,) = constraints.where
        return {"where": (opposites[where],)} if where in opposites else None
    if constraints.index:
        condition = constraints.index[0]
        side: Literal["above", "below"] = "below" if condition.side == "above" else "above"
        return {"index": (replace(condition, side=side),)}
    return {"min_area": constraints.max_area, "max_area": constraints.min_area}


def draw_class_to_exclude(sampler: WordingSampler, phrases: Phrases) -> str:
    """Draw a class whose exclusion leaves something of every phrase; empty where it would not."""
    if len(phrases) > 1 and sampler.chance(0.4):
        return sampler.choose(phrases).class_name
    name = draw_excludable(sampler, sampler.choose(phrases).class_name)
    class_names = {phrase.class_name for phrase in phrases}
    parents = {classes()[class_name].parent for class_name in class_names}
    return "" if name in class_names | parents else name


def named_classes(phrases: Phrases) -> set[str]:
    """All classes that the phrases ask for or exclude."""
    names = {phrase.class_name for phrase in phrases}
    for phrase in phrases:
        names.update(phrase.constraints.exclude)
    return names


@dataclass(frozen=True)
class _FollowUp:
    """What a follow-up asks.

    Attributes:
        act: what is asked for; chooses the answer.
        frame: the wording.
        phrases: the classes that are meant.
        slots: texts of the frame's slots.
    """

    act: str
    frame: str
    phrases: Phrases
    slots: dict[str, str]


def draw_follow_up(
    sampler: WordingSampler, phrases: Phrases, evidence: SceneEvidence, *, may_describe: bool
) -> DialogueRequest:
    """Draw an English turn after an answer.

    Args:
        sampler: draws the wording.
        phrases: those of the answer; without any, the turn is a request that stands on its own.
        evidence: of the scene.
        may_describe: whether a description of the scene may be asked for.
    """
    table = load_wording("followups")
    kind = sampler.choose_weighted(table["weights"]) if phrases else "fresh"
    follow_up = None if kind == "fresh" else _draw(sampler, kind, phrases, evidence)
    if follow_up is None:
        return draw_request(sampler, evidence, may_describe=may_describe)
    text = sampler.expand(follow_up.frame, table["parts"], **follow_up.slots)
    text = add_typing_style(sampler, text, error_chance=0.08)
    length = ""
    if follow_up.act == "explain":
        length = sampler.choose(("short", "middle", "middle", "long"))
    if follow_up.frame in table["why_long"].texts:
        length = "long"
    return DialogueRequest(
        act=follow_up.act,
        query=clean_query(text),
        template=f"then {kind}: {follow_up.frame}",
        phrases=follow_up.phrases,
        length=length,
        refusal=table["thanked"] if kind == "thanks" else "",
    )


def _draw(
    sampler: WordingSampler, kind: str, phrases: Phrases, evidence: SceneEvidence
) -> _FollowUp | None:
    """A follow-up of a kind; None where the kind does not apply."""
    table = load_wording("followups")
    if kind == "thanks":
        return _FollowUp("refuse", sampler.pick(table[kind]), (), {})
    if kind == "numbers":
        act = sampler.choose(list(table[kind]))
        return _FollowUp(act, sampler.pick(table[kind][act]), phrases, {})
    if kind == "why":
        frames = table["why_long" if sampler.chance(0.25) else "why"]
        return _FollowUp("explain", sampler.pick(frames), phrases, {})
    frame = sampler.pick(table[kind])
    changed = _change(sampler, kind, phrases, evidence)
    if changed is None:
        return None
    changed_phrases, slots = changed
    return _FollowUp("several", frame, changed_phrases, slots)


def _change(
    sampler: WordingSampler, kind: str, phrases: Phrases, evidence: SceneEvidence
) -> tuple[Phrases, dict[str, str]] | None:
    """The phrases after a follow-up that changes them, and its slots; None: it does not apply."""
    roles = evidence.roles
    if kind in ("where", "min_area", "max_area", "index"):
        words, fields = draw_constraint(sampler, kind, phrases[0].class_name, roles)
        return add_constraint(phrases, fields), {"c": words, "place": words}
    if kind in ("top", "largest"):
        count = 1 if kind == "largest" else draw_count(sampler)
        if len(phrases) != 1:
            return None
        slots = {"n": number_word(sampler, count)}
        return add_constraint(phrases, {"top": count}), slots
    if kind == "anywhere":
        if not all(map(_has_simple_constraints, phrases)):
            return None
        return tuple(replace(phrase, constraints=Constraints()) for phrase in phrases), {}
    if kind == "opposite":
        inverted = invert_constraint(phrases)
        return (inverted, {}) if inverted else None
    if kind == "without":
        name = draw_class_to_exclude(sampler, phrases)
        if not name:
            return None
        slots = {"x": draw_noun(sampler, name, "any")}
        return exclude_class(phrases, name), slots
    taken = named_classes(phrases)
    name = sampler.choose([name for name in classes() if name not in taken])
    if kind == "also":
        added = draw_phrase(sampler, name, "any", roles, 0.2)
        return (*phrases, added), {"np": added.text}
    form = sampler.choose(_UNCOUNTED_OR_PLURAL)
    other = draw_phrase(sampler, name, form, roles, 0.0)
    return (replace_class(phrases, other), {"noun": other.text}) if len(phrases) == 1 else None


def _has_simple_constraints(phrase: NounPhrase) -> bool:
    """Whether the phrase is constrained, but neither by an index nor by an excluded class."""
    constraints = phrase.constraints
    return constraints != Constraints() and not (constraints.index or constraints.exclude)
