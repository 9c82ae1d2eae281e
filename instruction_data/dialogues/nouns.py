"""English nouns of the classes: uncounted, plural and singular."""

from __future__ import annotations

from functools import cache
from typing import Literal

from instruction_data.dialogues.words import (
    Wordings,
    WordingSampler,
    is_held_out,
    load_wording,
)
from spex.evidence.classes import classes

NounForm = Literal["mass", "many", "one", "any"]


def singular(plural: str) -> str:
    """The singular of one of the regular plurals in ``nouns.yaml``."""
    head, of, complement = plural.partition(" of ")
    if head.endswith("ies"):
        head = head[:-3] + "y"
    elif head.endswith(("ches", "shes", "sses", "xes")):
        head = head[:-2]
    elif not head.endswith("ss"):
        head = head.removesuffix("s")
    return head + of + complement


@cache
def class_nouns(name: str) -> dict[str, Wordings]:
    """Nouns of a class: mass, many, one, and other: all synonyms of ``classes.yaml``.

    A noun is held out in all its forms; the first of each list never is.
    """
    lists = load_wording("nouns")[name]
    first = {singular(lists[form].texts[0]) for form in ("mass", "many")}
    first |= {classes()[name].title, singular(classes()[name].synonyms[0])}

    def hold_out(noun: str) -> bool:
        return singular(noun) not in first and is_held_out(singular(noun))

    many = lists["many"].texts
    return {
        "mass": Wordings.from_lines(lists["mass"].texts, hold_out),
        "many": Wordings.from_lines(many, hold_out),
        "one": Wordings.from_lines([singular(noun) for noun in many], hold_out),
        "other": Wordings.from_lines(classes()[name].synonyms, hold_out),
    }


def draw_noun(sampler: WordingSampler, name: str, form: NounForm) -> str:
    """Draw a noun for the class; the form ``any`` may be any synonym of ``classes.yaml``."""
    if form == "any":
        counted = sampler.choose(("many", "mass"))
        return sampler.pick(class_nouns(name)["other" if sampler.chance(0.2) else counted])
    return sampler.pick(class_nouns(name)[form])


def draw_excludable(sampler: WordingSampler, name: str) -> str:
    """Draw a class to exclude from ``name``: often a child, never itself or its parent."""
    children = classes()[name].children
    parent = classes()[name].parent
    if children and sampler.chance(0.6):
        return sampler.choose(children)
    return sampler.choose([other for other in classes() if other not in (name, parent)])
