"""Requests and follow-ups in other languages: the main classes with size, place, number, exclusion.

Gender, articles and case stand in the data: a noun is ``article|noun`` or
``singular|plural|gender`` (in Chinese a measure word), and constraints are worded so that they
agree with any noun.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from instruction_data.dialogues.acts import DialogueRequest
from instruction_data.dialogues.constraint_wording import DrawnConstraint, draw_area
from instruction_data.dialogues.phrases import NounPhrase
from instruction_data.dialogues.turns import (
    Phrases,
    add_constraint,
    draw_class_to_exclude,
    exclude_class,
    named_classes,
    replace_class,
)
from instruction_data.dialogues.words import (
    Wordings,
    WordingSampler,
    is_held_out,
    load_wording,
)
from spex.evidence.classes import classes
from spex.evidence.indices import available_indices
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.constraints import HALVES_AND_QUARTERS, Constraints, IndexCondition
from spex.query.prompt import clean_query

LANGUAGES = ("es", "fr", "de", "pt", "zh")
_CONSTRAINT_WEIGHTS = {
    "where": 0.36,
    "min_area": 0.32,
    "max_area": 0.1,
    "without": 0.13,
    "index": 0.09,
}
_FOLLOW_UP_WEIGHTS = {
    "where": 5.0,
    "min_area": 4.0,
    "max_area": 1.0,
    "top": 3.0,
    "without": 3.0,
    "also": 4.0,
    "instead": 3.0,
    "why": 4.0,
}
_SIDES: tuple[Literal["above", "below"], ...] = ("above", "below")
_UNITS = {"ha": 0.6, "m2": 0.25, "km2": 0.15}


@cache
def foreign_nouns(language: str, name: str) -> dict[str, Wordings]:
    """Entries ``mass`` and ``count`` of a class; a noun is held out from both or from none."""
    lists = load_wording(language)["nouns"][name]
    entries = {kind: getattr(lists[kind], "texts", ()) for kind in ("mass", "count")}
    first = {_noun(texts[0]) for texts in entries.values() if texts}

    def hold_out(entry: str) -> bool:
        return _noun(entry) not in first and is_held_out(_noun(entry))

    return {kind: Wordings.from_lines(texts, hold_out) for kind, texts in entries.items() if texts}


def _noun(entry: str) -> str:
    parts = entry.split("|")
    return parts[1] if len(parts) == 2 else parts[0]


def with_article(article: str, noun: str) -> str:
    """A noun with its article; an article that ends in an apostrophe takes no space."""
    return article + noun if not article or article.endswith("'") else f"{article} {noun}"


def draw_foreign_phrase(
    sampler: WordingSampler, language: str, name: str, roles: tuple[str, ...], constrained: float
) -> NounPhrase:
    """Draw a noun phrase with its article and none to two constraints.

    Args:
        sampler: draws the wording.
        language: code of the language.
        name: the class.
        roles: band roles of the scene.
        constrained: probability of any constraint.
    """
    no_spaces = load_wording(language).get("solid", False)
    noun, core, top = _draw_noun(sampler, language, name, constrained)
    fields: dict[str, Any] = {"top": top}
    before: list[tuple[str, str]] = []
    after: list[str] = []
    weights = dict(_CONSTRAINT_WEIGHTS)
    for _ in range(_draw_constraint_count(sampler, constrained)):
        kind = sampler.choose_weighted(weights)
        weights = _without_kind(weights, kind)
        words, drawn_fields = draw_foreign_constraint(sampler, language, kind, name, roles)
        fields |= drawn_fields
        if no_spaces and kind not in ("without", "index"):
            before.append((kind, words))
        else:
            after.append(words)
    text = core
    if before:
        before.sort(key=lambda constraint: constraint[0] != "where")
        text = f"{''.join(words for _, words in before)}的{core}"
    separator = "，" if no_spaces else " "
    text = separator.join([text, *after])
    return NounPhrase(name, noun, text, Constraints(**fields), core, language)


def _draw_constraint_count(sampler: WordingSampler, constrained: float) -> int:
    if not sampler.chance(constrained):
        return 0
    return 1 if sampler.chance(0.75) else 2


def _without_kind(weights: dict[str, float], kind: str) -> dict[str, float]:
    """The weights without a kind, and without the other limit of the area if it is one."""
    used = ("min_area", "max_area") if "area" in kind else (kind,)
    return {other: weight for other, weight in weights.items() if other not in used}


def _draw_noun(
    sampler: WordingSampler, language: str, name: str, constrained: float
) -> tuple[str, str, int | None]:
    """Noun, the noun with article or "largest", and the number of largest regions asked for."""
    table = load_wording(language)
    nouns = foreign_nouns(language, name)
    if "mass" in nouns and sampler.chance(0.35):
        article, noun = sampler.pick(nouns["mass"]).split("|")
        return noun, with_article(article, noun), None
    single, plural, gender = sampler.pick(nouns["count"]).split("|")
    if not sampler.chance(0.22 if constrained else 0.0):
        return plural, with_article(table["plural_article"][gender], plural), None
    group = "" if table.get("solid", False) else gender
    if sampler.chance(0.5):
        frame = sampler.pick(table["largest"][group])
        return single, sampler.expand(frame, {}, s=single, m=gender), 1
    top = 2 + int(sampler.rng.random() * 5)
    number_words = table["numbers"][top]
    if isinstance(number_words, dict):
        number_words = number_words[gender]
    count = str(number_words) if sampler.chance(0.5) else str(top)
    frame = sampler.pick(table["top"][group])
    return plural, sampler.expand(frame, {}, n=count, p=plural, m=gender), top


def draw_foreign_constraint(
    sampler: WordingSampler, language: str, kind: str, name: str, roles: tuple[str, ...]
) -> DrawnConstraint:
    """Draw a constraint and its wording.

    Args:
        sampler: draws the wording.
        language: code of the language.
        kind: ``where``, ``index``, ``without``, ``min_area`` or ``max_area``.
        name: class that is constrained.
        roles: band roles of the scene.
    """
    table = load_wording(language)
    if kind == "where":
        part = sampler.choose(HALVES_AND_QUARTERS)
        return sampler.pick(table["places"][part]), {"where": (part,)}
    if kind == "index":
        index = sampler.choose(available_indices(roles) or ["NDVI"])
        value = round(float(sampler.rng.random()) * 0.8, 1)
        side = sampler.choose(_SIDES)
        sign = ">" if side == "above" else "<"
        return f"({index} {sign} {value:g})", {"index": (IndexCondition(index, side, value),)}
    if kind == "without":
        not_excludable = (name, classes()[name].parent)
        other = sampler.choose([name for name in table["nouns"] if name not in not_excludable])
        return _draw_exclusion(sampler, language, other, roles), {"exclude": (other,)}
    unit = sampler.choose_weighted(_UNITS)
    value = draw_area(sampler, unit, float(sampler.rng.random()))
    number = f"{value:.10g}"
    if language != "zh" and sampler.chance(0.5):
        number = number.replace(".", ",")
    space = "" if language == "zh" or sampler.chance(0.2) else " "
    area = f"{number}{space}{sampler.pick(table['units'][unit])}"
    return sampler.expand(sampler.pick(table[kind]), {}, a=area), {kind: (value, unit)}


def _draw_exclusion(
    sampler: WordingSampler, language: str, name: str, roles: tuple[str, ...]
) -> str:
    noun = draw_foreign_phrase(sampler, language, name, roles, 0.0).text
    frame = sampler.pick(load_wording(language)["without"])
    return sampler.expand(frame, {}, x=noun)


def draw_foreign_request(
    sampler: WordingSampler, evidence: SceneEvidence, language: str
) -> DialogueRequest:
    """Draw a request: one class, several, or something that land cover cannot answer."""
    table = load_wording(language)
    chance = sampler.rng.random()
    if chance < 0.07:
        return _draw_refused(sampler, language)
    act = "several" if chance < 0.25 else "ask"
    names = _draw_classes(sampler, language, evidence, several=act == "several")
    constrained = 0.6 if act == "ask" else 0.2
    phrases = tuple(
        draw_foreign_phrase(sampler, language, name, evidence.roles, constrained) for name in names
    )
    frame = sampler.pick(table[act])
    listed = _join(sampler, language, [phrase.text for phrase in phrases])
    # A German frame may hold its noun phrase within the part that asks politely.
    bare = _without_article(phrases[0])
    text = sampler.expand(frame, table, np=listed, nps=listed, bare=bare)
    return DialogueRequest(
        act=act,
        query=_add_typing_style(sampler, language, text),
        template=f"{language} {act}: {frame}",
        phrases=phrases,
        language=language,
    )


def _draw_refused(sampler: WordingSampler, language: str) -> DialogueRequest:
    refusals = load_wording(language)["refusals"]
    reason = sampler.choose(list(refusals))
    text = sampler.pick(refusals[reason])
    return DialogueRequest(
        act="refuse",
        query=_add_typing_style(sampler, language, text),
        template=f"{language} refuse: {text}",
        refusal=reason,
        language=language,
    )


def _draw_classes(
    sampler: WordingSampler, language: str, evidence: SceneEvidence, *, several: bool
) -> list[str]:
    """One class, often one that the evidence shows, or two to four."""
    class_names = list(load_wording(language)["nouns"])
    present = [name for name in class_names if evidence.classes[name].status == "present"]
    names = [sampler.choose(present if present and sampler.chance(0.4) else class_names)]
    while several and (len(names) < 2 or (len(names) < 4 and sampler.chance(0.3))):
        names = list(dict.fromkeys((*names, sampler.choose(class_names))))
    return names


def _join(sampler: WordingSampler, language: str, texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    table = load_wording(language)
    comma = "、" if table.get("solid") else ", "
    return comma.join(texts[:-1]) + sampler.pick(table["and"]) + texts[-1]


def _without_article(phrase: NounPhrase) -> str:
    if phrase.constraints.top:
        return phrase.text
    return phrase.text.replace(phrase.core, phrase.noun, 1)


def draw_foreign_follow_up(
    sampler: WordingSampler, phrases: Phrases, evidence: SceneEvidence, language: str
) -> DialogueRequest:
    """Draw a turn after an answer; where its kind does not apply, a request of its own.

    Args:
        sampler: draws the wording.
        phrases: those of the answer.
        evidence: of the scene.
        language: code of the language.
    """
    table = load_wording(language)
    kind = sampler.choose_weighted(_FOLLOW_UP_WEIGHTS)
    one_phrase_only = kind in ("top", "instead")
    if not phrases or sampler.chance(0.12) or (len(phrases) > 1 and one_phrase_only):
        return draw_foreign_request(sampler, evidence, language)
    changed = _change(sampler, kind, phrases, evidence, language)
    if changed is None:
        return draw_foreign_request(sampler, evidence, language)
    changed_phrases, slots = changed
    frame = sampler.pick(table["follow"][kind])
    text = sampler.expand(frame, table, **slots)
    return DialogueRequest(
        act="explain" if kind == "why" else "several",
        query=_add_typing_style(sampler, language, text),
        template=f"{language} then {kind}: {frame}",
        phrases=changed_phrases,
        language=language,
    )


def _change(
    sampler: WordingSampler, kind: str, phrases: Phrases, evidence: SceneEvidence, language: str
) -> tuple[Phrases, dict[str, str]] | None:
    """The phrases after a follow-up, and its slots; None where the kind does not apply."""
    class_names = load_wording(language)["nouns"]
    roles = evidence.roles
    if kind == "why":
        return phrases, {}
    if kind == "top":
        return add_constraint(phrases, {"top": 1}), {}
    if kind in ("where", "min_area", "max_area"):
        class_name = phrases[0].class_name
        words, fields = draw_foreign_constraint(sampler, language, kind, class_name, roles)
        return add_constraint(phrases, fields), {"place": words, "c": words}
    if kind == "without":
        name = draw_class_to_exclude(sampler, phrases)
        if name not in class_names:
            return None
        words = _draw_exclusion(sampler, language, name, roles)
        return exclude_class(phrases, name), {"w": words}
    taken = named_classes(phrases)
    name = sampler.choose([name for name in class_names if name not in taken])
    other = draw_foreign_phrase(sampler, language, name, roles, 0.0)
    changed = (*phrases, other) if kind == "also" else replace_class(phrases, other)
    return changed, {"np": other.text}


def _add_typing_style(sampler: WordingSampler, language: str, text: str) -> str:
    """The request with a greeting or thanks, other capitals, or without question marks."""
    table = load_wording(language)
    if sampler.chance(0.15):
        text = sampler.pick(table["before"]) + text
    if sampler.chance(0.12) and text[-1] not in "?？":
        text += sampler.pick(table["after"])
    if sampler.chance(0.5):
        text = text[0].upper() + text[1:]
    elif sampler.chance(0.15):
        text = text.rstrip("?？ ").lstrip("¿").lower()
    return clean_query(text)
