"""One scene, many queries: evidence, features of tiles and masks of classes are kept in between.

A query is read without the scene, so that it means the same on every scene. The mask of a class
depends on the scene alone; constraints cut it.
"""

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
from spex.engine.class_maps import ClassMaps
from spex.engine.methods import Predictor
from spex.engine.mosaic import write_probability
from spex.engine.turn import Clock, Turn
from spex.errors import ConfigError
from spex.evidence.scene_evidence import measure
from spex.postprocess.answer_text import unavailable, whole_scene_text, write_answer
from spex.postprocess.constraint_masks import Frame, check
from spex.postprocess.execution import (
    ExecutedAnswer,
    cautions,
    drop_empty_masks,
    execute,
)
from spex.query.answer_markup import Answer, fill_slots, other_classes, parse_answer
from spex.query.answers import answer_for, ignored_text, whole_scene_answer
from spex.query.constraints import ANY
from spex.query.prompt import Exchange, clean_query
from spex.query.reader import read_request
from spex.query.reading import Reading
from spex.raster.scene import Scene
from spex.raster.tiles import FailedTile, Tile, plan_tiles
from spex.raster.working_rasters import bounded_gdal_cache
from spex.results.extraction import Extraction
from spex.results.folder import output_errors
from spex.results.whole_scene import top_classes

Failed = tuple[FailedTile, ...]
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

    It is a context manager. Closing it drops what was kept.

    Args:
        scene: the scene.
        predictor: computes probabilities.
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
        self._tiles = len(plan_tiles(scene.height, scene.width, tile, overlap))
        self._features = FeatureCache(memory)
        self._maps = ClassMaps(scene)
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
        """Drop the features and masks that were kept."""
        self._features.close()
        self._maps.close()

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
        clock = Clock({"evidence": self._opening})
        self._opening = 0.0  # counts once
        reading = read_request(text, history)
        clock.lap("reading")
        turn = Turn(text, reading, self._answer(reading), clock)
        reply = self._reply(turn)
        if reply is not None:
            return reply
        check(turn.answer, self.scene, self.evidence)
        with (
            bounded_gdal_cache(),
            output_errors(f"the folder of temporary files {tempfile.gettempdir()}"),
        ):
            return self._extract(turn, progress)

    def _answer(self, reading: Reading) -> Answer:
        """The answer to a reading; that of a whole scene has the top classes that it can show."""
        if not reading.whole_scene:
            return parse_answer(answer_for(reading, self.evidence))
        shown, hidden = top_classes(self.evidence)
        names = shown or [name for name, _ in hidden]  # then each says why it cannot be mapped
        return parse_answer(whole_scene_answer(names, reading.language, reading.ignored))

    def _reply(self, turn: Turn) -> Extraction | None:
        """The result of a turn that extracts nothing: a refusal, or a reply to a greeting."""
        valid_fraction = float(self.overview.valid.mean())
        if turn.reading.reply is not None:
            text = fill_slots(turn.answer, lambda *_: "")
            return self._extraction(turn, text, valid_fraction=valid_fraction)
        refused = turn.answer.refusal
        missing = unavailable(turn.answer, self.evidence)
        if refused is None and len(missing) == len(turn.answer.spans):
            language = turn.reading.language
            sentences = [absence.text(language) for absence in missing.values()]
            refused = "; ".join(dict.fromkeys(sentences))
        if refused is None:
            return None
        return self._extraction(turn, refused, refused=refused, valid_fraction=valid_fraction)

    def _extract(self, turn: Turn, progress: Progress | None) -> Extraction:
        answer = turn.answer
        scene = self.scene
        work = tempfile.TemporaryDirectory(prefix="spex-")
        probability = Path(work.name, "probability.tif")
        mask = Path(work.name, "mask.tif")
        names = [*(span.class_name for span in answer.spans), *other_classes(answer)]
        failed = self._compute(names, progress)
        self._maps.write(names, probability)
        turn.clock.lap("tiles")
        executed = execute(
            self._frame,
            answer,
            self.evidence,
            probability=probability,
            mask=mask,
            likely=self._maps.likely(names),
            on_step=turn.clock.lap,
        )
        if failed:
            self._maps.forget(names)  # the failed tiles are tried again
        mask_facts = [facts for facts in executed.facts if facts.pixels]
        values = [facts.value for facts in mask_facts]
        drop_empty_masks(scene, values, len(names), mask=mask, probability=probability)
        text, warnings = self._text(turn, executed)
        turn.clock.lap("results")
        renumbered = (replace(facts, value=i) for i, facts in enumerate(mask_facts, start=1))
        language = turn.reading.language
        absent = [
            (answer.spans[number].class_name, absence.clause(language))
            for number, absence in executed.absences.items()
        ]
        if turn.reading.whole_scene:
            absent += top_classes(self.evidence, language).hidden
        return self._extraction(
            turn,
            text,
            work=work,
            valid_fraction=executed.valid_fraction,
            facts=tuple(renumbered),
            understood=tuple(turn.understood(facts.value - 1) for facts in mask_facts),
            absent=tuple(absent),
            tiles=self._tiles,
            failed=failed,
            warnings=(*warnings, *cautions(answer, executed.facts, self.evidence, language)),
        )

    def _text(self, turn: Turn, executed: ExecutedAnswer) -> tuple[str, list[str]]:
        """The answer as a person reads it, and warnings about it."""
        reading = turn.reading
        language = reading.language
        if not reading.whole_scene:
            facts, absences = executed.facts, executed.absences
            return write_answer(turn.answer, facts, absences, turn.query, language)
        lines = [ignored_text(reading.ignored, language)] if reading.ignored else []
        return "\n".join([*lines, whole_scene_text(executed.facts, language)]), []

    def _compute(self, class_names: Sequence[str], progress: Progress | None) -> Failed:
        """Compute the maps of the classes that are not kept; tells the tiles that failed."""
        names = self._maps.missing(class_names)
        if not names:
            if progress:
                progress(self._tiles, self._tiles)
            return ()
        path = self._maps.new_path()
        mosaic = write_probability(
            self.scene,
            len(names),
            lambda number, tile: self._decode(number, tile, names),
            path,
            tile=self._tile,
            overlap=self._overlap,
            progress=progress,
        )
        self._maps.add(names, path, mosaic)
        return mosaic.failed

    def _decode(
        self, number: int, tile: Tile, class_names: Sequence[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Probabilities ``(n, h, w)`` of classes on a tile, and which of its pixels are valid."""
        pixels = self.scene.read(Window(tile.col, tile.row, tile.width, tile.height))
        decoded = np.ones((len(class_names), *pixels.valid.shape), np.float32)
        rows = [row for row, name in enumerate(class_names) if name != ANY]
        if rows and pixels.valid.any():
            features = self._features.get(number, lambda: self._scene_predictor.features(pixels))
            names = [class_names[row] for row in rows]
            decoded[rows] = self._scene_predictor.decode(features, names, pixels)
        return decoded, pixels.valid

    def _extraction(self, turn: Turn, answer: str, **measured: Any) -> Extraction:
        warnings = measured.pop("warnings", ())
        return Extraction(
            query=turn.query,
            reading=turn.reading,
            answer=answer,
            plan_text=turn.answer.text,
            scene=self.scene,
            overview=self.overview,
            model=(self.predictor.name, self.predictor.sha256),
            seconds=turn.clock.laps(),
            warnings=(*self.scene.warnings, *turn.warnings(), *warnings),
            **measured,
        )
