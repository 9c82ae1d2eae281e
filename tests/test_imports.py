"""Commands without a model load no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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
