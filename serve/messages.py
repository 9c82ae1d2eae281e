"""Messages of the chat as Gradio's chatbot takes them, and the line of an error."""

from __future__ import annotations

import logging
from typing import Any

from serve.chat import METHODS, MethodName
from spex.errors import ModelError, SpexError
from spex.raster.scene import Scene
from spex.results.extraction import Extraction

log = logging.getLogger(__name__)

Message = dict[str, Any]


def user(text: str) -> Message:
    """A message of the person."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """A message of SPEX."""
    return {"role": "assistant", "content": text}


def step_running(name: str) -> Message:
    """The step that is being done."""
    return {"role": "assistant", "content": "", "metadata": {"title": name, "status": "pending"}}


def steps_done(method: MethodName, extraction: Extraction, seconds: float) -> Message:
    """How a question was answered.

    Args:
        method: who answered.
        extraction: the answer.
        seconds: that the person waited.
    """
    title = f"{METHODS[method]}: "
    if extraction.tiles:
        title += f"{extraction.tiles} tile{'s' * (extraction.tiles != 1)}, "
    title += f"{seconds:.1f} s"
    return {"role": "assistant", "content": "", "metadata": {"title": title, "status": "done"}}


def scene_opened(scene: Scene) -> Message:
    """What a person reads when a scene is open."""
    lines = [f"{scene.path} is open. What would you like to find in it?"]
    lines += [f"Note: {warning}." for warning in scene.warnings]
    return assistant("\n".join(lines))


def answer_text(extraction: Extraction) -> str:
    """The answer with its notes, except those that ``scene_opened`` has shown."""
    lines = [extraction.answer]
    if extraction.failed:
        lines.append(
            f"{len(extraction.failed)} of {extraction.tiles} tiles failed and hold no data."
        )
    for warning in extraction.warnings:
        if warning not in (*extraction.scene.warnings, *extraction.answer.split("\n")):
            lines.append(f"Note: {warning}.")
    return "\n".join(lines)


def error_line(error: Exception) -> str:
    """One line for an error, never a traceback; an unexpected error goes to the log in full."""
    if not isinstance(error, SpexError):
        log.error("unexpected error", exc_info=error)
        return f"Something failed inside SPEX ({type(error).__name__}); see the server's log."
    line = " ".join(str(error).split())
    if isinstance(error, ModelError):
        line += f". Until this is fixed, “{METHODS['rules']}” below answers without a model."
    return line
