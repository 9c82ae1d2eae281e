"""What one query measured on one scene, in memory; the writers of the result files take it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from spex.evidence.classes import land_class
from spex.postprocess.fact_text import area_text, share_text
from spex.postprocess.facts import MaskFacts
from spex.query.prompt import Exchange
from spex.query.reading import Reading, Understood
from spex.raster.scene import Pixels, Scene
from spex.raster.tiles import FailedTile
from spex.raster.working_rasters import bounded_gdal_cache
from spex.results.whole_scene import unknown_share

SCHEMA = 1


@dataclass(frozen=True, repr=False, kw_only=True)
class QueryResult:
    """The result of one query on one scene.

    Attributes:
        query: as it was read.
        reading: what the query was understood to ask for.
        answer: the text with its measured values.
        plan_text: the answer in span markup, before its slots were filled.
        scene: the scene that was queried.
        overview: its pixels, longer side at most 1024.
        model: name, and SHA-256 of the weights (``None`` without weights).
        valid_fraction: share of the scene's pixels that hold data, 0-1.
        seconds: time of each step.
        facts: of each mask, in the order of the mask values 1..n.
        understood: of each mask, the parts of its request and their words.
        absent: class and reason of each mask that is empty.
        refused: why nothing was extracted; ``None`` if something was, or if nothing was asked for
            (a greeting).
        tiles: how many tiles the scene was cut into.
        failed: tiles that could not be computed.
        warnings: notes for the reader.
        work: temporary folder of the rasters, removed with this object; ``None`` for a refusal.
    """

    query: str
    reading: Reading
    answer: str
    plan_text: str
    scene: Scene
    overview: Pixels
    model: tuple[str, str | None]
    valid_fraction: float
    seconds: dict[str, float]
    facts: tuple[MaskFacts, ...] = ()
    understood: tuple[tuple[Understood, ...], ...] = ()
    absent: tuple[tuple[str, str], ...] = ()
    refused: str | None = None
    tiles: int = 0
    failed: tuple[FailedTile, ...] = ()
    warnings: tuple[str, ...] = ()
    work: tempfile.TemporaryDirectory[str] | None = None

    @property
    def exchange(self) -> Exchange:
        """This turn, as the history of a query that follows it up."""
        return Exchange(self.query, self.plan_text)

    @property
    def mask_path(self) -> Path | None:
        """The mask raster of this result; None for a refusal."""
        return Path(self.work.name, "mask.tif") if self.work else None

    @property
    def probability_path(self) -> Path | None:
        """The probability raster, ``round(250 p)`` in uint8, 255 no data; None for a refusal."""
        return Path(self.work.name, "probability.tif") if self.work else None

    @property
    def masks(self) -> MaskSequence:
        """The masks by number, from 0, or by class name."""
        return MaskSequence(self.facts, self.work)

    def legend(self) -> list[tuple[str, str]]:
        """Colour (``#rrggbb``) and words of each mask."""
        return [
            (land_class(facts.span.class_name).colour, _mask_line(facts)) for facts in self.facts
        ]

    def to_dict(self) -> dict[str, Any]:
        """The content of ``extraction.json``."""
        scene = self.scene
        bands = [
            {"name": band.name, "wavelength_nm": band.wavelength_nm, "fwhm_nm": band.fwhm_nm}
            for band in scene.bands
        ]
        return {
            "schema": SCHEMA,
            "query": self.query,
            "language": self.reading.language,
            "answer": self.answer,
            "scene": {
                "path": scene.path,
                "crs": scene.crs.to_string() if scene.crs else None,
                "bands": bands,
                "valid_fraction": self.valid_fraction,
            },
            "masks": self._mask_entries(),
            "absent": [{"class": name, "reason": reason} for name, reason in self.absent],
            **self._unknown(),
            "ignored": list(self.reading.ignored),
            "refused": self.refused,
            "model": {"name": self.model[0], "sha256": self.model[1]},
            "tiles": {"total": self.tiles, "failed": len(self.failed)},
            "seconds": self.seconds,
            "warnings": list(self.warnings),
        }

    def _unknown(self) -> dict[str, float]:
        """The share of the scene that a map of all classes leaves open."""
        if not (self.reading.whole_scene and self.work):
            return {}
        return {"unknown_fraction": unknown_share(self.facts)}

    def _mask_entries(self) -> list[dict[str, Any]]:
        entries = []
        for facts, understood in zip(self.facts, self.understood, strict=True):
            entries.append({**facts.to_dict(), "understood": [vars(part) for part in understood]})
        return entries


class MaskSequence(Sequence[NDArray[np.bool_]]):
    """Boolean masks ``(height, width)`` of a result, each read from its raster on access.

    Args:
        facts: one per mask.
        work: folder of the rasters, which stays as long as this object.
    """

    def __init__(
        self, facts: Sequence[MaskFacts], work: tempfile.TemporaryDirectory[str] | None
    ) -> None:
        self._facts = facts
        self._work = work

    def __len__(self) -> int:
        return len(self._facts)

    def __getitem__(self, key: Any) -> Any:
        names = [facts.span.class_name for facts in self._facts]
        if isinstance(key, str):
            if key not in names:
                raise KeyError(f"no mask of class {key!r}; there are {names}")
            key = names.index(key)
        if self._work is None or not -len(names) <= key < len(names):
            raise IndexError(f"mask {key} of {len(names)}")
        with bounded_gdal_cache(), rasterio.open(Path(self._work.name, "mask.tif")) as source:
            return source.read(1) == self._facts[key].value

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        return (self[i] for i in range(len(self)))


def _mask_line(facts: MaskFacts) -> str:
    area = area_text(facts.area_m2, facts.pixels)
    return f"{facts.span.phrase}: {area}, {share_text(facts.fraction)}"
