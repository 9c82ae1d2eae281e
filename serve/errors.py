"""What a person reads when something goes wrong: one line, never a traceback."""

from __future__ import annotations

import logging

from spex.errors import ModelError, SpexError

log = logging.getLogger(__name__)


def line(error: Exception) -> str:
    """The line for an error; what nobody expected goes to the log in full."""
    if isinstance(error, ModelError):
        return f"{_joined(error)}. Until then, “index rules” below answers without a model."
    if isinstance(error, SpexError):
        return _joined(error)
    log.error("unexpected error", exc_info=error)
    return f"Something failed inside SPEX ({type(error).__name__}); the details are in the log of the server."


def _joined(error: SpexError) -> str:
    return " ".join(str(error).split())
