"""Commands without a model load no torch; the checkout's own packages are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APPLICATIONS = ("train", "serve", "instruction_data")


@pytest.mark.parametrize(
    "module",
    [
        "spex",
        "spex.cli.main",
        "spex.cli.inspect",
        "spex.cli.list_classes",
        "spex.cli.list_sensors",
        "spex.evidence.text",
        "spex.query.prompt",
    ],
)
def test_torch_is_not_loaded(module: str) -> None:
    code = (
        f"import sys, {module};"
        "print(sorted({'torch', 'transformers', 'gradio'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert run.stdout.strip() == "[]"


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
