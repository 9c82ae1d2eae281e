"""The ``spex`` command itself: discovery, help, completion, one-line errors, exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
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


@pytest.mark.parametrize("words", [[], ["probe"], *([name] for name in cli.commands())])
def test_short_help_is_the_help(
    probe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    if words != ["probe"]:
        monkeypatch.undo()
    assert cli.main([*words, "--help"]) == 0
    help_text = capsys.readouterr().out
    assert cli.main([*words, "-h"]) == 0
    assert capsys.readouterr().out == help_text
    assert " ".join(["Usage: spex", *words]) in help_text


def complete(*words: str) -> list[str]:
    """What bash offers for the last word of a ``spex`` command line, through the shown script."""
    program = [sys.executable, "-m", "spex"]
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(
        [*program, "--show-completion", "bash"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout
    command_line = " ".join(f"'{word}'" for word in ("spex", *words))
    executable = "\n".join(program)  # the script splits it at line ends only
    script += f"""
COMP_WORDS=({command_line})
COMP_CWORD={len(words)}
_spex_completion '{executable}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return run.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ins"], ["inspect"]),
        (["s"], ["sensors", "serve", "spie"]),
        (["extract", "--meth"], ["--method"]),
        (["extract", "sample", "water", "--method", ""], ["model", "rules"]),
        (["train", "ad"], ["adapt"]),
    ],
)
def test_bash_completes_commands_and_options(words: list[str], offered: list[str]) -> None:
    assert complete(*words) == offered


def test_completion_can_be_installed(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "spex", "--install-completion", "bash"],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        },
    )
    script = tmp_path / ".bash_completions" / "spex.sh"
    assert "_SPEX_COMPLETE" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text() and "installed" in run.stdout


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
    names = {"classes", "evaluate", "extract", "inspect", "sensors", "serve", "spie", "train"}
    assert names <= set(cli.commands())
    assert all(cli._summary(entry.module).endswith(".") for entry in cli.commands().values())


def test_help_loads_nothing_heavy() -> None:
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


def test_a_group_without_arguments_shows_its_help(
    probe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = (
        "import typer\ncommand = typer.Typer(no_args_is_help=True)\ncommand.command('one')(print)\n"
    )
    (probe / "probe_app.py").write_text(group + "command.command('two')(print)\n", encoding="utf-8")
    assert cli.main(["probe"]) == 0
    assert "Usage: spex probe" in capsys.readouterr().out
