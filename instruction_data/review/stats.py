"""What a built folder holds, counted in one pass over its shards: records, classes, places, dialogues and wording.

Memory does not grow with the pixels: masks are summed as run lengths, batch by batch, and of each query only a hash
is kept.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from instruction_data.review.record_files import exchanges, opened, record_count, record_files, rows
from spex.evidence.classes import classes

if TYPE_CHECKING:
    from rich.table import Table

_NGRAM_QUERIES = (
    50_000  # distinct n-grams fall with the number of texts: the rates are of at most this many
)
_WORD = re.compile(r"[\u3400-\u9fff]|\w+(?:['’-]\w+)*")
_NUMBER = re.compile(r"\d[\d.,]*")


@dataclass
class ClassStats:
    """One class over all surveys; pixels of chips whose labels can speak of the class."""

    present: int = 0
    absent: int = 0
    pixels: int = 0
    known_pixels: int = 0
    all_pixels: int = 0
    area_km2: float = 0.0
    asked: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Chips with and without the class, its share of known pixels, unknown share, area, spans that ask for it."""
        return {
            "present": self.present,
            "absent": self.absent,
            "share": round(self.pixels / max(self.known_pixels, 1), 5),
            "unknown": round(1 - self.known_pixels / max(self.all_pixels, 1), 5),
            "area_km2": round(self.area_km2, 4),
            "asked": self.asked,
        }


@dataclass
class QueryRepetition:
    """How often queries repeat. ``masked``: after numbers and words for classes are made alike."""

    queries: int = 0
    exact: array[int] = field(default_factory=lambda: array("q"))
    masked: array[int] = field(default_factory=lambda: array("q"))

    def add(self, query: str) -> None:
        """Count one query; case and punctuation do not tell two apart."""
        text = " ".join(_WORD.findall(query.casefold()))
        self.queries += 1
        self.exact.append(hash(text))
        self.masked.append(hash(_NUMBER.sub("#", _class_words().sub("@", text))))

    def to_dict(self) -> dict[str, Any]:
        """Queries, and the share of them that say again what an earlier one said."""
        return {
            "queries": self.queries,
            "duplicates": _repeated(self.exact),
            "duplicates_masked": _repeated(self.masked),
        }


