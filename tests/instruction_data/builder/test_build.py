"""The builder from scenes to Parquet: valid, the same bytes in any run, no label in a prompt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from instruction_data.builder.build import build
from instruction_data.builder.build_shards import BuildSettings, without_values
from instruction_data.builder.chip_records import ChipOrigin, chip_records
from instruction_data.builder.gather import gather
from instruction_data.sources.chips import Chip, absent_truth
from instruction_data.sources.inputs import SceneOptions
from spex.cli.main import main
from spex.errors import OutputError, RecordError, SpexError
from spex.raster.scene import Scene
from spex.records import BandRef, SceneRef, SpieRecord, load_pixels, read_records

SPECTRA = np.array(
    [[600, 700, 400, 200], [300, 700, 400, 4200], [1000, 1400, 1900, 2700]]
)  # water, wood, soil
BANDS = "B02=490/65,B03=560/35,B04=665/30,B08=842/115"
OPTIONS = SceneOptions(legend="mask:water", bands=BANDS, chip=32)
FEW = BuildSettings(dialogues=4, val_share=0.3)


def write(path: Path, values: np.ndarray, west: float, **profile: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=values.dtype,
        crs="EPSG:32633",
        transform=from_origin(west, 5_300_000, 10, 10),
        **profile,
    ) as raster:
        raster.write(values)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Eight scenes of two chips each, 20 km apart, with masks of their water in ``labels``."""
    rng, folder = np.random.default_rng(0), tmp_path / "scenes"
    for number in range(8):
        kinds = np.kron(rng.integers(0, 3, (4, 8)), np.ones((8, 8), int))
        values = SPECTRA[kinds].transpose(2, 0, 1) + rng.normal(0, 30, (4, 32, 64))
        west = 400_000 + 20_000 * number
        write(folder / f"s{number}.tif", np.clip(values, 1, None).astype(np.uint16), west)
        write(folder / f"labels/s{number}.tif", (kinds == 0).astype(np.uint8)[None], west)
    return folder


def records(folder: Path, kind: str) -> list[SpieRecord]:
    return [record for record in read_records(folder) if record.kind == kind]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in [*folder.glob("*.parquet"), *folder.glob("chips/*")]
    }


def prompts(folder: Path) -> list[tuple[str, str, list[str]]]:
    talk = records(folder, "dialogue")
    return [(r.id, r.prior, [turn.content for turn in r.turns]) for r in talk]


def test_a_build_is_valid_and_complete(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = build([scenes], out, FEW, scenes=OPTIONS)
    surveys, talk = records(out, "survey"), records(out, "dialogue")
    assert (len(surveys), len(talk), report.skipped) == (16, 64, ())
    assert (report.chips, report.dialogues, sum(report.records.values())) == (16, 64, 80)
    assert len({record.place for record in surveys}) == 8 and {
        record.split for record in surveys
    } == {"train", "val"}
    first = surveys[0]
    pixels = load_pixels(first)
    with (
        rasterio.open(scenes / "s0.tif") as image,
        rasterio.open(scenes / "labels/s0.tif") as label,
    ):
        assert np.allclose(pixels.values * 1e4, image.read()[:, :, :32], atol=1e-2)
        water = next(span for span in first.spans if span.class_name == "water")
        assert water.mask and np.array_equal(water.mask.decode(), label.read(1)[:, :32] == 1)
    assert Scene.open(first.scene.path).read().bands == pixels.bands, (
        "the sidecar says what the record says"
    )
    assert "water: " in first.prior and {"spans", "prior"} <= set(first.provenance)
    assert {"turns", "language", "wording", "prior"} <= set(talk[0].provenance)
    assert any(len(record.turns) > 2 for record in talk)


def test_permuting_labels_leaves_every_prompt_unchanged(scenes: Path, tmp_path: Path) -> None:
    build([scenes], tmp_path / "a", BuildSettings(dialogues=12), scenes=OPTIONS)
    rng = np.random.default_rng(2)
    for path in (scenes / "labels").glob("*.tif"):
        with rasterio.open(path, "r+") as image:
            image.write(rng.permuted(image.read(), axis=2))
    build([scenes], tmp_path / "b", BuildSettings(dialogues=12), scenes=OPTIONS)
    assert prompts(tmp_path / "a") == prompts(tmp_path / "b")
    a, b = ([record.spans for record in records(tmp_path / name, "survey")] for name in "ab")
    assert a != b


def test_any_number_of_processes_and_a_kill_give_the_same_bytes(
    scenes: Path, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    build([scenes], whole, FEW, scenes=OPTIONS)

    command = [
        sys.executable,
        "-m",
        "instruction_data",
        "build",
        str(scenes),
        "--out",
        str(cut),
        "--workers",
        "2",
    ]
    command += [
        "--legend",
        "mask:water",
        "--bands",
        BANDS,
        "--chip",
        "32",
        "--dialogues",
        "4",
        "--val-share",
        "0.3",
    ]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3])
    deadline = time.monotonic() + 300
    while not list(cut.glob("shard_*.json")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.3)
    finished = {path: path.stat().st_mtime_ns for path in cut.glob("shard_*.json")}
    assert 0 < len(finished) < 8, "its processes end with it"

    report = build([scenes], cut, FEW, scenes=OPTIONS, workers=2)
    assert report.chips == 16
    assert contents(whole) == contents(cut)
    assert all(path.stat().st_mtime_ns == then for path, then in finished.items()), (
        "what was finished is kept"
    )
    assert not list(cut.glob("*.part"))


