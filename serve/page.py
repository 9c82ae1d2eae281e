"""The page: a scene on the left, the chat about it on the right. Loopback only, and nothing is asked of other hosts."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

# Gradio reads these when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import gradio as gr

from serve.chat import COMPANIONS, RASTERS, Chat, Method, mask_overview
from serve.errors import line
from serve.fragments import EMPTY, facts_table, picture, scene_line
from spex.engine.extractor import Extractor, load
from spex.results.extraction import Extraction

HOST = "127.0.0.1"
MAX_UPLOAD = "2gb"
EXAMPLES = (
    "Open water and vegetation",
    "Water larger than 1 ha",
    "The largest lake",
    "Vegetation with NDVI above 0.6",
    "Bare soil in the southern half",
)
_WORD_S = 0.02  # pause between the words of an answer
_CSS = Path(__file__).with_name("page.css")

Message = dict[str, Any]
Load = Callable[[Method], Extractor]


class Page:
    """The handlers of the page's events, and what each browser session has open and has said.

    Args:
        load: gives the extractor of a method.
        root: folder of the files of all sessions.
    """

    def __init__(self, load: Load, root: Path) -> None:
        self.chats: defaultdict[str, Chat] = defaultdict(lambda: Chat(load, root))
        self._said: defaultdict[str, list[Message]] = defaultdict(list)

    def build(self) -> gr.Blocks:
        """Lay out the page and connect it."""
        with gr.Blocks(title="SPEX", fill_width=True, analytics_enabled=False) as blocks:
            with gr.Row(elem_classes="spex-bar"):
                gr.HTML(
                    "<h1>SPEX</h1><p>Ask an image for land cover.</p>",
                    elem_classes="spex-title",
                    min_width=270,
                    scale=0,
                )
                upload = gr.UploadButton(
                    "Upload a scene",
                    file_count="multiple",
                    file_types=[*RASTERS, *COMPANIONS],
                    size="md",
                    scale=0,
                )
                sample = gr.Button("Sentinel-2 sample", size="md", scale=0)
                summary = gr.HTML("", elem_id="scene", scale=6, min_width=320)
            title = "The file does not say its bands? Say them here"
            with (
                gr.Accordion(title, open=False, elem_id="bands") as accordion,
                gr.Row(elem_classes="spex-last"),
            ):
                sensor = gr.Textbox("", label="Sensor", placeholder="sentinel-2a", scale=1)
                bands = gr.Textbox(
                    "",
                    label="or bands in file order: name=centre/width in nm",
                    placeholder="B02=490/65,B03=560/35",
                    scale=3,
                )
                again = gr.Button("Open again", size="md", scale=0)
            with gr.Row():
                with gr.Column(scale=7, min_width=340):
                    view = gr.HTML(EMPTY, elem_id="view")
                    facts = gr.HTML("", elem_id="facts")
                with gr.Column(scale=5, min_width=340):
                    chat = gr.Chatbot(
                        elem_id="chat",
                        height="calc(100vh - 390px)",
                        min_height=280,
                        label="Chat",
                        show_label=False,
                        buttons=[],
                        render_markdown=False,
                        feedback_options=None,
                        placeholder="Ask what covers the land, then follow it up: “only in the north”, “why?”",
                    )
                    box = gr.Textbox(
                        "",
                        elem_id="query",
                        show_label=False,
                        placeholder="Where is open water larger than 1 ha?",
                        submit_btn=True,
                        max_lines=3,
                    )
                    with gr.Row(elem_classes="spex-chips"):
                        chips = [
                            gr.Button(text, size="sm", min_width=0, scale=0) for text in EXAMPLES
                        ]
                    with gr.Row(elem_classes="spex-last"):
                        method = gr.Radio(
                            ["model", "index rules"],
                            value="model",
                            label="Answered by",
                            show_label=False,
                            container=False,
                            elem_id="method",
                            min_width=200,
                        )
                        download = gr.DownloadButton(
                            "Download the results",
                            elem_id="download",
                            interactive=False,
                            size="md",
                            min_width=160,
                        )
            # One question at a time for everybody: an answer already uses every core.
            engine: dict[str, Any] = {
                "concurrency_id": "engine",
                "concurrency_limit": 1,
                "show_progress": "minimal",
                "api_visibility": "private",
            }
            shown = [chat, summary, accordion, view, facts, download]
            upload.upload(self.upload, [upload, sensor, bands], shown, **engine)
            sample.click(self.take_sample, None, shown, **engine)
            again.click(self.reopen, [sensor, bands], shown, **engine)
            answered = [chat, box, view, facts, download]
            for asked, where in ((box.submit, box), *((chip.click, chip) for chip in chips)):
                asked(
                    self.ask,
                    [where, method],
                    answered,
                    show_progress_on=chat,
                    trigger_mode="multiple",
                    **engine,
                )
            box.stop(self.stop, None, None, queue=False, api_visibility="private")
            chat.clear(self.clear, None, None, queue=False, api_visibility="private")
            blocks.unload(self.leave)
        page: gr.Blocks = blocks
        return page

    def upload(
        self, files: list[str], sensor: str, bands: str, request: gr.Request
    ) -> tuple[Any, ...]:
        """Open uploaded files."""
        return self._open(request, lambda chat: chat.upload(files), sensor, bands)

    def take_sample(self, request: gr.Request) -> tuple[Any, ...]:
        """Open the sample."""
        return self._open(request, Chat.take_sample)

    def reopen(self, sensor: str, bands: str, request: gr.Request) -> tuple[Any, ...]:
        """Open the files of the last upload with what the person says about their bands."""
        return self._open(request, lambda chat: None, sensor, bands)

    def _open(
        self, request: gr.Request, take: Callable[[Chat], None], sensor: str = "", bands: str = ""
    ) -> tuple[Any, ...]:
        chat, said = self._of(request)
        download = gr.DownloadButton(value=None, interactive=False)
        try:
            take(chat)
            scene = chat.open(sensor, bands)
        except Exception as error:
            said.append(_assistant(line(error)))
            return said, "", gr.Accordion(open=True), EMPTY, "", download
        assert chat.overview is not None
        notes = [f"Mind: {note}." for note in scene.warnings]
        said.append(
            _assistant(
                "\n".join([f"{scene.path} is open. What would you like to find in it?", *notes])
            )
        )
        return (
            said,
            scene_line(scene, chat.overview),
            gr.Accordion(open=False),
            picture(chat.overview),
            "",
            download,
        )

    def ask(self, query: str, method: Method, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Answer a query, saying meanwhile what is being done."""
        same, started = gr.skip(), time.perf_counter()
        chat, said = self._of(request)
        said.append({"role": "user", "content": query})
        running = gr.Textbox("", submit_btn=False, stop_btn=True)
        ready = gr.Textbox(submit_btn=True, stop_btn=False)
        yield said, running, same, same, gr.DownloadButton(interactive=False)
        try:
            extraction = None
            for step in chat.ask(query, method):
                if isinstance(step, Extraction):
                    extraction = step
                else:
                    yield [*said, _working(step)], same, same, same, same
            if extraction is None:
                said.append(_assistant("Stopped."))
                yield said, ready, same, same, same
                return
            said.append(_done(method, extraction, time.perf_counter() - started))
            view = picture(extraction.overview, extraction, mask_overview(extraction))
            yield said, ready, view, facts_table(extraction.facts), same
            answer = _answer(extraction)
            for part in _word_by_word(answer):
                yield [*said, _assistant(part)], same, same, same, same
            said.append(_assistant(answer))
            yield (
                said,
                same,
                same,
                same,
                gr.DownloadButton(value=chat.save(extraction), interactive=True),
            )
        except Exception as error:
            said.append(_assistant(line(error)))
            yield said, ready, same, same, same

    def stop(self, request: gr.Request) -> None:
        """End the work on the query in hand."""
        self._of(request)[0].stop()

    def clear(self, request: gr.Request) -> None:
        """Forget what was said; the scene stays open."""
        chat, said = self._of(request)
        chat.start_anew()
        said.clear()

    def leave(self, request: gr.Request) -> None:
        """Remove what a browser session leaves behind."""
        session = request.session_hash or ""
        self._said.pop(session, None)
        chat = self.chats.pop(session, None)
        if chat is not None:
            chat.close()

    def _of(self, request: gr.Request) -> tuple[Chat, list[Message]]:
        session = request.session_hash or ""
        return self.chats[session], self._said[session]


