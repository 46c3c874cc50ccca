"""A person at a browser: chats past an eviction, reloads, finds the old fact, meets no console error."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies
from playwright.sync_api import FilePayload, Page, expect, sync_playwright

from tests.ui.test_app import TEXTS

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    """The app as `make app` starts it, on a port of its own."""
    yield from serve("app.py", home)


def serve(script: str, home: Path) -> Iterator[str]:
    """The address of a Streamlit server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = {} if "OPENAI_BASE_URL" in os.environ else {"PALIMPSEST_MODEL": "offline"}  # whatever runs on this machine
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless=true", f"--server.port={port}"]
    server = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PALIMPSEST_HOME": str(home), "PYTHONPATH": str(ROOT), **model},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        _wait(f"http://localhost:{port}/_stcore/health")
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait(url: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{url} does not answer")


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        opened = browser.new_page(viewport={"width": 1300, "height": 900})
        opened.set_default_timeout(60_000)
        expect.set_options(timeout=30_000)  # two tests at a time on two cores
        yield opened
        browser.close()


def say(page: Page, text: str, answer: str | re.Pattern[str]) -> None:
    """Write a message and wait until the turn is over and its answer stands."""
    rest(page)
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(text)
    box.press("Enter")
    expect(page.get_by_test_id("stChatMessage").filter(has_text=text).last).to_be_attached()
    rest(page)
    expect(page.get_by_test_id("stChatMessage").last).to_contain_text(answer)


def rest(page: Page) -> None:
    """Wait until nothing runs, and goes on not running."""
    idle = page.locator('[data-test-script-state="notRunning"]')
    for _ in range(2):
        expect(idle).to_be_attached(timeout=60_000)
        page.wait_for_timeout(150)
    expect(idle).to_be_attached(timeout=60_000)


def test_chat_past_an_eviction_reload_and_remember(address: str, page: Page) -> None:
    wrong: list[Any] = []
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("requestfailed", lambda r: wrong.append(r.url) if "localhost" not in r.url else None)
    page.goto(f"{address}/?agent=ada&window=2800")
    expect(page.get_by_text("Nothing has been said yet")).to_be_visible(timeout=60_000)

    say(page, "My cat is called Byron.", "I have kept that")
    picture = page.get_by_role("img", name=re.compile("The window"))
    first = picture.get_attribute("aria-label")
    for n in range(4):
        say(page, f"Note {n}: the river was high and the market was full of apples {n}.", "I have kept that")
        expect(page.get_by_text(f"apples {n}.").first).to_be_attached()
    assert picture.get_attribute("aria-label") != first, "the picture moves with each message"
    expect(page.get_by_text("the window begins here")).to_be_attached()

    page.reload()
    expect(page.get_by_text("apples 3.").first).to_be_attached(timeout=60_000)
    say(page, "What is my cat called?", "My cat is called Byron.")
    page.get_by_test_id("stExpander").filter(has_text="archival_memory_search").last.click()
    expect(page.get_by_text("Results 1 to 5 of 5").first).to_be_visible()

    page.get_by_role("link", name="Memory").click()
    expect(page.get_by_text("Memory of ada")).to_be_visible()
    page.get_by_role("tab", name="Left the window").click()
    expect(page.get_by_text("messages have left")).to_be_visible()
    page.get_by_role("tab", name="Documents").click()
    page.locator("input[type=file][multiple]").set_input_files(
        {"name": "tea.md", "mimeType": "text/markdown", "buffer": b"# Oolong\nOolong is half oxidised."}
    )
    expect(page.get_by_text("tea.md")).to_be_visible()
    page.get_by_role("button", name="Add to archival storage").click()
    expect(page.get_by_text("tea.md: 1 passages")).to_be_visible(timeout=60_000)

    page.get_by_role("link", name="Chat").click()
    say(page, "What is oolong?", "Oolong is half oxidised.")

    page.set_viewport_size({"width": 420, "height": 850})
    expect(page.get_by_test_id("stChatInputTextArea")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        "nothing runs out of a narrow window"
    )
    assert wrong == []


def test_every_address_opens_its_page(address: str, page: Page) -> None:
    missing: list[str] = []
    # Below the root, Streamlit's front end first looks for its own addresses there.
    page.on("response", lambda r: missing.append(r.url) if r.status == 404 and "_stcore" not in r.url else None)
    for path, heading in (
        ("", "Chat"), ("/", "Chat"), ("/chat", "Chat"), ("/refine", "Refine"), ("/collaborate", "Collaborate"),
        ("/memory", "Memory"), ("/chat?agent=ada&window=2800", "Chat"), ("/memory?agent=ada", "Memory of ada"),
    ):  # fmt: skip
        page.goto(f"{address}{path}")
        first = page.get_by_role("heading", level=1)
        expect(first).to_have_count(1)
        expect(first).to_contain_text(heading)
        rest(page)
        expect(page.get_by_text("Page not found")).to_have_count(0)
    assert missing == []


SHOWN = """
import json, pathlib, streamlit as st
from ui.safe_text import escaped, one_line, show_typed, show_written
for text in json.loads(pathlib.Path({texts!r}).read_text()):
    show_written(text)
    show_typed(text)
    st.error(escaped(text))
    st.expander(one_line(text) or "-")
st.caption("that is all")
"""


@pytest.fixture
def shown(home: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A page of texts, and the file that they come from."""
    texts = tmp_path / "texts.json"
    (tmp_path / "shown.py").write_text(SHOWN.format(texts=str(texts)))
    for url in serve(str(tmp_path / "shown.py"), home):
        yield url, texts


@hypothesis.settings(
    deadline=None,
    derandomize=True,
    max_examples=6,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(texts=strategies.lists(TEXTS, min_size=30, max_size=40))
def test_texts_stand_as_they_were_written_and_load_nothing(
    shown: tuple[str, Path], page: Page, texts: list[str]
) -> None:
    url, file = shown
    foreign: list[str] = []
    page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith((url, "data:", "blob:")) else None)
    file.write_text(json.dumps(texts))
    page.goto(url)
    expect(page.get_by_text("that is all")).to_be_attached()
    rest(page)
    boxes = page.locator('[data-testid="stHtml"] > div').evaluate_all("all => all.map(e => e.textContent)")
    assert boxes == [text.replace("\r\n", "\n") for text in texts for _ in (0, 1)]  # a browser's parser knows no \r
    told = page.locator('[data-testid="stAlert"] [data-testid="stMarkdownContainer"]').evaluate_all(
        "all => all.map(e => e.textContent)"
    )
    assert ["".join(t.split()) for t in told] == ["".join(t.split()) for t in texts]
    assert page.locator("img[src*=evil], a[href*=evil], [data-testid=stMarkdownContainer] img").count() == 0
    assert [u for u in foreign if "localhost" not in u] == []


def test_one_bad_file_does_not_keep_the_others_out(address: str, page: Page) -> None:
    page.goto(f"{address}/memory?agent=ada")
    page.get_by_role("tab", name="Documents").click()
    files: list[FilePayload] = [
        {"name": "one.md", "mimeType": "text/markdown", "buffer": b"# Oolong\nOolong is half oxidised."},
        {"name": "bad.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 and then nothing"},
        {"name": "two.txt", "mimeType": "text/plain", "buffer": b"Assam is black."},
    ]
    page.locator("input[type=file][multiple]").set_input_files(files)
    page.get_by_role("button", name="Add to archival storage").click()
    expect(page.get_by_text("one.md: 1 passages")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("two.txt: 1 passages")).to_be_visible()
    expect(page.get_by_text(re.compile("bad.pdf"))).to_be_visible()
