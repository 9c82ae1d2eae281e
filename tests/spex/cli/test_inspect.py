"""``spex inspect``: what it shows, and that it starts without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spex.cli.main import main
from tests.scenes import write_synthetic_scene


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spex", "inspect", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_json_of_a_full_sensor(tmp_path: Path) -> None:
    truth = write_synthetic_scene(tmp_path / "scene.tif", nodata=0)
    done = run(tmp_path / "scene.tif", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (
        facts["sensor"] == "sentinel-2a"
        and facts["level"] == "toa"
        and facts["crs"] == "EPSG:32632"
    )
    assert (facts["width"], facts["height"], facts["gsd_m"]) == (96, 96, 10)
    assert facts["nodata_share"] == pytest.approx(np.mean(truth == 0), abs=1e-6)
    assert [band["name"] for band in facts["bands"]][:3] == ["B01", "B02", "B03"]
    assert facts["bands"][7]["roles"] == ["N"] and facts["bands"][7]["scale"] == 1e-4
    assert {"NDVI", "MNDWI", "NBR"} <= set(facts["indices"]["possible"])
    assert {"water", "burned", "snow_ice"} <= set(facts["classes"]["possible"]) and not facts[
        "classes"
    ]["missing"]


def test_tables_say_what_is_missing_and_why(tmp_path: Path) -> None:
    write_synthetic_scene(tmp_path / "scene.tif", sensor="naip", dtype="uint8", crs=None)
    done = run(tmp_path / "scene.tif")
    assert done.returncode == 0, done.stderr
    assert (
        "NIR" in done.stdout and "uncalibrated" in done.stdout and "no georeference" in done.stdout
    )
    possible, _, missing = done.stdout.partition("classes not possible")
    assert "water" in possible and "burned" in missing and "SWIR" in missing
    assert "MNDWI: requires S1" in done.stdout


def test_the_sample_scene(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "sample", "--json"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert description["path"] == "sample"
    assert [band["name"] for band in description["bands"]] == ["B02", "B03", "B04", "B08"]
    assert "water" in description["classes"]["possible"]


def test_many_bands_are_shown_in_part(tmp_path: Path) -> None:
    write_synthetic_scene(tmp_path / "cube.tif", bands=120, height=16, width=16, dtype="float32")
    done = run(tmp_path / "cube.tif")
    assert done.returncode == 0 and "100 more" in done.stdout


def test_bad_input_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_synthetic_scene(tmp_path / "scene.tif", bands=4, described=False)
    for words in (
        ["nowhere.tif"],
        [str(tmp_path / "scene.tif")],
        [str(tmp_path / "scene.tif"), "--sensor", "emit"],
    ):
        assert main(["inspect", *words]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and "Traceback" not in err


def test_no_torch_is_loaded(tmp_path: Path) -> None:
    write_synthetic_scene(tmp_path / "scene.tif")
    code = (
        "import sys; from spex.cli.main import main; main(sys.argv[1:]);"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", str(tmp_path / "scene.tif")],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
