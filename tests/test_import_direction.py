"""Imports point one way; read from the syntax trees, so that no tool and no dependency is needed to know it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APPLICATIONS = ("train", "serve", "instruction_data")
# A module may import from its own layer and from those after it.
LAYERS = ("cli testing", "evaluate", "engine", "model", "records prompts", "evidence", "raster", "sensors", "errors")
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer.split()}
HOMES = {
    "gradio": ("serve.",),
    "fastapi": ("serve.",),
    "uvicorn": ("serve.",),
    "accelerate": ("train.",),
    "deepspeed": ("train.",),
    "peft": ("train.",),
    "ray": ("spex.engine.ray.",),
}


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module that a file imports while it runs, at its top or inside functions; not those for type checkers."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            # `from spex import records` names a module, `from spex import __version__` does not; both are yielded.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_applications_import_spex_and_never_each_other() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules("spex", *APPLICATIONS)
        for target in imported(tree)
        if target.partition(".")[0] in set(APPLICATIONS) - {name.partition(".")[0]}
    ]
    assert not wrong


def test_inside_spex_imports_point_one_way() -> None:
    wrong = []
    for name, tree in modules("spex"):
        parts = name.split(".")
        if parts[1] in ("__init__", "__main__"):
            continue
        assert parts[1] in RANK, f"{name} has no place in the order of imports; see DESIGN.md"
        for target in imported(tree):
            other = target.split(".")[1] if target.startswith("spex.") else ""
            if other in RANK and RANK[other] < RANK[parts[1]]:
                wrong.append(f"{name} imports {target}")
    assert not wrong


@pytest.mark.parametrize("package", HOMES)
def test_heavy_frameworks_stay_in_their_place(package: str) -> None:
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules("spex", *APPLICATIONS)
        for target in imported(tree)
        if target.partition(".")[0] == package and not f"{name}.".startswith(HOMES[package])
    ]
    assert not wrong


@pytest.mark.parametrize("module", ["spex", "spex.cli.main", "spex.cli.inspect", "spex.evidence.prior", "spex.prompts"])
def test_torch_is_not_loaded(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'gradio'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"


def test_applications_are_the_checkouts_own() -> None:
    for package in APPLICATIONS:
        module = __import__(package)
        assert module.__file__ is not None and Path(module.__file__).parent == ROOT / package


def test_no_module_hides_a_library() -> None:
    # A script started by its path puts its own folder first on sys.path, where such a name would win.
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
