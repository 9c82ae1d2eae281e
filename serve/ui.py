"""The page: a scene on the left, the chat about it on the right. Loopback only, and nothing is asked of other hosts."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

# Gradio reads these when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import gradio as gr

from serve.errors import line
from serve.session import COMPANIONS, RASTERS, Chat, Method, mask_overview
from serve.view import EMPTY, facts_table, picture, scene_line
from spex.engine.extractor import Extractor, load
from spex.engine.results import Extraction

HOST = "127.0.0.1"
MAX_UPLOAD = "2gb"
EXAMPLES = (
    "Open water and vegetation",
    "Water bodies larger than 1 ha",
    "Vegetation with NDVI above 0.6",
    "The largest lake",
    "Bare soil in the southern half",
)
_WORD_S = 0.02  # pause between the words of an answer
_CSS = Path(__file__).with_name("page.css")

Message = dict[str, Any]
Load = Callable[[Method], Extractor]


class Page:
    """The handlers of the page's events, and the open chats by browser session."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.chats: dict[str, Chat] = {}

    def build(self) -> gr.Blocks:
        """Lay out the page and connect it."""
        with gr.Blocks(title="SPEX", fill_width=True, analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
            with gr.Row(elem_classes="spex-bar"):
                gr.HTML("<h1>SPEX</h1><p>Ask an image for land cover.</p>", elem_classes="spex-title", min_width=180)
                upload = gr.UploadButton(
                    "Upload a scene", file_count="multiple", file_types=[*RASTERS, *COMPANIONS], size="md", scale=0
                )
                sample = gr.Button("Sentinel-2 sample", size="md", scale=0)
                summary = gr.HTML("", elem_id="scene", scale=6, min_width=320)
            title = "The file does not say its bands? Say them here"
            with gr.Accordion(title, open=False, elem_id="bands") as accordion, gr.Row(elem_classes="spex-last"):
                sensor = gr.Textbox(label="Sensor", placeholder="sentinel-2a", scale=1)
                bands = gr.Textbox(
                    label="or bands in file order: name=centre/width in nm", placeholder="B02=490/65,B03=560/35",
                    scale=3,
                )  # fmt: skip
                again = gr.Button("Open again", size="md", scale=0)
            with gr.Row():
                with gr.Column(scale=7, min_width=340):
                    view = gr.HTML(EMPTY, elem_id="view")
                    facts = gr.HTML("", elem_id="facts")
                with gr.Column(scale=5, min_width=340):
                    chat = gr.Chatbot(
                        elem_id="chat", height="calc(100vh - 345px)", min_height=280, label="Chat", show_label=False, buttons=["copy"],
                        render_markdown=False, placeholder="Ask what covers the land.", feedback_options=None,
                    )  # fmt: skip
                    box = gr.Textbox(
                        elem_id="query", show_label=False, placeholder="Where is open water larger than 1 ha?",
                        submit_btn=True, stop_btn=False, max_lines=3, autofocus=True,
                    )  # fmt: skip
                    with gr.Row(elem_classes="spex-chips"):
                        chips = [gr.Button(text, size="sm", min_width=0, scale=0) for text in EXAMPLES]
                    with gr.Row(elem_classes="spex-last"):
                        method = gr.Radio(
                            ["model", "index rules"], value="model", label="Answered by", show_label=False,
                            container=False, elem_id="method", scale=1, min_width=200,
                        )  # fmt: skip
                        download = gr.DownloadButton(
                            "Download the results", elem_id="download", interactive=False, size="md", scale=1,
                            min_width=160,
                        )  # fmt: skip
            shown = [chat, summary, accordion, view, facts, download]
            engine: dict[str, Any] = {"concurrency_id": "engine", "concurrency_limit": 1, "api_visibility": "private"}
            upload.upload(self.upload, [upload, sensor, bands, chat], shown, **engine)
            sample.click(self.take_sample, [chat], shown, **engine)
            again.click(self.reopen, [sensor, bands, chat], shown, **engine)
            answered = [chat, box, view, facts, download]
            quiet: dict[str, Any] = {**engine, "show_progress": "hidden"}
            box.submit(self.ask, [box, chat, method], answered, **quiet)
            for chip in chips:
                chip.click(self.ask, [chip, chat, method], answered, **quiet)
            blocks.unload(self.leave)
        return blocks

    def upload(
        self, files: list[str], sensor: str, bands: str, history: list[Message], request: gr.Request
    ) -> tuple[Any, ...]:
        """Open uploaded files."""
        return self._open(history, request, lambda chat: chat.upload(files), sensor, bands)

    def take_sample(self, history: list[Message], request: gr.Request) -> tuple[Any, ...]:
        """Open the sample."""
        return self._open(history, request, Chat.take_sample)

    def reopen(self, sensor: str, bands: str, history: list[Message], request: gr.Request) -> tuple[Any, ...]:
        """Open the files of the last upload with what the person says about their bands."""
        return self._open(history, request, lambda chat: None, sensor, bands)

    def _open(
        self,
        history: list[Message],
        request: gr.Request,
        take: Callable[[Chat], None],
        sensor: str = "",
        bands: str = "",
    ) -> tuple[Any, ...]:
        chat = self._chat(request)
        download = gr.DownloadButton(value=None, interactive=False)
        try:
            take(chat)
            scene = chat.open(sensor, bands)
        except Exception as error:
            said = [*history, _assistant(line(error))]
            return said, "", gr.Accordion(open=True), EMPTY, "", download
        assert chat.overview is not None
        said = [*history, _assistant(f"{scene.path} is open. What would you like to find in it?")]
        return said, scene_line(scene, chat.overview), gr.Accordion(open=False), picture(chat.overview), "", download

    def ask(self, query: str, history: list[Message], method: Method, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Answer a query, saying meanwhile what is being done."""
        same = gr.skip()
        said = [*history, {"role": "user", "content": query}]
        yield said, "", same, same, gr.DownloadButton(interactive=False)
        chat, started = self._chat(request), time.perf_counter()
        try:
            for step in chat.ask(query, method):
                if isinstance(step, Extraction):
                    extraction = step
                else:
                    yield [*said, _working(step)], same, same, same, same
            said = [*said, _done(method, extraction, time.perf_counter() - started)]
            view = picture(extraction.overview, extraction, mask_overview(extraction))
            yield said, same, view, facts_table(extraction.facts), same
            for part in _word_by_word(_answer(extraction)):
                yield [*said, _assistant(part)], same, same, same, same
            said = [*said, _assistant(_answer(extraction))]
            yield said, same, same, same, gr.DownloadButton(value=chat.save(extraction), interactive=True)
        except Exception as error:
            yield [*said, _assistant(line(error))], same, same, same, same

    def leave(self, request: gr.Request) -> None:
        """Remove what a browser session leaves behind."""
        chat = self.chats.pop(request.session_hash or "", None)
        if chat is not None:
            chat.close()

    def _chat(self, request: gr.Request) -> Chat:
        session = request.session_hash or ""
        if session not in self.chats:
            self.chats[session] = Chat(self._load)
        return self.chats[session]


def serve(model: str | None = None, port: int | None = None) -> tuple[gr.Blocks, str]:
    """Start the server in the background.

    Args:
        model: checkpoint, by name or folder; the shipped one if None.
        port: None takes the first free one from 7860.

    Returns:
        The page and its address.

    Raises:
        OSError: the port is not free.
    """

    @cache
    def extractor(method: Method) -> Extractor:
        return load(model if method == "model" else "prior")

    os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="spex-chat-cache-")
    blocks = Page(extractor).build()
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
        theme=gr.themes.Soft(primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css_paths=_CSS,
    )
    return blocks, url


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _working(step: str) -> Message:
    return {"role": "assistant", "content": "", "metadata": {"title": step, "status": "pending"}}


def _done(method: Method, extraction: Extraction, seconds: float) -> Message:
    tiles = f"{extraction.tiles} tile{'s' * (extraction.tiles != 1)}, " if extraction.tiles else ""
    title = f"{method}: {tiles}{seconds:.1f} s"
    title = f"{extraction.model[0]}: {tiles}{extraction.seconds['total']:.1f} s"
    return {"role": "assistant", "content": "", "metadata": {"title": title, "status": "done"}}


def _answer(extraction: Extraction) -> str:
    text = f"This cannot be answered: {extraction.refused}" if extraction.refused else extraction.answer
    failed = [f"{len(extraction.failed)} of {extraction.tiles} tiles failed."] if extraction.failed else []
    return "\n".join([text, *failed, *(f"Mind: {warning}." for warning in extraction.warnings)])


def _word_by_word(text: str) -> Iterator[str]:
    for place, character in enumerate(text):
        if character == " ":
            yield text[:place]
            time.sleep(_WORD_S)
