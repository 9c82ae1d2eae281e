"""One scene, many queries: evidence and the features of its tiles are kept from one query to the next."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.engine.cache import BUDGET, FeatureCache
from spex.engine.methods import Predictor
from spex.engine.mosaic import write_probability
from spex.errors import ConfigError
from spex.evidence.measured import measure
from spex.postprocess.answer_text import absence, unavailable, write_answer
from spex.postprocess.composition import narrower, write_mask
from spex.postprocess.constraint_masks import Frame, check
from spex.postprocess.facts import MaskFacts, measure_masks
from spex.query.answer_markup import Answer, Plan, excluded_classes, fill_slots
from spex.query.prompt import Exchange, clean_query
from spex.raster.scene import Scene
from spex.raster.tiles import Tile
from spex.raster.working import NODATA, gdal, strips, work_profile
from spex.results.extraction import Extraction, writing

Progress = Callable[[int, int], None]


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
        if tile < 32 or not 0 <= overlap <= tile // 2:
            raise ConfigError(
                f"tile {tile} with overlap {overlap}: a tile has at least 32 pixels, an overlap at most half of it"
            )
        started = time.perf_counter()
        self.scene, self.predictor = scene, predictor
        self._tile, self._overlap = tile, overlap
        self._cache = FeatureCache(memory)
        with gdal():
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
        with gdal(), writing(f"the folder of temporary files {tempfile.gettempdir()}"):
            return self._extract(text, plan, clock, progress)

    def _refusal(self, answer: Answer) -> str | None:
        if answer.refusal is not None:
            return answer.refusal
        if not answer.spans:
            said = fill_slots(answer, lambda *_: "")
            return f"no land cover to extract was understood{': ' + said if said else ''}"
        missing = unavailable(answer, self.evidence)
        if len(missing) == len(answer.spans):
            reasons = dict.fromkeys(
                f"{answer.spans[i].phrase} cannot be told here: {reason}"
                for i, reason in missing.items()
            )
            return "; ".join(reasons)
        return None

    def _extract(
        self, query: str, plan: Plan, clock: _Clock, progress: Progress | None
    ) -> Extraction:
        answer, scene = plan.answer, self.scene
        work = tempfile.TemporaryDirectory(prefix="spex-")
        probability, mask = Path(work.name, "probability.tif"), Path(work.name, "mask.tif")
        count = len(answer.spans) + len(excluded_classes(answer))
        mosaic = write_probability(
            scene, count, lambda number, tile: self._decode(number, tile, plan), probability,
            tile=self._tile, overlap=self._overlap, progress=progress,
        )  # fmt: skip
        clock.lap("tiles")
        missing = unavailable(answer, self.evidence)
        write_mask(self._frame, answer, probability, mask, never=frozenset(missing))
        clock.lap("masks")
        facts, valid_fraction = measure_masks(self._frame, answer, self.evidence, mask, probability)
        clock.lap("facts")
        absent = self._absent(answer, facts, missing, mosaic.likely)
        text, warnings = write_answer(answer, facts, absent, query)
        found = [one for one in facts if one.pixels]
        _keep(scene, found, mask, probability, count)
        clock.lap("results")
        return self._extraction(
            query, text, clock, plan=plan, work=work, valid_fraction=valid_fraction,
            facts=tuple(replace(one, value=number) for number, one in enumerate(found, start=1)),
            absent=tuple((answer.spans[i].class_name, reason) for i, reason in absent.items()),
            tiles=mosaic.tiles, failed=mosaic.failed, warnings=(*warnings, *self._cautions(answer, facts)),
        )  # fmt: skip

    def _decode(
        self, number: int, tile: Tile, plan: Plan
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        pixels = self.scene.read(Window(tile.col, tile.row, tile.width, tile.height))
        if not pixels.valid.any():
            count = len(plan.answer.spans) + len(excluded_classes(plan.answer))
            return np.zeros((count, *pixels.valid.shape), np.float32), pixels.valid
        features = self._cache.get(number, lambda: self._scene_predictor.features(pixels))
        return self._scene_predictor.decode(features, plan, pixels), pixels.valid

    def _absent(
        self,
        answer: Answer,
        facts: list[MaskFacts],
        missing: Mapping[int, str],
        likely: Sequence[int],
    ) -> dict[int, str]:
        """Numbers of the spans whose mask is empty, with the reason."""
        reasons = {}
        for number, span in enumerate(answer.spans):
            if number in missing:
                reasons[number] = missing[number]
            elif not facts[number].pixels:
                takers = [
                    other
                    for i, other in enumerate(answer.spans)
                    if facts[i].pixels and narrower(other, span)
                ]
                taken_by = takers[0].phrase if takers and likely[number] else None
                reasons[number] = absence(span, self.evidence, taken_by, likely=likely[number] > 0)
        return reasons

    def _cautions(self, answer: Answer, facts: list[MaskFacts]) -> list[str]:
        """What a reader of the result should know."""
        cautions = []
        for i, span in enumerate(answer.spans):
            shared = [
                other.phrase
                for j, other in enumerate(answer.spans)
                if facts[i].pixels and facts[j].pixels and narrower(other, span)
            ]
            if shared:
                cautions.append(
                    f"pixels of {span.phrase} that belong to {' or '.join(shared)} count there, not here"
                )
            if facts[i].pixels and self.evidence.classes[span.class_name].weak:
                cautions.append(
                    f"no spectral index separates {span.phrase} well: its index values support the mask only weakly"
                )
        for name in excluded_classes(answer):
            if self.evidence.classes[name].status == "unavailable":
                cautions.append(
                    f"{name} could not be taken away: {self.evidence.classes[name].reason}"
                )
        return list(dict.fromkeys(cautions))

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


def _keep(scene: Scene, found: list[MaskFacts], mask: Path, probability: Path, count: int) -> None:
    """Renumber the masks without the empty ones; a probability band per mask stays (all if every mask is empty)."""
    values = [one.value for one in found]
    if values == list(range(1, count + 1)):
        return
    table = np.zeros(256, np.uint8)
    table[NODATA] = NODATA
    table[values] = np.arange(1, len(values) + 1)
    bands = values or list(range(1, count + 1))
    for path, profile in (
        (mask, work_profile(scene, 1)),
        (probability, work_profile(scene, len(bands))),
    ):
        before = path.rename(path.with_suffix(".all.tif"))
        with rasterio.open(before) as source, rasterio.open(path, "w", **profile) as out:
            for window in strips(scene.height, scene.width, 1 + count):
                if path == mask:
                    out.write(table[source.read(window=window)], window=window)
                else:
                    out.write(source.read(bands, window=window), window=window)
        before.unlink()
