"""Folders of a run that are there whole or not at all: the newest checkpoint, the ones before it, the best.

Each is written aside and put in its place by a rename. What is there after a kill at any moment can be gone on from.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from spex.errors import OutputError

STATE = "training"
"""Folder, within a checkpoint, of what only the run needs."""


def newest(out: Path) -> Path | None:
    """The checkpoint to go on from: ``checkpoint``, or the last before it where a kill came between two renames."""
    earlier = _earlier(out)
    if (out / "checkpoint").exists() or not earlier:
        return (out / "checkpoint") if (out / "checkpoint").exists() else None
    return earlier[-1]


def _earlier(out: Path) -> list[Path]:
    return sorted(out.glob("checkpoint_*"), key=lambda path: int(path.name.rpartition("_")[2]))


def install(aside: Path, out: Path, keep: int, last: int) -> Path:
    """Make a folder the newest checkpoint, with ``keep - 1`` before it; ``last`` is the step of the one so far."""
    target = out / "checkpoint"
    if target.exists():
        before = out / f"checkpoint_{last:06d}"
        shutil.rmtree(before, ignore_errors=True)
        target.rename(before)
    aside.rename(target)
    for old in _earlier(out)[: 1 - keep or None]:
        shutil.rmtree(old)
    return target


def promote(checkpoint: Path, out: Path) -> None:
    """Keep a checkpoint as ``best`` too, without the state of the run; files are shared where the disk can."""
    aside, target, old = out / "best.part", out / "best", out / "best.old"
    shutil.rmtree(aside, ignore_errors=True)
    with writing(aside):
        shutil.copytree(
            checkpoint, aside, ignore=shutil.ignore_patterns(STATE), copy_function=_share
        )
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    aside.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _share(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk without hard links
        shutil.copy2(source, target)


def replace_text(path: Path, text: str) -> None:
    """Write a text file in one go."""
    with writing(path):
        aside = path.with_name(f"{path.name}.part")
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a full or forbidden disk raises within into one clear error; a half-written ``.part`` is removed.

    Raises:
        OutputError: it could not be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if path.suffix == ".part":
            shutil.rmtree(path, ignore_errors=True)
        raise OutputError(
            f"cannot write {path}: {error}; free some space and start again, the run goes on from its last checkpoint"
        ) from error
