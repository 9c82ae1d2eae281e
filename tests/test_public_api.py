"""The names that `import spex` promises."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import spex

PUBLIC = [
    "Band", "Extraction", "Extractor", "Pixels", "Scene", "Sensor", "Session",
    "SpexConfig", "SpexError", "SpexModel",
    "__version__", "evidence_text", "extract", "get_sensor", "load", "measure",
]  # fmt: skip


def test_all_is_what_is_promised() -> None:
    assert spex.__all__ == PUBLIC
    assert dir(spex) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_there_and_documented(name: str) -> None:
    value = getattr(spex, name)
    assert isinstance(value, str) or value.__doc__


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(spex.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen | {"__version__"} == set(PUBLIC)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = spex.nonsense


def test_version_is_in_the_changelog_or_unreleased() -> None:
    text = (Path(spex.__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.match(r"\d+\.\d+\.\d+$", spex.__version__)
    assert f"## {spex.__version__}" in text or "## Unreleased" in text


def test_every_error_is_a_spex_error_and_a_builtin_one() -> None:
    from spex import errors

    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    found = [e for e in kinds if e is not spex.SpexError]
    assert found
    for error in found:
        assert issubclass(error, spex.SpexError)
        assert issubclass(error, ValueError | LookupError | OSError | RuntimeError | ImportError), (
            error
        )
        assert error.__name__ in (errors.__doc__ or ""), (
            f"{error.__name__} is missing from the tree in errors.py"
        )
