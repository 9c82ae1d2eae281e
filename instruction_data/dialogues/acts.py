"""What a person asks in English: requests by act, each with what it means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from instruction_data.dialogues.phrases import Form, NounPhrase, condition, draw_phrase
from instruction_data.dialogues.typed import dressed
from instruction_data.dialogues.words import Words, wording
from spex.evidence.classes import classes
from spex.evidence.indices import available_indices
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.constraints import SCENE_PARTS
from spex.query.prompt import clean_query

_SHARED = {"where": 0.45, "min_area": 0.45, "max_area": 0.1}
_LENGTH = {"explain": "middle", "explain_short": "short", "explain_long": "long"}
_PAIRS = ("pair", "compare", "one_of_them")
_LISTED = ("several", "everywhere", *_PAIRS)


@dataclass(frozen=True)
class DialogueRequest:
    """One turn of a person: the words, the wording they came from, and what is meant.

    ``act`` chooses the answer; ``length`` is that of an explanation; ``refusal`` says why there is no answer.
    """

    act: str
    query: str
    template: str
    phrases: tuple[NounPhrase, ...] = ()
    index: str = "NDVI"
    length: str = ""
    refusal: str = ""
    language: str = "en"


def request(words: Words, evidence: SceneEvidence, *, described: bool) -> DialogueRequest:
    """Draw a request that stands on its own; ``described``: a description of the scene may be asked for."""
    acts = wording("acts")
    act = words.weighted(
        {name: w for name, w in acts["weights"].items() if described or name != "describe"}
    )
    if act == "refuse":
        return _refused(words)
    index = words.one(available_indices(evidence.roles) or ["NDVI"])
    frames = acts[act]
    slots, phrases = dict[str, str](), list[NounPhrase]()
    if act == "shared":
        slots, phrases = _shared(words, evidence)
        frames = acts["shared_two"] if len(phrases) == 2 and words.chance(0.5) else frames
    elif act in _LISTED:
        slots, phrases = _listed(words, act, evidence)
    frame = words.pick(frames)
    if not phrases and act != "describe":
        slots, phrases = _single(words, act, frame, evidence)
    text = words.expand(frame, acts["parts"], i=index, **slots)
    query = clean_query(dressed(words, text, slips=0.25 if act == "telegraph" else 0.16))
    kind = "explain" if act in _LENGTH else act
    return DialogueRequest(
        kind, query, f"{act}: {frame}", tuple(phrases), index, _LENGTH.get(act, "")
    )


def _single(
    words: Words, act: str, frame: str, evidence: SceneEvidence
) -> tuple[dict[str, str], list[NounPhrase]]:
    fields = set(re.findall(r"\{(\w+)\}", frame))
    form: Form = (
        "many"
        if "nouns" in fields
        else "one"
        if "one" in fields
        else "mass"
        if "noun" in fields
        else "any"
    )
    (name,) = _names(words, evidence, 1, unavailable=act == "possible")
    if act == "fronted":
        phrase = draw_phrase(words, name, words.one(("mass", "many")), evidence.roles, 0.0)
        worded, meant = condition(words, words.weighted(_SHARED), name, evidence.roles)
        phrase = phrase.limited(**meant)
        return {"noun": phrase.noun, "c": worded}, [phrase]
    often = 0.62 if act == "ask" else 0.8 if act == "telegraph" else 0.25 if form == "any" else 0.0
    phrase = draw_phrase(words, name, form, evidence.roles, often, short=act == "telegraph")
    if act == "biggest":
        phrase = phrase.limited(top=1)
    return dict.fromkeys(("np", "noun", "nouns", "one"), phrase.text), [phrase]


def _listed(
    words: Words, act: str, evidence: SceneEvidence
) -> tuple[dict[str, str], list[NounPhrase]]:
    names = _names(
        words,
        evidence,
        2 if act in _PAIRS or words.chance(0.45) else 3 + int(words.rng.random() ** 2 * 4),
    )
    often = {"several": 0.3, "one_of_them": 1.0}.get(act, 0.0)
    phrases = [draw_phrase(words, name, "any", evidence.roles, often) for name in names]
    if act == "one_of_them":
        phrases[0] = draw_phrase(words, names[0], words.one(("mass", "many")), evidence.roles, 0.0)
    slots = {
        "nps": _list(words, [p.text for p in phrases]),
        "x": phrases[0].text,
        "y": phrases[1].text,
    }
    if act == "everywhere":
        place = words.one(SCENE_PARTS)
        phrases = [phrase.limited(where=place) for phrase in phrases]
        slots["place"] = words.pick(wording("constraints")["places"][place])
    return slots, phrases


def _shared(words: Words, evidence: SceneEvidence) -> tuple[dict[str, str], list[NounPhrase]]:
    """Several classes with one constraint that holds for each of them."""
    names = _names(words, evidence, 2 if words.chance(0.6) else 3)
    phrases = [
        draw_phrase(words, name, words.one(("mass", "many")), evidence.roles, 0.0) for name in names
    ]
    worded, meant = condition(words, words.weighted(_SHARED), "", evidence.roles)
    slots = {"nps": _list(words, [phrase.text for phrase in phrases]), "c": worded}
    return slots, [phrase.limited(**meant) for phrase in phrases]


def _names(
    words: Words, evidence: SceneEvidence, count: int, *, unavailable: bool = False
) -> list[str]:
    """Classes to ask about: often ones that the evidence shows; absent ones as well.

    ``unavailable``: half of the time one that the scene's bands cannot tell.
    """
    status = "unavailable" if unavailable and words.chance(0.5) else "present"
    likely = [name for name, item in evidence.classes.items() if item.status == status]
    chosen: list[str] = []
    while len(chosen) < count:
        pool = (
            likely
            if likely and words.chance(0.4) and not set(likely) <= set(chosen)
            else list(classes())
        )
        name = words.one(pool)
        if name not in chosen:
            chosen.append(name)
    return chosen


def _list(words: Words, texts: Sequence[str]) -> str:
    return ", ".join(texts[:-1]) + words.pick(wording("acts")["lists"]) + " " + texts[-1]


def _refused(words: Words) -> DialogueRequest:
    """A request that land cover cannot answer."""
    cases = wording("refusals")
    reason = words.one(list(cases))
    item, template = words.pick(cases[reason]["items"]), words.pick(cases[reason]["ask"])
    named = item if "{item}" in template else "such things"
    query = clean_query(dressed(words, template.replace("{item}", item)))
    return DialogueRequest(
        "refuse", query, f"refuse: {template}", refusal=reason.format(item=named)
    )
