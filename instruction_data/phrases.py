"""Noun phrases with constraints as people write them, what they mean, and the words by which an answer repeats them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import yaml
from numpy.random import Generator

from spex.evidence.classes import classes, resolve
from spex.evidence.indices import OFFERED_INDICES, available
from spex.prompts import PLACES, Constraints, IndexCondition, format_span

Form = Literal["mass", "many", "one", "any"]
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_HELD_OUT_EVERY = 5
_KINDS = {"min_area": 0.3, "where": 0.27, "top": 0.11, "index": 0.12, "not": 0.11, "max_area": 0.06, "both_areas": 0.03}
_SIZES = (0.1, 0.2, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 8, 10, 12, 15, 20, 25, 30, 50, 100, 150, 200,
500)  # fmt: skip


@cache
def templates() -> dict[str, Any]:
    """The wordings of ``templates.yaml``."""
    found: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("templates.yaml").read_text(encoding="utf-8"))
    return found


def held_out(options: Sequence[str], text: str) -> bool:
    """Whether a wording is kept from training: about one in five, never the first of its list."""
    return text != options[0] and crc32(text.encode()) % _HELD_OUT_EVERY == 0


@dataclass(frozen=True)
class Words:
    """Chooses wordings by chance, within what the split may use."""

    rng: Generator
    split: str

    def pick(self, options: Sequence[str]) -> str:
        """One of ``options``: for training none that is held out, for validation half of the time one that is."""
        kept = [text for text in options if not held_out(options, text)]
        hidden = [text for text in options if held_out(options, text)]
        chosen = hidden if hidden and self.split == "val" and self.rng.random() < 0.5 else kept
        return chosen[self.rng.integers(len(chosen))]

    def chance(self, probability: float) -> bool:
        """True with the probability given."""
        return bool(self.rng.random() < probability)


@dataclass(frozen=True)
class NounPhrase:
    """A class as the query words it (``text``), its bare noun, and the constraints meant."""

    class_name: str
    noun: str
    text: str
    constraints: Constraints = field(default_factory=Constraints)

    def span(self, query: str) -> str:
        """The answer's span. Its phrase is the person's own noun where that is understood, else the class's title."""
        return format_span(self.class_name, self.phrase(query), self.constraints)

    @property
    def attributes(self) -> dict[str, str]:
        """The constraints as a span's attributes."""
        return {name: str(value) for name, value in self.constraints.to_dict().items()}

    def phrase(self, query: str) -> str:
        """The words inside the span."""
        own = self.noun.lower() in query.lower() and resolve(self.noun) == self.class_name
        return self.noun if own else classes()[self.class_name].title

    def said(self, query: str) -> str:
        """The span with the words of its constraints around it."""
        c = self.constraints
        parts = []
        if c.min_area:
            parts.append(f"larger than {c.min_area[0]:g} {c.min_area[1]}")
        if c.max_area:
            parts.append(f"smaller than {c.max_area[0]:g} {c.max_area[1]}")
        if c.where:
            parts.append(f"in the {c.where}")
        parts += [f"with {i.name} {i.side} {i.value:g}" for i in c.index]
        parts += [f"without {classes()[name].title}" for name in c.exclude]
        before = "" if not c.top else "the largest " if c.top == 1 else f"the {c.top} largest "
        return before + " ".join([self.span(query), *parts])


def singular(plural: str) -> str:
    """The singular of one of the regular plurals in ``templates.yaml``."""
    if plural.endswith("ies"):
        return plural[:-3] + "y"
    if plural.endswith(("ches", "shes", "sses", "xes")):
        return plural[:-2]
    return plural.removesuffix("s")


def draw_noun(words: Words, name: str, form: Form) -> str:
    """A noun for the class: uncounted, plural or singular; sometimes any synonym of ``classes.yaml``."""
    lists = templates()["nouns"][name]
    if form == "any":
        if words.chance(0.15):
            return words.pick(list(classes()[name].synonyms))
        form = "many" if words.chance(0.5) else "mass"
    if form == "one":
        return singular(words.pick(lists["many"]))
    return words.pick(lists[form])


