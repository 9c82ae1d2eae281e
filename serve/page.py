"""The page: a scene on the left, the chat about it on the right."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Gradio reads these when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import gradio as gr

from serve.chat import (
    COMPANION_SUFFIXES,
    METHODS,
    RASTER_SUFFIXES,
    Chat,
    MethodName,
    mask_overview,
)
from serve.fragments import EMPTY, facts_table, picture, scene_line
from serve.messages import (
    Message,
    answer_text,
    assistant,
    error_line,
    scene_opened,
    step_running,
    steps_done,
    user,
)
from spex.engine.extractor import Extractor
from spex.results.extraction import Extraction

EXAMPLES = (
    "Open water and vegetation",
    "Water larger than 1 ha",
    "The largest lake",
    "Vegetation with NDVI above 0.6",
    "Bare soil in the southern half",
)
# One question at a time for everybody: an answer already uses every core.
_QUEUED: dict[str, Any] = {
    "concurrency_id": "engine",
    "concurrency_limit": 1,
    "show_progress": "minimal",
    "api_visibility": "private",
}
_AT_ONCE: dict[str, Any] = {"queue": False, "api_visibility": "private"}


@dataclass(frozen=True)
class _SceneBar:
    """The controls by which a scene is opened."""

    upload: gr.UploadButton
    sample: gr.Button
    summary: gr.HTML
    accordion: gr.Accordion
    sensor: gr.Textbox
    bands: gr.Textbox
    reopen: gr.Button


@dataclass(frozen=True)
class _ChatColumn:
    """The controls by which a scene is asked."""

    chatbot: gr.Chatbot
    query: gr.Textbox
    examples: list[gr.Button]
    method: gr.Radio
    download: gr.DownloadButton


class Page:
    """The handlers of the page's events, with the chat and the messages of each browser session.

    Args:
        load: loads the extractor of a method.
        root: folder of the files of all sessions.
    """

    def __init__(self, load: Callable[[MethodName], Extractor], root: Path) -> None:
        self.chats: defaultdict[str, Chat] = defaultdict(lambda: Chat(load, root))
        self._messages: defaultdict[str, list[Message]] = defaultdict(list)

    def build(self) -> gr.Blocks:
        """Lay out the page and connect it."""
        with gr.Blocks(title="SPEX", fill_width=True, analytics_enabled=False) as blocks:
            bar = _scene_bar()
            with gr.Row():
                with gr.Column(scale=7, min_width=340):
                    view = gr.HTML(EMPTY, elem_id="view")
                    facts = gr.HTML("", elem_id="facts")
                with gr.Column(scale=5, min_width=340):
                    column = _chat_column()
            self._connect(bar, column, view, facts)
            blocks.unload(self.leave)
        page: gr.Blocks = blocks
        return page

    def _connect(self, bar: _SceneBar, column: _ChatColumn, view: gr.HTML, facts: gr.HTML) -> None:
        opened = [column.chatbot, bar.summary, bar.accordion, view, facts, column.download]
        stated = [bar.sensor, bar.bands]
        bar.upload.upload(self.upload, [bar.upload, *stated], opened, **_QUEUED)
        bar.sample.click(self.take_sample, None, opened, **_QUEUED)
        bar.reopen.click(self.reopen, stated, opened, **_QUEUED)
        answered = [column.chatbot, column.query, view, facts, column.download]
        triggers: list[tuple[Callable[..., Any], gr.Textbox | gr.Button]]
        triggers = [(column.query.submit, column.query)]
        triggers += [(example.click, example) for example in column.examples]
        for trigger, query in triggers:
            trigger(
                self.ask,
                [query, column.method],
                answered,
                show_progress_on=column.chatbot,
                trigger_mode="multiple",
                **_QUEUED,
            )
        column.query.stop(self.stop, None, None, **_AT_ONCE)
        column.chatbot.clear(self.clear, None, None, **_AT_ONCE)

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
        chat, messages = self._session(request)
        download = gr.DownloadButton(value=None, interactive=False)
        try:
            take(chat)
            scene = chat.open(sensor, bands)
        except Exception as error:
            messages.append(assistant(error_line(error)))
            return messages, "", gr.Accordion(open=True), EMPTY, "", download
        assert chat.overview is not None
        messages.append(scene_opened(scene))
        summary = scene_line(scene, chat.overview)
        view = picture(chat.overview)
        return messages, summary, gr.Accordion(open=False), view, "", download

    def ask(self, query: str, method: MethodName, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Answer a query, naming the current step until the answer is there."""
        started = time.perf_counter()
        unchanged = gr.skip()
        chat, messages = self._session(request)
        messages.append(user(query))
        running = gr.Textbox("", submit_btn=False, stop_btn=True)
        ready = gr.Textbox(submit_btn=True, stop_btn=False)
        yield messages, running, unchanged, unchanged, gr.DownloadButton(interactive=False)
        try:
            extraction = None
            for step in chat.ask(query, method):
                if isinstance(step, Extraction):
                    extraction = step
                else:
                    yield [*messages, step_running(step)], *[unchanged] * 4
            if extraction is None:
                messages.append(assistant("Stopped."))
                yield messages, ready, *[unchanged] * 3
                return
            messages.append(steps_done(method, extraction, time.perf_counter() - started))
            messages.append(assistant(answer_text(extraction)))
            if extraction.reading.reply is not None:
                earlier = gr.DownloadButton(interactive=chat.has_result)
                yield messages, ready, unchanged, unchanged, earlier
                return
            view = picture(extraction.overview, extraction.facts, mask_overview(extraction))
            yield messages, ready, view, facts_table(extraction.facts), unchanged
            download = gr.DownloadButton(value=chat.save(extraction), interactive=True)
            yield messages, *[unchanged] * 3, download
        except Exception as error:
            messages.append(assistant(error_line(error)))
            yield messages, ready, *[unchanged] * 3

    def stop(self, request: gr.Request) -> None:
        """End the work on the current query."""
        self._session(request)[0].stop()

    def clear(self, request: gr.Request) -> None:
        """Forget the questions and answers; the scene stays open."""
        chat, messages = self._session(request)
        chat.forget_exchanges()
        messages.clear()

    def leave(self, request: gr.Request) -> None:
        """Remove what a browser session leaves behind."""
        key = request.session_hash or ""
        self._messages.pop(key, None)
        chat = self.chats.pop(key, None)
        if chat is not None:
            chat.close()

    def _session(self, request: gr.Request) -> tuple[Chat, list[Message]]:
        key = request.session_hash or ""
        return self.chats[key], self._messages[key]


