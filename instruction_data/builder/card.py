"""The data card of a built folder: a README that ``datasets`` and people read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from instruction_data.layouts import LAYOUTS
from instruction_data.review.record_files import Kind
from instruction_data.review.stats import stats
from spex.evidence.classes import classes

_SPLITS = {"train": "train", "val": "validation"}
# Identifiers that the Hugging Face hub knows; the rest are "other" and told in the table of sources.
_LICENCES = ("cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "odbl", "mit", "apache-2.0")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SKIPPED = 20


def write_card(out: Path, command: str) -> Path:
    """Write ``README.md`` of a built folder (aside, then renamed) and return its path.

    Args:
        out: the folder, finished, with its ``report.json``.
        command: the command line that built it.

    Raises:
        RecordError: there are no records.
    """
    found = stats(out).to_dict()
    text = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    target, aside = out / "README.md", out / "README.md.part"
    card = text.format(
        front=yaml.safe_dump(_front(out, found), sort_keys=False, width=1000),
        name=out.resolve().name,
        command=command,
        config="dialogues" if "dialogue" in found["records"] else "surveys",
        counts=_counts(found),
        sources=_sources(found) + _pseudo(out),
        split=_split(out),
        sensors=", ".join(f"{name} ({count:,} chips)" for name, count in found["sensors"].items()),
        classes=_classes(found),
        dialogues=_dialogues(found),
        skipped=_skipped(out),
    )
    aside.write_text(card, encoding="utf-8")
    return aside.replace(target)


def _front(out: Path, found: dict[str, Any]) -> dict[str, Any]:
    licences = {
        _licence(LAYOUTS[name].licence if name in LAYOUTS else "") for name in found["sources"]
    }
    total = sum(count for counts in found["records"].values() for count in counts.values())
    files = {"dialogues": _files(out, "dialogue"), "surveys": _files(out, "survey")}
    return {
        "license": sorted(licences),
        "language": list(found["dialogues"]["languages"]) or ["en"],
        "task_categories": ["image-segmentation", "visual-question-answering"],
        "tags": ["remote-sensing", "multispectral", "hyperspectral", "land-cover"],
        "size_categories": [next((word for limit, word in _SIZES if total < limit), "1M<n<10M")],
        "configs": [
            {"config_name": name, "default": name == "dialogues", "data_files": found}
            for name, found in files.items()
            if found
        ],
    }


def _licence(text: str) -> str:
    return next(
        (known for known in _LICENCES if text.lower().replace(" ", "-").startswith(known)), "other"
    )


def _files(out: Path, kind: Kind) -> list[dict[str, str]]:
    """Files per split; the builder ends the name of a shard with the split of its records."""
    patterns = {split: f"{kind}_*_{split}.parquet" for split in _SPLITS}
    return [
        {"split": _SPLITS[split], "path": files}
        for split, files in patterns.items()
        if any(out.glob(files))
    ]


def _counts(found: dict[str, Any]) -> str:
    rows = [
        [f"{kind}s", *(counts.get(split, 0) for split in _SPLITS)]
        for kind, counts in found["records"].items()
    ]
    return _table(
        ["", *_SPLITS], [*rows, ["places", *(found["places"].get(split, 0) for split in _SPLITS)]]
    )


def _sources(found: dict[str, Any]) -> str:
    rows: list[list[object]] = []
    for name, counts in found["sources"].items():
        about = LAYOUTS.get(name)
        if about:
            told = [about.title, about.licence, about.url]
        elif name == "simulated":
            told = [
                "simulated landscapes with exact truth",
                "that of the build, and of its spectral library",
                "",
            ]
        else:
            told = ["scenes of one's own", "that of the scenes; not known to the builder", ""]
        rows.append([f"`{name}`", counts.get("survey", 0), counts.get("dialogue", 0), *told])
    return _table(["source", "chips", "dialogues", "what", "licence", "link"], rows)


def _pseudo(out: Path) -> str:
    count = _json(out / "report.json").get("pseudo", 0)
    return (
        f"\n\n{count:,} chips have no labels: their masks are pseudo-labels, where indices agree."
        if count
        else ""
    )


def _split(out: Path) -> str:
    text = (
        "By place: scenes whose footprints overlap or lie near each other, or that their source groups, are one place; "
        "a place is never in both splits. A source that comes with a split keeps it, else a hash of the place decides"
    )
    settings = _json(out / "build.json")
    return text + (
        f", {settings['val_share']:.0%} of them for validation." if "val_share" in settings else "."
    )


def _classes(found: dict[str, Any]) -> str:
    rows = [
        [classes()[name].title, c["present"], c["absent"], f"{c['share']:.2%}", f"{c['unknown']:.1%}",
         f"{c['area_km2']:,.2f}", c["asked"]]
        for name, c in found["classes"].items()
    ]  # fmt: skip
    return _table(
        [
            "class",
            "chips with it",
            "without",
            "share of known pixels",
            "unknown",
            "km²",
            "asked for",
        ],
        rows,
    )


def _dialogues(found: dict[str, Any]) -> str:
    talk, wording = found["dialogues"], found["wording"]
    if not wording["opening"]["queries"]:
        return "None."
    query, answer, first = talk["query_characters"], talk["answer_characters"], wording["opening"]
    lines = [f"{name}: {_listed(talk[name])}" for name in ("languages", "acts", "exchanges")]
    lines += [
        f"with evidence in the prompt: {talk['with_prior']:.1%}; refusals: {talk['refusals']:.1%}",
        f"characters (median, 95th percentile): queries {query['median']}, {query['p95']}; answers {answer['median']}, "
        f"{answer['p95']}",
        f"opening queries that repeat an earlier one: {first['duplicates']:.1%}; with numbers and class words masked: "
        f"{first['duplicates_masked']:.1%}; distinct templates: {wording['templates']:,}",
        f"dialogues with a wording held out from training: {_listed(wording['held_out'], '.1%')}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _skipped(out: Path) -> str:
    skipped = _json(out / "report.json").get("skipped", [])
    if not skipped:
        return "Nothing."
    sources = Counter(one["source"] for one in skipped)
    lines = [f"- {one['source']}, {one['item']}: {one['reason']}" for one in skipped[:_SKIPPED]]
    more = (
        [f"- and {len(skipped) - _SKIPPED:,} more, in `report.json`"]
        if len(skipped) > _SKIPPED
        else []
    )
    return "\n".join([f"{len(skipped):,} scenes ({_listed(sources)}).", "", *lines, *more])


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _listed(counts: dict[str, Any], form: str = ",") -> str:
    return ", ".join(f"{name} {count:{form}}" for name, count in counts.items())


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def cells(row: Sequence[object]) -> Iterator[str]:
        return (
            f"{cell:,}" if isinstance(cell, int) else str(cell).replace("|", "\\|") for cell in row
        )

    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells(row)) + " |" for row in lines)
