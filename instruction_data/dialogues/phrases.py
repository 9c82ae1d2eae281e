"""English noun phrases with constraints as people write them, what they mean, and how an answer repeats them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

from instruction_data.dialogues.words import Options, Words, held_out, wording
from spex.evidence.class_words import resolve_class
from spex.evidence.classes import classes
from spex.evidence.indices import OFFERED_INDICES, available_indices
from spex.query.answer_markup import format_span
from spex.query.constraints import SCENE_PARTS, Constraints, IndexCondition

Form = Literal["mass", "many", "one", "any"]
NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_KINDS = {
    "min_area": 0.29,
    "where": 0.26,
    "top": 0.14,
    "index": 0.12,
    "not": 0.11,
    "max_area": 0.06,
    "both_areas": 0.03,
}
_SIZES = (0.1, 0.2, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 8, 10, 12, 15, 20, 25, 30, 50, 100, 150, 200,
500)  # fmt: skip
_UNITS = {"ha": 0.5, "m2": 0.28, "km2": 0.12, "px": 0.1}


@dataclass(frozen=True)
class NounPhrase:
    """A class as a query words it.

    ``noun`` are the words for the class alone (``core``: with article or "largest" where these are needed to know
    it), ``text`` the phrase with its constraints, ``conditions`` the constraints' words without those in ``text``.
    """

    class_name: str
    noun: str
    text: str
    constraints: Constraints = field(default_factory=Constraints)
    core: str = ""
    conditions: tuple[str, ...] = ()
    language: str = "en"

    @property
    def attributes(self) -> dict[str, str]:
        """The constraints as a span's attributes."""
        return {name: str(value) for name, value in self.constraints.to_dict().items()}

    def limited(self, **fields: Any) -> NounPhrase:
        """The phrase with other constraints."""
        return replace(self, constraints=replace(self.constraints, **fields))

    def phrase(self, asked: str) -> str:
        """The words inside the span: the person's own where they are understood, else the class's title."""
        text = asked.lower()
        own = (word for word in (self.noun, self.core) if word and word.lower() in text)
        return next(
            (word for word in own if resolve_class(word) == self.class_name),
            classes()[self.class_name].title,
        )

    def said(self, asked: str) -> str:
        """The span; in English with the words of its constraints around it."""
        span = format_span(self.class_name, self.phrase(asked), self.constraints)
        c = self.constraints
        if self.language != "en":
            return span
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
        return before + " ".join([span, *parts])


def singular(plural: str) -> str:
    """The singular of one of the regular plurals in ``nouns.yaml``."""
    head, of, rest = plural.partition(" of ")
    if head.endswith("ies"):
        head = head[:-3] + "y"
    elif head.endswith(("ches", "shes", "sses", "xes")):
        head = head[:-2]
    elif not head.endswith("ss"):
        head = head.removesuffix("s")
    return head + of + rest


@cache
def nouns(name: str) -> dict[str, Options]:
    """Nouns of a class: mass, many, one, and every other synonym of ``classes.yaml``.

    A word is held out in all its forms; the first of each list never is.
    """
    lists = wording("nouns")[name]
    core = {singular(lists[form].texts[0]) for form in ("mass", "many")}
    core |= {classes()[name].title, singular(classes()[name].synonyms[0])}

    def hide(noun: str) -> bool:
        return singular(noun) not in core and held_out(singular(noun))

    many = lists["many"].texts
    return {
        "mass": Options.of(lists["mass"].texts, hide),
        "many": Options.of(many, hide),
        "one": Options.of([singular(noun) for noun in many], hide),
        "other": Options.of(classes()[name].synonyms, hide),
    }


def draw_noun(words: Words, name: str, form: Form) -> str:
    """A noun for the class: uncounted, plural or singular; sometimes any synonym of ``classes.yaml``."""
    if form == "any":
        form = words.one(("many", "mass"))
        return words.pick(nouns(name)["other" if words.chance(0.2) else form])
    return words.pick(nouns(name)[form])


def draw_phrase(
    words: Words,
    name: str,
    form: Form,
    roles: Collection[str],
    constrained: float = 0.55,
    *,
    short: bool = False,
) -> NounPhrase:
    """A noun phrase for the class with none to three constraints; ``constrained`` is how often there is any.

    ``roles`` are the band roles of the scene: most index constraints name an index that it has. ``short``: telegraphic.
    """
    table = wording("constraints")
    style = table["short"] if short else table
    kinds = _kinds(words, form, constrained)
    if "top" in kinds:
        noun, text, top = _top(words, name, style)
    else:
        noun, top = draw_noun(words, name, form), None
        text = noun
    meant: dict[str, Any] = {"top": top}
    if form == "any" and not top:
        text = f"{words.pick(style['determiner'])} {noun}".lstrip()
    conditions = []
    for kind in kinds:
        if kind == "where" and text == noun and words.chance(0.15):
            meant["where"] = place = words.one(SCENE_PARTS)
            text = f"{table['adjectives'][place]} {noun}"
        elif kind != "top":
            worded, values = condition(words, kind, name, roles, short=short, clause=True)
            conditions.append(worded)
            meant |= values
    joined = text + "".join(
        f"{words.pick(style['joint'])} {worded}".replace("  ", " ") for worded in conditions
    )
    return NounPhrase(name, noun, joined, Constraints(**meant), noun, tuple(conditions))


