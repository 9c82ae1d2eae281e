from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rasterio

from spex.cli.main import main
from tests.scenes import write_synthetic_scene

FILES = {
    "mask.tif",
    "mask.qml",
    "probability.tif",
    "regions.gpkg",
    "explanation.md",
    "quicklook.png",
    "extraction.json",
}


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    write_synthetic_scene(path)
    return path


def rules(*arguments: object) -> int:
    return main(["extract", *map(str, arguments), "--method", "rules"])


def test_the_former_name_of_the_rules_works_and_is_noted(scene, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["extract", str(scene), "lakes", "-o", str(out), "--method", "prior"]) == 0
    assert capsys.readouterr().err == "Note: --method prior is now called rules\n"
    assert json.loads((out / "extraction.json").read_text())["model"]["name"] == "rules"


def test_a_query_leaves_a_result_folder(scene, tmp_path, capsys):
    assert rules(scene, "lakes and vegetation", "-o", tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Lakes: ")
    assert "mask.tif" in printed.out
    assert printed.err == ""
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_json_prints_the_result(scene, tmp_path, capsys):
    assert rules(scene, "lakes", "-o", tmp_path / "out", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "extraction.json").read_text())
    assert printed["masks"][0]["class"] == "water"


def test_quiet_says_nothing(scene, tmp_path, capsys):
    assert rules(scene, "lakes", "-o", tmp_path / "out", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_the_sample_scene(tmp_path, capsys):
    assert rules("sample", "water and vegetation", "-o", tmp_path / "out", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scene"]["crs"] is None
    assert {mask["class"] for mask in document["masks"]} == {"water", "vegetation"}
    assert document["masks"][0]["area_m2"] == document["masks"][0]["pixels"] * 100


def test_a_refusal_ends_with_status_3_and_its_reason(scene, tmp_path, capsys):
    assert rules(scene, "count the cars", "-o", tmp_path / "out") == 3
    assert capsys.readouterr().out.startswith("Refused: ")
    reason = json.loads((tmp_path / "out" / "extraction.json").read_text())["refused"]
    assert "cars" in reason
    assert rules(scene, "count the cars", "-o", tmp_path / "out", "--overwrite", "--quiet") == 3
    assert capsys.readouterr() == ("", f"spex: {reason}\n")


def test_a_greeting_is_answered_and_leaves_no_files(scene, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert rules(scene, "hello") == 3
    reply = capsys.readouterr().out
    assert len(reply.strip().splitlines()) == 1 and "Results in" not in reply
    assert rules(scene, "hello", "--json") == 3
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["answer"], document["refused"], document["masks"]) == (reply.strip(), None, [])
    assert printed.err == ""
    assert rules(scene, "hello", "--quiet") == 3
    assert capsys.readouterr() == ("", f"spex: {reply}")
    assert set(tmp_path.iterdir()) == before


def test_what_was_not_found_ends_with_status_0(scene, tmp_path, capsys):
    assert rules(scene, "water larger than 90000 ha", "-o", tmp_path / "out", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert not document["masks"] and document["absent"][0]["class"] == "water"


def test_pixel_size_can_be_stated(tmp_path, capsys):
    write_synthetic_scene(tmp_path / "plain.tif", crs=None)
    query = "water larger than 0.1 ha"
    assert rules(tmp_path / "plain.tif", query, "-o", tmp_path / "out") == 2
    assert "--gsd" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert rules(tmp_path / "plain.tif", query, "-o", tmp_path / "out", "--gsd", 10, "--json") == 0
    mask = json.loads(capsys.readouterr().out)["masks"][0]
    assert mask["area_m2"] == mask["pixels"] * 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.tif", "water"], "missing.tif"),
        (["SCENE", ""], "empty"),
        (["SCENE", "x" * 100_000], "100000 characters"),
        (["SCENE", "water\x07"], "control character"),
        (["SCENE", "water", "--sensor", "sentinel-9"], "sentinel-9"),
        (["SCENE", "water", "--tile", "5"], "tile 5"),
        (["SCENE", "water", "--model", "base"], "--model"),
        (["SCENE", "water", "--gsd", "-1"], "--gsd"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(scene, tmp_path, capsys, arguments, message):
    given = [str(scene) if argument == "SCENE" else argument for argument in arguments]
    assert rules(*given, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "magic"], "'magic' is not one of model, rules"),
        (["--method", "rules", "--model", "base"], "--model"),
        (["--method", "rules", "--tile", "5"], "tile 5"),
        (["--method", "rules", "--sensor", "sentinel-9"], "sentinel-9"),
    ],
)
def test_a_wrong_option_is_named_before_the_folder_and_the_scene(
    tmp_path, capsys, options, message
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "extraction.json").write_text("{}")
    assert main(["extract", "missing.tif", "water", "-o", str(out), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and "exists" not in error and "missing.tif" not in error


def test_wrong_bands_are_named_before_the_folder(scene, tmp_path, capsys):
    out = tmp_path / "out"
    assert rules(scene, "lakes", "-o", out, "--quiet") == 0
    assert rules(scene, "lakes", "-o", out, "--bands", "B02=blue") == 2
    error = capsys.readouterr().err
    assert "B02=blue" in error and "exists" not in error


def test_without_out_a_dated_folder_is_made_and_printed(scene, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = []
    for _ in range(3):
        assert rules(scene, "lakes", "--quiet") == 0
        printed.append(capsys.readouterr().out.strip())
    assert len(set(printed)) == 3
    for name in printed:
        assert re.fullmatch(r"spex-scene-\d{8}-\d{6}(-\d)?", name)
        assert {path.name for path in (tmp_path / name).iterdir()} == FILES
    assert rules("sample", "lakes") == 0
    assert "Results in spex-sample-" in capsys.readouterr().out
    assert rules(scene, "lakes", "--json") == 0
    printed_json = capsys.readouterr()
    assert json.loads(printed_json.out) and "Results in spex-scene-" in printed_json.err


def test_notes_of_the_summary(tmp_path, capsys):
    assert rules("sample", "lakes", "-o", tmp_path / "out") == 0
    assert "  Note: no georeference" in capsys.readouterr().out


def test_a_terminal_shows_the_steps_in_their_order(scene, tmp_path):
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "spex", "extract", str(scene), "lakes", "--tile", "32"]
    command += ["--overlap", "0", "--method", "rules", "-o", str(tmp_path / "out")]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=slave, env=os.environ | {"TERM": "xterm"}
    ) as process:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal closes with the process
            while part := os.read(master, 4096):
                shown += part
    os.close(master)
    assert process.returncode == 0
    steps = ["opening the scene", "loading the rules", "reading the scene", "reading the query"]
    steps += ["measuring the masks", "writing the results"]
    places = [shown.find(step.encode()) for step in steps]
    assert -1 not in places and places == sorted(places)


def test_an_output_folder_in_use(scene, tmp_path, capsys):
    out = tmp_path / "out"
    assert rules(scene, "lakes", "-o", out, "--quiet") == 0
    before = (out / "extraction.json").read_bytes()
    assert rules(scene, "vegetation", "-o", out) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "extraction.json").read_bytes() == before
    assert rules(scene, "vegetation", "-o", out, "--overwrite", "--quiet") == 0
    assert json.loads((out / "extraction.json").read_text())["masks"][0]["class"] == "vegetation"


def test_a_damaged_part_is_no_data_and_the_rest_is_written(tmp_path, capsys):
    """One block of the full resolution is damaged; the overviews are whole, so the scene opens."""
    path = tmp_path / "damaged.tif"
    options = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    write_synthetic_scene(path, height=2048, width=2048, sensor="planetscope-4", **options)
    with rasterio.open(path, "r+") as source:
        source.build_overviews([2], rasterio.enums.Resampling.average)
    with rasterio.open(path) as source:
        offset = int(source.get_tag_item("BLOCK_OFFSET_3_3", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset : offset + 200] = bytes(200)
    path.write_bytes(content)
    assert (
        rules(
            path, "vegetation", "-o", tmp_path / "out", "--tile", "256", "--overlap", "0", "--quiet"
        )
        == 1
    )
    assert "1 of 64 tiles failed" in capsys.readouterr().err
    document = json.loads((tmp_path / "out" / "extraction.json").read_text())
    assert document["tiles"] == {"total": 64, "failed": 1}
    with rasterio.open(tmp_path / "out" / "mask.tif") as mask:
        values = mask.read(1)
    assert (values[768:1024, 768:1024] == 255).all()
    assert (values == 255).sum() == 256 * 256
    assert "Tiles that failed" in (tmp_path / "out" / "explanation.md").read_text()


def test_an_interrupt_leaves_nothing_half_written(tmp_path):
    write_synthetic_scene(tmp_path / "large.tif", height=3000, width=3000, sensor="planetscope-4")
    out = tmp_path / "results" / "out"
    command = [
        sys.executable,
        "-m",
        "spex",
        "extract",
        str(tmp_path / "large.tif"),
        "water and vegetation",
        "-o",
        str(out),
    ]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*command, "--method", "rules"], stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        while not list(tmp_path.glob("spex-classes-*/*.tif")) and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        error = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert error.strip() == "spex: interrupted"
    assert not out.exists()
    assert not list(tmp_path.glob("spex-*"))


def test_the_rules_load_no_torch(scene, tmp_path):
    program = (
        "import sys; from spex.cli.main import main; status = main(sys.argv[1:]);"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules; sys.exit(status)"
    )
    arguments = [
        "extract",
        str(scene),
        "water",
        "-o",
        str(tmp_path / "out"),
        "--method",
        "rules",
        "--quiet",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
