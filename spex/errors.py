"""Expected errors; each message names the problem, the value and what to do.

SpexError                      exit status 2 of the command line
├── SceneError (ValueError)    a raster that cannot be read as a scene
│   └── BandError              band metadata missing, contradictory or impossible
├── MissingBandError (LookupError)  a computation needs a band role that the scene lacks
├── QueryError (ValueError)    a query that cannot be accepted
├── AnswerError (ValueError)   an answer whose spans or slots are malformed
├── OutputError (OSError)      results cannot be written to the requested place
├── ModelError (RuntimeError)  a checkpoint that cannot be loaded or does not fit
├── TrainingError (RuntimeError)  a training run that cannot continue
├── RecordError (ValueError)   a SPIE record or label source that is invalid
├── ConfigError (ValueError)   a configuration file or option that is invalid
└── MissingExtraError (ImportError)  an optional dependency is not installed
"""

from __future__ import annotations


class SpexError(Exception):
    """Base class of all errors that SPEX raises on purpose."""


class SceneError(SpexError, ValueError):
    """A raster cannot be read as a scene."""


class BandError(SceneError):
    """Band metadata are missing, contradictory or physically impossible."""


class MissingBandError(SpexError, LookupError):
    """A computation needs a band role that the scene does not have."""


class QueryError(SpexError, ValueError):
    """A query is empty, too long or not text."""


class AnswerError(SpexError, ValueError):
    """An answer's spans, attributes or fact slots are malformed."""


class OutputError(SpexError, OSError):
    """Results cannot be written to the requested place."""


class ModelError(SpexError, RuntimeError):
    """A checkpoint is missing, damaged or does not fit."""


class TrainingError(SpexError, RuntimeError):
    """A training run cannot continue."""


class RecordError(SpexError, ValueError):
    """A SPIE record or a label source is invalid."""


class ConfigError(SpexError, ValueError):
    """A configuration value is invalid."""


class MissingExtraError(SpexError, ImportError):
    """An optional dependency is not installed."""