def draw_phrase(words: Words, name: str, form: Form, roles: Collection[str], constrained: float = 0.55) -> NounPhrase:
    """A noun phrase for the class with none to three constraints; ``constrained`` is how often there is any.

    ``roles`` are the band roles of the scene: most index constraints name an index that it has.
    """
    count = 0 if not words.chance(constrained) else int(words.rng.choice([1, 2, 3], p=[0.7, 0.24, 0.06]))
    allowed = [kind for kind in _KINDS if form == "any" or kind != "top"]
    weights = [_KINDS[kind] for kind in allowed]
    kinds = words.rng.choice(allowed, size=count, replace=False, p=[w / sum(weights) for w in weights]).tolist()
    if "both_areas" in kinds:
        kinds = [kind for kind in kinds if kind not in ("min_area", "max_area")]
    elif "min_area" in kinds and "max_area" in kinds:
        kinds.remove("max_area")
    noun, text, top = draw_noun(words, name, form), "", None
    if "top" in kinds:
        noun, text, top = _top(words, name)
    meant: dict[str, Any] = {"top": top}
    after = []
    for kind in kinds:
        if kind == "where" and not top and words.chance(0.15):
            meant["where"] = place = PLACES[words.rng.integers(len(PLACES))]
            text = f"{templates()['adjectives'][place]} {noun}"
        elif kind != "top":
            worded, values = _constraint(words, kind, name, roles)
            after.append(worded)
            meant |= values
    return NounPhrase(name, noun, " ".join([text or noun, *after]), Constraints(**meant))


def _top(words: Words, name: str) -> tuple[str, str, int]:
    if words.chance(0.5):
        noun = draw_noun(words, name, "one")
        return noun, words.pick(templates()["largest"]).format(one=noun), 1
    noun, number = draw_noun(words, name, "many"), int(words.rng.integers(2, 11))
    written = NUMBER_WORDS[number] if words.chance(0.5) else str(number)
    return noun, words.pick(templates()["top"]).format(n=written, nouns=noun), number


def _constraint(words: Words, kind: str, name: str, roles: Collection[str]) -> tuple[str, dict[str, Any]]:
    """A constraint's wording and the fields of ``Constraints`` it sets."""
    table = templates()
    if kind == "where":
        place = PLACES[words.rng.integers(len(PLACES))]
        return words.pick(table["places"][place]), {"where": place}
    if kind == "not":
        other = _other(words, name)
        return words.pick(table["without"]).format(x=draw_noun(words, other, "any")), {"exclude": (other,)}
    if kind == "index":
        own = available(roles)
        offered = own if own and words.chance(0.9) else OFFERED_INDICES
        index = offered[0] if words.chance(0.4) else offered[words.rng.integers(len(offered))]
        side: Literal["above", "below"] = "above" if words.chance(0.65) else "below"
        value = round(float(words.rng.uniform(-0.4, 0.9)), int(words.rng.integers(1, 3))) + 0.0
        worded = words.pick(table[f"index_{side}"]).format(i=index, v=f"{value:g}")
        return worded, {"index": (IndexCondition(index, side, value),)}
    unit = str(words.rng.choice(["ha", "m2", "km2", "px"], p=[0.5, 0.28, 0.12, 0.1]))
    if kind == "both_areas":
        low, high = sorted(words.rng.choice(40, 2, replace=False))
        low, high = (_size(words, unit, rank / 40) for rank in (low, high))
        if low >= high:
            high = low * 2
        a, b = (_area_words(words, value, unit) for value in (low, high))
        return words.pick(table["both_areas"]).format(a=a, b=b), {"min_area": (low, unit), "max_area": (high, unit)}
    value = _size(words, unit, float(words.rng.random()))
    return words.pick(table[kind]).format(a=_area_words(words, value, unit)), {kind: (value, unit)}


def _size(words: Words, unit: str, rank: float) -> float:
    """A size that somebody would write, larger for a larger ``rank`` (0-1)."""
    if unit in ("m2", "px"):
        low, high = (50, 90000) if unit == "m2" else (4, 2000)
        value = low * (high / low) ** rank
        digits = 1 if words.chance(0.7) else 2
        return float(f"{value:.{digits - 1}e}")
    if words.chance(0.7):
        return float(_SIZES[min(int(rank * len(_SIZES)), len(_SIZES) - 1)])
    return float(f"{0.1 * 5000**rank:.2g}")


def _area_words(words: Words, value: float, unit: str) -> str:
    name = words.pick(templates()["units"][unit])
    if unit in ("ha", "km2") and value in range(1, 11) and words.chance(0.2):
        return f"{NUMBER_WORDS[int(value)]} {name}"
    number = f"{value:,.0f}" if value >= 1000 and words.chance(0.4) else f"{value:g}"
    return number + ("" if words.chance(0.25) else " ") + name


def _other(words: Words, name: str) -> str:
    """A class that one may take away from ``name``: a child of it half of the time, never itself or its parent."""
    children, parent = classes()[name].children, classes()[name].parent
    if children and words.chance(0.6):
        return children[words.rng.integers(len(children))]
    others = [other for other in classes() if other not in (name, parent)]
    return others[words.rng.integers(len(others))]