def serve(
    model: str | None = None, port: int | None = None, adapter: Path | None = None
) -> tuple[gr.Blocks, str]:
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
        return load(model, adapter=adapter) if method == "model" else load("rules")

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
    """One folder of this process for all files; uploads land here, and downloads from here are not copied once more."""
    root = tempfile.mkdtemp(prefix="spex-serve-")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = root
    return Path(root)


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _working(step: str) -> Message:
    return {"role": "assistant", "content": "", "metadata": {"title": step, "status": "pending"}}


def _done(method: Method, extraction: Extraction, seconds: float) -> Message:
    tiles = f"{extraction.tiles} tile{'s' * (extraction.tiles != 1)}, " if extraction.tiles else ""
    title = f"{method}: {tiles}{seconds:.1f} s"
    return {"role": "assistant", "content": "", "metadata": {"title": title, "status": "done"}}


def _answer(extraction: Extraction) -> str:
    lines = [
        f"This cannot be answered: {extraction.refused}"
        if extraction.refused
        else extraction.answer
    ]
    if extraction.failed:
        lines.append(
            f"{len(extraction.failed)} of {extraction.tiles} tiles failed; they are no data."
        )
    # What was said when the scene was opened is not repeated.
    lines += [
        f"Mind: {warning}."
        for warning in extraction.warnings
        if warning not in extraction.scene.warnings
    ]
    return "\n".join(lines)


def _word_by_word(text: str) -> Iterator[str]:
    for place, character in enumerate(text):
        if character == " ":
            yield text[:place]
            time.sleep(_WORD_S)