def _scene_bar() -> _SceneBar:
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
            file_types=[*RASTER_SUFFIXES, *COMPANION_SUFFIXES],
            size="md",
            scale=0,
        )
        sample = gr.Button("Sentinel-2 sample", size="md", scale=0)
        summary = gr.HTML("", elem_id="scene", scale=6, min_width=320)
    title = "Does the file not state its bands? Enter them here"
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
        reopen = gr.Button("Open again", size="md", scale=0)
    return _SceneBar(upload, sample, summary, accordion, sensor, bands, reopen)


def _chat_column() -> _ChatColumn:
    chatbot = gr.Chatbot(
        elem_id="chat",
        height="calc(100vh - 390px)",
        min_height=280,
        label="Chat",
        show_label=False,
        buttons=[],
        render_markdown=False,
        feedback_options=None,
        placeholder="Ask for land cover, then follow up: “only in the north”, “why?”",
    )
    query = gr.Textbox(
        "",
        elem_id="query",
        show_label=False,
        placeholder="Where is open water larger than 1 ha?",
        submit_btn=True,
        max_lines=3,
    )
    with gr.Row(elem_classes="spex-chips"):
        examples = [gr.Button(text, size="sm", min_width=0, scale=0) for text in EXAMPLES]
    with gr.Row(elem_classes="spex-last"):
        method = gr.Radio(
            [(title, name) for name, title in METHODS.items()],
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
    return _ChatColumn(chatbot, query, examples, method, download)
