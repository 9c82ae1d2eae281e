"""Records on disk: drawn by weight, read in bounded memory; damage is named at the start."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.random import default_rng

from spex.errors import ConfigError, RecordError
from spex.records import (
    BandRef,
    Rle,
    SceneRef,
    SpanTarget,
    SpieRecord,
    Turn,
    read_records,
    write_records,
)
from tests.scenes import write_synthetic_scene
from train.data.conversations import load_conversations
from train.data.crops import CropStream, jitter, sampling_probabilities
from train.data.record_folder import RecordCache, RecordFolder
from train.data.training_chips import load_chips

BANDS = [("B", 490.0), ("G", 560.0), ("R", 665.0), ("N", 842.0), ("S1", 1610.0), ("S2", 2200.0)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of three and one scenes, the last for validation; a conversation about each."""
    from spex.sensors import Band

    folder = tmp_path_factory.mktemp("spie")
    bands = tuple(Band(name, wavelength, 40.0) for name, wavelength in BANDS)
    for source, numbers in (("hls_flood", (0, 1, 3)), ("naip", (2,))):
        surveys, talks = [], []
        for number in numbers:
            truth = write_synthetic_scene(
                folder / f"s{number}.tif", bands=bands, height=40, width=40, seed=number
            )
            base = {
                "split": "val" if number == 3 else "train",
                "place": str(number),
                "source": f"{source}_x",
                "scene": SceneRef(path=f"s{number}.tif"),
                "level": "surface",
                "gsd_m": 10.0,
                "scale": 1e-4,
                "sensor": "made",
                "bands": [BandRef(name=n, wavelength_nm=w, fwhm_nm=40.0) for n, w in BANDS],
            }
            span = SpanTarget(class_name="water", phrase="water", mask=Rle.encode(truth == 1))
            surveys.append(SpieRecord(id=f"s{number}", kind="survey", spans=[span], **base))
            turns = [
                Turn(role="user", content=f"Query: water {number}"),
                Turn(role="assistant", content="<seg class=water>water</seg>"),
            ]
            talks.append(SpieRecord(id=f"t{number}", kind="dialogue", turns=turns, **base))
        write_records(folder / f"survey_{source}.parquet", surveys)
        write_records(folder / f"dialogue_{source}.parquet", talks)
    return folder


def test_records_are_those_of_the_shards_by_number(data: Path) -> None:
    there = [r for shard in sorted(data.glob("survey_*.parquet")) for r in read_records(shard)]
    shards = RecordFolder(data, "survey")
    assert [shards.record(i) for i in range(len(shards))] == there
    assert [shards.split("val").record(0)] == [r for r in there if r.split == "val"]
    assert shards.split("train").column("source") == ["hls_flood_x", "hls_flood_x", "naip_x"]
    talks = load_conversations(data, "train")
    assert [(one.scene_id, one.query) for one in talks] == [
        (f"s{i}", f"water {i}") for i in (0, 1, 2)
    ]


def test_what_is_kept_in_memory_is_bounded_and_changes_nothing(data: Path) -> None:
    chips, made = load_chips(data, "train"), []
    size = chips[0].nbytes
    few = RecordCache(
        chips.records,
        lambda record: made.append(record.id) or chips.make(record),
        chips.item_bytes,
        2 * size,
    )
    for number in (0, 1, 0, 2, 0, 1):
        assert (few[number].pixels.values == chips[number].pixels.values).all()
        assert sum(one.nbytes for one in few._items.values()) <= 2 * size
    assert made == ["s0", "s1", "s2", "s1"]  # the first is used most, so the others make room
    with pytest.raises(IndexError):
        few[3]


def test_sources_are_drawn_by_their_weights(data: Path) -> None:
    chips = load_chips(data, "train")
    weights = {"hls": 3.0, "naip": 2.0}
    stream, rng, count = CropStream(chips, 32, weights, 0.0), default_rng(5), 4000
    drawn = rng.choice(len(chips), count, p=stream.probabilities)
    found = np.bincount(drawn, minlength=3)
    expected = np.array([3.0, 3.0, 2.0]) / 8 * count
    assert (
        (found - expected) ** 2 / expected
    ).sum() < 13.8  # chi-square, two degrees of freedom, 1 in 1000
    assert sampling_probabilities(["a_1", "b_2"], {"a": 0.0}).tolist() == [0.0, 1.0]
    with pytest.raises(ConfigError, match="leave nothing to draw"):
        CropStream(chips, 32, {"hls": 0.0, "naip": 0.0}, 0.0)


def test_bands_are_dropped_only_where_an_index_that_is_spoken_of_stays(data: Path) -> None:
    pixels, rng = load_chips(data, "train")[0].pixels, default_rng(0)
    dropped = [jitter(pixels, rng) for _ in range(40)]
    kept = [jitter(pixels, rng, needed=["MNDWI"]) for _ in range(40)]
    assert any(len(one.bands) < 6 and "S1" not in [b.name for b in one.bands] for one in dropped)
    assert all({"G", "S1"} <= {b.name for b in one.bands} for one in kept)


def test_a_damaged_shard_is_named_before_anything_is_trained(data: Path, tmp_path: Path) -> None:
    def spoiled(name: str, change: int | None) -> Path:
        folder = tmp_path / name
        shutil.copytree(data, folder)
        path = folder / "survey_naip.parquet"
        whole = bytearray(path.read_bytes())
        if change is None:
            path.write_bytes(whole[: len(whole) // 2])
        else:
            whole[change : change + 200] = bytes(200)
            path.write_bytes(whole)
        return folder

    for folder in (spoiled("truncated", None), spoiled("overwritten", 40)):
        with pytest.raises(
            RecordError, match=r"survey_naip\.parquet is damaged .*build the data again"
        ):
            load_chips(folder, "train")
    folder = tmp_path / "other"
    shutil.copytree(data, folder)
    table = pq.read_table(folder / "survey_naip.parquet").drop_columns(["spans"])
    pq.write_table(table, folder / "survey_naip.parquet")
    with pytest.raises(RecordError, match=r"survey_naip\.parquet lacks the column 'spans'"):
        load_chips(folder, "train")
    folder = tmp_path / "gone"
    shutil.copytree(data, folder)
    (folder / "s1.tif").unlink()
    with pytest.raises(RecordError, match=r"s1\.tif is missing"):
        load_chips(folder, "train")
