"""Open the chat: ask a scene in the browser, on this machine only."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from spex.cli.options import AdapterOption, ModelOption
from spex.errors import ConfigError


def command(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port. Default: the first free one from 7860."),
    ] = None,
    model: ModelOption = None,
    adapter: AdapterOption = None,
) -> None:
    """Open the chat: ask a scene in the browser, on this machine only."""
    from serve.server import serve

    # SIGTERM then ends the chat as Ctrl-C does, and its files are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        blocks, url = serve(model, port, adapter)
    except OSError as error:
        tried = "port 7860 and those after it are" if port is None else f"port {port} is"
        raise ConfigError(f"{tried} not free; choose another with --port") from error
    typer.echo(f"The chat is open at {url} (Ctrl-C ends it).")
    if _has_screen() and sys.stdout.isatty():
        typer.launch(url)
    blocks.block_thread()


def _has_screen() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ


if __name__ == "__main__":
    from spex.cli.main import main

    sys.exit(main(["serve", *sys.argv[1:]]))
