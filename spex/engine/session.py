"""One scene, many queries: evidence and the features of its tiles are kept from one query to the next."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.engine.cache import BUDGET, FeatureCache
from spex.engine.methods import Predictor
from spex.engine.mosaic import write_probability
from spex.errors import ConfigError
from spex.evidence.scene_evidence import measure
from spex.postprocess.answer_text import unavailable, write_answer
from spex.postprocess.constraint_masks import Frame, check
from spex.postprocess.execution import cautions, drop_empty_masks, execute
from spex.query.answer_markup import Answer, Plan, excluded_classes, fill_slots
from spex.query.prompt import Exchange, clean_query
from spex.raster.scene import Scene
from spex.raster.tiles import Tile
from spex.raster.working_rasters import bounded_gdal_cache
from spex.results.extraction import Extraction
from spex.results.folder import output_errors

Progress = Callable[[int, int], None]


def check_tiling(tile: int, overlap: int) -> None:
    """Refuse tiles that are too small, and overlaps that are too large.

    Args:
        tile: side of a tile in pixels.
        overlap: pixels that neighbouring tiles share.

    Raises:
        ConfigError: the tile has fewer than 32 pixels, or the overlap is more than half of it.
    """
    if tile < 32 or not 0 <= overlap <= tile // 2:
        raise ConfigError(
            f"tile {tile} with overlap {overlap}: "
            "a tile has at least 32 pixels, an overlap at most half of it"
        )


class Session:
    """An open scene with its predictor; ``ask`` answers a query. A context manager: closing it drops what was kept.

    Args:
        tile: side of a tile in pixels.
        overlap: pixels that neighbouring tiles share and blend over.
        memory: bytes of features kept in memory; the rest goes to temporary files.
    """

    def __init__(
        self,
        scene: Scene,
        predictor: Predictor,
        *,
        tile: int = 512,
        overlap: int = 64,
        memory: int = BUDGET,
    ) -> None:
        check_tiling(tile, overlap)
        started = time.perf_counter()
        self.scene, self.predictor = scene, predictor
        self._tile, self._overlap = tile, overlap
        self._cache = FeatureCache(memory)
        with bounded_gdal_cache():
            self.overview = scene.overview(1024)
        self.evidence = measure(self.overview)
        self._scene_predictor = predictor.open(self.overview, self.evidence)
        self._frame = Frame.of(scene, self.overview)
        self._opening = time.perf_counter() - started

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the features that were kept."""
        self._cache.close()

    def ask(
        self, query: str, *, history: Sequence[Exchange] = (), progress: Progress | None = None
    ) -> Extraction:
        """Answer a query on the whole scene.

        Args:
            history: turns that the query may follow up, ``Extraction.exchange`` of each; none is remembered here.
            progress: called with tiles done and tiles in all.

        Raises:
            QueryError: the query is empty, too long, or asks for units or indices that this scene cannot give.
        """
        text = clean_query(query)
        clock = _Clock({"evidence": self._opening})
        plan = self._scene_predictor.plan(text, history)
        clock.lap("plan")
        refused = self._refusal(plan.answer)
        if refused:
            seen = float(self.overview.valid.mean())
            return self._extraction(
                text, refused, clock, plan=plan, refused=refused, valid_fraction=seen
            )
        check(plan.answer, self.scene, self.evidence)
        with (
            bounded_gdal_cache(),
            output_errors(f"the folder of temporary files {tempfile.gettempdir()}"),
        ):
            return self._extract(text, plan, clock, progress)

    def _refusal(self, answer: Answer) -> str | None:
        if answer.refusal is not None:
            return answer.refusal
        if not answer.spans:
            said = fill_slots(answer, lambda *_: "")
            return f"no land cover to extract was understood{': ' + said if said else ''}"
        missing = unavailable(answer, self.evidence)
        if len(missing) == len(answer.spans):
            return "; ".join(dict.fromkeys(absence.sentence for absence in missing.values()))
        return None

    def _extract(
        self, query: str, plan: Plan, clock: _Clock, progress: Progress | None
    ) -> Extraction:
        answer = plan.answer
        scene = self.scene
        work = tempfile.TemporaryDirectory(prefix="spex-")
        probability = Path(work.name, "probability.tif")
        mask = Path(work.name, "mask.tif")
        maps = len(answer.spans) + len(excluded_classes(answer))
        mosaic = write_probability(
            scene,
            maps,
            lambda number, tile: self._decode(number, tile, plan),
            probability,
            tile=self._tile,
            overlap=self._overlap,
            progress=progress,
        )
        clock.lap("tiles")
        executed = execute(
            self._frame,
            answer,
            self.evidence,
            probability=probability,
            mask=mask,
            likely=[count > 0 for count in mosaic.likely],
            on_step=clock.lap,
        )
        text, warnings = write_answer(answer, executed.facts, executed.absences, query)
        mask_facts = [facts for facts in executed.facts if facts.pixels]
        values = [facts.value for facts in mask_facts]
        drop_empty_masks(scene, values, maps, mask=mask, probability=probability)
        clock.lap("results")
        renumbered = (replace(facts, value=i) for i, facts in enumerate(mask_facts, start=1))
        absent = (
            (answer.spans[number].class_name, absence.reason)
            for number, absence in executed.absences.items()
        )
        return self._extraction(
            query,
            text,
            clock,
            plan=plan,
            work=work,
            valid_fraction=executed.valid_fraction,
            facts=tuple(renumbered),
            absent=tuple(absent),
            tiles=mosaic.tiles,
            failed=mosaic.failed,
            warnings=(*warnings, *cautions(answer, executed.facts, self.evidence)),
        )

    def _decode(
        self, number: int, tile: Tile, plan: Plan
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        pixels = self.scene.read(Window(tile.col, tile.row, tile.width, tile.height))
        if not pixels.valid.any():
            count = len(plan.answer.spans) + len(excluded_classes(plan.answer))
            return np.zeros((count, *pixels.valid.shape), np.float32), pixels.valid
        features = self._cache.get(number, lambda: self._scene_predictor.features(pixels))
        return self._scene_predictor.decode(features, plan, pixels), pixels.valid

    def _extraction(
        self, query: str, answer: str, clock: _Clock, *, plan: Plan, **found: Any
    ) -> Extraction:
        nothing: dict[str, Any] = {
            "facts": (),
            "absent": (),
            "refused": None,
            "tiles": 0,
            "failed": (),
            "warnings": (),
        }
        given = {**nothing, **found}
        return Extraction(
            query=query,
            answer=answer,
            plan_text=plan.answer.text,
            scene=self.scene,
            overview=self.overview,
            model=(self.predictor.name, self.predictor.sha256),
            seconds=clock.laps(),
            **(given | {"warnings": (*self.scene.warnings, *given["warnings"])}),
        )


class _Clock:
    """Seconds spent in each step."""

    def __init__(self, before: dict[str, float]) -> None:
        self._laps = before
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name] = now - self._last
        self._last = now

    def laps(self) -> dict[str, float]:
        return {
            name: round(seconds, 3)
            for name, seconds in {**self._laps, "total": sum(self._laps.values())}.items()
        }
