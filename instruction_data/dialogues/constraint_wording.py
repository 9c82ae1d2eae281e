"""Constraints as people write them in English: size, place, number, index value, exclusion."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from instruction_data.dialogues.nouns import draw_excludable, draw_noun
from instruction_data.dialogues.words import Wordings, WordingSampler, load_wording
from spex.evidence.indices import OFFERED_INDICES, available_indices
from spex.query.constraints import HALVES_AND_QUARTERS, IndexCondition

NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
)  # fmt: skip
_AREAS = (
    0.1, 0.2, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 8, 10, 12, 15, 20, 25, 30, 50, 100, 150,
    200, 500,
)  # fmt: skip
_UNITS = {"ha": 0.5, "m2": 0.28, "km2": 0.12, "px": 0.1}
_LARGE_COUNTS = (6, 7, 8, 9, 10, 11, 12, 15, 20)

DrawnConstraint = tuple[str, dict[str, Any]]
"""A constraint's wording, and the fields of ``Constraints`` that it sets."""


def number_word(sampler: WordingSampler, number: int) -> str:
    """A number in digits or, often, as a word."""
    if number < len(NUMBER_WORDS) and sampler.chance(0.6):
        return NUMBER_WORDS[number]
    return str(number)


def draw_count(sampler: WordingSampler) -> int:
    """Draw how many of the largest regions are asked for: mostly two to five."""
    if sampler.chance(0.7):
        return 2 + int(sampler.rng.random() * 4)
    return sampler.choose(_LARGE_COUNTS)


def draw_constraint(
    sampler: WordingSampler,
    kind: str,
    name: str,
    roles: Collection[str],
    *,
    short: bool = False,
    clause: bool = False,
) -> DrawnConstraint:
    """Draw a constraint and its wording.

    Args:
        sampler: draws the wording.
        kind: ``where``, ``not``, ``index``, ``min_area``, ``max_area`` or ``both_areas``.
        name: class that is constrained.
        roles: band roles of the scene; most indices named are those that it has.
        short: telegraphic.
        clause: the wording need not fit after "only those", so "nothing below 1 ha" will do.
    """
    table = load_wording("constraints")
    style = table["short"] if short else table
    as_clause = clause and not short and sampler.chance(0.1)
    if kind == "where":
        part = sampler.choose(HALVES_AND_QUARTERS)
        places = style["places"]
        if as_clause and part in table["clause"]["where"]:
            places = table["clause"]["where"]
        return sampler.pick(places[part]), {"where": (part,)}
    if kind == "not":
        other = draw_excludable(sampler, name)
        noun = draw_noun(sampler, other, "any")
        words = sampler.expand(sampler.pick(style["without"]), {}, x=noun)
        return words, {"exclude": (other,)}
    if kind == "index":
        return _draw_index_condition(sampler, style, roles)
    unit = sampler.choose_weighted(_UNITS)
    if kind == "both_areas":
        return _draw_area_range(sampler, style, unit)
    value = draw_area(sampler, unit, sampler.rng.random())
    if unit == "ha" and value in table["loose"] and not short and sampler.chance(0.4):
        area = sampler.pick(table["loose"][value])
    else:
        area = area_words(sampler, value, table["units"][unit])
    wordings = (table["clause"] if as_clause else style)[kind]
    return sampler.expand(sampler.pick(wordings), {}, a=area), {kind: (value, unit)}


def _draw_index_condition(
    sampler: WordingSampler, style: dict[str, Any], roles: Collection[str]
) -> DrawnConstraint:
    scene_indices = available_indices(roles)
    offered: Sequence[str] = OFFERED_INDICES
    if scene_indices and sampler.chance(0.9):
        offered = scene_indices
    index = offered[0] if sampler.chance(0.4) else sampler.choose(offered)
    side: Literal["above", "below"] = "above" if sampler.chance(0.65) else "below"
    value = round(-0.4 + 1.3 * float(sampler.rng.random()), sampler.choose((1, 2))) + 0.0
    frame = sampler.pick(style[f"index_{side}"])
    words = sampler.expand(frame, {}, i=index, v=f"{value:g}")
    return words, {"index": (IndexCondition(index, side, value),)}


def _draw_area_range(sampler: WordingSampler, style: dict[str, Any], unit: str) -> DrawnConstraint:
    low_rank, high_rank = sorted((sampler.rng.random(), sampler.rng.random()))
    low = draw_area(sampler, unit, low_rank)
    high = draw_area(sampler, unit, high_rank)
    if low >= high:
        high = low * 2
    units = load_wording("constraints")["units"][unit]
    low_words = area_words(sampler, low, units)
    high_words = area_words(sampler, high, units)
    words = sampler.expand(sampler.pick(style["both_areas"]), {}, a=low_words, b=high_words)
    return words, {"min_area": (low, unit), "max_area": (high, unit)}


def draw_area(sampler: WordingSampler, unit: str, rank: float) -> float:
    """Draw an area that somebody would write, larger for a larger ``rank`` (0-1)."""
    if unit in ("m2", "px"):
        low, high = (50, 90000) if unit == "m2" else (4, 2000)
        digits = 0 if sampler.chance(0.7) else 1
        return float(f"{low * (high / low) ** rank:.{digits}e}")
    if sampler.chance(0.7):
        return float(_AREAS[min(int(rank * len(_AREAS)), len(_AREAS) - 1)])
    return float(f"{0.1 * 5000**rank:.2g}")


def area_words(sampler: WordingSampler, value: float, units: Wordings) -> str:
    """An area in digits or a number word, with or without a space and a thousands separator."""
    unit = sampler.pick(units)
    if value in range(1, len(NUMBER_WORDS)) and len(unit) > 3 and sampler.chance(0.3):
        return f"{NUMBER_WORDS[int(value)]} {unit}"
    number = f"{value:.10g}"
    if value >= 1000 and sampler.chance(0.4):
        number = f"{value:,.0f}"
    space = "" if sampler.chance(0.25) else " "
    return f"{number}{space}{unit}"
