"""Requests with readings to train on: those written by hand, joined ones, and ones with names.

Two requests said one after the other ask for what both ask. A sentence that asks for nothing, with
names that look like land cover ("Regards, Dr. Marsh"), changes no reading.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml

from instruction_data.requests.corpus import REFUSED, WHOLE_SCENE, read_requests
from spex.query.constraints import ANY
from spex.query.elements import Element
from spex.query.language import language_of
from spex.query.lexer import Item, items_of
from spex.query.prompt import clean_query
from spex.query.request import Request, request_of
from train.reading.expected import Spans, expected_spans

_LONGEST = 60  # items of a request that is joined to another
_NAMED = {"en": 0.5, "es": 0.1, "pt": 0.1, "fr": 0.1, "de": 0.1, "zh": 0.1}


@dataclass(frozen=True)
class Example:
    """A request with its reading.

    Attributes:
        request: with its items and elements.
        reading: of it; the first of several that are right.
    """

    request: Request
    reading: str | Spans


def written_examples(batches: Iterable[Path]) -> list[Example]:
    """The single requests of some batches.

    Raises:
        RecordError: a line that is not in the notation.
    """
    examples = []
    for batch in batches:
        for written in read_requests(batch):
            if len(written.turns) == 1:
                text = clean_query(written.turns[0])
                request = request_of(text, language_of(text))
                examples.append(Example(request, expected_spans(written.readings[0])))
    return examples


@cache
def _parts(language: str) -> dict[str, list[str]]:
    """Separators, sentences and names of a language."""
    table = yaml.safe_load((files("train.reading") / "sentences.yaml").read_text("utf-8"))
    parts: dict[str, list[str]] = table[language]
    return parts


@cache
def _separator_items(language: str, separator: str) -> tuple[Item, ...]:
    return tuple(items_of(separator.strip() or ",", language))


def joined(first: Example, second: Example, rng: random.Random) -> Example | None:
    """Two requests of a language as one; None where that would not ask for what both ask."""
    reading = _joined_reading(first.reading, second.reading)
    if reading is None:
        return None
    language = first.request.language
    separator = rng.choice(_parts(language)["separators"])
    between = _separator_items(language, separator)
    start = len(first.request.text)
    behind = start + len(separator)
    items = [
        *first.request.items,
        *(replace(i, start=i.start + start, end=i.end + start) for i in between),
        *(replace(i, start=i.start + behind, end=i.end + behind) for i in second.request.items),
    ]
    moved = len(first.request.items) + len(between)
    elements = [
        *first.request.elements[:-1],
        *(_moved(element, moved) for element in second.request.elements[:-1]),
        first.request.elements[-1],
    ]
    text = first.request.text + separator + second.request.text
    return Example(Request(text, language, items, elements), reading)


def _moved(element: Element, items: int) -> Element:
    return replace(element, first=element.first + items, last=element.last + items)


def _joined_reading(first: str | Spans, second: str | Spans) -> str | Spans | None:
    if first == REFUSED:
        return second
    if second == REFUSED:
        return first
    if WHOLE_SCENE in (first, second) or isinstance(first, str) or isinstance(second, str):
        return None
    names = {name for name, _ in first}
    others = {name for name, _ in second}
    if names & others or ANY in names | others:
        return None
    return [*first, *second]


def joined_examples(examples: Sequence[Example], count: int, rng: random.Random) -> list[Example]:
    """Examples of two or three requests in one.

    Args:
        examples: to join.
        count: how many to make.
        rng: random draws.
    """
    by_language: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if len(example.request.items) < _LONGEST:
            by_language[example.request.language].append(example)
    combined: list[Example] = []
    while len(combined) < count:
        language = rng.choice(examples).request.language
        one, other, third = rng.choices(by_language[language], k=3)
        if REFUSED in (one.reading, other.reading) and rng.random() < 0.9:
            continue  # a question that is refused mostly concerns what stands beside it
        pair = joined(one, other, rng)
        if pair is not None and rng.random() < 0.25 and third.reading != REFUSED:
            pair = joined(pair, third, rng) or pair
        if pair is not None:
            combined.append(pair)
    return combined


def _sentence(language: str, rng: random.Random) -> str:
    """A sentence with names and numbers that asks for nothing."""
    parts = _parts(language)
    values = {
        "name": rng.choice(parts["names"]),
        "first": rng.choice(parts["first_names"]),
        "number": str(rng.randint(2, 9999)),
        "small": str(rng.randint(2, 12)),
    }
    return rng.choice(parts["sentences"]).format(**values)


def mail_examples(examples: Sequence[Example], count: int, rng: random.Random) -> list[Example]:
    """Examples with one to three such sentences around the request."""
    asides: dict[str, list[Example]] = defaultdict(list)
    for language in rng.choices(list(_NAMED), list(_NAMED.values()), k=1500):
        request = request_of(clean_query(_sentence(language, rng)), language)
        asides[language].append(Example(request, REFUSED))
    short = [example for example in examples if len(example.request.items) < _LONGEST]
    combined: list[Example] = []
    while len(combined) < count:
        example = rng.choice(short)
        for _ in range(rng.choice((1, 1, 2, 3))):
            aside = rng.choice(asides[example.request.language])
            pair = (aside, example) if rng.random() < 0.5 else (example, aside)
            example = joined(*pair, rng) or example
        combined.append(example)
    return combined
