"""The server of the page: on the loopback only, and without requests to other hosts."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import gradio as gr

from serve.chat import MethodName
from serve.page import Page
from spex.engine.extractor import Extractor, load

HOST = "127.0.0.1"
MAX_UPLOAD = "2gb"
_CSS = Path(__file__).with_name("page.css")


def serve(
    model: str | None = None, port: int | None = None, adapter: Path | None = None
) -> tuple[gr.Blocks, str]:
    """Start the server in the background.

    Args:
        model: checkpoint, by name or folder; the shipped one if None.
        port: None takes the first free one from 7860.
        adapter: folder of an adapter of the model.

    Returns:
        The page and its address.

    Raises:
        OSError: the port is not free.
    """

    @cache
    def extractor(method: MethodName) -> Extractor:
        return load("rules") if method == "rules" else load(model, adapter=adapter)

    blocks = Page(extractor, _root()).build()
    _, url, _ = blocks.launch(
        server_name=HOST,
        server_port=port,
        max_file_size=MAX_UPLOAD,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        enable_monitoring=False,
        footer_links=[],
        theme=gr.themes.Soft(
            primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        ),
        css_paths=_CSS,
    )
    return blocks, url


@cache
def _root() -> Path:
    """One folder of this process for all files, removed at its end.

    Uploads arrive in it, and downloads from it are not copied once more.
    """
    root = tempfile.mkdtemp(prefix="spex-serve-")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = root
    return Path(root)
