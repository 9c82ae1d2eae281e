"""One scene, many queries: evidence and the features of tiles are kept between queries."""

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
from spex.query.answer_markup import Answer, Plan, fill_slots, other_classes
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
    """An open scene with its predictor; ``ask`` answers a query.

    It is a context manager. Closing it drops the features that were kept.

    Args:
        scene: the scene.
        predictor: reads queries and computes probabilities.
        tile: side of a tile in pixels, at least 32.
        overlap: pixels that neighbouring tiles share and blend over, at most half a tile.
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
        self.scene = scene
        self.predictor = predictor
        self._tile = tile
        self._overlap = overlap
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
            query: plain language.
            history: ``Extraction.exchange`` of each earlier turn that the query may refer to; a
                session remembers none.
            progress: called with the number of finished tiles and of all tiles.

        Raises:
            QueryError: the query is empty or too long, or needs units or indices that this scene
                lacks.
        """
        text = clean_query(query)
        clock = _Clock({"evidence": self._opening})
        plan = self._scene_predictor.plan(text, history)
        clock.lap("plan")
        refused = self._refusal(plan.answer)
        if refused:
            valid_fraction = float(self.overview.valid.mean())
            return self._extraction(
                text, refused, clock, plan=plan, refused=refused, valid_fraction=valid_fraction
            )
        check(plan.answer, self.scene, self.evidence)
        with (
            bounded_gdal_cache(),
            output_errors(f"the folder of temporary files {tempfile.gettempdir()}"),
        ):
            return self._extract(text, plan, clock, progress)

    def _refusal(self, answer: Answer) -> str | None:
        """Why nothing can be extracted; None if something can."""
        if answer.refusal is not None:
            return answer.refusal
        if not answer.spans:
            text = fill_slots(answer, lambda *_: "")
            return f"the query names no land cover that can be mapped{': ' + text if text else ''}"
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
        maps = len(answer.spans) + len(other_classes(answer))
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
            count = len(plan.answer.spans) + len(other_classes(plan.answer))
            return np.zeros((count, *pixels.valid.shape), np.float32), pixels.valid
        features = self._cache.get(number, lambda: self._scene_predictor.features(pixels))
        return self._scene_predictor.decode(features, plan, pixels), pixels.valid

    def _extraction(
        self, query: str, answer: str, clock: _Clock, *, plan: Plan, **measured: Any
    ) -> Extraction:
        warnings = measured.pop("warnings", ())
        return Extraction(
            query=query,
            answer=answer,
            plan_text=plan.answer.text,
            scene=self.scene,
            overview=self.overview,
            model=(self.predictor.name, self.predictor.sha256),
            seconds=clock.laps(),
            warnings=(*self.scene.warnings, *warnings),
            **measured,
        )


class _Clock:
    """Seconds spent in each step of a query."""

    def __init__(self, before: dict[str, float]) -> None:
        self._laps = before
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Name the step that ends now."""
        now = time.perf_counter()
        self._laps[name] = now - self._last
        self._last = now

    def laps(self) -> dict[str, float]:
        """Seconds of each step and in total."""
        laps = {**self._laps, "total": sum(self._laps.values())}
        return {name: round(seconds, 3) for name, seconds in laps.items()}
