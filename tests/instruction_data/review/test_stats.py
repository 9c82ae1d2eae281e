"""Counts of a built folder against counts by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from instruction_data.review.stats import QueryRepetition, stats
from spex.errors import RecordError
from spex.records import read_records, write_records


def test_records_places_and_classes(built: Path) -> None:
    found = stats(built).to_dict()
    assert found["records"] == {
        "dialogue": {"train": 3, "val": 3},
        "survey": {"train": 1, "val": 1},
    }
    assert found["sources"] == {"own": {"survey": 2, "dialogue": 6}}
    assert found["places"] == {"train": 1, "val": 1}
    assert found["sensors"] == {"made": 2}
    pixels, known, every = 29 * 64 + 21 * 48, 61 * 64 + 45 * 48, 64 * 64 + 48 * 48
    assert found["classes"]["water"] == {
        "present": 2,
        "absent": 0,
        "share": round(pixels / known, 5),
        "unknown": round(1 - known / every, 5),
        "area_km2": round(pixels * 100 / 1e6, 4),
        "asked": 2,
    }
    assert found["classes"]["burned"]["absent"] == 2 and found["classes"]["burned"]["share"] == 0
    assert "road" not in found["classes"]  # no label


def test_masks_that_start_inside_and_several_records_per_batch(built: Path, tmp_path: Path) -> None:
    surveys = [record for record in read_records(built) if record.kind == "survey"]
    write_records(tmp_path / "survey_all.parquet", surveys * 70)
    one, many = stats(built), stats(tmp_path / "survey_all.parquet")
    for name, about in one.classes.items():
        assert (
            many.classes[name].pixels == 70 * about.pixels
            and many.classes[name].known_pixels == 70 * about.known_pixels
        )


def test_dialogues(built: Path) -> None:
    found = stats(built).to_dict()
    talk, wording = found["dialogues"], found["wording"]
    assert talk["languages"] == {"en": 4, "es": 2}
    assert talk["acts"] == {"ask": 4, "place": 2, "refuse": 2}
    assert talk["exchanges"] == {"1": 4, "2": 2}
    assert talk["with_prior"] == round(4 / 6, 4) and talk["refusals"] == round(2 / 6, 4)
    assert talk["query_characters"]["most"] == len("lakes larger than 0.1 ha")
    assert wording["templates"] == 3 and wording["held_out"] == {"train": 0.3333, "val": 0.3333}
    assert wording["opening"] == {"queries": 6, "duplicates": 0.5, "duplicates_masked": 0.5}
    assert wording["follow_up"]["queries"] == 2
    assert wording["distinct_2"] == 0.5


def test_wording_repeats() -> None:
    wording = QueryRepetition()
    for query in (
        "Show lakes larger than 2 ha",
        "show lakes, larger than 2 ha!",
        "show ponds larger than 30 ha",
        "why",
    ):
        wording.add(query)
    assert wording.to_dict() == {"queries": 4, "duplicates": 0.25, "duplicates_masked": 0.5}
    assert QueryRepetition().to_dict() == {
        "queries": 0,
        "duplicates": 0.0,
        "duplicates_masked": 0.0,
    }


def test_words_for_people(built: Path) -> None:
    text = str(stats(built))
    for words in ("tree_cover", "acts", "ask 4, place 2, refuse 2", "own", "held-out wordings"):
        assert words in text
    json.dumps(stats(built).to_dict())


def test_surveys_alone_and_nothing(built: Path, tmp_path: Path) -> None:
    alone = stats(built / "survey_own_000_train.parquet").to_dict()
    assert alone["wording"]["opening"]["queries"] == 0 and "ask" not in alone["dialogues"]["acts"]
    assert str(stats(built / "survey_own_000_train.parquet"))
    with pytest.raises(RecordError, match="no SPIE records"):
        stats(tmp_path / "nothing")
    (built / "survey_own_000_train.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordError, match="cannot be read as Parquet"):
        stats(built)


def test_reads_any_row_group_size(built: Path) -> None:
    before = stats(built).to_dict()
    for shard in built.glob("*.parquet"):
        pq.write_table(pq.read_table(shard), shard, row_group_size=1)
    assert stats(built).to_dict() == before


def test_parquet_of_another_kind_is_refused(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": ["a"], "text": ["b"]}), tmp_path / "survey_own_000_train.parquet"
    )
    with pytest.raises(
        RecordError,
        match=r"survey_own_000_train\.parquet is not a file .* lacks the columns bands, gsd_m",
    ):
        stats(tmp_path)
