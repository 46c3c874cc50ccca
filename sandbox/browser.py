"""One Chromium for untrusted pages: no network, no scripts, no files, bounded memory; killed when a page takes too long.

On Linux it runs in bubblewrap, in namespaces of its own. Elsewhere its own sandbox holds it, and flags that leave it no address
to connect to; `Browser.kind` says which is in force.
"""

import base64
import contextlib
import json
import logging
import os
import queue
import shlex
import shutil
import signal
import sys
import tempfile
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser as Chromium
from playwright.sync_api import CDPSession, Error, Page, Playwright, Route, TimeoutError, sync_playwright

from sandbox.cdn import prepare, served

log = logging.getLogger(__name__)

WIDTH, HEIGHT = 1280, 720
MOST_HEIGHT = 4_000  # pixels of a page that are looked at
MOST_BLOCKS = 2_000
STEP_MS = 4_000
DEADLINE = 6.0  # seconds of one page, all steps together
DRIVER_SECONDS = 10.0  # after the browser was killed
PAGES_A_BROWSER = 200
MEMORY_MB = 1_500  # writable memory of each of its processes
BINARIES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic",
    "--disable-gpu", "--disable-gpu-compositing", "--disable-software-rasterizer", "--hide-scrollbars",
    "--force-color-profile=srgb", "--font-render-hinting=none", "--disable-lcd-text",
)  # fmt: skip
NO_ADDRESS = (
    "--proxy-server=http://127.0.0.1:9", "--proxy-bypass-list=<-loopback>", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)  # fmt: skip
BLOCKS = (Path(__file__).parent / "blocks.js").read_text(encoding="utf-8")

Confinement = Literal["bubblewrap", "flags"]


class RenderUnavailable(RuntimeError):
    """No page can be rendered safely here; the message says what to install."""


class PageFailed(RuntimeError):
    """A page could not be rendered, by its own doing."""

    def __init__(self, exit_reason: Literal["time", "crash"], message: str) -> None:
        super().__init__(message)
        self.exit_reason: Literal["time", "crash"] = exit_reason


class _Gone(Exception):
    """The browser was not there when a page began."""


@dataclass(frozen=True)
class Shot:
    """What the browser gave: two pictures, with and without text, and where the text stands."""

    png: bytes
    without_text: bytes
    blocks: list[dict[str, Any]]


