"""Dialogues as LLaVA-style JSON lines, for trainers that read images and conversations rather than SPIE records.

One line per dialogue. ``image`` is the chip, a multiband GeoTIFF (a loader of RGB pictures cannot read it); masks stay
in the survey shard, and a line says where. Answers keep the markup of ``spex.query.answer_markup``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from instruction_data.review.record_files import record_files, rows, survey_file

_COLUMNS = ["id", "split", "source", "scene", "sensor", "bands", "turns", "spans"]


def export(path: str | Path, target: str | Path) -> int:
    """Write every dialogue under ``path`` to ``target`` (aside, then renamed); return how many there are.

    Raises:
        RecordError: there are no records, or a file is not Parquet.
    """
    goal, count = Path(target), 0
    aside = goal.with_name(f"{goal.name}.part")
    with aside.open("w", encoding="utf-8") as lines:
        for shard in record_files(Path(path), "dialogue"):
            for row in rows(shard, _COLUMNS):
                lines.write(json.dumps(_line(row, shard, goal.parent), ensure_ascii=False) + "\n")
                count += 1
    aside.replace(goal)
    return count


def _line(row: dict[str, Any], shard: Path, folder: Path) -> dict[str, Any]:
    speakers = {"system": "system", "user": "human", "assistant": "gpt"}
    said = [{"from": speakers[turn["role"]], "value": turn["content"]} for turn in row["turns"]]
    first = next(one for one in said if one["from"] == "human")
    first["value"] = f"<image>\n{first['value']}"
    image = shard.parent / row["scene"]["path"]
    return {
        "id": row["id"],
        "split": row["split"],
        "source": row["source"],
        "image": os.path.relpath(image, folder),
        "image_format": f"GeoTIFF, {len(row['bands'])} bands of {row['sensor']}; .bands.json beside it says which",
        "conversations": said,
        "spans": [
            {
                "class": span["class_name"],
                "phrase": span["phrase"],
                **json.loads(span["attributes"]),
            }
            for span in row["spans"]
        ],
        "masks": {"file": os.path.relpath(survey_file(shard), folder), "id": image.stem},
    }
