"""What the engine asks of a method: open a scene, plan queries on it, decode its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spex.evidence.maps import class_score
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.answer_markup import Plan, other_classes
from spex.query.prompt import Exchange
from spex.query.rules import read_query
from spex.raster.scene import Pixels


class ScenePredictor(Protocol):
    """A predictor with one scene open.

    It turns a query into spans once, and tiles into one probability map per span.
    """

    def plan(self, query: str, history: Sequence[Exchange] = ()) -> Plan:
        """Read a query for the whole scene, as the next turn after ``history``."""

    def features(self, pixels: Pixels) -> Any:
        """What decoding needs of a tile for any query.

        A session keeps it between queries: arrays, or tuples and dicts of arrays.
        """

    def decode(self, features: Any, plan: Plan, pixels: Pixels) -> NDArray[np.float32]:
        """Probabilities of a tile under a plan of this scene.

        Args:
            features: what ``features`` returned for the tile.
            plan: what ``plan`` returned for the query.
            pixels: the tile (bands, h, w).

        Returns:
            0-1, ``(n, h, w)``: a map per span of the answer, then one per class of
            ``other_classes``.
        """


class Predictor(Protocol):
    """A method that answers queries: the model or the index rules."""

    @property
    def name(self) -> str:
        """Name written into the results."""

    @property
    def sha256(self) -> str | None:
        """Digest of the weights; ``None`` where there are none."""

    def open(self, overview: Pixels, evidence: SceneEvidence) -> ScenePredictor:
        """Open a scene for queries.

        Args:
            overview: the whole scene, decimated.
            evidence: measured on the overview.
        """


class RulesPredictor:
    """The index rules alone, used as the model is: no weights, no torch."""

    name = "rules"
    sha256 = None

    def open(self, overview: Pixels, evidence: SceneEvidence) -> RulesScenePredictor:
        """Open a scene; only its evidence is used."""
        return RulesScenePredictor(evidence)


class RulesScenePredictor:
    """The index rules with one scene open."""

    def __init__(self, evidence: SceneEvidence) -> None:
        self.evidence = evidence

    def plan(self, query: str, history: Sequence[Exchange] = ()) -> Plan:
        """Read the query by fixed rules."""
        return Plan(read_query(query, self.evidence, history))

    def features(self, pixels: Pixels) -> NDArray[np.float32]:
        """Nothing is kept: computing index maps costs less than reading them back."""
        return np.zeros((0, *pixels.valid.shape), np.float32)

    def decode(self, features: Any, plan: Plan, pixels: Pixels) -> NDArray[np.float32]:
        """The evidence's own soft maps of the plan's classes, ``(n, h, w)``."""
        names = [span.class_name for span in plan.answer.spans]
        names += other_classes(plan.answer)
        scores = [class_score(pixels, self.evidence, name) for name in names]
        return np.stack(scores).astype(np.float32)
