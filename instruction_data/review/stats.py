"""Statistics of a built folder: records, classes, places, dialogues and repetition of wording.

One pass over its files. Memory does not grow with the pixels: masks are summed as run lengths,
batch by batch, and only a hash of each query is kept.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from instruction_data.review.record_files import exchanges, open_records, record_count, record_files
from instruction_data.review.record_files import rows as read_rows
from instruction_data.review.span_pixels import span_pixels
from instruction_data.review.stats_tables import render
from spex.evidence.classes import classes

# Distinct n-grams become rarer with the number of texts, so that at most this many are used.
_NGRAM_QUERIES = 50_000
_NGRAM_LENGTHS = (2, 3)
_WORD = re.compile(r"[\u3400-\u9fff]|\w+(?:['’-]\w+)*")
_NUMBER = re.compile(r"\d[\d.,]*")
_DIALOGUE_COLUMNS = [
    "split",
    "place",
    "source",
    "turns",
    "prior",
    "provenance",
    "spans.list.element.class_name",
]


@dataclass
class ClassStats:
    """One class over all surveys; pixels are of chips whose labels know the class.

    Attributes:
        present: chips with the class.
        absent: chips without it.
        pixels: pixels of the class.
        known_pixels: pixels where the labels know whether the class is there.
        all_pixels: pixels of the chips.
        area_km2: area of the class, of chips whose pixel width is known.
        asked: dialogues that ask for the class.
    """

    present: int = 0
    absent: int = 0
    pixels: int = 0
    known_pixels: int = 0
    all_pixels: int = 0
    area_km2: float = 0.0
    asked: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Counts, with the fraction of known pixels of the class and of unknown pixels."""
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
    """How often queries repeat.

    Attributes:
        queries: number of queries.
        exact: hash of each query.
        masked: hash of each query with numbers and class words replaced by placeholders.
    """

    queries: int = 0
    exact: array[int] = field(default_factory=lambda: array("q"))
    masked: array[int] = field(default_factory=lambda: array("q"))

    def add(self, query: str) -> None:
        """Count one query, regardless of case and punctuation."""
        text = " ".join(_WORD.findall(query.casefold()))
        self.queries += 1
        self.exact.append(hash(text))
        self.masked.append(hash(_NUMBER.sub("#", _class_words().sub("@", text))))

    def to_dict(self) -> dict[str, Any]:
        """Number of queries, and the fraction of them that repeat an earlier one."""
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
        return {
            "records": _sorted_counts(self.records),
            "sources": _sorted_counts(self.sources),
            "sensors": _by_count(self.sensors),
            "places": {split: len(self.places[split]) for split in sorted(self.places)},
            "classes": {
                name: self.classes[name].to_dict() for name in classes() if name in self.classes
            },
            "dialogues": self._dialogues_dict(),
            "wording": self._wording_dict(),
        }

    def _dialogues_dict(self) -> dict[str, Any]:
        dialogue_count = max(self.opening.queries, 1)
        values: dict[str, Any] = {
            "languages": _by_count(self.languages),
            "acts": _by_count(self.acts),
            "exchanges": {str(count): self.lengths[count] for count in sorted(self.lengths)},
            "with_prior": round(self.with_prior / dialogue_count, 4),
            "refusals": round(self.refusals / dialogue_count, 4),
        }
        for name in sorted(self.characters):
            values[f"{name}_characters"] = _percentiles(self.characters[name])
        return values

    def _wording_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "opening": self.opening.to_dict(),
            "follow_up": self.follow_up.to_dict(),
            "templates": len(self.templates),
        }
        for n in _NGRAM_LENGTHS:
            distinct = len(self.ngrams[n]) / max(self.ngram_count[n], 1)
            values[f"distinct_{n}"] = round(distinct, 4)
        values["held_out"] = {split: self._held_out_share(split) for split in ("train", "val")}
        return values

    def _held_out_share(self, split: str) -> float:
        held_out = self.held_out[split, "held out"]
        total = held_out + self.held_out[split, "seen"]
        return round(held_out / max(total, 1), 4)

    def __str__(self) -> str:
        return render(self.to_dict())


