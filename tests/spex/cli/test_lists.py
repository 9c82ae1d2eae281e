"""``spex classes`` and ``spex sensors``: tables for people, JSON for programs, no torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from spex.cli.main import main
from spex.evidence.classes import classes
from spex.sensors import get_sensor, sensors


def test_classes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classes", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(entries) == set(classes())
    assert entries["tree_cover"]["parent"] == "vegetation"
    assert "tree_cover" in entries["vegetation"]["children"]
    assert "lake" in entries["water"]["synonyms"] and "agua" in entries["water"]["words"]["es"]
    assert "SWIR" in entries["burned"]["requires"]


def test_every_class_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classes"]) == 0
    table = capsys.readouterr().out
    assert all(f" {name} " in table for name in classes())


def test_sensors_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sensors", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(entries) == [sensor.key for sensor in sensors()]
    assert entries["sentinel-2a"]["bands"][2]["name"] == "B03"
    assert len(entries["emit"]["bands"]) == 285
    for name, entry in entries.items():
        assert all(get_sensor(other_name).key == name for other_name in entry["other_names"])


def test_every_sensor_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sensors"]) == 0
    table = capsys.readouterr().out
    assert all(f" {sensor.key} " in table for sensor in sensors())


@pytest.mark.parametrize("name", ["classes", "sensors"])
def test_no_torch_is_loaded(name: str) -> None:
    program = (
        "import sys; from spex.cli.main import main; status = main(sys.argv[1:]);"
        "sys.exit(status or 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program, name], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
