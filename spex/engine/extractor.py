"""The Python door: load a predictor once, then ask scenes."""

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
        tile: side of a tile in pixels.
        overlap: pixels that neighbouring tiles share and blend over.
        progress: called with tiles done and tiles in all.

    Raises:
        QueryError: the query is empty, too long, or asks for units or indices that this scene cannot give.
        SceneError: the scene has no valid pixel, or is damaged.
    """
    with Session(scene, predictor, tile=tile, overlap=overlap) as session:
        return session.ask(query, progress=progress)


class Extractor:
    """A predictor ready to be asked: ``extract`` for one query, ``open`` for several on one scene."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def __repr__(self) -> str:
        return f"Extractor({self.predictor.name!r})"

    def extract(self, scene: SceneLike, query: str, **options: Any) -> Extraction:
        """Answer one query on a scene or the path of one; options are those of ``spex.engine.extract``."""
        return extract(_opened(scene), query, self.predictor, **options)

    def open(self, scene: SceneLike, **options: Any) -> Session:
        """Open a scene for several queries; options are those of ``Session``."""
        return Session(_opened(scene), self.predictor, **options)


def load(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    adapter: str | os.PathLike[str] | None = None,
) -> Extractor:
    """A ready extractor: the shipped model, a checkpoint by name or folder, or ``"rules"`` for the index rules alone.

    Args:
        adapter: folder of what the model learned of a region or a class, as ``spex train adapt`` writes it.

    Raises:
        ModelError: there is no such checkpoint or adapter, it is damaged, or they do not belong together.
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


def _opened(scene: SceneLike) -> Scene:
    return scene if isinstance(scene, Scene) else Scene.open(scene)
