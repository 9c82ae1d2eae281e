"""From a query to a result: tiles, masks, facts, the answer, and the files that carry them."""

from __future__ import annotations

from spex.engine.extractor import Extractor, extract, load
from spex.engine.predict import Predictor, PriorPredictor
from spex.engine.results import Extraction
from spex.engine.session import Session
from spex.prompts import Plan

__all__ = ["Extraction", "Extractor", "Plan", "Predictor", "PriorPredictor", "Session", "extract", "load"]