def stats(path: str | Path) -> FolderStats:
    """Count the contents of a built folder, or of one file of it.

    Raises:
        RecordError: there are no records, or a file is not Parquet.
    """
    counts = FolderStats()
    for file in record_files(Path(path), "survey"):
        _count_surveys(counts, file)
    dialogue_files = record_files(Path(path), "dialogue")
    ngram_step = max(1, sum(map(record_count, dialogue_files)) // _NGRAM_QUERIES)
    number = 0
    for file in dialogue_files:
        for row in read_rows(file, _DIALOGUE_COLUMNS):
            _count_dialogue(counts, row, ngrams=number % ngram_step == 0)
            number += 1
    return counts


def _count_dialogue(counts: FolderStats, row: Mapping[str, Any], *, ngrams: bool) -> None:
    provenance = json.loads(row["provenance"])
    split = row["split"]
    language = provenance.get("language", "en")
    counts.records["dialogue"][split] += 1
    counts.sources[row["source"]]["dialogue"] += 1
    counts.places[split].add(row["place"])
    counts.languages[language] += 1
    counts.held_out[split, provenance.get("wording", "unknown")] += 1
    counts.with_prior += bool(row["prior"])
    for name in {span["class_name"] for span in row["spans"]}:
        counts.classes[name].asked += 1
    for template in provenance.get("turns", "").removeprefix("template ").split(" | "):
        counts.acts[template.split(":")[0].removeprefix(f"{language} ")] += 1
        counts.templates.add(template)
    pairs = exchanges(row["turns"])
    counts.lengths[len(pairs)] += 1
    if pairs:
        counts.refusals += "<refuse>" in pairs[-1][1]
    for index, (query, answer) in enumerate(pairs):
        (counts.follow_up if index else counts.opening).add(query)
        counts.characters["query"].append(len(query))
        counts.characters["answer"].append(len(answer))
        if ngrams:
            _count_ngrams(counts, query)


def _count_ngrams(counts: FolderStats, query: str) -> None:
    words = _WORD.findall(query.casefold())
    for n in _NGRAM_LENGTHS:
        shifted = (words[start:] for start in range(n))
        hashes = [hash(ngram) for ngram in zip(*shifted, strict=False)]
        counts.ngrams[n].update(hashes)
        counts.ngram_count[n] += len(hashes)


def _count_surveys(counts: FolderStats, path: Path) -> None:
    with open_records(path) as file:
        for batch in file.iter_batches(batch_size=64):
            for row in batch.select(["split", "place", "source", "sensor"]).to_pylist():
                counts.records["survey"][row["split"]] += 1
                counts.sources[row["source"]]["survey"] += 1
                counts.sensors[row["sensor"]] += 1
                counts.places[row["split"]].add(row["place"])
            for gsd_m, name, size, inside, unknown in span_pixels(batch):
                entry = counts.classes[name]
                entry.present += inside > 0
                entry.absent += inside == 0
                entry.pixels += inside
                entry.known_pixels += size - unknown
                entry.all_pixels += size
                entry.area_km2 += inside * gsd_m**2 / 1e6


@cache
def _class_words() -> re.Pattern[str]:
    """Any word for a class, longest first, with a plural ending."""
    words: set[str] = set()
    for entry in classes().values():
        words.update((entry.title.casefold(), *map(str.casefold, entry.synonyms)))
        for translations in entry.words.values():
            words.update(map(str.casefold, translations))
    return re.compile(
        "|".join(_word_pattern(word) for word in sorted(words, key=len, reverse=True))
    )


def _word_pattern(word: str) -> str:
    # Chinese has no spaces between words.
    if re.search(r"[\u3400-\u9fff]", word):
        return re.escape(word)
    return rf"\b{re.escape(word)}(?:e?s)?\b"


def _repeated(hashes: array[int]) -> float:
    return round(1 - len(set(hashes)) / len(hashes), 4) if hashes else 0.0


def _percentiles(lengths: Iterable[int]) -> dict[str, int]:
    values = np.percentile(np.fromiter(lengths, np.int64), (5, 50, 95, 100)).round().astype(int)
    return dict(zip(("p5", "median", "p95", "most"), values.tolist(), strict=True))


def _sorted_counts(counts: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {name: dict(sorted(counts[name].items())) for name in sorted(counts)}


def _by_count(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
