"""What a query leaves behind: the extraction in memory, and the result folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from spex.errors import OutputError
from spex.evidence.classes import classes
from spex.postprocess.facts import MaskFacts, area_text, share_text
from spex.query.prompt import Exchange
from spex.raster.scene import Pixels, Scene
from spex.raster.working import FailedTile, gdal

SCHEMA = 1
RESULT = "extraction.json"


@dataclass(frozen=True)
class Extraction:
    """The result of one query on one scene. Its rasters lie in a temporary folder that goes when it is dropped."""

    query: str
    answer: str
    plan_text: str  # the answer before its slots were filled
    scene: Scene
    overview: Pixels
    facts: tuple[MaskFacts, ...]
    absent: tuple[tuple[str, str], ...]  # class, reason
    refused: str | None
    model: tuple[str, str | None]  # name, digest of the weights
    tiles: int
    failed: tuple[FailedTile, ...]
    valid_fraction: float
    seconds: dict[str, float]
    warnings: tuple[str, ...]
    work: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @property
    def exchange(self) -> Exchange:
        """This turn, as the history of a query that follows it up."""
        return Exchange(self.query, self.plan_text)

    @property
    def mask_path(self) -> Path | None:
        """The mask raster of this extraction; None for a refusal."""
        return Path(self.work.name, "mask.tif") if self.work else None

    @property
    def probability_path(self) -> Path | None:
        """The probability raster, ``round(250 p)`` in uint8, 255 where there is none; None for a refusal."""
        return Path(self.work.name, "probability.tif") if self.work else None

    @property
    def masks(self) -> Masks:
        """The masks by number, from 0, or by class name."""
        return Masks(self)

    def to_dict(self) -> dict[str, Any]:
        """The content of ``extraction.json``."""
        scene = self.scene
        return {
            "schema": SCHEMA,
            "query": self.query,
            "answer": self.answer,
            "scene": {
                "path": scene.path,
                "crs": scene.crs.to_string() if scene.crs else None,
                "bands": [
                    {
                        "name": band.name,
                        "wavelength_nm": band.wavelength_nm,
                        "fwhm_nm": band.fwhm_nm,
                    }
                    for band in scene.bands
                ],
                "valid_fraction": self.valid_fraction,
            },
            "masks": [facts.to_dict() for facts in self.facts],
            "absent": [{"class": name, "reason": reason} for name, reason in self.absent],
            "refused": self.refused,
            "model": {"name": self.model[0], "sha256": self.model[1]},
            "tiles": {"total": self.tiles, "failed": len(self.failed)},
            "seconds": self.seconds,
            "warnings": list(self.warnings),
        }

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the result folder: aside first, then renamed, so that it is there whole or not at all.

        Raises:
            OutputError: the folder is in use, holds something else, or cannot be written.
        """
        from spex.results.audit import audit
        from spex.results.files import write_outputs

        with folder_aside(Path(folder), overwrite=overwrite) as aside, gdal(), writing(folder):
            write_outputs(self, aside)
            audit(aside, self.scene)
        return Path(folder)


class Masks(Sequence[NDArray[np.bool_]]):
    """Boolean masks ``(height, width)`` of an extraction, each read when it is asked for."""

    def __init__(self, extraction: Extraction) -> None:
        self._extraction = extraction

    def __len__(self) -> int:
        return len(self._extraction.facts)

    def __getitem__(self, key: Any) -> Any:
        facts = self._extraction.facts
        if isinstance(key, str):
            places = [i for i, one in enumerate(facts) if one.span.class_name == key]
            if not places:
                raise KeyError(
                    f"no mask of class {key!r}; there are {[one.span.class_name for one in facts]}"
                )
            key = places[0]
        path = self._extraction.mask_path
        if path is None or not -len(facts) <= key < len(facts):
            raise IndexError(f"mask {key} of {len(facts)}")
        with gdal(), rasterio.open(path) as source:
            return source.read(1) == facts[key].value

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        return (self[i] for i in range(len(self)))


@contextmanager
def writing(place: object) -> Iterator[None]:
    """Turns what the raster and vector libraries raise when they cannot write into one error.

    Raises:
        OutputError: most often the disk is full.
    """
    from pyogrio.errors import DataLayerError, DataSourceError
    from rasterio.errors import RasterioError

    try:
        yield
    except (RasterioError, DataSourceError, DataLayerError) as error:
        raise OutputError(
            f"{place} cannot be written ({error}); check the space left on the disk"
        ) from error


@contextmanager
def folder_aside(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new folder beside ``folder`` that takes its place when the block ends well, and vanishes when it does not.

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

    Raises:
        OutputError: a file, a folder in use without ``overwrite``, or one that holds anything but an earlier result.
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
            f"{folder} holds files that are not an earlier result (no {RESULT}); it is not overwritten, choose another"
        )


def legend(facts: Sequence[MaskFacts]) -> list[tuple[str, str]]:
    """Colour and words of each mask."""
    return [
        (
            classes()[one.span.class_name].colour,
            f"{one.span.phrase}: {area_text(one.area_m2, one.pixels)}, {share_text(one.fraction)}",
        )
        for one in facts
    ]
