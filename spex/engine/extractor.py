"""The Python interface: load a predictor once, then query scenes."""

from __future__ import annotations

import os
import warnings
from typing import Any

from spex.engine.methods import Predictor, RulesPredictor
from spex.engine.session import Progress, Session
from spex.errors import ConfigError
from spex.raster.scene import Scene
from spex.results.extraction import Extraction

SceneLike = Scene | str | os.PathLike[str]


def extract(
    scene: Scene,
    query: str,
    predictor: Predictor,
    *,
    tile: int = 512,
    overlap: int = 64,
    progress: Progress | None = None,
) -> Extraction:
    """Answer one query on a scene.

    Args:
        scene: the scene.
        query: plain language.
        predictor: reads the query and computes probabilities.
        tile: side of a tile in pixels, at least 32.
        overlap: pixels that neighbouring tiles share and blend over, at most half a tile.
        progress: called with the number of finished tiles and of all tiles.

    Raises:
        QueryError: the query is empty or too long, or needs units or indices that this scene lacks.
        SceneError: the scene has no valid pixel, or is damaged.
    """
    with Session(scene, predictor, tile=tile, overlap=overlap) as session:
        return session.ask(query, progress=progress)


class Extractor:
    """A loaded predictor: ``extract`` answers one query, ``open`` prepares a scene for several."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def __repr__(self) -> str:
        return f"Extractor({self.predictor.name!r})"

    def extract(self, scene: SceneLike, query: str, **options: Any) -> Extraction:
        """Answer one query.

        Args:
            scene: a scene, or the path or URL of one.
            query: plain language.
            options: those of ``spex.extract``.
        """
        return extract(_as_scene(scene), query, self.predictor, **options)

    def open(self, scene: SceneLike, **options: Any) -> Session:
        """Open a scene for several queries.

        Args:
            scene: a scene, or the path or URL of one.
            options: those of ``Session``.
        """
        return Session(_as_scene(scene), self.predictor, **options)


def load(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    adapter: str | os.PathLike[str] | None = None,
) -> Extractor:
    """Load an extractor.

    Args:
        name_or_path: name or folder of a checkpoint; ``"rules"`` for the index rules without a
            model; ``None`` for the shipped model.
        adapter: folder that ``spex train adapt`` wrote for a region or a class.

    Raises:
        ModelError: the checkpoint or adapter does not exist or is damaged, or they do not match.
    """
    if name_or_path == "prior":
        warnings.warn('spex.load("prior") is now "rules"', DeprecationWarning, stacklevel=2)
        name_or_path = "rules"
    if name_or_path == "rules":
        if adapter is not None:
            raise ConfigError("an adapter needs a model: the rules have no weights")
        return Extractor(RulesPredictor())
    from spex.model import load as load_model

    return Extractor(load_model(name_or_path, adapter=adapter))


def _as_scene(scene: SceneLike) -> Scene:
    return scene if isinstance(scene, Scene) else Scene.open(scene)
