"""Reads requests written by hand and their readings; the notation is in ``README.md``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spex.errors import RecordError
from spex.evidence.classes import classes

FOLDER = Path(__file__).parent
REFUSED = "!"
WHOLE_SCENE = "*"

_NUMBER = r"\d+(?:\.\d+)?"
_CONSTRAINT = re.compile(
    rf"(?:min|max)={_NUMBER}(?:ha|m2|km2|px|%)"
    r"|where=-?[a-z_]+(?:\+-?[a-z_]+)*"
    r"|(?:top|bottom)=-?[1-9]\d*"
    rf"|idx=[A-Z]+[<>]-?{_NUMBER}"
    rf"|(?P<relation>not|near|far)=(?P<other>[a-z_]+)(?::{_NUMBER}m)?"
)
_SPAN = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<constraints>[^{}]*)\})?")


@dataclass(frozen=True)
class RequestedSpan:
    """One class of a reading.

    Attributes:
        class_name: a class of ``classes.yaml``, or ``any``.
        constraints: as written, for example ``min=2ha``.
    """

    class_name: str
    constraints: tuple[str, ...]


@dataclass(frozen=True)
class WrittenRequest:
    """A request or conversation and what its last turn means.

    Attributes:
        turns: what the person wrote, oldest first.
        readings: alternatives that are all right; each is ``REFUSED``, ``WHOLE_SCENE`` or spans.
    """

    turns: tuple[str, ...]
    readings: tuple[str | tuple[RequestedSpan, ...], ...]


def read_requests(path: Path) -> Iterator[WrittenRequest]:
    """The requests of one batch.

    Raises:
        RecordError: a line that is not in the notation, with its number.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        request, _, reading = line.partition("\t")
        try:
            readings = tuple(_parse_reading(text.strip()) for text in reading.split("|"))
        except ValueError as error:
            raise RecordError(f"{path.name}, line {number}: {error}") from error
        turns = tuple(turn.strip() for turn in request.split(" || "))
        yield WrittenRequest(turns, readings)


def _parse_reading(text: str) -> str | tuple[RequestedSpan, ...]:
    if text in (REFUSED, WHOLE_SCENE):
        return text
    return tuple(_parse_span(span.strip()) for span in text.split(";"))


def _parse_span(text: str) -> RequestedSpan:
    span = _SPAN.fullmatch(text)
    if span is None:
        raise ValueError(f"{text!r} is not class{{constraint,constraint}}")
    _require_class(span["name"])
    constraints = [part.strip() for part in (span["constraints"] or "").split(",")]
    constraints = [part for part in constraints if part]
    for constraint in constraints:
        match = _CONSTRAINT.fullmatch(constraint)
        if match is None:
            raise ValueError(f"{constraint!r} is not a constraint")
        if match["relation"]:
            _require_class(match["other"])
    return RequestedSpan(span["name"], tuple(constraints))


def _require_class(name: str) -> None:
    if name != "any" and name not in classes():
        raise ValueError(f"{name!r} is not a class")
