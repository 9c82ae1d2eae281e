"""The output folder of a result: checked before any work, written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.errors import RasterioError

from spex.errors import OutputError

RESULT = "extraction.json"


@contextmanager
def output_errors(target: object) -> Iterator[None]:
    """Raise one error for whatever the raster and vector libraries raise when they cannot write.

    Args:
        target: what is written, as the message names it.

    Raises:
        OutputError: a file cannot be written, most often because the disk is full.
    """
    try:
        yield
    except (RasterioError, DataSourceError, DataLayerError) as error:
        raise OutputError(
            f"{target} cannot be written ({error}); check the space left on the disk"
        ) from error


@contextmanager
def staged_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new folder that replaces ``folder`` when the block succeeds, and is removed when it fails.

    Args:
        folder: the folder to write or replace.
        overwrite: whether an earlier result may be replaced.

    Raises:
        OutputError: ``folder`` may not be replaced, or its parent cannot be written.
    """
    check_folder(folder, overwrite=overwrite)
    parent = folder.resolve().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}; choose another output folder"
        ) from error
    old = aside.with_name(aside.name + ".old")
    try:
        yield aside
        aside.chmod(0o755)
        if folder.exists():
            folder.rename(old)
        try:
            aside.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}; nothing was left behind"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse an output folder before anything is computed.

    Args:
        folder: where the results are to go; need not exist.
        overwrite: whether an earlier result may be replaced.

    Raises:
        OutputError: ``folder`` is a file, is not empty without ``overwrite``, or holds anything but
            an earlier result.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder for the results")
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise OutputError(
            f"{folder} exists and is not empty; choose another folder or add --overwrite"
        )
    if not (folder / RESULT).is_file():
        raise OutputError(
            f"{folder} is not an earlier result (it has no {RESULT}) and is not overwritten; "
            "choose another folder"
        )
