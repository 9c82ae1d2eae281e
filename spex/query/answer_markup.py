"""The markup of an answer: spans that own masks, slots for measured facts, refusals.

An answer is plain text. ``<seg class=water min_area=1ha where=north>open water</seg>`` owns exactly
one mask. Its attributes are the constraints, which are executed exactly after decoding.
``<fact:area>`` stands for a measured quantity of the nearest span before it. It is filled from the
written mask and the raster, so no number is ever invented. ``<refuse>reason</refuse>`` refuses.

Attributes of a span (all but ``class`` optional)::

    class=NAME           a name of classes.yaml, or any: every valid pixel
    min_area=1ha         smallest region kept; units ha, m2, km2, px, %; likewise max_area
    where=north+-center  parts of the scene (``SCENE_PARTS``); one with a minus is taken away
    top=1                only the N largest regions; top=-1 all but the largest
    bottom=1             only the N smallest regions; bottom=-1 all but the smallest
    index=NDVI:above:0.6 only pixels whose index lies above or below; several separated by commas
    not=cropland         pixels of another class taken away; several separated by commas
    near=road:100        only pixels within so many metres of another class; several likewise
    far=road:100         only pixels farther than that

Fact slots: area, share, count, largest, smallest, mean_area, location, probability, confusion
(which neighbouring class fits part of the mask as well), left_out (what lies beyond the class's
threshold but outside the mask, and why), regions and counted (their number with their sizes, as a
clause), certainty (the mean probability and how much of the mask is unsure), index:NAME (mean
inside), outside:NAME, threshold:NAME, contrast:NAME (how much higher or lower inside than outside).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spex.errors import AnswerError
from spex.query.constraints import SCENE_PARTS, Constraints, Distance, IndexCondition
from spex.query.numbers import PLAIN_NUMBER

FACTS = (
    "area", "share", "count", "largest", "smallest", "mean_area", "location", "probability",
    "confusion", "left_out",
)  # fmt: skip
CLAUSE_FACTS = ("regions", "counted", "certainty")
"""Slots of the answers that are written by rule; the language model does not know them."""
INDEX_FACTS = ("index", "outside", "threshold", "contrast")

_AREA = rf"{PLAIN_NUMBER}(?:ha|m2|km2|px|%)"
_CONDITION = rf"[A-Za-z0-9]+:(?:above|below):-?{PLAIN_NUMBER}"
_PART = rf"-?(?:{'|'.join(sorted(SCENE_PARTS, key=len, reverse=True))})"
_DISTANCE = rf"[a-z_]+:{PLAIN_NUMBER}"
_ATTRIBUTES = {
    "class": r"[a-z_]+",
    "min_area": _AREA,
    "max_area": _AREA,
    "where": rf"{_PART}(?:\+{_PART})*",
    "top": r"-?[1-9]\d*",
    "bottom": r"-?[1-9]\d*",
    "index": rf"{_CONDITION}(?:,{_CONDITION})*",
    "not": r"[a-z_]+(?:,[a-z_]+)*",
    "near": rf"{_DISTANCE}(?:,{_DISTANCE})*",
    "far": rf"{_DISTANCE}(?:,{_DISTANCE})*",
}
_OPTIONAL = [name for name in _ATTRIBUTES if name != "class"]
SPAN_OPEN = (
    f"<seg class={_ATTRIBUTES['class']}"
    + "".join(f"(?: {name}=(?:{_ATTRIBUTES[name]}))?" for name in _OPTIONAL)
    + ">"
)
"""Pattern of a span's opening tag; its attributes stand in this order."""
_SPAN = re.compile(rf"({SPAN_OPEN})([^<>]*)</seg>")
_SLOT = re.compile(r"<fact:([a-z_]+)(?::([A-Za-z0-9]+))?>")
_REFUSAL = re.compile(r"<refuse>([^<>]*)</refuse>")


@dataclass(frozen=True)
class Span:
    """One ``<seg>`` span of an answer, which owns one mask.

    Attributes:
        class_name: a name of ``classes.yaml``.
        phrase: the words shown.
        constraints: what the mask must meet.
        start: where the span begins in the answer's text, characters.
        end: where it ends.
    """

    class_name: str
    phrase: str
    constraints: Constraints = field(default_factory=Constraints)
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Answer:
    """A parsed answer: the raw text, its spans in order, and the reason where it is a refusal."""

    text: str
    spans: tuple[Span, ...]
    refusal: str | None = None


