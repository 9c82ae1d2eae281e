"""Records: run lengths are exact, Parquet keeps everything, invalid records are refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import ValidationError

from spex.errors import RecordError
from spex.records import (
    BandRef,
    Rle,
    SceneRef,
    SpanTarget,
    SpieRecord,
    Turn,
    load_pixels,
    parse_record,
    read_records,
    write_records,
)
from spex.sensors import get_sensor

BANDS = [
    BandRef(name="green", wavelength_nm=560, fwhm_nm=35),
    BandRef(name="nir", wavelength_nm=842, fwhm_nm=115),
]


def record(**changes: object) -> SpieRecord:
    fields: dict[str, object] = {
        "id": "a_1", "kind": "survey", "split": "train", "place": "a", "source": "made",
        "scene": SceneRef(path="chips/a.tif"),
        "sensor": "sentinel-2a", "bands": BANDS, "level": "surface", "gsd_m": 10, "scale": 1e-4,
        "provenance": {"spans": "drawn in the test"},
    }  # fmt: skip
    return SpieRecord.model_validate(fields | changes)


def span(mask: np.ndarray, ignore: np.ndarray | None = None) -> SpanTarget:
    return SpanTarget(
        class_name="water",
        phrase="lakes",
        mask=Rle.encode(mask),
        ignore=None if ignore is None else Rle.encode(ignore),
    )


@settings(max_examples=60, deadline=None)
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=17), elements=st.booleans()))
def test_run_lengths_are_exact(mask: np.ndarray) -> None:
    encoded = Rle.encode(mask)
    assert np.array_equal(encoded.decode(), mask)
    assert all(count > 0 for count in encoded.counts[1:])


def test_run_lengths_go_row_after_row_and_begin_with_false() -> None:
    assert Rle.encode(np.array([[True, False], [True, True]])).counts == [0, 1, 1, 2]
    assert Rle.encode(np.zeros((3, 2), bool)).counts == [6]
    assert Rle.encode(np.ones((3, 2), bool)).counts == [0, 6]


@pytest.mark.parametrize("counts", [[3], [2, 3, -1], [], [0, 5]])
def test_run_lengths_that_do_not_cover_the_mask_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValidationError, match="run lengths"):
        Rle(size=(2, 2), counts=counts)


def test_masks_of_a_record_share_one_grid() -> None:
    small, large = np.zeros((4, 4), bool), np.zeros((5, 4), bool)
    with pytest.raises(ValidationError, match="different sizes"):
        record(spans=[span(small), span(large)])
    with pytest.raises(ValidationError, match="same grid"):
        span(small, large)
    with pytest.raises(ValidationError, match="size of the window"):
        record(scene=SceneRef(path="a.tif", window=(0, 0, 5, 5)), spans=[span(small)])


def test_a_dialogue_ends_with_an_answer() -> None:
    with pytest.raises(ValidationError, match="user and an assistant"):
        record(kind="dialogue", turns=[Turn(role="user", content="water")])


def test_parquet_keeps_everything(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((20, 30)) > 0.5
    survey = record(
        spans=[span(mask, ~mask), span(np.zeros((20, 30), bool))],
        prior="water: MNDWI above 0.05",
        gsd_m=None,
    )
    turns = [
        Turn(role="user", content="Query: lakes"),
        Turn(role="assistant", content="<seg class=water>lakes</seg>"),
    ]
    constrained = SpanTarget(class_name="water", phrase="lakes", attributes={"min_area": "1ha"})
    talk = record(id="a_2", kind="dialogue", turns=turns, spans=[constrained])
    assert write_records(tmp_path / "x.parquet", [survey, talk]) == 2
    here = SceneRef(path=str(tmp_path / "chips/a.tif"))
    assert list(read_records(tmp_path)) == [
        r.model_copy(update={"scene": here}) for r in (survey, talk)
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["x.parquet"]


def test_datasets_streams_the_shards(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write_records(
        tmp_path / "x.parquet",
        (record(id=f"r{i}", spans=[span(np.eye(4, dtype=bool))]) for i in range(3)),
    )
    stream = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "x.parquet"), split="train", streaming=True
    )
    rows = list(stream)
    assert [row["id"] for row in rows] == ["r0", "r1", "r2"]
    assert rows[0]["spans"][0]["mask"]["counts"] == [0, 1, 4, 1, 4, 1, 4, 1]


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no SPIE records"):
        list(read_records(tmp_path))
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(RecordError, match="not a Parquet file"):
        list(read_records(tmp_path / "text.parquet"))
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(RecordError, match="lacks a field"):
        list(read_records(tmp_path / "other.parquet"))
    write_records(tmp_path / "x.parquet", [record()])
    table = pq.read_table(tmp_path / "x.parquet")
    broken = table.set_column(table.schema.get_field_index("split"), "split", pa.array(["test"]))
    pq.write_table(broken, tmp_path / "broken.parquet")
    with pytest.raises(RecordError, match="'a_1' is invalid: split"):
        list(read_records(tmp_path / "broken.parquet"))


def test_a_refusal_names_the_reason_without_the_validator_s_words(tmp_path: Path) -> None:
    write_records(tmp_path / "x.parquet", [record(spans=[span(np.zeros((4, 4), bool))])])
    (row,) = pq.read_table(tmp_path / "x.parquet").to_pylist()
    row["spans"][0]["mask"]["counts"] = [3]
    with pytest.raises(RecordError, match=r"invalid: spans\.0\.mask: run lengths") as nested:
        parse_record(row)
    row = row | {"spans": [], "kind": "dialogue"}
    with pytest.raises(RecordError, match="is invalid: a dialogue ends with") as top:
        parse_record(row)
    assert "Value error" not in f"{nested.value} {top.value}"


def test_pixels_come_with_the_record_s_own_metadata(tmp_path: Path) -> None:
    values = np.arange(2 * 6 * 8, dtype=np.int16).reshape(2, 6, 8) * 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            tmp_path / "a.tif", "w", driver="GTiff", count=2, height=6, width=8, dtype="int16"
        ) as raster:
            raster.write(values)
        whole = load_pixels(record(scene=SceneRef(path=str(tmp_path / "a.tif"))))
        window = SceneRef(path=str(tmp_path / "a.tif"), window=(2, 1, 4, 3))
        part = load_pixels(record(scene=window, spans=[span(np.zeros((3, 4), bool))]))
        unknown = load_pixels(record(scene=window, sensor="a camera"))
        with pytest.raises(RecordError, match="its masks are"):
            load_pixels(
                record(
                    scene=SceneRef(path=str(tmp_path / "a.tif")),
                    spans=[span(np.zeros((3, 4), bool))],
                )
            )
    assert np.allclose(whole.values, values * 1e-4)
    assert (whole.gsd_m, [b.wavelength_nm for b in whole.bands]) == (10, [560, 842])
    assert whole.family == get_sensor(record().sensor).family != ""
    assert unknown.family == ""
    assert np.allclose(part.values, values[:, 1:4, 2:6] * 1e-4)
