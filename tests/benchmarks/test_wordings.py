"""The benchmark of wordings judges class, constraints and the turns before."""

from __future__ import annotations

from pathlib import Path

import pytest

from spex.errors import RecordError
from spex.query.prompt import user_message
from spex.records import BandRef, SceneRef, SpanTarget, SpieRecord, Turn, write_records
from spex.sensors import get_sensor
from tests.benchmarks import wordings
from tests.scenes import write_synthetic_scene


def test_readings_are_compared_with_the_records(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no validation dialogues"):
        wordings.draw(tmp_path, 10)
    write_synthetic_scene(tmp_path / "scene.tif", height=64, width=64)
    base = {
        "kind": "dialogue",
        "split": "val",
        "place": "p",
        "source": "made",
        "sensor": "made",
        "level": "surface",
        "scene": SceneRef(path="scene.tif"),
        "scale": 1e-4,
        "bands": [
            BandRef(name=b.name, wavelength_nm=b.wavelength_nm)
            for b in get_sensor("sentinel-2a").bands
        ],
    }
    water = "<seg class=water>lakes</seg>: <fact:area>."
    cases = [
        ("seen", [("lakes", water)], [("water", {})]),
        (
            "held out",
            [("lakes", water), ("now only in the north", water)],
            [("water", {"where": "north"})],
        ),
        (
            "held out",
            [("lakes", water), ("now in the south", water)],
            [("water", {"where": "north"})],
        ),
        ("seen", [("count the cars", "<refuse>no</refuse>")], []),
    ]
    records = []
    for number, (wording, exchanges, spans) in enumerate(cases):
        turns = [
            Turn(role=role, content=content)
            for query, answer in exchanges
            for role, content in (("user", user_message(query, "")), ("assistant", answer))
        ]
        targets = [
            SpanTarget(class_name=name, phrase=name, attributes=given) for name, given in spans
        ]
        about = {"turns": "template ask: {np} | correct: now", "language": "en", "wording": wording}
        records.append(
            SpieRecord(id=str(number), turns=turns, spans=targets, provenance=about, **base)
        )
    write_records(tmp_path / "dialogue_made.parquet", records)

    rows = []
    for record, pixels, evidence in wordings.scenes(wordings.draw(tmp_path, 10)):
        meant, _ = wordings.read(None, record, pixels, evidence)
        rows.append(
            {
                "understood": wordings.possible(meant, evidence)
                == wordings.possible(wordings.wanted(record), evidence),
                "wording": record.provenance["wording"],
                "turns": "one",
                "language": "en",
                "act": "ask",
            }
        )
    assert [row["understood"] for row in rows] == [True, True, False, True]
    assert "| all | 2 of 2 (100%) | 1 of 2 (50%) |" in wordings.table(rows)
