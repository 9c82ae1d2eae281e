"""The `spex` command itself: discovery, help, errors as one line, exit status; not what its sub-commands do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from spex.cli import main as cli

PROBE = '''
"""A probe command."""

import os
import time

import typer

from spex.errors import SceneError


def command(action: str, size: int = 1) -> None:
    """Do what the test asks."""
    if action == "fail":
        raise SceneError("cannot read 'x.tif':\\n  it is not a raster;\\n  give a GeoTIFF")
    if action == "partly":
        raise typer.Exit(1)
    if action == "missing":
        raise ModuleNotFoundError("No module named 'gradio'", name="gradio")
    if action == "broken":
        import spex.nosuch
    if action == "sleep":
        print("sleeping", flush=True)
        time.sleep(30)
    if action == "flood":
        for _ in range(100_000):
            print("line")
    print(action, size)
'''


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sub-command `probe` in a module of its own, found as an installed application's is."""
    (tmp_path / "probe_app.py").write_text(PROBE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "probe_app", raising=False)
    entries = [
        EntryPoint("probe", "probe_app:command", cli.GROUP),
        EntryPoint("gone", "application_of_a_checkout.__main__:command", cli.GROUP),
    ]
    monkeypatch.setattr(cli, "entry_points", lambda group: entries)
    return tmp_path


def in_a_process(tmp_path: Path, *args: str) -> list[str]:
    """A command line that runs `spex probe ...` as a process of its own."""
    code = f"""
        import sys
        from importlib.metadata import EntryPoint
        sys.path.insert(0, {str(tmp_path)!r})
        from spex.cli import main as cli
        cli.entry_points = lambda group: [EntryPoint("probe", "probe_app:command", cli.GROUP)]
        sys.exit(cli.main())
    """
    return [sys.executable, "-c", textwrap.dedent(code), "probe", *args]


def test_help_lists_the_commands_without_importing_them(
    probe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "probe" in shown and "A probe command." in shown
    assert "gone" not in shown
    assert "probe_app" not in sys.modules


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "Usage: spex" in capsys.readouterr().out


def test_help_of_a_command_names_it(probe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["probe", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: spex probe" in shown and "Do what the test asks." in shown


def test_a_command_runs_with_its_options(probe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["probe", "say", "--size", "3"]) == 0
    assert capsys.readouterr().out == "say 3\n"


@pytest.mark.parametrize(
    ("args", "status", "line"),
    [
        (["probe", "fail"], 2, "spex: cannot read 'x.tif': it is not a raster; give a GeoTIFF"),
        (["probe", "partly"], 1, None),
        (
            ["probe", "missing"],
            2,
            "spex: the package 'gradio' is not installed; pip install \"spex[serve]\"",
        ),
        (["probe", "say", "--size", "many"], 2, "--size"),
        (["probe", "say", "--nonsense"], 2, "spex: No such option: --nonsense"),
        (["probe"], 2, "Missing argument"),
        (["nosuch"], 2, "spex: No such command 'nosuch'."),
        (["gone"], 2, "spex: No such command 'gone'."),
        (["--nonsense"], 2, "spex: No such option: --nonsense"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(
    probe: Path, capsys: pytest.CaptureFixture[str], args: list[str], status: int, line: str | None
) -> None:
    assert cli.main(args) == status
    out, err = capsys.readouterr()
    assert out == ""
    if line is None:
        assert err == ""
    else:
        assert err.count("\n") == 1 and err.startswith("spex: ") and line in err


def test_a_defect_of_our_own_is_not_taken_for_a_missing_extra(probe: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"spex\.nosuch"):
        cli.main(["probe", "broken"])


def test_ctrl_c_is_one_line_and_130(probe: Path) -> None:
    with subprocess.Popen(
        in_a_process(probe, "sleep"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sleeping\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "spex: interrupted\n")


def test_a_reader_that_goes_away_is_no_error_message(probe: Path) -> None:
    with subprocess.Popen(
        in_a_process(probe, "flood"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_the_checkout_has_its_commands() -> None:
    assert {"evaluate", "extract", "inspect", "serve", "spie", "train"} <= set(cli.commands())
    assert all(cli._summary(entry.module).endswith(".") for entry in cli.commands().values())


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    env = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "spex", "--help"],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert not loaded & {
        "torch",
        "transformers",
        "rasterio",
        "numpy",
        "scipy",
        "gradio",
        "pydantic",
    }

    def seconds(*args: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *args], capture_output=True, check=True)
        return time.perf_counter() - start

    # Start-up as a ratio, so that a busy machine does not fail it; 0.5 s is some 25 times a bare interpreter's.
    bare = min(seconds("-c", "pass") for _ in range(3))
    assert min(seconds("-m", "spex", "--help") for _ in range(3)) < 25 * max(bare, 0.02)


def test_a_group_without_arguments_shows_its_help(
    probe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = (
        "import typer\ncommand = typer.Typer(no_args_is_help=True)\ncommand.command('one')(print)\n"
    )
    (probe / "probe_app.py").write_text(group + "command.command('two')(print)\n", encoding="utf-8")
    assert cli.main(["probe"]) == 0
    assert "Usage: spex probe" in capsys.readouterr().out
