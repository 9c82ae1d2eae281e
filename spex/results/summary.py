"""A result in a few lines of text, as an interactive session prints it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from textwrap import shorten, wrap

from spex.results.query_result import QueryResult

_WIDTH = 96
_ANSWER_LINES = 5
_LISTED = 5  # masks, absences and warnings that are listed, each


def summary(result: QueryResult) -> str:
    """Query, answer, masks with their areas, absences and warnings; at most 24 lines."""
    lines = [
        f"Extraction from {PurePath(result.scene.path).name}, {result.model[0]}",
        *_paragraph("Query", result.query, 2),
    ]
    if result.refused is None:
        lines += _paragraph("Answer", result.answer, _ANSWER_LINES)
    else:
        lines += _paragraph("Refused", result.refused, _ANSWER_LINES)
    masks = [
        f"{facts.value}  {facts.span.class_name}, {label}"
        for facts, (_, label) in zip(result.facts, result.legend(), strict=True)
    ]
    lines += _listed("Masks", masks)
    lines += _listed("Not found", [f"{name}: {reason}" for name, reason in result.absent])
    failures = [f"{len(result.failed)} of {result.tiles} tiles failed"] if result.failed else []
    lines += _listed("Warnings", [*failures, *result.warnings])
    return "\n".join(lines)


def _paragraph(title: str, text: str, most: int) -> list[str]:
    return wrap(
        f"{title}: {text}", _WIDTH, subsequent_indent="  ", max_lines=most, placeholder=" ..."
    )


def _listed(title: str, items: Sequence[str]) -> list[str]:
    """A title and its items, one a line; what is beyond ``_LISTED`` lines is counted."""
    if not items:
        return []
    shown = items if len(items) <= _LISTED else items[: _LISTED - 1]
    lines = [f"{title}:", *(f"  {shorten(item, _WIDTH, placeholder=' ...')}" for item in shown)]
    if len(shown) < len(items):
        lines.append(f"  and {len(items) - len(shown)} more")
    return lines