def _kinds(words: Words, form: Form, constrained: float) -> list[str]:
    """Different kinds of constraints; not two that limit the area, and "largest" only where the noun is free."""
    weights = {kind: weight for kind, weight in _KINDS.items() if form == "any" or kind != "top"}
    kinds: list[str] = []
    if words.chance(constrained):
        chance = words.rng.random()
        for _ in range(1 if chance < 0.66 else 2 if chance < 0.92 else 3):
            kind = words.weighted(weights)
            kinds.append(kind)
            gone = {"both_areas", "min_area", "max_area"} if "area" in kind else {kind}
            weights = {key: value for key, value in weights.items() if key not in gone}
    return kinds


def number_word(words: Words, number: int) -> str:
    """A number in digits or, often, as a word."""
    return NUMBER_WORDS[number] if number < len(NUMBER_WORDS) and words.chance(0.6) else str(number)


def _top(words: Words, name: str, style: dict[str, Any]) -> tuple[str, str, int]:
    if words.chance(0.4):
        noun = draw_noun(words, name, "one")
        return noun, words.expand(words.pick(style["largest"]), {}, one=noun), 1
    noun, number = draw_noun(words, name, "many"), draw_count(words)
    written = number_word(words, number)
    return noun, words.expand(words.pick(style["top"]), {}, n=written, nouns=noun), number


def draw_count(words: Words) -> int:
    """How many of the largest somebody asks for: mostly two to five."""
    return (
        2 + int(words.rng.random() * 4)
        if words.chance(0.7)
        else words.one((6, 7, 8, 9, 10, 11, 12, 15, 20))
    )


def condition(
    words: Words,
    kind: str,
    name: str,
    roles: Collection[str],
    *,
    short: bool = False,
    clause: bool = False,
) -> tuple[str, dict[str, Any]]:
    """A constraint's wording and the fields of ``Constraints`` it sets; kinds as in ``constraints.yaml``.

    ``clause``: it need not fit after "only those", so "nothing below 1 ha" will do.
    """
    table = wording("constraints")
    style = table["short"] if short else table
    apart = clause and not short and words.chance(0.1)
    if kind == "where":
        place = words.one(SCENE_PARTS)
        places = (
            table["clause"]["where"]
            if apart and place in table["clause"]["where"]
            else style["places"]
        )
        return words.pick(places[place]), {"where": place}
    if kind == "not":
        other = other_class(words, name)
        noun = draw_noun(words, other, "any")
        return words.expand(words.pick(style["without"]), {}, x=noun), {"exclude": (other,)}
    if kind == "index":
        own = available_indices(roles)
        offered = own if own and words.chance(0.9) else OFFERED_INDICES
        index = offered[0] if words.chance(0.4) else words.one(offered)
        side: Literal["above", "below"] = "above" if words.chance(0.65) else "below"
        value = round(-0.4 + 1.3 * float(words.rng.random()), words.one((1, 2))) + 0.0
        worded = words.expand(words.pick(style[f"index_{side}"]), {}, i=index, v=f"{value:g}")
        return worded, {"index": (IndexCondition(index, side, value),)}
    unit = words.weighted(_UNITS)
    if kind == "both_areas":
        low, high = sorted((words.rng.random(), words.rng.random()))
        low, high = size(words, unit, low), size(words, unit, high)
        if low >= high:
            high = low * 2
        a, b = (area_words(words, value, table["units"][unit]) for value in (low, high))
        return words.expand(words.pick(style[kind]), {}, a=a, b=b), {
            "min_area": (low, unit),
            "max_area": (high, unit),
        }
    value = size(words, unit, words.rng.random())
    if unit == "ha" and value in table["loose"] and not short and words.chance(0.4):
        written = words.pick(table["loose"][value])
    else:
        written = area_words(words, value, table["units"][unit])
    options = (table["clause"] if apart else style)[kind]
    return words.expand(words.pick(options), {}, a=written), {kind: (value, unit)}


def size(words: Words, unit: str, rank: float) -> float:
    """A size that somebody would write, larger for a larger ``rank`` (0-1)."""
    if unit in ("m2", "px"):
        low, high = (50, 90000) if unit == "m2" else (4, 2000)
        return float(f"{low * (high / low) ** rank:.{0 if words.chance(0.7) else 1}e}")
    if words.chance(0.7):
        return float(_SIZES[min(int(rank * len(_SIZES)), len(_SIZES) - 1)])
    return float(f"{0.1 * 5000**rank:.2g}")


def area_words(words: Words, value: float, units: Options) -> str:
    """An area as written: digits or a number word, with or without a space and a thousands separator."""
    name = words.pick(units)
    if value in range(1, len(NUMBER_WORDS)) and len(name) > 3 and words.chance(0.3):
        return f"{NUMBER_WORDS[int(value)]} {name}"
    number = f"{value:,.0f}" if value >= 1000 and words.chance(0.4) else f"{value:.10g}"
    return number + ("" if words.chance(0.25) else " ") + name


def other_class(words: Words, name: str) -> str:
    """A class that one may take away from ``name``: a child of it half of the time, never itself or its parent."""
    children, parent = classes()[name].children, classes()[name].parent
    if children and words.chance(0.6):
        return str(words.one(children))
    return str(words.one([other for other in classes() if other not in (name, parent)]))
