"""Export of dialogues as LLaVA-style JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import rasterio

from instruction_data.builder.llava import export


def test_lines(built: Path) -> None:
    assert export(built, built / "llava.jsonl") == 6
    lines = [
        json.loads(line)
        for line in (built / "llava.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["id"] for line in lines[:3]] == ["chip0_q000", "chip0_q001", "chip0_q002"]
    assert {line["split"] for line in lines[3:]} == {"val"}
    first, turns = lines[0], lines[1]["conversations"]
    assert first["conversations"][0]["value"].startswith("<image>\nEvidence:\n")
    assert [turn["from"] for turn in turns] == ["human", "gpt", "human", "gpt"]
    assert (
        turns[2]["value"] == "Query: now only in the east"
    )  # the image stands in the first turn only
    assert first["spans"] == [{"class": "water", "phrase": "lakes", "min_area": "0.1ha"}]
    assert "4 bands of made" in first["image_format"]
    assert "¿Cuántos" in (built / "llava.jsonl").read_text(encoding="utf-8")
    assert not list(built.glob("*.part"))


def test_paths_lead_to_chip_and_masks_from_elsewhere(built: Path, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    export(built, tmp_path / "export" / "talk.jsonl")
    line = json.loads(
        (tmp_path / "export" / "talk.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    )
    with rasterio.open(tmp_path / "export" / line["image"]) as chip:
        assert chip.count == 4
    surveys = pq.read_table(tmp_path / "export" / line["masks"]["file"]).to_pylist()
    assert line["masks"]["id"] in {survey["id"] for survey in surveys}