class Browser:
    """A Chromium in a thread of its own, started when it is first needed. Any thread may ask; pages wait in turn."""

    def __init__(self) -> None:
        self.kind: Confinement = choose_kind()
        self.restarts = 0
        self._asked: queue.SimpleQueue[tuple[str, Future[Shot]] | None] = queue.SimpleQueue()
        self._folder = tempfile.TemporaryDirectory(prefix="palimpsest-browser-")
        self._playwright: Playwright | None = None
        self._driver: set[int] = set()
        """Playwright's own process."""
        self._driver_ended = threading.Event()
        self._chromium: Chromium | None = None
        self._pages = 0
        self._closed = False
        self._asking = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="palimpsest-browser")
        self._thread.start()

    def shoot(self, html: str) -> Shot:
        """Render a page. Raises PageFailed, CdnMissing and RenderUnavailable, also once it is closed."""
        future: Future[Shot] = Future()
        with self._asking:
            if self._closed:
                raise RenderUnavailable("This browser is closed: open another.")
            self._asked.put((html, future))
        return future.result()

    def close(self) -> None:
        """End the browser, after the page that it is at."""
        with self._asking:
            self._closed = True
            self._asked.put(None)
        self._thread.join(timeout=10)
        self._kill()
        self._folder.cleanup()

    def _serve(self, first: tuple[str, Future[Shot]] | None = None) -> None:
        while (asked := first or self._asked.get()) is not None:
            first = None
            if self._driver_ended.is_set():  # Playwright starts once in a thread
                self._driver_ended.clear()
                self._playwright = self._chromium = None
                self._thread = threading.Thread(
                    target=self._serve, args=(asked,), daemon=True, name="palimpsest-browser"
                )
                self._thread.start()
                return
            html, future = asked
            try:
                future.set_result(self._shoot(html))
            except BaseException as error:  # the one who asked is told
                future.set_exception(error)
        if self._driver_ended.is_set():
            return
        self._stop()
        if self._playwright is not None:
            self._playwright.stop()  # its driver is a process of its own
            self._playwright = None

    def _shoot(self, html: str) -> Shot:
        if self._chromium is None or not self._chromium.is_connected() or self._pages >= PAGES_A_BROWSER:
            self._stop()
            self._start()
        assert self._chromium is not None
        prepare(html)
        try:
            return self._draw(html)
        except _Gone:  # it had ended between two pages, which is no fault of this one
            self._drop()
        except PageFailed as error:
            if error.exit_reason != "crash":
                raise
            # A browser may crash for reasons of its own, as when the machine has no memory left: the second crash is the page's.
        self._start()
        return self._draw(html)

    def _draw(self, html: str) -> Shot:
        assert self._chromium is not None
        self._pages += 1
        done, late = threading.Event(), threading.Event()
        threading.Thread(target=self._guard, args=(done, late), daemon=True).start()
        trouble: list[BaseException] = []
        begun = False
        try:
            context = self._chromium.new_context(
                viewport={"width": WIDTH, "height": HEIGHT}, java_script_enabled=False, service_workers="block",
                accept_downloads=False, device_scale_factor=1, locale="en-US", reduced_motion="reduce",
            )  # fmt: skip
            try:
                page = context.new_page()
                begun = True
                page.route("**/*", lambda route: _answer(route, html, trouble))
                return _shots(page, html)
            finally:
                with contextlib.suppress(Error):
                    context.close()
        except (Error, ValueError, TypeError, KeyError) as error:
            if not begun and not late.is_set():
                raise _Gone from error
            self._drop()  # what it left running must not slow the next page
            if late.is_set() or isinstance(error, TimeoutError):
                raise PageFailed("time", "The page took too long to load or to draw.") from error
            raise PageFailed("crash", f"The page could not be drawn: {str(error).splitlines()[0][:200]}") from error
        finally:
            done.set()
            if trouble:
                raise trouble[0]

    def _guard(self, done: threading.Event, late: threading.Event) -> None:
        """Kill the browser at the deadline of a page; and at once, if this guard itself should fail."""
        try:
            done.wait(DEADLINE)
        finally:
            if not done.is_set():
                late.set()
                self._kill()
                if self._driver and not done.wait(DRIVER_SECONDS):  # Playwright waits on for a browser that is gone
                    self._end_driver()

    def _end_driver(self) -> None:
        """Kill Playwright's own process: what waits for it fails, and the next page gets another."""
        self._driver_ended.set()
        for number in self._driver:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def _start(self) -> None:
        if self._playwright is None:
            before = _children()
            self._playwright = sync_playwright().start()
            self._driver = _children() - before
        script, pid = Path(self._folder.name) / "chromium", Path(self._folder.name) / "pid"
        script.write_text(f'#!/bin/sh\necho $$ > {shlex.quote(str(pid))}\n{_command(self.kind)} "$@"\n')
        script.chmod(0o700)
        flags = [*FLAGS, *(() if self.kind == "bubblewrap" else NO_ADDRESS)]
        try:
            self._chromium = self._playwright.chromium.launch(
                executable_path=script, chromium_sandbox=True, args=flags, env={"LC_ALL": "C.UTF-8", "HOME": "/tmp"},  # noqa: S108
                handle_sigint=False, handle_sigterm=False, handle_sighup=False, timeout=30_000,
            )  # fmt: skip
        except Error as error:
            raise RenderUnavailable(f"Chromium does not start: {error.message[:600]}") from error
        self._pages = 0

    def _stop(self) -> None:
        """End Chromium, from its own thread."""
        with contextlib.suppress(Error):
            if self._chromium is not None:
                self._chromium.close()
        self._kill()
        self._chromium = None

    def _drop(self) -> None:
        self.restarts += 1
        self._kill()
        self._chromium = None

    def _kill(self) -> None:
        """Kill Chromium with all its processes; any thread may."""
        file = Path(self._folder.name) / "pid"
        with contextlib.suppress(OSError, ValueError):
            number = int(file.read_text())
            file.unlink()
            if self.kind == "bubblewrap":
                os.kill(number, signal.SIGKILL)  # its namespace ends with it
            else:
                os.killpg(number, signal.SIGKILL)


def _answer(route: Route, html: str, trouble: list[BaseException]) -> None:
    """Serve what is known from the cache; nothing else is to be had."""
    try:
        found = served(route.request.url, html)
    except BaseException as error:  # Playwright would print it and go on; the page must not be scored without its style
        trouble.append(error)
        found = None
    with contextlib.suppress(Error):
        if found:
            route.fulfill(content_type=found[0], body=found[1])
        else:
            route.abort()


