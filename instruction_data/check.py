"""Validation of built records beyond their schema: answers, rasters, splits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from spex.errors import AnswerError, RecordError
from spex.evidence.classes import classes
from spex.prompts import parse_answer
from spex.records import SpieRecord, load_pixels, read_records


def check(path: Path) -> Counter[tuple[str, str]]:
    """Read every record under ``path`` and return how many there are per (kind, split).

    Raises:
        RecordError: a record that breaks the schema, an answer that breaks the grammar or does not match its spans, a
            mask of another size than its raster, or a place that lies in both splits.
        SceneError: a raster that cannot be read.
    """
    counts: Counter[tuple[str, str]] = Counter()
    splits: dict[str, str] = {}
    for record in read_records(path):
        counts[record.kind, record.split] += 1
        if splits.setdefault(record.place, record.split) != record.split:
            raise RecordError(
                f"place {record.place!r} lies in train and val (record {record.id!r}); build the data again"
            )
        unknown = {span.class_name for span in record.spans} - set(classes())
        if unknown:
            raise RecordError(f"record {record.id!r} names the unknown class {min(unknown)!r}; see classes.yaml")
        if record.kind == "survey":
            load_pixels(record)
        else:
            _check_answer(record)
    return counts


def _check_answer(record: SpieRecord) -> None:
    try:
        answer = parse_answer(record.turns[-1].content)
    except AnswerError as error:
        raise RecordError(f"record {record.id!r}: {error}; build the data again") from error
    said = [(span.class_name, {k: str(v) for k, v in span.constraints.to_dict().items()}) for span in answer.spans]
    if said != [(span.class_name, span.attributes) for span in record.spans]:
        raise RecordError(f"record {record.id!r}: the answer and the spans disagree; build the data again")
