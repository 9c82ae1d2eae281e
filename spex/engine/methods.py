"""What the engine asks of a method: open a scene, and make probabilities of classes on its tiles.

A method never sees a request: what was asked is read before, without the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spex.evidence.maps import class_score
from spex.evidence.scene_evidence import SceneEvidence
from spex.raster.scene import Pixels


class ScenePredictor(Protocol):
    """A predictor with one scene open: tiles in, one probability map per class out."""

    def features(self, pixels: Pixels) -> Any:
        """What decoding needs of a tile for any class.

        A session keeps it between queries: arrays, or tuples and dicts of arrays.
        """

    def decode(
        self, features: Any, class_names: Sequence[str], pixels: Pixels
    ) -> NDArray[np.float32]:
        """Probabilities of classes on a tile; each class by itself, whatever stands beside it.

        Args:
            features: what ``features`` returned for the tile.
            class_names: names of ``classes.yaml``.
            pixels: the tile (bands, h, w).

        Returns:
            0-1, ``(n, h, w)``: a map per class.
        """


class Predictor(Protocol):
    """A method that makes masks: the model or the index rules."""

    @property
    def name(self) -> str:
        """Name written into the results."""

    @property
    def sha256(self) -> str | None:
        """Digest of the weights; ``None`` where there are none."""

    def open(self, overview: Pixels, evidence: SceneEvidence) -> ScenePredictor:
        """Open a scene.

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

    def features(self, pixels: Pixels) -> NDArray[np.float32]:
        """Nothing is kept: computing index maps costs less than reading them back."""
        return np.zeros((0, *pixels.valid.shape), np.float32)

    def decode(
        self, features: Any, class_names: Sequence[str], pixels: Pixels
    ) -> NDArray[np.float32]:
        """The evidence's own soft maps of the classes, ``(n, h, w)``."""
        scores = [class_score(pixels, self.evidence, name) for name in class_names]
        return np.stack(scores).astype(np.float32)