@dataclass
class FolderStats:
    """Counts of a built folder; ``to_dict`` is what ``spex spie stats --json`` prints."""

    records: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sources: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sensors: Counter[str] = field(default_factory=Counter)
    places: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    classes: dict[str, ClassStats] = field(default_factory=lambda: defaultdict(ClassStats))
    languages: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    templates: set[str] = field(default_factory=set)
    held_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    with_prior: int = 0
    refusals: int = 0
    opening: QueryRepetition = field(default_factory=QueryRepetition)
    follow_up: QueryRepetition = field(default_factory=QueryRepetition)
    characters: dict[str, array[int]] = field(
        default_factory=lambda: defaultdict(lambda: array("i"))
    )
    ngrams: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    ngram_count: Counter[int] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        talks = max(self.opening.queries, 1)
        wordings = {
            split: round(self.held_out[split, "held out"] / max(total, 1), 4)
            for split in ("train", "val")
            for total in [self.held_out[split, "held out"] + self.held_out[split, "seen"]]
        }
        return {
            "records": {
                kind: dict(sorted(self.records[kind].items())) for kind in sorted(self.records)
            },
            "sources": {
                name: dict(sorted(self.sources[name].items())) for name in sorted(self.sources)
            },
            "sensors": _ordered(self.sensors),
            "places": {split: len(self.places[split]) for split in sorted(self.places)},
            "classes": {
                name: self.classes[name].to_dict() for name in classes() if name in self.classes
            },
            "dialogues": {
                "languages": _ordered(self.languages),
                "acts": _ordered(self.acts),
                "exchanges": {str(count): self.lengths[count] for count in sorted(self.lengths)},
                "with_prior": round(self.with_prior / talks, 4),
                "refusals": round(self.refusals / talks, 4),
                **{
                    f"{name}_characters": _spread(self.characters[name])
                    for name in sorted(self.characters)
                },
            },
            "wording": {
                "opening": self.opening.to_dict(),
                "follow_up": self.follow_up.to_dict(),
                "templates": len(self.templates),
                **{
                    f"distinct_{n}": round(len(self.ngrams[n]) / max(self.ngram_count[n], 1), 4)
                    for n in (2, 3)
                },
                "held_out": wordings,
            },
        }

    def __str__(self) -> str:
        from rich.console import Console

        with StringIO() as text:
            Console(file=text, width=120).print(*self._tables(), sep="\n")
            return text.getvalue()

    def _tables(self) -> list[Table]:
        found = self.to_dict()
        talk, wording = found["dialogues"], found["wording"]
        splits = sorted(found["places"])
        records = _table("records", "", *splits)
        for kind, counts in found["records"].items():
            records.add_row(kind, *(f"{counts.get(split, 0):,}" for split in splits))
        records.add_row("places", *(f"{found['places'][split]:,}" for split in splits))
        sources = _table("sources", "", "surveys", "dialogues")
        for name, counts in found["sources"].items():
            sources.add_row(name, f"{counts.get('survey', 0):,}", f"{counts.get('dialogue', 0):,}")
        about = _table(
            "classes", "", "chips with", "without", "share of known", "unknown", "km²", "asked for"
        )
        for name, c in found["classes"].items():
            about.add_row(
                name, f"{c['present']:,}", f"{c['absent']:,}", f"{c['share']:.2%}", f"{c['unknown']:.1%}",
                f"{c['area_km2']:,.2f}", f"{c['asked']:,}",
            )  # fmt: skip
        talks = _table("dialogues", "", "")
        for name in ("languages", "acts", "exchanges"):
            talks.add_row(name, ", ".join(f"{key} {count:,}" for key, count in talk[name].items()))
        talks.add_row("with prior", f"{talk['with_prior']:.1%}")
        talks.add_row("refusals", f"{talk['refusals']:.1%}")
        for name in ("query_characters", "answer_characters"):
            talks.add_row(
                name.replace("_", ", "),
                ", ".join(f"{k} {v}" for k, v in talk.get(name, {}).items()),
            )
        for name in ("opening", "follow_up"):
            w = wording[name]
            said = f"{w['queries']:,}, repeated {w['duplicates']:.1%}, {w['duplicates_masked']:.1%} when numbers and "
            talks.add_row(name.replace("_", "-") + " queries", said + "classes are masked")
        talks.add_row("distinct templates", f"{wording['templates']:,}")
        talks.add_row(
            "distinct 2-, 3-grams", f"{wording['distinct_2']:.1%}, {wording['distinct_3']:.1%}"
        )
        talks.add_row(
            "held-out wordings", ", ".join(f"{k} {v:.1%}" for k, v in wording["held_out"].items())
        )
        sensors = _table("sensors", "", "chips")
        for name, count in found["sensors"].items():
            sensors.add_row(name, f"{count:,}")
        return [records, sources, sensors, about, talks]


