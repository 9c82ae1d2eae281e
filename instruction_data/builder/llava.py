"""Dialogues as LLaVA-style JSON lines, for trainers that do not read SPIE records.

One line per dialogue. ``image`` is the chip, a multiband GeoTIFF (a loader of RGB images cannot
read it). Masks stay in the survey file, which each line names. Answers keep the markup of
``spex.query.answer_markup``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from instruction_data.review.record_files import record_files, rows, survey_file

_COLUMNS = ["id", "split", "source", "scene", "sensor", "bands", "turns", "spans"]
_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}


def export(path: str | Path, target: str | Path) -> int:
    """Write every dialogue of a built folder as a JSON line; return the number of dialogues.

    Args:
        path: a built folder, or one file of it.
        target: the file to write; written under a temporary name, then renamed.

    Raises:
        RecordError: there are no records, or a file is not Parquet.
    """
    target = Path(target)
    temporary = target.with_name(f"{target.name}.part")
    count = 0
    with temporary.open("w", encoding="utf-8") as lines:
        for file in record_files(Path(path), "dialogue"):
            for row in rows(file, _COLUMNS):
                line = _line(row, file, target.parent)
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                count += 1
    temporary.replace(target)
    return count


def _line(row: dict[str, Any], file: Path, folder: Path) -> dict[str, Any]:
    conversation = [
        {"from": _SPEAKERS[turn["role"]], "value": turn["content"]} for turn in row["turns"]
    ]
    first_query = next(turn for turn in conversation if turn["from"] == "human")
    first_query["value"] = f"<image>\n{first_query['value']}"
    spans = [
        {"class": span["class_name"], "phrase": span["phrase"], **json.loads(span["attributes"])}
        for span in row["spans"]
    ]
    image = file.parent / row["scene"]["path"]
    bands = f"GeoTIFF, {len(row['bands'])} bands of {row['sensor']}"
    return {
        "id": row["id"],
        "split": row["split"],
        "source": row["source"],
        "image": os.path.relpath(image, folder),
        "image_format": f"{bands}; .bands.json beside it says which",
        "conversations": conversation,
        "spans": spans,
        "masks": {"file": os.path.relpath(survey_file(file), folder), "id": image.stem},
    }
