"""Renders untrusted pages: `render_html(html)` gives a picture, and the blocks of text that can be seen in it.

page = render_html("<h1>Hello</h1>")
page.png, [b.text for b in page.blocks]   # ..., ["Hello"]

Scripts are off, there is no network, each page has a fresh context. A page that is too long, too slow or ends the browser is a
white one, and `exit_reason` says so: it is the page's own doing, and is scored as such.
"""

import atexit
import io
import os
import queue
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from sandbox.browser import HEIGHT, MOST_HEIGHT, WIDTH, Browser, PageFailed

MOST_CHARACTERS = 1_000_000
MOST_TAGS = 20_000
VISIBLE = 24  # of 255: how much a pixel changes where text is taken away that one could read
LEAST_INK = 0.01  # share of a block's box that its text covers
LEAST_ROWS = 0.12  # share of its rows that have some of it: less is a sliver that nobody can read

LEAST_ALPHA = 0.1
OTHER_COLOUR = 160  # of 255: from which ink is not this text's; thin strokes are paler than their colour

INTEGRITY = re.compile(r"\sintegrity\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>]+)", re.I)
"""Of a style sheet, of which only what the page needs is served."""
ELSEWHERE = re.compile(r"(\s(?:src|href)\s*=\s*[\"']?)//", re.I)
"""An address that leaves out how it is fetched, which is that of the page: this one has none."""

Pixels = npt.NDArray[np.uint8]
"""Height x width x 3, RGB."""
ExitReason = Literal["done", "too_long", "time", "crash"]


@dataclass(frozen=True)
class Block:
    """A piece of text that can be seen."""

    text: str
    left: float
    top: float
    width: float
    height: float
    colour: tuple[int, int, int]
    """Of the text as it is drawn, RGB."""
    size: float
    """Height of a line as it is drawn, in pixels."""


@dataclass(frozen=True)
class RenderedPage:
    """A rendered page; positions and sizes in pixels, 1280 wide, at most 4,000 high."""

    png: bytes
    blocks: tuple[Block, ...]
    hidden: int = 0
    """Pieces of text that stand in the page and cannot be seen."""
    exit_reason: ExitReason = "done"
    message: str = ""

    @property
    def pixels(self) -> Pixels:
        return decode(self.png)


class Renderer:
    """Browsers that share the work; threads may share it."""

    def __init__(self, browsers: int = 0) -> None:
        self._all = [Browser() for _ in range(browsers or min(4, os.cpu_count() or 1))]
        self._free: queue.LifoQueue[Browser] = queue.LifoQueue()
        for browser in self._all:
            self._free.put(browser)

    def render(self, html: str) -> RenderedPage:
        """The page as it looks. Raises CdnMissing and RenderUnavailable; never for what the page itself does."""
        if len(html) > MOST_CHARACTERS or html.count("<") > MOST_TAGS:
            message = f"The page is longer than {MOST_CHARACTERS:,} characters or {MOST_TAGS:,} tags."
            return RenderedPage(blank(), (), exit_reason="too_long", message=message)
        html = ELSEWHERE.sub(r"\1https://", INTEGRITY.sub("", html.encode(errors="replace").decode()))
        browser = self._free.get()
        try:
            shot = browser.shoot(html)
        except PageFailed as error:
            return RenderedPage(blank(), (), exit_reason=error.exit_reason, message=str(error))
        finally:
            self._free.put(browser)
        blocks, hidden = _visible(shot.blocks, decode(shot.png), decode(shot.without_text))
        return RenderedPage(shot.png, tuple(blocks), hidden)

    def close(self) -> None:
        """End the browsers."""
        for browser in self._all:
            browser.close()

    def report(self) -> dict[str, Any]:
        """What is in force, for result files and pages."""
        return {
            "backend": self._all[0].kind,
            "javascript": False,
            "viewport": [WIDTH, HEIGHT],
            "most_height": MOST_HEIGHT,
        }


def decode(png: bytes) -> Pixels:
    """The pixels of a picture."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def encode(pixels: Pixels) -> bytes:
    """The picture of pixels, as PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def blank(height: int = HEIGHT) -> bytes:
    """A white page."""
    return encode(np.full((height, WIDTH, 3), 255, np.uint8))


def _visible(found: list[dict[str, Any]], pixels: Pixels, without_text: Pixels) -> tuple[list[Block], int]:
    """The blocks whose text changes the picture, in the colour that it has there, and how many others there are."""
    blocks, hidden = [], 0
    free = np.ones(pixels.shape[:2], bool)  # a pixel shows one text only
    for row in found:
        left, top = max(0, int(row["left"])), max(0, int(row["top"]))
        right = max(0, int(row["left"] + row["width"]) + 1)
        bottom = max(0, int(row["top"] + row["height"]) + 1)
        seen, without = (p[top:bottom, left:right].astype(np.int16) for p in (pixels, without_text))
        if seen.size == 0 or seen.shape != without.shape:
            hidden += 1
            continue
        ink = np.abs(seen - without).max(axis=2) * free[top:bottom, left:right]
        strongest = np.unravel_index(int(ink.argmax()), ink.shape)  # the middle of a stroke, not its edge
        wanted = [float(n) for n in re.findall(r"[\d.]+", row["colour"])]
        transparent = len(wanted) == 4 and wanted[3] < LEAST_ALPHA
        another = False
        if len(wanted) >= 3:
            blended = row["opacity"] * np.array(wanted[:3]) + (1 - row["opacity"]) * without[strongest]
            another = bool(np.abs(seen[strongest] - blended).max() > OTHER_COLOUR)
        inked = ink > VISIBLE
        sliver = not row["field"] and inked.any(axis=1).mean() < LEAST_ROWS
        if inked.mean() < LEAST_INK or sliver or transparent or another:
            hidden += 1
            continue
        free[top:bottom, left:right] &= ink <= VISIBLE
        red, green, blue = seen[strongest]
        place = {side: row[side] for side in ("left", "top", "width", "height")}
        text, colour = row["text"].encode(errors="replace").decode(), (int(red), int(green), int(blue))
        blocks.append(Block(text=text, **place, colour=colour, size=float(row["line"])))
    return blocks, hidden


@contextmanager
def open_renderer(browsers: int = 0) -> Iterator[Renderer]:
    """A renderer, and its browsers ended afterwards. Raises RenderUnavailable."""
    renderer = Renderer(browsers)
    try:
        yield renderer
    finally:
        renderer.close()


_sharing = threading.Lock()


def shared_renderer() -> Renderer:
    """The process's own renderer: opened on first use, ended with the process."""
    with _sharing:
        return _renderer(os.getpid())  # a forked process must not talk to its parent's browser


@lru_cache
def _renderer(process: int) -> Renderer:
    renderer = Renderer()
    atexit.register(renderer.close)
    return renderer


def render_html(html: str) -> RenderedPage:
    """`Renderer.render` in the process's own renderer."""
    return shared_renderer().render(html)
