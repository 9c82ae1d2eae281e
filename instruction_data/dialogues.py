"""Dialogues about a scene: a query in one of many wordings, the prior, and an answer whose numbers are slots.

Everything comes from the scene's evidence and chance; labels are not an argument. Wordings are data
(``templates.yaml``). About one in five of them is held out: a ``train`` dialogue never uses it, a ``val`` dialogue half
of the time only those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from numpy.random import Generator

from instruction_data.phrases import Form, NounPhrase, Words, draw_phrase, templates
from spex.evidence.classes import classes
from spex.evidence.indices import available
from spex.evidence.prior import prior_text
from spex.evidence.scene import SceneEvidence
from spex.prompts import PLACES, Constraints, clean_query, parse_answer
from spex.records import SpanTarget

_ACTS = {
    "ask": 36, "several": 12, "pair": 4, "everywhere": 3, "area": 6, "share": 3, "count": 5, "exists": 5, "explain": 4,
    "locate": 3, "biggest": 2, "mean_size": 1, "smallest": 1, "sure": 2, "index_of": 2, "compare": 3, "describe": 4,
    "refuse": 11,
}  # fmt: skip
_ANSWERS = {
    "ask": "{np}: <fact:area>, <fact:share> of the scene, in <fact:count> regions. Location: <fact:location>.",
    "area": "{np}: <fact:area>, which is <fact:share> of the scene.",
    "share": "{np}: <fact:share> of the scene, which is <fact:area>.",
    "count": "{np}: <fact:count> regions, <fact:area> in total. The largest has <fact:largest>.",
    "exists": "{np}: found on <fact:share> of the scene, <fact:area> in <fact:count> regions.",
    "explain": "{np}: <fact:area>, <fact:share> of the scene. The mean probability is <fact:probability>.",
    "locate": "{np}: location <fact:location>, <fact:share> of the scene. The largest region has <fact:largest>.",
    "biggest": "{np}: <fact:area>. Location: <fact:location>.",
    "mean_size": "{np}: <fact:mean_area> on average over <fact:count> regions, <fact:area> in total.",
    "smallest": "{np}: from <fact:smallest> to <fact:largest> in <fact:count> regions.",
    "sure": "{np}: mean probability <fact:probability> over <fact:share> of the scene.",
    "index_of": "{np}: {i} is <fact:index:{i}> inside and <fact:outside:{i}> outside.",
    "several": "{np}: <fact:area>, <fact:share> of the scene.",
    "describe": "{np}: <fact:share> of the scene, location <fact:location>.",
}
_EVIDENCE = " {i} is <fact:index:{i}> inside and <fact:outside:{i}> outside."
_THRESHOLD = " {i} is <fact:index:{i}> inside and <fact:outside:{i}> outside, the threshold is <fact:threshold:{i}>."
_WEAK = " No single index separates this class."
NOTHING_STANDS_OUT = "No land-cover class stands out in this scene; ask for one by name."


@dataclass(frozen=True)
class Dialogue:
    """One exchange; ``spans`` carry no masks, ``template`` is the wording that made the query."""

    query: str
    prior: str
    answer: str
    spans: tuple[SpanTarget, ...]
    template: str


def dialogue(rng: Generator, evidence: SceneEvidence, split: str, *, with_prior: float = 0.5) -> Dialogue:
    """Draw one exchange about a scene, a pure function of its arguments.

    ``split`` (``train`` or ``val``) decides which wordings may be used, ``with_prior`` how often the prior text is
    given; without it the answer names no index.
    """
    words = Words(rng, split)
    given = words.chance(with_prior)
    acts = [act for act in _ACTS if given or act != "describe"]
    act = str(rng.choice(acts, p=[_ACTS[a] / sum(_ACTS[b] for b in acts) for a in acts]))
    if act == "refuse":
        query, template, answer = _refusal(words)
        phrases: list[NounPhrase] = []
    else:
        template, text, phrases, index = _request(words, act, evidence)
        query, answer = _dress(words, text), ""
    prior = prior_text(evidence, query) if given else ""
    if act == "describe":
        phrases = [NounPhrase(name, title, title) for name in _shown(prior)[:4] for title in (classes()[name].title,)]
        answer = " ".join(_ANSWERS["describe"].format(np=p.said("")) for p in phrases) or _refuse(NOTHING_STANDS_OUT)
    elif act != "refuse":
        answer, phrases = _answer(act, phrases, query, evidence, prior, index)
    parse_answer(answer)
    spans = tuple(SpanTarget(class_name=p.class_name, phrase=p.phrase(query), attributes=p.attributes) for p in phrases)
    return Dialogue(query, prior, answer, spans, f"{act}: {template}")


def _request(words: Words, act: str, evidence: SceneEvidence) -> tuple[str, str, list[NounPhrase], str]:
    """The template, the filled request, its noun phrases, and the index it asks about."""
    template = words.pick(templates()[act])
    fields = set(re.findall(r"\{(\w+)\}", template))
    index = str(words.rng.choice(available(evidence.roles) or ["NDVI"]))
    if act == "describe":
        return template, template, [], index
    place = PLACES[words.rng.integers(len(PLACES))]
    worded = words.pick(templates()["places"][place])
    if fields & {"nps", "x"}:
        count = 2 if "x" in fields or words.chance(0.6) else int(words.rng.integers(3, 5))
        often = 0.3 if act == "several" else 0.0
        phrases = [draw_phrase(words, name, "any", evidence.roles, often) for name in _names(words, evidence, count)]
        if act == "everywhere":
            phrases = [replace(p, constraints=Constraints(where=place)) for p in phrases]
        listed = [p.text for p in phrases]
        text = template.format(nps=_list(words, listed), x=listed[0], y=listed[1], place=worded)
        return template, text, phrases, index
    form: Form = "many" if "nouns" in fields else "one" if "one" in fields else "mass" if "noun" in fields else "any"
    (name,) = _names(words, evidence, 1)
    phrase = draw_phrase(words, name, form, evidence.roles, 0.62 if act == "ask" else 0.25)
    if act == "biggest":
        phrase = replace(phrase, constraints=replace(phrase.constraints, top=1))
    text = template.format(np=phrase.text, noun=phrase.text, nouns=phrase.text, one=phrase.text, i=index)
    return template, text, [phrase], index


def _names(words: Words, evidence: SceneEvidence, count: int) -> list[str]:
    """Classes to ask about: half of the time one that the evidence shows, so that absent ones are asked for as well."""
    shown = [name for name, item in evidence.classes.items() if item.status == "present"]
    chosen: list[str] = []
    while len(chosen) < count:
        pool = shown if shown and words.chance(0.4) and not set(shown) <= set(chosen) else list(classes())
        name = pool[words.rng.integers(len(pool))]
        if name not in chosen:
            chosen.append(name)
    return chosen


def _list(words: Words, texts: Sequence[str]) -> str:
    last = words.pick([" and ", " and ", ", ", " & ", " as well as ", ", then ", " plus "])
    return ", ".join(texts[:-1]) + last + texts[-1]


def _answer(
    act: str, phrases: list[NounPhrase], query: str, evidence: SceneEvidence, prior: str, index: str
) -> tuple[str, list[NounPhrase]]:
    """The answer and the phrases that became spans: those of classes that the prior does not call unavailable."""
    missing = _listed(prior, "unavailable")
    possible = [p for p in phrases if p.class_name not in missing]
    reasons = [
        f"{classes()[p.class_name].title.capitalize()} cannot be told here: it {evidence.classes[p.class_name].reason}."
        for p in phrases
        if p not in possible
    ]
    if not possible:
        return _refuse(" ".join(reasons)), []
    template = _ANSWERS["several" if len(phrases) > 1 else act]
    sentences = [template.format(np=p.said(query), i=index) for p in possible]
    if len(phrases) == 1 and act in ("ask", "explain", "sure"):
        sentences[0] += _evidence(act, possible[0].class_name, evidence, prior)
    return " ".join(sentences + reasons), possible


def _evidence(act: str, name: str, evidence: SceneEvidence, prior: str) -> str:
    item = evidence.classes[name]
    if not re.search(rf"^{name}(?: \(weak\))?: ", prior, re.MULTILINE):
        return ""
    text = ""
    if re.fullmatch(r"[A-Z][A-Za-z0-9]{2,}|BI", item.index):
        text = (_THRESHOLD if act == "explain" else _EVIDENCE).format(i=item.index)
    return text + (_WEAK if act == "explain" and item.weak else "")


def _shown(prior: str) -> list[str]:
    """Classes without a parent that have a line in the prior, in its order."""
    names = re.findall(r"^(\w+)(?: \(weak\))?: \S+ (?:above|below) ", prior, re.MULTILINE)
    return [name for name in names if classes()[name].parent is None]


def _listed(prior: str, kind: str) -> set[str]:
    line = re.search(rf"^{kind}: (.*)$", prior, re.MULTILINE)
    return {name for name in classes() if line and re.search(rf"\b{name}\b \(", line[1])}


def _refuse(reason: str) -> str:
    return f"<refuse>{reason}</refuse>"


def _refusal(words: Words) -> tuple[str, str, str]:
    """A query that land cover cannot answer: its wording, its template, and the refusal."""
    cases = templates()["refusals"]
    reason = list(cases)[words.rng.integers(len(cases))]
    item, template = words.pick(cases[reason]["items"]), words.pick(cases[reason]["ask"])
    named = item if "{item}" in template else "such things"
    return _dress(words, template.format(item=item)), template, _refuse(reason.format(item=named))


def _dress(words: Words, text: str) -> str:
    """The request as somebody types it: polite or not, capitals or not, a slip of the finger now and then."""
    table = templates()
    if words.chance(0.15) and not text.endswith(("?", ".")):
        text = words.pick(table["before"]) + text
    if words.chance(0.12):
        text = re.sub(r"(\?|\.|)$", lambda m: words.pick(table["after"]) + m[0], text, count=1)
    if words.chance(0.12):
        text = _slip(words, text)
    style = words.rng.random()
    if style < 0.5:
        text = text[0].upper() + text[1:]
    elif style < 0.53:
        text = text.upper()
    elif style < 0.6:
        text = text.lower().rstrip("?")
    if text[-1].isalnum() and words.chance(0.25):
        text += "."
    return clean_query(text)


def _slip(words: Words, text: str) -> str:
    """One letter swapped, dropped or doubled in one word of five letters or more."""
    targets = [m for m in re.finditer(r"[A-Za-z]{5,}", text) if not m[0].isupper()]
    if not targets:
        return text
    match = targets[words.rng.integers(len(targets))]
    place = match.start() + int(words.rng.integers(1, len(match[0]) - 1))
    kind = words.rng.integers(3)
    changed = text[place + 1] + text[place] if kind == 0 else "" if kind == 1 else text[place] * 2
    return text[:place] + changed + text[place + (2 if kind == 0 else 1) :]
