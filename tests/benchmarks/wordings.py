"""How many held-out wordings are understood: spans, classes and constraints as in the record.

    python tests/benchmarks/wordings.py RECORDS [-m MODEL | --rules] [--limit N] [-o OUT.json]

RECORDS is a folder that `spex spie build` wrote. Drawn at random (seeded) are dialogues of its
validation places; half of these are worded as no training dialogue is. Only the reading is
judged, no mask; spans of classes that the scene's bands cannot tell do not count, because the
engine refuses these whoever reads the query. Decoding is greedy.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from spex.errors import AnswerError, RecordError
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.query.answer_markup import Span
from spex.query.prompt import Exchange, query_of_message
from spex.query.reader import read_request
from spex.query.reading import RequestedMask
from spex.raster.scene import Pixels
from spex.records import SpieRecord, load_pixels, parse_record

if TYPE_CHECKING:
    from spex.model.predictor import ModelPredictor

Meaning = Counter[
    tuple[str, tuple[tuple[str, str], ...]]
]  # class and constraints of each span; empty: a refusal


def draw(folder: Path, limit: int, seed: int = 0) -> list[SpieRecord]:
    """``limit`` dialogues of the validation places, scene by scene.

    Raises:
        RecordError: the folder holds none.
    """
    rows = []
    for shard in sorted(folder.glob("dialogue_*.parquet")):
        splits = pq.read_table(shard, columns=["split"])["split"].to_pylist()
        rows += [(shard, number) for number, split in enumerate(splits) if split == "val"]
    if not rows:
        raise RecordError(f"no validation dialogues in {folder}; build them with: spex spie build")
    chosen = set(random.Random(seed).sample(rows, min(limit, len(rows))))
    records = []
    for shard in sorted({shard for shard, _ in chosen}):
        wanted = [number for place, number in chosen if place == shard]
        for row in pq.read_table(shard).take(wanted).to_pylist():
            record = parse_record(row)
            scene = record.scene.model_copy(update={"path": str(folder / record.scene.path)})
            records.append(record.model_copy(update={"scene": scene}))
    return sorted(records, key=lambda record: (record.scene.path, record.id))


def scenes(records: Sequence[SpieRecord]) -> Iterator[tuple[SpieRecord, Pixels, SceneEvidence]]:
    """Each record with its scene, measured once for all of its records."""
    path = ""
    for record in records:
        if record.scene.path != path:
            path, pixels = record.scene.path, load_pixels(record)
            evidence = measure(pixels)
        yield record, pixels, evidence


def wanted(record: SpieRecord) -> Meaning:
    return Counter(
        (span.class_name, tuple(sorted(span.attributes.items()))) for span in record.spans
    )


def read(
    predictor: ModelPredictor | None, record: SpieRecord, pixels: Pixels, evidence: SceneEvidence
) -> tuple[Meaning, str]:
    """What the last query is taken to mean, and the model's answer.

    Args:
        predictor: the model alone; None for the rules, which the engine executes.
        record: a dialogue.
        pixels: of its scene.
        evidence: of its scene.
    """
    said = [turn.content for turn in record.turns]
    *history, (query, _) = zip(map(query_of_message, said[::2]), said[1::2], strict=True)
    exchanges = [Exchange(*texts) for texts in history]
    parts: Sequence[RequestedMask | Span]
    text = ""
    if predictor is None:
        parts = read_request(query, exchanges).masks
    else:
        try:
            (answer,) = predictor.open(pixels, evidence).propose([(query, exchanges)])
        except AnswerError as error:
            return Counter([("malformed", ())]), str(error)
        parts, text = answer.spans, answer.text
    meant = Counter(
        (part.class_name, tuple(sorted((k, str(v)) for k, v in part.constraints.to_dict().items())))
        for part in parts
    )
    return meant, text


def possible(meaning: Meaning, evidence: SceneEvidence) -> Meaning:
    told = {name for name, item in evidence.classes.items() if item.status != "unavailable"}
    return Counter(
        {
            span: count
            for span, count in meaning.items()
            if span[0] in told or span[0] == "malformed"
        }
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Shares understood as Markdown, held-out wordings beside seen ones."""
    lines = ["| dialogues | seen wording | held-out wording |", "| --- | ---: | ---: |"]
    groups = [("all", "", rows)]
    for key in ("turns", "language", "act"):
        for value in sorted({row[key] for row in rows}):
            groups.append((key, value, [row for row in rows if row[key] == value]))
    for key, value, group in groups:
        cells = []
        for wording in ("seen", "held out"):
            own = [row["understood"] for row in group if row["wording"] == wording]
            cells.append(f"{sum(own)} of {len(own)} ({sum(own) / len(own):.0%})" if own else "–")
        lines.append(f"| {f'{key} {value}'.strip()} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path)
    parser.add_argument("-m", "--model", help="checkpoint; the shipped one if left out")
    parser.add_argument(
        "--rules", action="store_true", help="the rules that the engine executes instead of a model"
    )
    parser.add_argument("--limit", type=int, default=500, help="dialogues drawn")
    parser.add_argument("-o", "--out", type=Path, help="JSON file of every dialogue's reading")
    arguments = parser.parse_args()
    predictor = None
    if not arguments.rules:
        from spex.model.loading import load

        predictor = load(arguments.model)
    rows, seconds = [], 0.0
    for record, pixels, evidence in scenes(draw(arguments.records, arguments.limit)):
        started = time.perf_counter()
        meant, text = read(predictor, record, pixels, evidence)
        seconds += time.perf_counter() - started
        about = record.provenance
        rows.append(
            {
                "id": record.id,
                "asked": [query_of_message(turn.content) for turn in record.turns[::2]],
                "answer": text,
                "wanted": sorted(wanted(record)),
                "meant": sorted(meant),
                "understood": possible(meant, evidence) == possible(wanted(record), evidence),
                "wording": about["wording"],
                "language": about["language"],
                "turns": "one" if len(record.turns) == 2 else "several",
                "act": about["turns"].removeprefix("template ").rsplit(" | ", 1)[-1].split(":")[0],
            }
        )
    print(table(rows))
    title = predictor.name if predictor else "rules"
    print(f"\n{title}: {len(rows)} dialogues, {seconds / len(rows):.2f} s each")
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