def other_classes(answer: Answer) -> tuple[str, ...]:
    """Classes that the constraints of spans refer to (``not``, ``near``, ``far``), each once.

    They are decoded after the spans and never shown.
    """
    names = (name for span in answer.spans for name in span.constraints.other_classes())
    return tuple(dict.fromkeys(names))


def format_span(class_name: str, phrase: str, constraints: Constraints | None = None) -> str:
    """Write a span; ``parse_answer`` reads it back unchanged."""
    values = (constraints or Constraints()).to_dict()
    order = [name for name in _ATTRIBUTES if name in values]
    attributes = "".join(f" {name}={values[name]}" for name in order)
    return f"<seg class={class_name}{attributes}>{phrase}</seg>"


def parse_answer(text: str) -> Answer:
    """Read an answer's spans, slots and refusal.

    Raises:
        AnswerError: a tag that is not well formed, an unknown fact slot, or a slot without a span.
    """
    refusal = _REFUSAL.search(text)
    spans = tuple(_span(match) for match in _SPAN.finditer(text))
    prose = _SLOT.sub("", _SPAN.sub("", _REFUSAL.sub("", text)))
    stray = re.search(r"</?[a-z|][^\s]*", prose)
    if stray:
        raise AnswerError(f"malformed markup in the answer: {stray[0][:60]!r}")
    for slot in _SLOT.finditer(text):
        if slot[1] not in (INDEX_FACTS if slot[2] else (*FACTS, *CLAUSE_FACTS)):
            raise AnswerError(f"fact slot {slot[0]!r} is unknown")
        if not spans or slot.start() < spans[0].start:
            raise AnswerError(f"fact slot {slot[0]!r} is without a span before it")
    return Answer(text, spans, refusal[1].strip() if refusal else None)


def fill_slots(answer: Answer, fact: Callable[[int, str, str | None], str]) -> str:
    """The answer as a person reads it: no tags, every slot filled.

    Args:
        answer: a parsed answer.
        fact: the words of a fact, given the span's number, the fact's name, and the index's name
            where the fact is of an index.
    """
    starts = [span.start for span in answer.spans]

    def slot_text(match: re.Match[str]) -> str:
        before = [number for number, start in enumerate(starts) if start < match.start()]
        return fact(max(before, default=0), match[1], match[2])

    # Slots first, on the raw text, so that their positions still tell which span owns them.
    filled = _SLOT.sub(slot_text, answer.text)
    return _REFUSAL.sub(r"\1", _SPAN.sub(r"\2", filled)).strip()


def _span(match: re.Match[str]) -> Span:
    """The span of a match of ``_SPAN``."""
    attributes = dict(part.split("=", 1) for part in match[1][len("<seg ") : -1].split(" "))
    constraints = read_constraints(attributes)
    return Span(attributes["class"], match[2], constraints, match.start(), match.end())


def read_constraints(values: Mapping[str, Any]) -> Constraints:
    """The constraints that ``Constraints.to_dict`` wrote, or that stand in a span."""
    attributes = {name: str(value) for name, value in values.items()}
    return Constraints(
        min_area=_area(attributes["min_area"]) if "min_area" in attributes else None,
        max_area=_area(attributes["max_area"]) if "max_area" in attributes else None,
        where=tuple(attributes["where"].split("+")) if "where" in attributes else (),
        top=int(attributes["top"]) if "top" in attributes else None,
        bottom=int(attributes["bottom"]) if "bottom" in attributes else None,
        index=tuple(_condition(text) for text in _listed(attributes, "index")),
        exclude=tuple(_listed(attributes, "not")),
        near=tuple(_distance(text) for text in _listed(attributes, "near")),
        far=tuple(_distance(text) for text in _listed(attributes, "far")),
    )


def _listed(attributes: Mapping[str, str], name: str) -> list[str]:
    return attributes[name].split(",") if name in attributes else []


def _area(text: str) -> tuple[float, str]:
    match = re.fullmatch(rf"({PLAIN_NUMBER})(\w+|%)", text)
    assert match is not None, text  # the span's pattern holds
    return float(match[1]), match[2]


def _condition(text: str) -> IndexCondition:
    name, side, value = text.split(":")
    return IndexCondition(name, "above" if side == "above" else "below", float(value))


def _distance(text: str) -> Distance:
    name, metres = text.split(":")
    return Distance(name, float(metres))