WITHOUT_TEXT = """
const sheet = new CSSStyleSheet();
sheet.replaceSync('*,*::before,*::after,*::placeholder{-webkit-text-fill-color:transparent!important;text-shadow:none!important;'
  + 'text-decoration-color:transparent!important;transition:none!important}'
  + 'svg text,svg tspan,svg textPath{fill:transparent!important;stroke:transparent!important}');
const sheets = Object.getOwnPropertyDescriptor(Document.prototype, 'adoptedStyleSheets');  // a form may be named so
sheets.set.call(document, [...sheets.get.call(document), sheet]);
for (const element of globalThis[Symbol.for('cut')]) {
  const kind = [HTMLElement, SVGElement, MathMLElement].find((each) => element instanceof each);
  const style = Object.getOwnPropertyDescriptor(kind.prototype, 'style').get.call(element);  // a form's field may be named so
  style.setProperty('background', 'none', 'important');
}
// A transition that the page insists on would leave the text where it was.
for (const animation of Document.prototype.getAnimations.call(document)) {
  try { animation.finish(); } catch { animation.cancel(); }
}
"""
"""Takes all text away, so that the difference between the two pictures is what can be read."""


def _shots(page: Page, html: str) -> Shot:
    page.set_default_timeout(STEP_MS)
    page.set_content(html, wait_until="load")
    seen = json.loads(page.evaluate(BLOCKS, MOST_BLOCKS))
    height = max(HEIGHT, min(MOST_HEIGHT, int(seen["height"])))
    session = page.context.new_cdp_session(page)
    box = {"x": 0, "y": 0, "width": WIDTH, "height": height}
    if len(page.frames) == 1:
        png = _picture(session, box)
    else:  # Playwright's takes twice as long, and brings to rest what moves in frames
        png = page.screenshot(clip=box, full_page=True, animations="disabled", caret="hide")  # type: ignore[arg-type]
    page.evaluate(f"() => {{{WITHOUT_TEXT}}}")
    return Shot(png, _picture(session, box), seen["blocks"])


def _picture(session: CDPSession, box: dict[str, int]) -> bytes:
    """This part of the page, as PNG."""
    asked = {"optimizeForSpeed": True, "captureBeyondViewport": True, "clip": {**box, "scale": 1}}
    return base64.b64decode(session.send("Page.captureScreenshot", asked)["data"])


def choose_kind() -> Confinement:
    """How Chromium is held here. Raises RenderUnavailable."""
    if sys.platform != "linux":
        return "flags"
    if shutil.which("bwrap") is None:
        raise RenderUnavailable("Pages are rendered in bubblewrap, which is not installed (apt install bubblewrap).")
    return "bubblewrap"


def _binary() -> str:
    for name in BINARIES:
        if found := shutil.which(name):
            return found
    raise RenderUnavailable(
        "No Chromium is installed to render pages with (apt install chromium-headless-shell fonts-liberation fonts-dejavu-core)."
    )


def _command(kind: Confinement) -> str:
    """The shell command that starts Chromium and takes its flags."""
    binary = _binary()
    if kind == "flags":
        return f"exec {shlex.quote(binary)}"
    bwrap = shutil.which("bwrap")
    binds = []
    for path in (
        "/usr",
        "/opt",
        "/etc/fonts",
        "/etc/alternatives",
        "/etc/chromium.d",
        str(Path(binary).resolve().parent),
    ):
        if os.path.exists(path):
            binds += ["--ro-bind", path, path]
    for link in ("/bin", "/lib", "/lib64", "/sbin"):
        if os.path.islink(link):
            binds += ["--symlink", os.readlink(link), link]
        elif os.path.exists(link):
            binds += ["--ro-bind", link, link]
    words = [
        str(bwrap), "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", "--hostname",
        "sandbox", "--die-with-parent", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *binds, "--chdir", "/tmp", "--",  # noqa: S108
        binary,
    ]  # fmt: skip
    return f"ulimit -d {MEMORY_MB * 1024}\nexec {shlex.join(words)}"


def _children() -> set[int]:
    """Processes that this thread has started; none where the system does not tell."""
    with contextlib.suppress(OSError):
        return {int(number) for number in Path("/proc/thread-self/children").read_text().split()}
    return set()
