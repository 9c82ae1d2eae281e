"""The explanation of a result in Markdown.

It holds the answer, what supports each mask, what was not found, and how to check it.
"""

from __future__ import annotations

from spex.postprocess.fact_text import area_text, share_text
from spex.postprocess.facts import IndexFacts, MaskFacts
from spex.query.wording import constraints_text
from spex.results.query_result import QueryResult


def explanation(result: QueryResult) -> str:
    """The text of ``explanation.md``."""
    refused = result.refused is not None
    parts = [
        "# This query was refused" if refused else "# What was found",
        f"Query: {_quoted(result.query)}",
        result.refused or result.answer,
    ]
    parts += [_mask_part(facts) for facts in result.facts]
    if result.absent:
        lines = [f"- **{_words(name)}**: {reason}" for name, reason in result.absent]
        parts += ["## Not found", "\n".join(lines)]
    if result.failed:
        parts += [
            "## Tiles that failed",
            "They are no data in the results, except where a neighbouring tile covers them.",
            "\n".join(
                f"- rows {tile.row}-{tile.row + tile.height - 1}, "
                f"columns {tile.col}-{tile.col + tile.width - 1}: {tile.reason}"
                for tile in result.failed
            ),
        ]
    if result.warnings:
        parts += ["## Notes", "\n".join(f"- {warning}" for warning in result.warnings)]
    parts += ["## How to check", _check_part(result)]
    return "\n\n".join(parts) + "\n"


def _mask_part(facts: MaskFacts) -> str:
    sizes = facts.sizes()
    largest = _size_text(facts, sizes.max())
    smallest = _size_text(facts, sizes.min())
    constraints = constraints_text(facts.span.constraints)
    probability = "" if facts.mean_probability is None else f"{facts.mean_probability:.2f}"
    area = area_text(facts.area_m2, facts.pixels)
    lines = [
        f"## {facts.value}. {_words(facts.span.phrase)}",
        "",
        f"Class `{facts.span.class_name}`"
        + (f", with the constraints: {constraints}." if constraints else "."),
        "",
        "| quantity | value |",
        "|---|---|",
        f"| area | {area} ({facts.pixels:,} pixels) |",
        f"| share of the valid scene | {share_text(facts.fraction)} |",
        f"| regions | {facts.regions.count:,}; largest {largest}, smallest {smallest} |",
        f"| location | {facts.location} |",
        f"| mean probability | {probability} |",
    ]
    if facts.evidence:
        lines += ["", "| index | mean inside | mean outside | threshold |", "|---|---|---|---|"]
        lines += [_index_line(name, values) for name, values in facts.evidence.items()]
    return "\n".join(lines)


def _size_text(facts: MaskFacts, size: float) -> str:
    """The size of one region: square metres, or pixels without map units."""
    return area_text(None if facts.area_m2 is None else size, size)


def _index_line(name: str, values: IndexFacts) -> str:
    cells = [
        "-" if value is None else f"{value:.2f}"
        for value in (values.inside, values.outside, values.threshold)
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _check_part(result: QueryResult) -> str:
    model, digest = result.model
    weights = f" (SHA-256 of the weights {digest})" if digest else ", index rules without weights"
    lines = [f"- Answered by `{model}`{weights}."]
    if result.refused is None:
        lines += [
            "- Every number above was measured on `mask.tif` (values 1 to n in this order, "
            "255 no data), `probability.tif` (stored value / 250; a pixel is in a mask from 0.5) "
            "and the scene, and measured again after writing.",
            "- `regions.gpkg` has one row per region (8-connected) with its area, "
            "mean probability and index means.",
            "- `mask.qml` and a table of `regions.gpkg` hold the colours that QGIS shows.",
            "- Thresholds are those of the whole scene. Index conditions and parts of the scene "
            "apply to each pixel, sizes to whole regions; parts are halves, quadrants or the "
            "middle half of the valid extent.",
        ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    escaped = "".join("\\" + c if c in "\\`*_[]|#~" else c for c in text)
    return f"“{escaped}”"


def _words(name: str) -> str:
    return name.replace("_", " ")
