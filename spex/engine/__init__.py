"""From a query to a result: tiles, masks, facts, the answer, and the files that carry them."""

from __future__ import annotations

from spex.engine.extractor import Extractor, extract, load
from spex.engine.methods import Predictor, RulesPredictor, ScenePredictor
from spex.engine.session import Session
from spex.results.extraction import Extraction

__all__ = [
    "Extraction",
    "Extractor",
    "Predictor",
    "RulesPredictor",
    "ScenePredictor",
    "Session",
    "extract",
    "load",
]