def stats(path: str | Path) -> FolderStats:
    """Count what a built folder (or one file of it) holds.

    Raises:
        RecordError: there are no records, or a file is not Parquet.
    """
    found = FolderStats()
    for shard in record_files(Path(path), "survey"):
        _count_surveys(found, shard)
    talks = record_files(Path(path), "dialogue")
    every = max(1, sum(map(record_count, talks)) // _NGRAM_QUERIES)
    columns = [
        "split",
        "place",
        "source",
        "turns",
        "prior",
        "provenance",
        "spans.list.element.class_name",
    ]
    for number, row in enumerate(row for shard in talks for row in rows(shard, columns)):
        _count_dialogue(found, row, ngrams=number % every == 0)
    return found


def _count_dialogue(found: FolderStats, row: Mapping[str, Any], *, ngrams: bool) -> None:
    provenance, split = json.loads(row["provenance"]), row["split"]
    said = exchanges(row["turns"])
    found.records["dialogue"][split] += 1
    found.sources[row["source"]]["dialogue"] += 1
    found.places[split].add(row["place"])
    language = provenance.get("language", "en")
    found.languages[language] += 1
    found.held_out[split, provenance.get("wording", "unknown")] += 1
    found.lengths[len(said)] += 1
    found.with_prior += bool(row["prior"])
    for name in {span["class_name"] for span in row["spans"]}:
        found.classes[name].asked += 1
    for wording in provenance.get("turns", "").removeprefix("template ").split(" | "):
        found.acts[wording.split(":")[0].removeprefix(f"{language} ")] += 1
        found.templates.add(wording)
    if said:
        found.refusals += "<refuse>" in said[-1][1]
    for place, (query, answer) in enumerate(said):
        (found.follow_up if place else found.opening).add(query)
        found.characters["query"].append(len(query))
        found.characters["answer"].append(len(answer))
        if ngrams:
            words = _WORD.findall(query.casefold())
            for n in (2, 3):
                grams = [hash(gram) for gram in zip(*(words[i:] for i in range(n)), strict=False)]
                found.ngrams[n].update(grams)
                found.ngram_count[n] += len(grams)


def _count_surveys(found: FolderStats, shard: Path) -> None:
    with opened(shard) as file:
        for batch in file.iter_batches(batch_size=64):
            table = batch.select(["split", "place", "source", "sensor"]).to_pylist()
            for row in table:
                found.records["survey"][row["split"]] += 1
                found.sources[row["source"]]["survey"] += 1
                found.sensors[row["sensor"]] += 1
                found.places[row["split"]].add(row["place"])
            for gsd_m, name, size, inside, unknown in _spans(batch):
                about = found.classes[name]
                about.present += inside > 0
                about.absent += inside == 0
                about.pixels += inside
                about.known_pixels += size - unknown
                about.all_pixels += size
                about.area_km2 += inside * gsd_m**2 / 1e6


def _spans(batch: pa.RecordBatch) -> Iterator[tuple[float, str, int, int, int]]:
    """Pixel width in metres (0 if unknown), class, pixels, pixels inside and pixels unknown of every span."""
    spans = batch.column("spans")
    owner = np.repeat(np.arange(len(batch)), np.asarray(pc.list_value_length(spans)))
    gsd_m = np.nan_to_num(
        np.asarray(batch.column("gsd_m").to_numpy(zero_copy_only=False), np.float64)
    )[owner]
    flat = spans.flatten()
    size, inside = _run_sums(flat.field("mask").field("counts"))
    _, unknown = _run_sums(flat.field("ignore").field("counts"))
    yield from zip(
        gsd_m.tolist(), flat.field("class_name").to_pylist(), size.tolist(), inside.tolist(), unknown.tolist(),
        strict=True,
    )  # fmt: skip


def _run_sums(counts: pa.ListArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sum of all runs and of every second one (where the mask is True) of each list, without decoding masks."""
    offsets, values = np.asarray(counts.offsets), np.asarray(counts.values, np.int64)
    lengths = np.diff(offsets)
    odd = np.zeros(len(values), bool)
    odd[offsets[0] : offsets[-1]] = (
        np.arange(offsets[0], offsets[-1]) - np.repeat(offsets[:-1], lengths)
    ) % 2 == 1
    whole = np.concatenate([[0], np.cumsum(values)])
    true = np.concatenate([[0], np.cumsum(np.where(odd, values, 0))])
    return whole[offsets[1:]] - whole[offsets[:-1]], true[offsets[1:]] - true[offsets[:-1]]


@cache
def _class_words() -> re.Pattern[str]:
    """Any word for a class, longest first; a plural ending goes with it."""
    words = {
        word.casefold()
        for one in classes().values()
        for word in (one.title, *one.synonyms, *(w for words in one.words.values() for w in words))
    }
    return re.compile("|".join(_bounded(word) for word in sorted(words, key=len, reverse=True)))


def _bounded(word: str) -> str:
    # Chinese has no spaces between words.
    return (
        re.escape(word)
        if re.search(r"[\u3400-\u9fff]", word)
        else rf"\b{re.escape(word)}(?:e?s)?\b"
    )


def _repeated(hashes: array[int]) -> float:
    return round(1 - len(set(hashes)) / len(hashes), 4) if hashes else 0.0


def _spread(lengths: Iterable[int]) -> dict[str, int]:
    low, middle, high, most = (
        np.percentile(np.fromiter(lengths, np.int64), (5, 50, 95, 100)).round().astype(int)
    )
    return {"p5": int(low), "median": int(middle), "p95": int(high), "most": int(most)}


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


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
    for place, column in enumerate(columns):
        table.add_column(
            column, justify="left" if place == 0 or not column else "right", no_wrap=place == 0
        )
    return table