def test_another_build_does_not_mix_into_a_folder(scenes: Path, tmp_path: Path) -> None:
    build([scenes], tmp_path / "out", FEW, scenes=OPTIONS)
    with pytest.raises(RecordError, match="another dialogues; give another folder, or remove"):
        build([scenes], tmp_path / "out", BuildSettings(dialogues=5, val_share=0.3), scenes=OPTIONS)
    (scenes / "s3.tif").unlink()
    with pytest.raises(RecordError, match="another list of scenes"):
        build([scenes], tmp_path / "out", FEW, scenes=OPTIONS)


def damage(scenes: Path) -> None:
    """Damage five scenes: file, place of the label, code of the label, no label, no values."""
    whole = (scenes / "s1.tif").read_bytes()
    (scenes / "s1.tif").write_bytes(whole[: len(whole) // 2])
    with rasterio.open(scenes / "labels/s2.tif", "r+") as label:
        label.transform = from_origin(900_000, 5_300_000, 10, 10)
    with rasterio.open(scenes / "labels/s3.tif", "r+") as label:
        label.write(np.full((1, 32, 64), 77, np.uint8))
    (scenes / "labels/s4.tif").unlink()
    write(scenes / "s5.tif", np.zeros((4, 32, 64), np.uint16), 500_000, nodata=0)


def test_what_cannot_be_used_is_named_and_the_rest_built(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(scenes)
    out = tmp_path / "out"
    arguments = [
        "spie",
        "build",
        str(scenes),
        "--out",
        str(out),
        "--legend",
        "mask:water",
        "--bands",
        BANDS,
    ]
    arguments += ["--chip", "32", "--dialogues", "1", "--workers", "1"]
    assert main(arguments) == 1
    output = capsys.readouterr().out
    assert "6 chips, 6 dialogues" in output and "skipped 5 (5 of scenes)" in output
    skipped = json.loads((out / "report.json").read_text())["skipped"]
    reasons = {scene["item"]: scene["reason"] for scene in skipped}
    assert set(reasons) == {"s1", "s2", "s3", "s4", "s5"}
    assert "77" in reasons["s3"] and "overlap" in reasons["s2"] and "label" in reasons["s4"]
    assert all("\n" not in reason for reason in reasons.values())
    assert main(arguments) == 1, "a finished build reports the same again"
    assert "skipped 5" in capsys.readouterr().out

    assert main([*arguments, "--strict"]) == 2, "nor is it complete"
    assert "s1" in capsys.readouterr().err
    assert main([*arguments[:4], str(tmp_path / "strict"), *arguments[5:], "--strict"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("spex: ") and error.count("\n") == 1
    assert not (tmp_path / "strict").exists(), "nothing is left half-written"


def test_a_repaired_scene_is_built_by_the_same_command(scenes: Path, tmp_path: Path) -> None:
    whole = (scenes / "s1.tif").read_bytes()
    (scenes / "s1.tif").write_bytes(whole[: len(whole) // 2])
    assert len(build([scenes], tmp_path / "out", FEW, scenes=OPTIONS).skipped) == 1
    (scenes / "s1.tif").write_bytes(whole)
    report = build([scenes], tmp_path / "out", FEW, scenes=OPTIONS)
    assert (report.chips, report.skipped, report.pseudo) == (16, (), 0)


def test_a_build_of_nothing_leaves_no_folder_in_the_way(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="8 of 8 scenes could not be used"):
        build([scenes], tmp_path / "out", FEW, scenes=SceneOptions(bands=BANDS, chip=32))
    assert not (tmp_path / "out").exists()
    assert build([scenes], tmp_path / "out", FEW, scenes=OPTIONS).chips == 16


def test_masks_without_labels_are_reported_as_pseudo_labels(scenes: Path, tmp_path: Path) -> None:
    out, arguments = (
        tmp_path / "out",
        ["--chip", "32", "--dialogues", "1", "--workers", "1", "--bands", BANDS],
    )
    for label in (scenes / "labels").iterdir():
        label.unlink()
    assert main(["spie", "build", str(scenes), "--out", str(out), *arguments]) in (0, 1)
    report = json.loads((out / "report.json").read_text())
    count = report["pseudo"]
    assert any("no scale stated" in what for what in report["assumed"])
    assert count and f"{count} chips have no labels" in (out / "README.md").read_text()


def test_strict_refuses_with_several_processes_too(scenes: Path, tmp_path: Path) -> None:
    damage(scenes)
    with pytest.raises(SpexError, match=r"s[1-5]"):
        build(
            [scenes],
            tmp_path / "out",
            BuildSettings(dialogues=1, strict=True),
            scenes=OPTIONS,
            workers=2,
        )
    assert not (tmp_path / "out").exists()


def test_nothing_to_build_from_is_an_error(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="nothing to build from"):
        build([], tmp_path / "out", FEW)
    with pytest.raises(RecordError, match="unknown layout 'nosuch'"):
        build([scenes], tmp_path / "out", FEW, layout="nosuch")
    with pytest.raises(RecordError, match="is not in the layout hls_flood_wc"):
        build([scenes], tmp_path / "out", FEW, layout="hls_flood_wc")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write to .*file"):
        build([scenes], tmp_path / "file", FEW, scenes=OPTIONS)
    for path in scenes.glob("s*.tif"):
        path.write_bytes(b"not a raster")
    with pytest.raises(RecordError, match="8 of 8 scenes could not be used; the first, s0"):
        build([scenes], tmp_path / "out", FEW, scenes=OPTIONS)


def test_files_broken_in_ways_that_no_reader_foresees_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "s2_tokyo_patches"
    folder.mkdir()
    bands = [
        {"name": n, "center_nm": c, "fwhm_nm": 60}
        for n, c in zip("RGBN", (665, 560, 490, 842), strict=True)
    ]
    (folder / "meta.json").write_text(json.dumps({"bands_10m": bands}))
    patches = np.random.default_rng(0).integers(1, 255, (64, 4, 16, 16)).astype(np.uint8)
    np.savez(folder / "set_A.npz", patches_10m=patches, label_10m=np.arange(64, dtype=np.uint8) % 6)
    np.savez(
        folder / "set_B.npz",
        patches_10m=patches[:, :3],
        label_10m=np.arange(64, dtype=np.uint8) % 6,
    )
    report = build([folder], tmp_path / "out", FEW)
    assert (report.chips, [skipped.item for skipped in report.skipped]) == (1, ["tokyo_B"])
    assert "cannot reshape" in report.skipped[0].reason


def test_lists_that_cannot_be_read_are_one_line(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "scenes.csv").write_bytes("scene,place\nscenes/s0.tif,K\xf6ln\n".encode("latin-1"))
    with pytest.raises(RecordError, match=r"scenes\.csv: its scenes cannot be listed \(.*utf-8"):
        build([tmp_path / "scenes.csv"], tmp_path / "out", FEW, scenes=OPTIONS)
    (tmp_path / "naip_chesapeake_wv").mkdir()
    (tmp_path / "naip_chesapeake_wv/meta.json").write_text("{}")
    with pytest.raises(RecordError, match="it lacks 'bands'"):
        build([tmp_path / "naip_chesapeake_wv"], tmp_path / "out", FEW)


def test_scenes_in_a_folder_called_as_a_data_set_do_not_pass_for_it(scenes: Path) -> None:
    folder = scenes.rename(scenes.with_name("gid15"))
    assert {source for source, _ in gather([folder], OPTIONS, None, 0, 0, None)} == {"gid15_2"}


def test_scenes_of_one_name_in_two_inputs_keep_apart(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    scenes.rename(tmp_path / "other/scenes")
    for path in (tmp_path / "other/scenes").rglob("s[01].tif"):
        target = tmp_path / "scenes" / path.relative_to(tmp_path / "other/scenes")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    report = build(
        [tmp_path / "scenes", tmp_path / "other/scenes"], tmp_path / "out", FEW, scenes=OPTIONS
    )
    surveys = records(tmp_path / "out", "survey")
    assert report.chips == 20 == len({record.id for record in surveys})
    assert {record.source for record in surveys} == {"scenes", "scenes_2"}
    assert len({record.place for record in surveys}) == 8, "the same ground is one place"


def test_simulated_chips_join_scenes(scenes: Path, tmp_path: Path) -> None:
    report = build(
        [scenes], tmp_path / "out", BuildSettings(dialogues=1, simulated=5), scenes=OPTIONS
    )
    surveys = [
        record for record in records(tmp_path / "out", "survey") if record.source == "simulated"
    ]
    assert report.chips == 16 + 5 == 16 + len(surveys)
    assert {record.split for record in surveys} == {"train"} and len(
        {record.place for record in surveys}
    ) == 2


def test_fourth_band_of_bytes_is_not_taken_for_alpha(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 255, (4, 32, 32)).astype(np.uint8)
    values[3] = np.where(values[3] > 99, 255, 0)  # near infrared, saturated or dark
    bands = tuple(
        BandRef(name=n, wavelength_nm=c, fwhm_nm=60)
        for n, c in zip("RGBN", (640, 550, 470, 850), strict=True)
    )
    chip = Chip(
        "c",
        "naip",
        values,
        bands,
        "uncalibrated",
        absent_truth(values[0] > 0, "water"),
        "made by hand",
    )
    (tmp_path / "chips").mkdir()
    survey, _ = chip_records(chip, ChipOrigin("own", "here", "train"), tmp_path, 0, 0)
    pixels = load_pixels(
        survey.model_copy(update={"scene": SceneRef(path=str(tmp_path / survey.scene.path))})
    )
    assert len(pixels.bands) == 4 and pixels.valid.all()


@pytest.mark.parametrize("low", [1000, 1200])
def test_assumptions_that_differ_in_a_measured_value_are_counted_together(
    tmp_path: Path, low: int
) -> None:
    values = np.random.default_rng(0).integers(low, low + 3000, (13, 64, 64)).astype(np.uint16)
    write(tmp_path / "s.tif", values, 500_000)
    scene = Scene.open(tmp_path / "s.tif", sensor="sentinel-2a")
    (baseline,) = [warning for warning in scene.warnings if "processing baseline" in warning]
    assert without_values(baseline).startswith("no value is below …: ")
