"""The vision-language model: spectral encoder, language model, mask decoder."""

from spex.model.config import SpexConfig
from spex.model.loading import load
from spex.model.predictor import ModelPredictor
from spex.model.spex import SpexModel

__all__ = ["ModelPredictor", "SpexConfig", "SpexModel", "load"]
