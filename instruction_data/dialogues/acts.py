"""What a person asks in English: requests by act, each with what it means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from instruction_data.dialogues.constraint_wording import draw_constraint
from instruction_data.dialogues.nouns import NounForm
from instruction_data.dialogues.phrases import NounPhrase, draw_phrase
from instruction_data.dialogues.typed import add_typing_style
from instruction_data.dialogues.words import WordingSampler, load_wording
from spex.evidence.classes import classes
from spex.evidence.indices import available_indices
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.constraints import HALVES_AND_QUARTERS
from spex.query.prompt import clean_query

_SHARED_CONSTRAINTS = {"where": 0.45, "min_area": 0.45, "max_area": 0.1}
_EXPLANATION_LENGTHS = {"explain": "middle", "explain_short": "short", "explain_long": "long"}
_PAIR_ACTS = ("pair", "compare", "one_of_them")
_LIST_ACTS = ("several", "everywhere", *_PAIR_ACTS)
_UNCOUNTED_OR_PLURAL: tuple[NounForm, ...] = ("mass", "many")

Slots = dict[str, str]


@dataclass(frozen=True)
class DialogueRequest:
    """One turn of a person.

    Attributes:
        act: what is asked for; chooses the answer.
        query: the words.
        template: the act and the wording that the words come from.
        phrases: the classes that are meant, with their constraints.
        index: index that is asked about.
        length: length of the explanation that is asked for: short, middle or long.
        refusal: why there is no answer; empty: there is one.
        language: code of the language.
    """

    act: str
    query: str
    template: str
    phrases: tuple[NounPhrase, ...] = ()
    index: str = "NDVI"
    length: str = ""
    refusal: str = ""
    language: str = "en"


def draw_request(
    sampler: WordingSampler, evidence: SceneEvidence, *, may_describe: bool
) -> DialogueRequest:
    """Draw a request that stands on its own.

    Args:
        sampler: draws the wording.
        evidence: of the scene.
        may_describe: whether a description of the scene may be asked for.
    """
    acts = load_wording("acts")
    weights = dict(acts["weights"])
    if not may_describe:
        weights.pop("describe", None)
    act = sampler.choose_weighted(weights)
    if act == "refuse":
        return _draw_refused(sampler)
    index = sampler.choose(available_indices(evidence.roles) or ["NDVI"])
    frames = acts[act]
    slots: Slots = {}
    phrases: list[NounPhrase] = []
    if act == "shared":
        slots, phrases = _draw_shared(sampler, evidence)
        if len(phrases) == 2 and sampler.chance(0.5):
            frames = acts["shared_two"]
    elif act in _LIST_ACTS:
        slots, phrases = _draw_list(sampler, act, evidence)
    frame = sampler.pick(frames)
    if not phrases and act != "describe":
        slots, phrases = _draw_single(sampler, act, frame, evidence)
    text = sampler.expand(frame, acts["parts"], i=index, **slots)
    text = add_typing_style(sampler, text, error_chance=0.25 if act == "telegraph" else 0.16)
    return DialogueRequest(
        act="explain" if act in _EXPLANATION_LENGTHS else act,
        query=clean_query(text),
        template=f"{act}: {frame}",
        phrases=tuple(phrases),
        index=index,
        length=_EXPLANATION_LENGTHS.get(act, ""),
    )


def _draw_single(
    sampler: WordingSampler, act: str, frame: str, evidence: SceneEvidence
) -> tuple[Slots, list[NounPhrase]]:
    """One class for the noun slot of a frame."""
    form = _noun_form(frame)
    (name,) = _draw_classes(sampler, evidence, 1, prefer_unavailable=act == "possible")
    if act == "fronted":
        noun_form = sampler.choose(_UNCOUNTED_OR_PLURAL)
        phrase = draw_phrase(sampler, name, noun_form, evidence.roles, 0.0)
        kind = sampler.choose_weighted(_SHARED_CONSTRAINTS)
        words, fields = draw_constraint(sampler, kind, name, evidence.roles)
        phrase = phrase.constrained(**fields)
        return {"noun": phrase.noun, "c": words}, [phrase]
    constrained = {"ask": 0.62, "telegraph": 0.8}.get(act, 0.25 if form == "any" else 0.0)
    short = act == "telegraph"
    phrase = draw_phrase(sampler, name, form, evidence.roles, constrained, short=short)
    if act == "biggest":
        phrase = phrase.constrained(top=1)
    return dict.fromkeys(("np", "noun", "nouns", "one"), phrase.text), [phrase]


def _noun_form(frame: str) -> NounForm:
    """The form of noun that a frame has a slot for."""
    slots = set(re.findall(r"\{(\w+)\}", frame))
    if "nouns" in slots:
        return "many"
    if "one" in slots:
        return "one"
    return "mass" if "noun" in slots else "any"


def _draw_list(
    sampler: WordingSampler, act: str, evidence: SceneEvidence
) -> tuple[Slots, list[NounPhrase]]:
    """Several classes, each with constraints of its own, or all of them in one place."""
    count = 2
    if act not in _PAIR_ACTS and not sampler.chance(0.45):
        count = 3 + int(sampler.rng.random() ** 2 * 4)
    names = _draw_classes(sampler, evidence, count)
    constrained = {"several": 0.3, "one_of_them": 1.0}.get(act, 0.0)
    phrases = [draw_phrase(sampler, name, "any", evidence.roles, constrained) for name in names]
    if act == "one_of_them":
        form = sampler.choose(_UNCOUNTED_OR_PLURAL)
        phrases[0] = draw_phrase(sampler, names[0], form, evidence.roles, 0.0)
    slots = {
        "nps": _join(sampler, [phrase.text for phrase in phrases]),
        "x": phrases[0].text,
        "y": phrases[1].text,
    }
    if act == "everywhere":
        part = sampler.choose(HALVES_AND_QUARTERS)
        phrases = [phrase.constrained(where=(part,)) for phrase in phrases]
        slots["place"] = sampler.pick(load_wording("constraints")["places"][part])
    return slots, phrases


def _draw_shared(
    sampler: WordingSampler, evidence: SceneEvidence
) -> tuple[Slots, list[NounPhrase]]:
    """Several classes with one constraint that holds for each of them."""
    names = _draw_classes(sampler, evidence, 2 if sampler.chance(0.6) else 3)
    phrases = []
    for name in names:
        form = sampler.choose(_UNCOUNTED_OR_PLURAL)
        phrases.append(draw_phrase(sampler, name, form, evidence.roles, 0.0))
    kind = sampler.choose_weighted(_SHARED_CONSTRAINTS)
    words, fields = draw_constraint(sampler, kind, "", evidence.roles)
    slots = {"nps": _join(sampler, [phrase.text for phrase in phrases]), "c": words}
    return slots, [phrase.constrained(**fields) for phrase in phrases]


def _draw_classes(
    sampler: WordingSampler,
    evidence: SceneEvidence,
    count: int,
    *,
    prefer_unavailable: bool = False,
) -> list[str]:
    """Draw different classes, often ones that the evidence shows; absent ones as well.

    Args:
        sampler: draws them.
        evidence: of the scene.
        count: number of classes.
        prefer_unavailable: half of the time, prefer classes that the bands cannot show.
    """
    status = "unavailable" if prefer_unavailable and sampler.chance(0.5) else "present"
    preferred = [name for name, item in evidence.classes.items() if item.status == status]
    chosen: list[str] = []
    while len(chosen) < count:
        pool = list(classes())
        if preferred and sampler.chance(0.4) and not set(preferred) <= set(chosen):
            pool = preferred
        name = sampler.choose(pool)
        if name not in chosen:
            chosen.append(name)
    return chosen


def _join(sampler: WordingSampler, texts: Sequence[str]) -> str:
    conjunction = sampler.pick(load_wording("acts")["lists"])
    return f"{', '.join(texts[:-1])}{conjunction} {texts[-1]}"


def _draw_refused(sampler: WordingSampler) -> DialogueRequest:
    """Draw a request that land cover cannot answer."""
    cases = load_wording("refusals")
    reason = sampler.choose(list(cases))
    item = sampler.pick(cases[reason]["items"])
    template = sampler.pick(cases[reason]["ask"])
    named = item if "{item}" in template else "such things"
    text = add_typing_style(sampler, template.replace("{item}", item))
    return DialogueRequest(
        act="refuse",
        query=clean_query(text),
        template=f"refuse: {template}",
        refusal=reason.format(item=named),
    )
