"""Checkpoint folders of a run: the newest, earlier ones, the best. Each is complete or absent.

A checkpoint is written to a temporary folder and renamed, so a run can resume after a kill at any
moment.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from spex.errors import OutputError
from spex.model.processor import SpexProcessor
from train.run.lora import merged_state

STATE = "training"
"""Folder within a checkpoint for what only resuming needs."""
_NEWEST = "checkpoint"


def save_checkpoint(
    folder: Path,
    model: PreTrainedModel,
    *,
    processor: SpexProcessor | None = None,
    extra: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> None:
    """Write a model as it ships, and beside it what later stages need.

    Args:
        folder: Folder of the checkpoint; made if missing.
        model: The model; low-rank pairs are merged into its weights.
        processor: Its tokenizer and chat template; None for a model without language.
        extra: Tensors by name of further safetensors files, by file name.
    """
    model.save_pretrained(folder, state_dict=merged_state(model))
    if processor is not None:
        processor.save_pretrained(str(folder))
    for file_name, tensors in (extra or {}).items():
        contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, folder / file_name)


def newest_checkpoint(out: Path) -> Path | None:
    """The checkpoint from which a run resumes, or None.

    This is ``checkpoint``, or the last one before it if a kill came between two renames.
    """
    newest = out / _NEWEST
    if newest.exists():
        return newest
    earlier = _earlier_checkpoints(out)
    return earlier[-1] if earlier else None


def _earlier_checkpoints(out: Path) -> list[Path]:
    return sorted(out.glob(f"{_NEWEST}_*"), key=lambda folder: int(folder.name.rpartition("_")[2]))


def install_checkpoint(written: Path, out: Path, keep: int, previous_step: int) -> Path:
    """Make a complete folder the newest checkpoint of a run, and delete the oldest ones.

    Args:
        written: The new checkpoint.
        out: Folder of the run.
        keep: Number of checkpoints to keep, the new one included.
        previous_step: Step of the newest checkpoint so far, for its new name.

    Returns:
        The folder of the newest checkpoint.
    """
    newest = out / _NEWEST
    if newest.exists():
        previous = out / f"{_NEWEST}_{previous_step:06d}"
        shutil.rmtree(previous, ignore_errors=True)
        newest.rename(previous)
    written.rename(newest)
    for outdated in _earlier_checkpoints(out)[: 1 - keep or None]:
        shutil.rmtree(outdated)
    return newest


def keep_as_best(checkpoint: Path, out: Path) -> None:
    """Keep a checkpoint as ``best`` too, without the training state.

    Files are shared by hard links where the file system supports them.
    """
    copy = out / "best.part"
    best = out / "best"
    previous = out / "best.old"
    shutil.rmtree(copy, ignore_errors=True)
    without_state = shutil.ignore_patterns(STATE)
    with writing(copy):
        shutil.copytree(checkpoint, copy, ignore=without_state, copy_function=_link_or_copy)
    if best.exists():
        shutil.rmtree(previous, ignore_errors=True)
        best.rename(previous)
    copy.rename(best)
    shutil.rmtree(previous, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with writing(path):
        temporary = path.with_name(f"{path.name}.part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report what a full or forbidden disk raises as one clear error.

    Args:
        path: What is written; a half-written folder ``*.part`` is deleted.

    Raises:
        OutputError: It could not be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if path.suffix == ".part":
            shutil.rmtree(path, ignore_errors=True)
        raise OutputError(
            f"cannot write {path}: {error}; free some space and rerun the same command, "
            "which resumes from the last checkpoint"
        ) from error
