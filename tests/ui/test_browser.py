"""A person at a browser: chats past an eviction, reloads, finds the old fact, meets no console error."""

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

import pytest
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    """The app as `make app` starts it, on a port of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true", f"--server.port={port}"]
    server = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PALIMPSEST_HOME": str(home)},
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
    for n in range(7):
        say(page, f"Note {n}: the river was high and the market was full of apples {n}.", "I have kept that")
        expect(page.get_by_text(f"apples {n}.").first).to_be_attached()
    assert picture.get_attribute("aria-label") != first, "the picture moves with each message"
    expect(page.get_by_text("the window begins here")).to_be_attached()

    page.reload()
    expect(page.get_by_text("apples 6.").first).to_be_attached(timeout=60_000)
    say(page, "What is my cat called?", "My cat is called Byron.")
    page.get_by_test_id("stExpander").filter(has_text="archival_memory_search").last.click()
    expect(page.get_by_text("Results 1 to 8 of 8").first).to_be_visible()

    page.get_by_role("link", name="Memory").click()
    expect(page.get_by_text("Memory of ada")).to_be_visible()
    page.get_by_role("tab", name="Left the window").click()
    expect(page.get_by_text("messages have left")).to_be_visible()
    page.get_by_role("tab", name="Documents").click()
    page.locator("input[type=file]").set_input_files(
        {"name": "tea.md", "mimeType": "text/markdown", "buffer": b"# Oolong\nOolong is half oxidised."}
    )
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
