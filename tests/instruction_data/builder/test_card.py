"""The data card: what it says is what the folder holds, and ``datasets`` streams by it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from instruction_data.builder.card import write_card

COMMAND = "spex spie build scenes --legend mask:water --out out"


@pytest.fixture
def card(built: Path) -> str:
    skipped = [
        {"source": "own", "item": "scenes/bad.tif", "reason": "scenes/bad.tif cannot be read"}
    ] * 30
    (built / "report.json").write_text(json.dumps({"skipped": skipped}))
    (built / "build.json").write_text(json.dumps({"val_share": 0.15}))
    return write_card(built, COMMAND).read_text(encoding="utf-8")


def test_front_matter(card: str) -> None:
    front = yaml.safe_load(card.split("---\n")[1])
    assert [config["config_name"] for config in front["configs"]] == ["dialogues", "surveys"]
    assert front["configs"][1]["data_files"] == [
        {"split": "train", "path": "survey_*_train.parquet"},
        {"split": "validation", "path": "survey_*_val.parquet"},
    ]
    assert front["license"] == ["other"] and front["language"] == ["en", "es"]
    assert front["size_categories"] == ["n<1K"]


def test_says_what_there_is(card: str, built: Path) -> None:
    for words in (
        COMMAND,
        "| dialogues | 3 | 3 |",
        "| places | 1 | 1 |",
        "| `own` | 2 | 6 | the user's own scenes",
        "made (2 chips)",
        "| water | 2 | 0 | 47.23% |",
        "15% of the places for validation",
        "30 scenes (own 30)",
        "scenes/bad.tif cannot be read",
        "and 10 more",
        "acts: ask 4, place 2, refuse 2",
        "`provenance`",
    ):
        assert words in card, words
    assert "{" not in card.replace("{np}", "") and not list(built.glob("*.part"))


def test_known_sources_bring_their_licence(built: Path) -> None:
    for shard in built.glob("*.parquet"):
        table = pq.read_table(shard)
        rows = [
            row | {"source": "globe230k" if "000" in shard.name else "simulated"}
            for row in table.to_pylist()
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), shard)
    card = write_card(built, COMMAND).read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---\n")[1])["license"] == ["cc-by-4.0", "other"]
    assert "https://zenodo.org/records/10435661" in card and "simulated landscapes" in card
    assert "Nothing." in card


@pytest.mark.parametrize("config", ["dialogues", "surveys"])
def test_datasets_streams_the_splits(
    card: str, built: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    found = datasets.load_dataset(str(built), config, streaming=True)
    assert set(found) == {"train", "validation"}
    rows = list(found["validation"])
    assert {row["split"] for row in rows} == {"val"}
    assert {row["kind"] for row in rows} == {config.removesuffix("s")}
