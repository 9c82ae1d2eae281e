"""Second and third turns: what a follow-up does to the phrases before it, and how it is worded in English."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from instruction_data.dialogues.acts import DialogueRequest, request
from instruction_data.dialogues.phrases import (
    NounPhrase,
    condition,
    draw_count,
    draw_noun,
    draw_phrase,
    number_word,
    other_class,
)
from instruction_data.dialogues.typed import dressed
from instruction_data.dialogues.words import Words, wording
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.constraints import Constraints
from spex.query.prompt import clean_query

Phrases = tuple[NounPhrase, ...]


def narrowed(phrases: Phrases, meant: dict[str, Any]) -> Phrases:
    """The phrases with a constraint added to each; a place, size or number replaces the one before."""
    if "index" in meant:
        return tuple(
            phrase.limited(index=(*phrase.constraints.index, *meant["index"])) for phrase in phrases
        )
    return tuple(phrase.limited(**meant) for phrase in phrases)


def without(phrases: Phrases, name: str) -> Phrases:
    """The phrases without a class: dropped if it was asked for, else taken away from each."""
    if any(phrase.class_name == name for phrase in phrases):
        return tuple(phrase for phrase in phrases if phrase.class_name != name)
    return tuple(
        p.limited(exclude=tuple(dict.fromkeys((*p.constraints.exclude, name)))) for p in phrases
    )


def instead(phrases: Phrases, other: NounPhrase) -> Phrases:
    """Another class under the constraints that the first phrase had."""
    return (replace(other, constraints=phrases[0].constraints),)


def opposite(phrases: Phrases) -> Phrases | None:
    """The other way round, where each phrase has exactly one constraint that has an opposite."""
    turned = []
    for phrase in phrases:
        c, table = phrase.constraints, wording("constraints")["opposites"]
        if (
            c.top
            or sum(map(bool, (c.where, c.min_area, c.max_area, *c.index))) != 1
            or c.where not in (None, *table)
        ):
            return None
        if c.where:
            turned.append(phrase.limited(where=table[c.where]))
        elif c.index:
            side: Literal["above", "below"] = "below" if c.index[0].side == "above" else "above"
            turned.append(phrase.limited(index=(replace(c.index[0], side=side),)))
        else:
            turned.append(phrase.limited(min_area=c.max_area, max_area=c.min_area))
    return tuple(turned)


def may_be_taken_away(words: Words, phrases: Phrases) -> str:
    """A class that leaves something of every phrase: one of several that were asked for, or another one."""
    if len(phrases) > 1 and words.chance(0.4):
        return str(words.one(phrases).class_name)
    name = other_class(words, words.one(phrases).class_name)
    kept = {p.class_name for p in phrases} | {classes()[p.class_name].parent for p in phrases}
    return "" if name in kept else name


def follow_up(
    words: Words, phrases: Phrases, evidence: SceneEvidence, *, described: bool
) -> DialogueRequest:
    """An English turn after an answer with these phrases; without any, a request that stands on its own."""
    table = wording("followups")
    kind = words.weighted(table["weights"]) if phrases else "fresh"
    drawn = None if kind == "fresh" else _drawn(words, kind, phrases, evidence)
    if drawn is None:
        return request(words, evidence, described=described)
    act, frame, slots, meant = drawn
    text = words.expand(frame, table["parts"], **slots)
    query = clean_query(dressed(words, text, slips=0.08))
    length = "" if act != "explain" else words.one(("short", "middle", "middle", "long"))
    if frame in table["why_long"].texts:
        length = "long"
    refusal = table["thanked"] if kind == "thanks" else ""
    return DialogueRequest(
        act, query, f"then {kind}: {frame}", meant, length=length, refusal=refusal
    )


def _drawn(
    words: Words, kind: str, phrases: Phrases, evidence: SceneEvidence
) -> tuple[str, str, dict[str, str], Phrases] | None:
    """Act, frame, slots and the phrases meant; None where the kind does not apply."""
    table = wording("followups")
    if kind == "thanks":
        return "refuse", words.pick(table[kind]), {}, ()
    if kind == "numbers":
        act = words.one(list(table[kind]))
        return act, words.pick(table[kind][act]), {}, phrases
    if kind == "why":
        return (
            "explain",
            words.pick(table["why_long" if words.chance(0.25) else "why"]),
            {},
            phrases,
        )
    act, frame = "several", words.pick(table[kind])
    if kind in ("where", "min_area", "max_area", "index"):
        worded, meant = condition(words, kind, phrases[0].class_name, evidence.roles)
        return act, frame, {"c": worded, "place": worded}, narrowed(phrases, meant)
    if kind in ("top", "largest"):
        count = 1 if kind == "largest" else draw_count(words)
        return (
            (act, frame, {"n": number_word(words, count)}, narrowed(phrases, {"top": count}))
            if len(phrases) == 1
            else None
        )
    if kind == "anywhere":
        free = tuple(replace(phrase, constraints=Constraints()) for phrase in phrases)
        simple = all(
            p.constraints != Constraints() and not (p.constraints.index or p.constraints.exclude)
            for p in phrases
        )
        return (act, frame, {}, free) if simple else None
    if kind == "opposite":
        turned = opposite(phrases)
        return (act, frame, {}, turned) if turned else None
    if kind == "without":
        name = may_be_taken_away(words, phrases)
        return (
            (act, frame, {"x": draw_noun(words, name, "any")}, without(phrases, name))
            if name
            else None
        )
    taken = {p.class_name for p in phrases} | {
        name for p in phrases for name in p.constraints.exclude
    }
    name = words.one([name for name in classes() if name not in taken])
    if kind == "also":
        new = draw_phrase(words, name, "any", evidence.roles, 0.2)
        return act, frame, {"np": new.text}, (*phrases, new)
    new = draw_phrase(words, name, words.one(("mass", "many")), evidence.roles, 0.0)
    return (act, frame, {"noun": new.text}, instead(phrases, new)) if len(phrases) == 1 else None
