"""The documents: every link leads somewhere, and every command line in them is one that exists."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from spex.cli.main import commands
from train.settings_file import load_settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "DESIGN.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "spex/checkpoints/base/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PROGRAMS = ("spex", "make", "python", "torchrun", "accelerate", "pytest")
RUNNABLE = {
    "spex classes": 0,
    "spex sensors": 0,
    'spex extract sample "find burn scars"': 3,
    'spex extract sample "where is open water, and where is vegetation?" -o out/first': 0,
}
"""Command lines of the documents with their exit status."""


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def links() -> list[tuple[str, str]]:
    targets = []
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://")):
                targets.append((str(document.relative_to(ROOT)), target))
    return targets


def command_lines() -> list[tuple[str, str]]:
    """Command lines of indented blocks and inline code, without their comments."""
    lines = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        candidates = [line.strip() for line in text.splitlines() if line.startswith("    ")]
        candidates += re.findall(r"`([^`\n]+)`", text)
        for candidate in candidates:
            command = re.sub(r"\s+#.*$", "", candidate.removeprefix("$ "))
            words = command.split()
            while words and re.fullmatch(r"[A-Z_]+=\S+", words[0]):
                words.pop(0)
            if len(words) > 1 and words[0] in PROGRAMS and words[1:] != ["-m"]:
                lines.append((str(document.relative_to(ROOT)), command))
    return sorted(set(lines))


def check_spex(words: list[str]) -> None:
    """Raise where a word of a ``spex`` command is no sub-command, option or setting."""
    name, *arguments = words
    if name == "--help":
        return
    target = commands()[name].load() if name in commands() else module_main(name)
    if not isinstance(target, typer.Typer):
        app = typer.Typer()
        app.command(name)(target)
        target = app
    command = typer.main.get_command(target)
    if hasattr(command, "commands") and arguments:
        command = command.commands[arguments.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    options |= {option for parameter in command.params for option in parameter.secondary_opts}
    if words[:2] == ["train", "run"] and arguments:
        load_settings(ROOT / arguments[0], arguments[1:])
    unknown = [word for word in arguments if word.startswith("-") and word not in options]
    assert unknown in ([], ["-h"], ["--help"]), f"{name}: no such option {unknown}"


def module_main(name: str) -> object:
    """The function that ``python -m NAME`` runs."""
    is_package = importlib.util.find_spec(name).submodule_search_locations
    module = importlib.import_module(f"{name}.__main__" if is_package else name)
    return module.main


def check_module(words: list[str]) -> None:
    """Raise where a file or module is not there, or an option is not in its source."""
    if "-m" in words:
        return check_spex(words[words.index("-m") + 1 :])
    source = (ROOT / words[0]).read_text(encoding="utf-8")
    options = [word for word in words[1:] if word.startswith("--")]
    assert not [option for option in options if f'"{option}"' not in source]
    return None


@pytest.mark.parametrize(("document", "target"), links())
def test_links_lead_somewhere(document: str, target: str) -> None:
    path, _, fragment = target.partition("#")
    file = (ROOT / document).parent / path if path else ROOT / document
    assert file.exists()
    if fragment:
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert fragment in {anchor(heading) for heading in headings}


@pytest.mark.parametrize(("document", "line"), command_lines())
def test_command_lines_exist(document: str, line: str) -> None:
    words = [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    program, *arguments = words
    if program == "spex":
        check_spex(arguments)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{re.escape(arguments[0])}:", makefile, re.MULTILINE)
    elif program == "pytest":
        assert (ROOT / arguments[0]).exists()
    else:
        check_module(arguments)


@pytest.mark.parametrize(("line", "status"), RUNNABLE.items())
def test_commands_that_need_no_data_run(line: str, status: int, tmp_path: Path) -> None:
    assert any(line == command for _, command in command_lines()), "no document has this command"
    arguments = [sys.executable, "-m", *shlex.split(line)]
    run = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == status, run.stderr


def test_the_readme_is_one_page() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert not [line for line in lines if len(line) > 120]


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spex.raster.sample_scene import write_sample_scene

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    scene = write_sample_scene(tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("scene.tif", scene.name), "README.md", "exec"), {})
    assert (tmp_path / "out/forest-crops/mask.tif").is_file()
