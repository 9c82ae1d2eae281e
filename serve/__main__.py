"""Open the chat: ask a scene in the browser, on this machine only."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from spex.errors import ConfigError


def command(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port; the first free one from 7860 if left out."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Checkpoint: name or folder. The shipped one if left out.")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="Folder of an adapter of `spex train adapt`.")
    ] = None,
) -> None:
    """Open the chat: ask a scene in the browser, on this machine only."""
    from serve.page import serve

    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # ends as Ctrl-C does, with its files removed
    try:
        blocks, url = serve(model, port, adapter)
    except OSError as error:
        raise ConfigError(
            f"port {port or '7860 and those after it'}: not free; choose another with --port"
        ) from error
    typer.echo(f"The chat is open at {url} (Ctrl-C ends it).")
    screen = (
        sys.platform in ("darwin", "win32")
        or "DISPLAY" in os.environ
        or "WAYLAND_DISPLAY" in os.environ
    )
    if screen and sys.stdout.isatty():
        typer.launch(url)
    blocks.block_thread()


if __name__ == "__main__":
    from spex.cli.main import main

    sys.exit(main(["serve", *sys.argv[1:]]))
