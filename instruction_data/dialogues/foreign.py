"""Requests and follow-ups in other languages: the main classes with size, place, number and exclusion.

Gender, articles and case stand in the data: a noun is ``article|noun`` or ``singular|plural|gender`` (in Chinese a
measure word), and constraints are worded so that they agree with any noun.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from instruction_data.dialogues.acts import DialogueRequest
from instruction_data.dialogues.phrases import NounPhrase, size
from instruction_data.dialogues.turns import Phrases, instead, may_be_taken_away, narrowed, without
from instruction_data.dialogues.words import Options, Words, held_out, wording
from spex.evidence.classes import classes
from spex.evidence.indices import available_indices
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.constraints import SCENE_PARTS, Constraints, IndexCondition
from spex.query.prompt import clean_query

LANGUAGES = ("es", "fr", "de", "pt", "zh")
_KINDS = {"where": 0.36, "min_area": 0.32, "max_area": 0.1, "without": 0.13, "index": 0.09}
_FOLLOW = {
    "where": 5.0,
    "min_area": 4.0,
    "max_area": 1.0,
    "top": 3.0,
    "without": 3.0,
    "also": 4.0,
    "instead": 3.0,
    "why": 4.0,
}
_UNITS = {"ha": 0.6, "m2": 0.25, "km2": 0.15}


@cache
def nouns(language: str, name: str) -> dict[str, Options]:
    """The nouns of a class, ``mass`` and ``count``; a word is held out from both or from none."""
    lists = wording(language)["nouns"][name]
    found = {kind: tuple(getattr(lists[kind], "texts", ())) for kind in ("mass", "count")}

    def noun(entry: str) -> str:
        parts = entry.split("|")
        return parts[1] if len(parts) == 2 else parts[0]

    core = {noun(texts[0]) for texts in found.values() if texts}
    return {
        kind: Options.of(texts, lambda entry: noun(entry) not in core and held_out(noun(entry)))
        for kind, texts in found.items()
        if texts
    }


def joined(article: str, noun: str) -> str:
    """A noun with its article, which an apostrophe joins."""
    return article + noun if not article or article.endswith("'") else f"{article} {noun}"


def draw_phrase(
    words: Words, language: str, name: str, roles: tuple[str, ...], constrained: float
) -> NounPhrase:
    """A noun phrase with its article and none to two constraints; ``constrained`` is how often there is any."""
    table, lists = wording(language), nouns(language, name)
    solid, top = table.get("solid", False), None
    if "mass" in lists and words.chance(0.35):
        article, noun = words.pick(lists["mass"]).split("|")
        core = joined(article, noun)
    else:
        single, plural, gender = words.pick(lists["count"]).split("|")
        noun, core = plural, joined(table["plural_article"][gender], plural)
        if words.chance(0.22 if constrained else 0.0):
            group = "" if solid else gender
            if words.chance(0.5):
                top, noun = 1, single
                core = words.expand(words.pick(table["largest"][group]), {}, s=single, m=gender)
            else:
                top = 2 + int(words.rng.random() * 5)
                written = table["numbers"][top]
                written = written[gender] if isinstance(written, dict) else written
                count = str(written) if words.chance(0.5) else str(top)
                core = words.expand(
                    words.pick(table["top"][group]), {}, n=count, p=plural, m=gender
                )
    meant: dict[str, Any] = {"top": top}
    before, after = list[tuple[str, str]](), list[tuple[str, str]]()
    weights = dict(_KINDS)
    for _ in range(0 if not words.chance(constrained) else 1 if words.chance(0.75) else 2):
        kind = words.weighted(weights)
        weights = {
            key: w
            for key, w in weights.items()
            if key != kind and not ("area" in key and "area" in kind)
        }
        worded, values = condition(words, language, kind, name, roles)
        meant |= values
        (before if solid and kind != "without" and kind != "index" else after).append(
            (kind, worded)
        )
    text = core
    if before:
        ordered = "".join(
            worded for _, worded in sorted(before, key=lambda pair: pair[0] != "where")
        )
        text = f"{ordered}的{core}"
    text += "".join(f"{'，' if solid else ' '}{worded}" for _, worded in after)
    return NounPhrase(name, noun, text, Constraints(**meant), core, language=language)


def condition(
    words: Words, language: str, kind: str, name: str, roles: tuple[str, ...]
) -> tuple[str, dict[str, Any]]:
    """A constraint's wording and the fields of ``Constraints`` it sets."""
    table = wording(language)
    if kind == "where":
        place = words.one(SCENE_PARTS)
        return words.pick(table["places"][place]), {"where": place}
    if kind == "index":
        index, value = (
            words.one(available_indices(roles) or ["NDVI"]),
            round(float(words.rng.random()) * 0.8, 1),
        )
        side = words.one(("above", "below"))
        return f"({index} {'>' if side == 'above' else '<'} {value:g})", {
            "index": (IndexCondition(index, side, value),)
        }
    if kind == "without":
        kept = (name, classes()[name].parent)
        other = words.one([other for other in table["nouns"] if other not in kept])
        worded = draw_phrase(words, language, other, roles, 0.0).text
        return words.expand(words.pick(table["without"]), {}, x=worded), {"exclude": (other,)}
    unit = words.weighted(_UNITS)
    value = size(words, unit, float(words.rng.random()))
    number = f"{value:.10g}"
    if language != "zh" and words.chance(0.5):
        number = number.replace(".", ",")
    area = f"{number}{'' if language == 'zh' or words.chance(0.2) else ' '}{words.pick(table['units'][unit])}"
    return words.expand(words.pick(table[kind]), {}, a=area), {kind: (value, unit)}


