"""The data card of a built folder: a README for people and for the library ``datasets``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from instruction_data.layouts import LAYOUTS
from instruction_data.review.record_files import Kind
from instruction_data.review.stats import stats
from spex.evidence.classes import classes

_SPLITS = {"train": "train", "val": "validation"}
# Identifiers that the Hugging Face hub knows; all others are "other" and stated per source.
_LICENCES = ("cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "odbl", "mit", "apache-2.0")
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
_MAX_SKIPPED = 20
_TAGS = ["remote-sensing", "multispectral", "hyperspectral", "land-cover"]


def write_card(out: Path, command: str) -> Path:
    """Write the ``README.md`` of a built folder and return its path.

    Args:
        out: the finished folder with its ``report.json``.
        command: the command line that built it.

    Raises:
        RecordError: there are no records.
    """
    counts = stats(out).to_dict()
    report = _read_json(out / "report.json")
    sensors = [f"{name} ({count:,} chips)" for name, count in counts["sensors"].items()]
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    card = template.format(
        front=yaml.safe_dump(_front_matter(out, counts), sort_keys=False, width=1000),
        name=out.resolve().name,
        command=command,
        config="dialogues" if "dialogue" in counts["records"] else "surveys",
        counts=_counts_table(counts),
        sources=_sources_table(counts) + _pseudo_label_note(report),
        split=_split_note(_read_json(out / "build.json")),
        sensors=", ".join(sensors),
        classes=_classes_table(counts),
        dialogues=_dialogue_list(counts),
        skipped=_skipped_list(report),
    )
    target = out / "README.md"
    temporary = out / "README.md.part"
    temporary.write_text(card, encoding="utf-8")
    return temporary.replace(target)


def _front_matter(out: Path, counts: Mapping[str, Any]) -> dict[str, Any]:
    """The YAML header that the Hugging Face hub reads."""
    licences: set[str] = set()
    for name in counts["sources"]:
        licences.add(_licence_id(LAYOUTS[name].licence if name in LAYOUTS else ""))
    total = sum(sum(splits.values()) for splits in counts["records"].values())
    files = {"dialogues": _data_files(out, "dialogue"), "surveys": _data_files(out, "survey")}
    return {
        "license": sorted(licences),
        "language": list(counts["dialogues"]["languages"]) or ["en"],
        "task_categories": ["image-segmentation", "visual-question-answering"],
        "tags": _TAGS,
        "size_categories": [next((name for limit, name in _SIZES if total < limit), "1M<n<10M")],
        "configs": [
            {"config_name": name, "default": name == "dialogues", "data_files": data_files}
            for name, data_files in files.items()
            if data_files
        ],
    }


def _licence_id(licence: str) -> str:
    normalized = licence.lower().replace(" ", "-")
    return next((name for name in _LICENCES if normalized.startswith(name)), "other")


def _data_files(out: Path, kind: Kind) -> list[dict[str, str]]:
    """File pattern per split: the name of a record file ends with the split of its records."""
    patterns = {split: f"{kind}_*_{split}.parquet" for split in _SPLITS}
    return [
        {"split": _SPLITS[split], "path": pattern}
        for split, pattern in patterns.items()
        if any(out.glob(pattern))
    ]


def _counts_table(counts: Mapping[str, Any]) -> str:
    rows = [
        [f"{kind}s", *(splits.get(split, 0) for split in _SPLITS)]
        for kind, splits in counts["records"].items()
    ]
    rows.append(["places", *(counts["places"].get(split, 0) for split in _SPLITS)])
    return _table(["", *_SPLITS], rows)


def _sources_table(counts: Mapping[str, Any]) -> str:
    rows: list[list[object]] = []
    for name, records in counts["sources"].items():
        if layout := LAYOUTS.get(name):
            description = [layout.title, layout.licence, layout.url]
        elif name == "simulated":
            description = [
                "simulated landscapes with exact truth",
                "that of the build and of its spectral library",
                "",
            ]
        else:
            description = ["the user's own scenes", "that of the scenes; unknown to SPEX", ""]
        chips = records.get("survey", 0)
        rows.append([f"`{name}`", chips, records.get("dialogue", 0), *description])
    return _table(["source", "chips", "dialogues", "what", "licence", "link"], rows)


def _pseudo_label_note(report: Mapping[str, Any]) -> str:
    count = report.get("pseudo", 0)
    if not count:
        return ""
    return (
        f"\n\n{count:,} chips have no labels: their masks are pseudo-labels, where spectral "
        "indices agree."
    )


def _split_note(settings: Mapping[str, Any]) -> str:
    note = (
        "The split is by place. Scenes whose footprints overlap or lie close together, or that "
        "their source groups, are one place; a place is never in both splits. A source that comes "
        "with a split keeps it; otherwise a hash of the place's name decides"
    )
    if "val_share" not in settings:
        return f"{note}."
    return f"{note}, {settings['val_share']:.0%} of the places for validation."


def _classes_table(counts: Mapping[str, Any]) -> str:
    rows: list[list[object]] = []
    for name, entry in counts["classes"].items():
        row = [
            classes()[name].title,
            entry["present"],
            entry["absent"],
            f"{entry['share']:.2%}",
            f"{entry['unknown']:.1%}",
            f"{entry['area_km2']:,.2f}",
            entry["asked"],
        ]
        rows.append(row)
    head = ["class", "chips with it", "without", "share of known pixels", "unknown", "km²"]
    return _table([*head, "asked for"], rows)


def _dialogue_list(counts: Mapping[str, Any]) -> str:
    dialogues = counts["dialogues"]
    wording = counts["wording"]
    opening = wording["opening"]
    if not opening["queries"]:
        return "None."
    query = dialogues["query_characters"]
    answer = dialogues["answer_characters"]
    lines = [f"{name}: {_listed(dialogues[name])}" for name in ("languages", "acts", "exchanges")]
    lines += [
        f"with evidence in the prompt: {dialogues['with_prior']:.1%}; "
        f"refusals: {dialogues['refusals']:.1%}",
        f"characters (median, 95th percentile): queries {query['median']}, {query['p95']}; "
        f"answers {answer['median']}, {answer['p95']}",
        f"opening queries that repeat an earlier one: {opening['duplicates']:.1%}; with numbers "
        f"and class words masked: {opening['duplicates_masked']:.1%}; distinct templates: "
        f"{wording['templates']:,}",
        f"dialogues with a wording held out from training: {_listed(wording['held_out'], '.1%')}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _skipped_list(report: Mapping[str, Any]) -> str:
    skipped = report.get("skipped", [])
    if not skipped:
        return "Nothing."
    per_source = Counter(scene["source"] for scene in skipped)
    lines = [f"{len(skipped):,} scenes ({_listed(per_source)}).", ""]
    for scene in skipped[:_MAX_SKIPPED]:
        lines.append(f"- {scene['source']}, {scene['item']}: {scene['reason']}")
    if len(skipped) > _MAX_SKIPPED:
        lines.append(f"- and {len(skipped) - _MAX_SKIPPED:,} more, in `report.json`")
    return "\n".join(lines)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _listed(counts: Mapping[str, Any], number_format: str = ",") -> str:
    return ", ".join(f"{name} {count:{number_format}}" for name, count in counts.items())


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
