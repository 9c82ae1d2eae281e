"""The page itself: its handlers, the server on the loopback, and the whole way in a browser."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

gr = pytest.importorskip("gradio", reason="needs the extra spex[serve]")

from serve.page import Page  # noqa: E402
from serve.server import serve  # noqa: E402
from spex.engine.extractor import Extractor, load  # noqa: E402
from spex.errors import ModelError  # noqa: E402


def no_model(method: str) -> Extractor:
    if method == "model":
        raise ModelError("no checkpoint here")
    return load("rules")


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(no_model, tmp_path)


def person(name: str) -> Any:
    return gr.Request(session_hash=name)


def test_a_question_is_answered_with_its_status(page: Page) -> None:
    opened = page.take_sample(person("a"))
    assert "sentinel2_sample.tif" in opened[1] and "<img" in opened[3]
    frames = list(page.ask("open water and vegetation", "rules", person("a")))
    chats = [frame[0] for frame in frames if isinstance(frame[0], list)]
    titles = [messages[-1].get("metadata", {}).get("title") for messages in chats]
    assert titles[1:5] == [
        "loading the rules",
        "reading the scene",
        "reading the query",
        "measuring the masks",
    ]
    final = chats[-1]
    assert [message["role"] for message in final] == ["assistant", "user", "assistant", "assistant"]
    answer = final[-1]["content"]
    assert "ha" in answer
    download = frames[-1][4]
    assert download.interactive and zipfile.is_zipfile(download.value["path"])
    page.leave(person("a"))


@pytest.mark.parametrize(
    ("query", "method", "line"),
    [
        ("", "rules", "the query is empty"),
        ("x" * 100_000, "rules", "the query has 100000 characters"),
        ("open water", "model", "no checkpoint here. Until this is fixed, “index rules” below"),
        ("count the cars", "rules", "There is no land-cover class for “cars”"),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    page: Page, query: str, method: Any, line: str
) -> None:
    page.take_sample(person("a"))
    *_, last = page.ask(query, method, person("a"))
    content = last[0][-1]["content"]
    assert content.startswith(line) and "\n" not in content and "Traceback" not in content
    page.leave(person("a"))


def test_a_cleared_chat_follows_nothing_up(page: Page) -> None:
    page.take_sample(person("a"))
    for query in ("vegetation", "only in the north"):
        *_, last = page.ask(query, "rules", person("a"))
    assert last[0][-1]["content"].startswith("Vegetation in the northern half: ")
    page.clear(person("a"))
    *_, last = page.ask("why?", "rules", person("a"))
    assert "example" in last[0][-1]["content"] and "ha" not in last[0][-1]["content"].split()
    page.leave(person("a"))


def test_a_greeting_changes_neither_the_picture_nor_the_download(page: Page) -> None:
    page.take_sample(person("a"))
    *_, last = page.ask("hello", "rules", person("a"))
    assert last[0][-1]["content"] and not last[4].interactive
    assert page.chats["a"].folder and not list(page.chats["a"].folder.glob("results/*"))
    for query in ("vegetation", "thanks"):
        frames = list(page.ask(query, "rules", person("a")))
    views = [frame[2] for frame in frames if isinstance(frame[2], str)]
    assert views == [] and frames[-1][4].interactive
    *_, last = page.ask("only in the north", "rules", person("a"))
    assert "north" in last[0][-1]["content"]
    page.leave(person("a"))


def test_a_question_without_a_scene_says_so(page: Page) -> None:
    *_, last = page.ask("open water", "rules", person("a"))
    assert last[0][-1]["content"] == "open a scene first: upload one or take the sample"


def test_a_defect_is_one_line_and_goes_to_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(method: str) -> Extractor:
        raise ZeroDivisionError("inner details")

    page = Page(broken, tmp_path)
    page.take_sample(person("a"))
    *_, last = page.ask("open water", "model", person("a"))
    assert (
        "ZeroDivisionError" in last[0][-1]["content"]
        and "inner details" not in last[0][-1]["content"]
    )
    assert "inner details" in caplog.text


def test_sessions_are_kept_apart_and_leave_nothing(page: Page, tmp_path: Path) -> None:
    page.take_sample(person("a"))
    assert page.reopen("", "", person("b"))[0][-1]["content"].startswith("there is no scene yet")
    assert len(list(tmp_path.iterdir())) == 2
    page.leave(person("a"))
    page.leave(person("b"))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    blocks, url = serve()
    yield url
    blocks.close(verbose=False)


def test_the_server_answers_on_the_loopback_only(address: str) -> None:
    place = urlsplit(address)
    assert place.hostname == "127.0.0.1" and place.port is not None
    with urllib.request.urlopen(address) as answer:
        text = answer.read().decode()
    assert answer.status == 200 and "SPEX" in text
    with pytest.raises(OSError):  # another address of this machine
        socket.create_connection(("127.0.0.2", place.port), timeout=2).close()


def test_uploads_are_limited(address: str) -> None:
    with urllib.request.urlopen(f"{address}config") as answer:
        assert json.load(answer)["max_file_size"] == 2 * 2**30


def test_a_port_in_use_is_one_line(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    from spex.cli.main import main

    port = str(urlsplit(address).port)
    assert main(["serve", "--port", port]) == 2
    assert capsys.readouterr().err == f"spex: port {port} is not free; choose another with --port\n"


def test_the_command_serves_until_it_is_ended_and_leaves_nothing(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    env.pop("GRADIO_TEMP_DIR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "serve"], stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("The chat is open at http://127.0.0.1:"), line
        with urllib.request.urlopen(line.split()[5]) as answer:
            assert answer.status == 200
        assert list(tmp_path.glob("spex-serve-*"))
        process.terminate()
        process.stdout.read()
    assert process.returncode == 0
    assert list(tmp_path.glob("spex-serve-*")) == []


FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    program = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if program is None:
        pytest.skip("needs a Chromium on the machine")
    with playwright.sync_playwright() as session:
        chromium = session.chromium.launch(executable_path=program, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.mark.browser
@pytest.mark.parametrize("size", [(1280, 800), (400, 800)], ids=["wide", "narrow"])
def test_from_the_sample_to_the_download(
    browser: Any, address: str, tmp_path: Path, size: tuple[int, int]
) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    page.set_default_timeout(60_000)
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.get_by_role("button", name="Sentinel-2 sample").click()
    page.locator("#view img").first.wait_for()
    page.get_by_label("index rules", exact=True).check()
    page.locator("#query textarea").fill("open water and vegetation")
    page.keyboard.press("Enter")
    layers = page.locator("#view img[data-mask]")
    layers.nth(1).wait_for()
    assert layers.count() == 2
    button = page.locator("#download:not([disabled])")
    button.wait_for()
    answer = page.locator("#chat").inner_text()
    assert "Open water" in answer and "ha" in answer
    assert page.locator("#facts tbody tr").count() == 2
    page.locator("#view input[type=checkbox]").first.uncheck()
    assert layers.first.evaluate("layer => getComputedStyle(layer).visibility") == "hidden"
    assert layers.first.evaluate("layer => layer.naturalWidth") == 900
    overflow = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0, "nothing needs scrolling sideways"
    with page.expect_download() as download:
        button.click()
    archive = tmp_path / "results.zip"
    download.value.save_as(archive)
    with zipfile.ZipFile(archive) as files:
        names = {Path(name).name: name for name in files.namelist()}
        result = json.loads(files.read(names["extraction.json"]))
    assert {"mask.tif", "regions.gpkg", "explanation.md"} < names.keys()
    assert [mask["class"] for mask in result["masks"]] == ["water", "vegetation"]
    hosts = {
        urlsplit(url).netloc
        for url in asked
        if urlsplit(url).scheme in ("http", "https", "ws", "wss")
    }
    assert hosts == {urlsplit(address).netloc}, "the page asks no other host"
    assert errors == []
    context.close()
    root = Path(os.environ["GRADIO_TEMP_DIR"])
    deadline = time.monotonic() + 20
    while list(root.glob("spex-chat-*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert list(root.glob("spex-chat-*")) == [], "the files of a session go when its page is closed"


@pytest.mark.browser
def test_an_upload_that_cannot_say_its_bands(
    browser: Any, address: str, write_scene: Callable[..., Path], scene_file: Path
) -> None:
    unnamed = write_scene(np.full((5, 40, 40), 900, "float32"), "five.tif")
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload a scene").click()
    chooser.value.set_files(unnamed)
    page.get_by_text("five.tif: the wavelengths of its 5 bands").wait_for()
    inline = ",".join(f"b{i}={450 + 100 * i}/60" for i in range(5))
    page.get_by_label("or bands in file order").fill(inline)
    page.get_by_role("button", name="Open again").click()
    page.get_by_text("five.tif is open.").wait_for()
    page.locator("#scene").get_by_text("5 bands (b0, b1, b2, b3, b4)").wait_for()
    page.close()
