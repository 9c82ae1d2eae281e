"""The builder from folders to Parquet: valid, restartable, and no label reaches a prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from instruction_data.build import build
from instruction_data.check import check
from spex.cli.main import main
from spex.errors import RecordError
from spex.raster.scene import Scene
from spex.records import load_pixels, read_records, write_records

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def prompts(folder: Path) -> list[str]:
    return [record.model_dump_json(include={"id", "turns", "prior"}) for record in read_records(folder) if record.turns]


def test_a_build_is_valid_and_complete(data: Path, tmp_path: Path) -> None:
    written = build(data, tmp_path / "out", dialogues=6)
    assert written["survey_hls_flood_wc.parquet"] == 3 and written["dialogue_hls_flood_wc.parquet"] == 18
    assert check(tmp_path / "out") == {
        ("survey", "train"): 2, ("survey", "val"): 2, ("dialogue", "train"): 12, ("dialogue", "val"): 12,
    }  # fmt: skip
    first = next(record for record in read_records(tmp_path / "out") if record.id == "hls_000")
    pixels = load_pixels(first)
    with rasterio.open(data / "hls_flood_wc/images/000.tif") as image:
        assert np.allclose(pixels.values, image.read() * 1e-4)
    assert Scene.open(first.scene.path).read().bands == pixels.bands, "the sidecar says what the record says"
    assert first.prior.startswith("water") or "water: " in first.prior
    assert first.provenance["spans"] and first.provenance["prior"]


def test_permuting_labels_leaves_prompts_unchanged(data: Path, tmp_path: Path) -> None:
    build(data, tmp_path / "a", dialogues=8)
    rng = np.random.default_rng(2)
    for path in (data / "hls_flood_wc/labels").glob("*.tif"):
        with rasterio.open(path, "r+") as image:
            image.write(rng.permuted(image.read(), axis=2))
    build(data, tmp_path / "b", dialogues=8)
    assert prompts(tmp_path / "a") == prompts(tmp_path / "b")
    spans = [[r.spans for r in read_records(tmp_path / x / "survey_hls_flood_wc.parquet")] for x in "ab"]
    assert spans[0] != spans[1]


def test_an_interrupted_build_goes_on_and_gives_the_same(data: Path, spectra: Path, tmp_path: Path) -> None:
    (data / "spectra_named").symlink_to(spectra.parent)
    build(data, tmp_path / "whole", dialogues=3, simulated=2)
    build(data, tmp_path / "part", dialogues=3, simulated=2)
    (tmp_path / "part/survey_simulated_000.parquet").unlink()
    assert set(build(data, tmp_path / "part", dialogues=3, simulated=2)) == {
        "dialogue_simulated_000.parquet", "survey_simulated_000.parquet",
    }  # fmt: skip
    for path in (tmp_path / "whole").glob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "part" / path.name).read_bytes()
    assert check(tmp_path / "whole")["survey", "train"] == 4
    with pytest.raises(RecordError, match="another folder"):
        build(data, tmp_path / "part", dialogues=4, simulated=2)


def test_nothing_to_build_from_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no known data folder"):
        build(tmp_path, tmp_path / "out")


def test_check_finds_what_the_schema_cannot(data: Path, tmp_path: Path) -> None:
    build(data, tmp_path / "out", dialogues=2)
    talk = list(read_records(tmp_path / "out/dialogue_hls_flood_wc.parquet"))
    turns = [talk[0].turns[0], talk[0].turns[1].model_copy(update={"content": "<seg class=water>lakes"})]
    write_records(tmp_path / "bad.parquet", [talk[0].model_copy(update={"turns": turns})])
    with pytest.raises(RecordError, match="malformed markup"):
        check(tmp_path / "bad.parquet")
    write_records(tmp_path / "bad.parquet", [talk[0], talk[-1].model_copy(update={"place": talk[0].place})])
    with pytest.raises(RecordError, match="train and val"):
        check(tmp_path / "bad.parquet")


def test_the_command_builds_checks_and_shows(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["spie", "build", "--data", str(data), "--out", out, "--dialogues", "1"]) == 0
    assert main(["spie", "check", out]) == 0
    assert "survey, train: 2 records" in capsys.readouterr().out
    assert main(["spie", "show", f"{out}/survey_hls_flood_wc.parquet", "-n", "1"]) == 0
    assert "water: 50.0% of the chip, 97% known" in capsys.readouterr().out
    assert main(["spie", "check", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
