"""The explanation of a result in Markdown: the answer, what supports it, what was not found, and how to check it."""

from __future__ import annotations

from spex.postprocess.facts import IndexFacts, MaskFacts, area_text, share_text
from spex.query.wording import constraints_text
from spex.results.query_result import QueryResult


def explanation(result: QueryResult) -> str:
    """The text of ``explanation.md``."""
    parts = ["# What was found", f"Query: {_quoted(result.query)}", result.answer]
    if result.refused:
        parts = [
            "# This query was refused",
            f"Query: {_quoted(result.query)}",
            result.refused,
        ]
    parts += [_mask_part(result, facts) for facts in result.facts]
    if result.absent:
        parts += [
            "## Not found",
            "\n".join(f"- **{_words(name)}**: {reason}" for name, reason in result.absent),
        ]
    if result.failed:
        lines = [
            f"- rows {t.row}-{t.row + t.height - 1}, columns {t.col}-{t.col + t.width - 1}: {t.reason}"
            for t in result.failed
        ]
        parts += [
            "## Tiles that failed",
            "These are no data in the results, except where a neighbouring tile covers them.",
            "\n".join(lines),
        ]
    if result.warnings:
        parts += ["## Mind", "\n".join(f"- {warning}" for warning in result.warnings)]
    parts += ["## How to check", _check(result)]
    return "\n\n".join(parts) + "\n"


def _mask_part(result: QueryResult, facts: MaskFacts) -> str:
    sizes = facts.sizes()
    unit = None if facts.area_m2 is None else 0.0

    def size(value: float) -> str:
        return area_text(None if unit is None else value, value)

    asked = constraints_text(facts.span.constraints)
    probability = "" if facts.mean_probability is None else f"{facts.mean_probability:.2f}"
    lines = [
        f"## {facts.value}. {_words(facts.span.phrase)}",
        "",
        f"Class `{facts.span.class_name}`" + (f", asked for: {asked}." if asked else "."),
        "",
        "| quantity | value |",
        "|---|---|",
        f"| area | {area_text(facts.area_m2, facts.pixels)} ({facts.pixels:,} pixels) |",
        f"| share of the valid scene | {share_text(facts.fraction)} |",
        f"| regions | {facts.regions.count:,}; largest {size(sizes.max())}, smallest {size(sizes.min())} |",
        f"| where | {facts.location} |",
        f"| mean probability | {probability} |",
    ]
    if facts.evidence:
        lines += ["", "| index | mean inside | mean outside | threshold |", "|---|---|---|---|"]
        lines += [_index_line(name, values) for name, values in facts.evidence.items()]
    return "\n".join(lines)


def _index_line(name: str, values: IndexFacts) -> str:
    cells = [
        "-" if value is None else f"{value:.2f}"
        for value in (values.inside, values.outside, values.threshold)
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _check(result: QueryResult) -> str:
    model, digest = result.model
    lines = [
        f"- Answered by `{model}`"
        + (f" (SHA-256 of the weights {digest})." if digest else ", index rules without weights.")
    ]
    if not result.refused:
        lines += [
            "- Every number above was measured on `mask.tif` (values 1 to n in this order, 255 no data),"
            " `probability.tif` (stored value / 250; a pixel is in a mask from 0.5) and the scene,"
            " and measured again after writing.",
            "- `regions.gpkg` has one row per region (8-connected) with its area, mean probability and index means.",
            "- Thresholds are those of the whole scene. Index conditions and parts of the scene apply to each pixel,"
            " sizes to whole regions; parts are halves, quadrants or the middle half of the valid extent.",
        ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "“" + "".join("\\" + c if c in "\\`*_[]|#~" else c for c in text) + "”"


def _words(name: str) -> str:
    return name.replace("_", " ")
