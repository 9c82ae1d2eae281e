"""What gets installed: the wheel holds the library and its data; no CUDA package is pulled in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APPLICATIONS = ("train", "serve", "instruction_data")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the checkout without weights; a build leaves files beside it."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("spex", "train", "serve", "instruction_data"):
        shutil.copytree(
            ROOT / name,
            source / name,
            ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"),
        )
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=source, check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_library_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"spex"}


def test_the_wheel_holds_every_source_and_data_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "spex").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".safetensors"
    }
    assert wanted <= packed
    assert {"spex/py.typed", "spex/cli/main.py", "spex/evidence/classes.yaml"} <= packed


def test_an_unpacked_wheel_has_no_commands_of_a_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    # -S keeps the editable install's path entry out; the dependencies come back through PYTHONPATH.
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    run = subprocess.run(
        [sys.executable, "-S", "-m", "spex", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), packages])},
    )
    shown = set(
        re.findall(r"^\W*([a-z]+) {2,}\S", run.stdout.partition("Commands")[2], re.MULTILINE)
    )
    assert shown == {"classes", "evaluate", "extract", "inspect", "sensors"}


def test_no_cuda_package_is_installed() -> None:
    import torch

    if torch.version.cuda is not None:
        pytest.skip("a CUDA build of torch is installed on purpose")
    names = {(dist.metadata["Name"] or "").lower() for dist in distributions()}
    assert not {
        name for name in names if name.startswith("nvidia-") or name in ("torchvision", "triton")
    }


def declared() -> Iterator[str]:
    for line in requires("spex") or []:
        yield re.split(r"[ <>=!~;\[]", line)[0].lower().replace("_", "-")


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    assert "torch==2.13.0" in lines
    assert not set(declared()) - pinned


def test_no_project_file_names_a_machine() -> None:
    files = [
        "pyproject.toml",
        "constraints.txt",
        "Makefile",
        ".ci/run",
        "README.md",
        "DESIGN.md",
        "CONTRIBUTING.md",
    ]
    for name in files:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"/home/|/root/|--(extra-)?index-url|--find-links", text), name


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
class TestMake:
    def make(self, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder)
        env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        return subprocess.run(
            ["make", *args], cwd=folder, capture_output=True, text=True, env=env, check=False
        )

    def test_help_names_every_target(self, tmp_path: Path) -> None:
        shown = set(re.findall(r"^  make ([a-z-]+)", self.make(tmp_path).stdout, re.MULTILINE))
        assert {"run", "chat", "test", "test-all", "check", "bench"} <= shown

    def test_without_a_python_it_says_what_to_install(self, tmp_path: Path) -> None:
        run = self.make(tmp_path, "run", "PYTHON=")
        assert run.returncode == 2
        assert run.stderr.startswith("SPEX needs Python 3.10 or newer")
        assert not (tmp_path / ".venv").exists()

    def test_a_query_reaches_the_command_as_it_was_typed(self, tmp_path: Path) -> None:
        stand_in = tmp_path / ".venv" / "bin" / "spex"
        stand_in.parent.mkdir(parents=True)
        stand_in.write_text('#!/bin/sh\nprintf "[%s]" "$@"\n', encoding="utf-8")
        stand_in.chmod(0o755)
        query = """lakes > 1 ha; "the largest" & not the river's"""
        run = self.make(
            tmp_path,
            "-o",
            ".venv/run.stamp",
            "run",
            f"QUERY={query}",
            "SCENE=my scene.tif",
            "OUT=out",
        )
        assert run.stdout == f"[extract][my scene.tif][{query}][-o][out]"


def test_applications_are_the_checkouts_own() -> None:
    for package in APPLICATIONS:
        module = __import__(package)
        assert module.__file__ is not None and Path(module.__file__).parent == ROOT / package


def test_no_module_hides_a_library() -> None:
    # A script started by its path puts its folder first on sys.path, where such a name would win.
    taken = set(sys.stdlib_module_names) | {
        "datasets",
        "accelerate",
        "transformers",
        "torch",
        "peft",
        "deepspeed",
        "gradio",
    }
    names = {path.stem for package in APPLICATIONS for path in (ROOT / package).rglob("*.py")} - {
        "__init__",
        "__main__",
    }
    assert not names & taken