def request(words: Words, evidence: SceneEvidence, language: str) -> DialogueRequest:
    """A request in another language: one class, several, or something that land cover cannot answer."""
    table = wording(language)
    chance = words.rng.random()
    if chance < 0.07:
        reason = words.one(list(table["refusals"]))
        asked = words.pick(table["refusals"][reason])
        return DialogueRequest("refuse", _typed(words, language, asked), f"{language} refuse: {asked}", refusal=reason,
                       language=language)  # fmt: skip
    shown = [name for name in table["nouns"] if evidence.classes[name].status == "present"]
    names = [words.one(shown if shown and words.chance(0.4) else list(table["nouns"]))]
    kind = "several" if chance < 0.25 else "ask"
    while kind == "several" and (len(names) < 2 or (len(names) < 4 and words.chance(0.3))):
        names = list(dict.fromkeys((*names, words.one(list(table["nouns"])))))
    often = 0.6 if kind == "ask" else 0.2
    phrases = tuple(draw_phrase(words, language, name, evidence.roles, often) for name in names)
    frame = words.pick(table[kind])
    texts = [phrase.text for phrase in phrases]
    comma = "、" if table.get("solid") else ", "
    listed = (
        comma.join(texts[:-1]) + words.pick(table["and"]) + texts[-1]
        if len(texts) > 1
        else texts[0]
    )
    first = phrases[0]
    bare = (
        first.text.replace(first.core, first.noun, 1) if not first.constraints.top else first.text
    )
    # A German frame may hold its noun phrase within the part that asks politely.
    text = words.expand(frame, table, np=listed, nps=listed, bare=bare)
    return DialogueRequest(
        kind,
        _typed(words, language, text),
        f"{language} {kind}: {frame}",
        phrases,
        language=language,
    )


def follow_up(
    words: Words, phrases: Phrases, evidence: SceneEvidence, language: str
) -> DialogueRequest:
    """A turn after an answer with these phrases; where its kind does not apply, a request of its own."""
    table, kind = wording(language), words.weighted(_FOLLOW)
    if not phrases or words.chance(0.12) or (len(phrases) > 1 and kind in ("top", "instead")):
        return request(words, evidence, language)
    act, slots, meant = "several", {}, phrases
    taken = {p.class_name for p in phrases} | {
        name for p in phrases for name in p.constraints.exclude
    }
    if kind in ("where", "min_area", "max_area"):
        worded, fields = condition(words, language, kind, phrases[0].class_name, evidence.roles)
        slots, meant = {"place": worded, "c": worded}, narrowed(phrases, fields)
    elif kind == "top":
        meant = narrowed(phrases, {"top": 1})
    elif kind == "why":
        act = "explain"
    elif kind == "without":
        name = may_be_taken_away(words, phrases)
        if name not in table["nouns"]:
            return request(words, evidence, language)
        noun = draw_phrase(words, language, name, evidence.roles, 0.0).text
        slots, meant = (
            {"w": words.expand(words.pick(table["without"]), {}, x=noun)},
            without(phrases, name),
        )
    else:
        name = words.one([name for name in table["nouns"] if name not in taken])
        new = draw_phrase(words, language, name, evidence.roles, 0.0)
        slots, meant = (
            {"np": new.text},
            (*phrases, new) if kind == "also" else instead(phrases, new),
        )
    frame = words.pick(table["follow"][kind])
    text = words.expand(frame, table, **slots)
    return DialogueRequest(
        act,
        _typed(words, language, text),
        f"{language} then {kind}: {frame}",
        meant,
        language=language,
    )


def _typed(words: Words, language: str, text: str) -> str:
    """The request as typed: a greeting or thanks, capitals or none, sometimes without accents or question marks."""
    table = wording(language)
    if words.chance(0.15):
        text = words.pick(table["before"]) + text
    if words.chance(0.12) and text[-1] not in "?？":
        text += words.pick(table["after"])
    if words.chance(0.5):
        text = text[0].upper() + text[1:]
    elif words.chance(0.15):
        text = text.rstrip("?？ ").lstrip("¿").lower()
    return clean_query(text)
