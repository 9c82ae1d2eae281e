"""What the engine asks of anything that turns a query and pixels into probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spex.evidence.maps import class_score
from spex.evidence.scene_evidence import SceneEvidence
from spex.query.answer_markup import Plan, excluded_classes
from spex.query.prompt import Exchange
from spex.query.rules import read_query
from spex.raster.scene import Pixels


class Predictor(Protocol):
    """Turns a query into spans once, and tiles into one probability map per span."""

    @property
    def name(self) -> str:
        """Name written into the results."""

    @property
    def sha256(self) -> str | None:
        """Digest of the weights; ``None`` where there are none."""

    def plan(
        self,
        query: str,
        overview: Pixels,
        evidence: SceneEvidence,
        history: Sequence[Exchange] = (),
    ) -> Plan:
        """Read the query once for the whole scene, as the next turn after ``history``."""

    def features(self, pixels: Pixels, evidence: SceneEvidence) -> Any:
        """What decoding needs of a tile whatever the query; kept by a session. Arrays, or tuples and dicts of them."""

    def decode(
        self, features: Any, plan: Plan, pixels: Pixels, evidence: SceneEvidence
    ) -> NDArray[np.float32]:
        """Probabilities 0-1, ``(n, h, w)``: one map per span of the answer, then one per class of ``excluded_classes``."""


class RulesPredictor:
    """The index rules alone: no weights, no torch."""

    name = "rules"
    sha256 = None

    def plan(
        self,
        query: str,
        overview: Pixels,
        evidence: SceneEvidence,
        history: Sequence[Exchange] = (),
    ) -> Plan:
        """Read the query by fixed rules."""
        return Plan(read_query(query, evidence, history))

    def features(self, pixels: Pixels, evidence: SceneEvidence) -> NDArray[np.float32]:
        """Nothing is kept: index maps cost less than reading them back."""
        return np.zeros((0, *pixels.valid.shape), np.float32)

    def decode(
        self, features: Any, plan: Plan, pixels: Pixels, evidence: SceneEvidence
    ) -> NDArray[np.float32]:
        """The evidence's own soft maps of the classes asked for, ``(n, h, w)``."""
        names = (*(span.class_name for span in plan.answer.spans), *excluded_classes(plan.answer))
        return np.stack([class_score(pixels, evidence, name) for name in names]).astype(np.float32)
