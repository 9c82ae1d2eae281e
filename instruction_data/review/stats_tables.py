"""Statistics of a built folder as text tables."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_WIDTH = 120


def render(counts: Mapping[str, Any]) -> str:
    """Tables of the values that ``FolderStats.to_dict`` returns."""
    from rich.console import Console

    tables = [
        _records_table(counts),
        _sources_table(counts),
        _sensors_table(counts),
        _classes_table(counts),
        _dialogues_table(counts),
    ]
    with StringIO() as text:
        Console(file=text, width=_WIDTH).print(*tables, sep="\n")
        return text.getvalue()


def _records_table(counts: Mapping[str, Any]) -> Table:
    splits = sorted(counts["places"])
    table = _table("records", "", *splits)
    for kind, records in counts["records"].items():
        table.add_row(kind, *(f"{records.get(split, 0):,}" for split in splits))
    table.add_row("places", *(f"{counts['places'][split]:,}" for split in splits))
    return table


def _sources_table(counts: Mapping[str, Any]) -> Table:
    table = _table("sources", "", "surveys", "dialogues")
    for name, records in counts["sources"].items():
        table.add_row(name, f"{records.get('survey', 0):,}", f"{records.get('dialogue', 0):,}")
    return table


def _sensors_table(counts: Mapping[str, Any]) -> Table:
    table = _table("sensors", "", "chips")
    for name, count in counts["sensors"].items():
        table.add_row(name, f"{count:,}")
    return table


def _classes_table(counts: Mapping[str, Any]) -> Table:
    columns = ("chips with", "without", "share of known", "unknown", "km²", "asked for")
    table = _table("classes", "", *columns)
    for name, entry in counts["classes"].items():
        table.add_row(
            name,
            f"{entry['present']:,}",
            f"{entry['absent']:,}",
            f"{entry['share']:.2%}",
            f"{entry['unknown']:.1%}",
            f"{entry['area_km2']:,.2f}",
            f"{entry['asked']:,}",
        )
    return table


def _dialogues_table(counts: Mapping[str, Any]) -> Table:
    dialogues = counts["dialogues"]
    wording = counts["wording"]
    table = _table("dialogues", "", "")
    for name in ("languages", "acts", "exchanges"):
        listed = ", ".join(f"{key} {count:,}" for key, count in dialogues[name].items())
        table.add_row(name, listed)
    table.add_row("with evidence", f"{dialogues['with_prior']:.1%}")
    table.add_row("refusals", f"{dialogues['refusals']:.1%}")
    for name in ("query_characters", "answer_characters"):
        percentiles = dialogues.get(name, {})
        listed = ", ".join(f"{key} {length}" for key, length in percentiles.items())
        table.add_row(name.replace("_", ", "), listed)
    for name in ("opening", "follow_up"):
        queries = wording[name]
        repeated = (
            f"{queries['queries']:,}, repeated {queries['duplicates']:.1%}, "
            f"{queries['duplicates_masked']:.1%} with numbers and class words masked"
        )
        table.add_row(f"{name.replace('_', '-')} queries", repeated)
    table.add_row("distinct templates", f"{wording['templates']:,}")
    table.add_row(
        "distinct 2-, 3-grams", f"{wording['distinct_2']:.1%}, {wording['distinct_3']:.1%}"
    )
    held_out = ", ".join(f"{split} {share:.1%}" for split, share in wording["held_out"].items())
    table.add_row("held-out wordings", held_out)
    return table


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2),
    )
    for index, column in enumerate(columns):
        is_number = index > 0 and column
        table.add_column(column, justify="right" if is_number else "left", no_wrap=index == 0)
    return table
