"""What a person who has one of our own pages in mind says of a page that is shown: what it lacks, as far as one can see.

Both pages are rendered, and each decision is compared where it shows: the bar's colour left of its name, the left edges of the
cards' titles, and so on. How a page is written does not matter, and what cannot be seen in it does not count.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import unescape

import numpy as np
from rapidfuzz import fuzz
from skimage.color import deltaE_ciede2000, rgb2lab

from sandbox.html import Block, Pixels, RenderedPage, render_html
from tasks.colbench import Fact, Task
from tasks.frontend import SUCCESS_AT
from tasks.own_frontend import DECISIONS, TRADES
from tasks.similarity import similarity

RIGHT = "That is how I want it."
NOT_YET = "It is not how I want it yet."
CANNOT_SEE = "I cannot see what I asked for."
NOT_AS_ASKED = "That is not what I asked for."
SAME_TEXT = 95  # of 100: likeness of two pieces of text that say the same
NEAR = 16.0  # pixels between places that are the same
ALIKE = 8.0  # CIEDE2000 between colours that are the same
BESIDE = 10  # pixels from a text to what is behind it
LEAST_ALIKE = 0.5  # share of what was asked for that a page shows which is looked at
AFTER = {"shade": ("palette",), "footer": ("palette",), "corners": ("palette", "cards"), "columns": ("cards",)}
"""By decision: those without which it cannot be seen whether it is right."""

VALUES = {d.key: [option.value for option in d.options] for d in DECISIONS}

Colour = tuple[int, int, int]


def seen(task: Task, page: str, told: Sequence[str]) -> str:
    """What the person says of a page; `told` has the keys of the facts that were told before.

    Of what the request says, whatever the page lacks comes first; then one fact that was not told yet; then one that was.
    """
    if not task.task_id.startswith("own-frontend/"):
        return _seen_of_others(task, page, told)
    shown, wanted = Look(render_html(page), task), _wanted(task)
    lacking = [fact for fact in (*task.stated, *task.facts) if shown.lacks(fact, wanted)]
    asked = [fact for fact in lacking if fact in task.stated]
    if not shown.is_of_its_trade or len(asked) > (1 - LEAST_ALIKE) * len(task.stated):
        return CANNOT_SEE
    keys = {fact.key for fact in lacking}
    plain = [fact for fact in lacking if not keys & {*AFTER.get(fact.key, ())}]
    if ignored := [fact for fact in plain if fact in asked]:
        return f"{NOT_AS_ASKED} {ignored[0].statement}"
    new = [fact for fact in plain if fact.key not in told]
    return (new or plain)[0].statement if plain else RIGHT


def _seen_of_others(task: Task, page: str, told: Sequence[str]) -> str:
    """Of a page whose parts are not known: if it is somewhat like the one that is wanted, a fact that was not told yet."""
    alike = similarity(render_html(page), render_html(task.ground_truth))
    if alike.score >= SUCCESS_AT:
        return RIGHT
    if alike.blocks < LEAST_ALIKE:
        return CANNOT_SEE
    return next((fact.statement for fact in task.facts if fact.key not in told), NOT_YET)


@lru_cache(maxsize=64)
def _wanted(task: Task) -> "Look":
    return Look(render_html(task.ground_truth), task)


@dataclass(frozen=True)
class _Texts:
    """What stands in the page that is wanted."""

    name: str
    headline: str
    titles: tuple[str, ...]
    button: str
    footer: str

    @staticmethod
    def of(task: Task) -> "_Texts":
        def within(pattern: str) -> list[str]:
            return [unescape(text) for text in re.findall(pattern, task.ground_truth, re.S)]

        return _Texts(
            name=within(r"<span[^>]*>(.*?)</span>")[0],
            headline=within(r"<h1[^>]*>(.*?)</h1>")[0],
            titles=tuple(within(r"<h2[^>]*>(.*?)</h2>")),
            button=within(r"<a [^>]*>(.*?)</a>")[0],
            footer=within(r"<footer[^>]*><p>(.*?)</p>")[0],
        )


class Look:
    """Where a page shows each decision of the page that is wanted."""

    def __init__(self, page: RenderedPage, task: Task) -> None:
        self._page, self._texts = page, _Texts.of(task)
        self.name = self._block(self._texts.name)

    @property
    def is_of_its_trade(self) -> bool:
        """Whether the wanted bar's name can be seen, and no other trade's."""
        others = [trade.title() for trade in TRADES if trade.title() != self._texts.name]
        return self.name is not None and not any(self._block(other) for other in others)

    def lacks(self, fact: Fact, wanted: "Look") -> bool:
        """Whether a decision shows otherwise than wanted, or not at all."""
        return fact.key not in MEASURES or not MEASURES[fact.key](self, wanted)

    @cached_property
    def pixels(self) -> Pixels:
        return self._page.pixels

    @cached_property
    def headline(self) -> Block | None:
        """The wanted headline; else the largest text between the bar and the cards."""
        if found := self._block(self._texts.headline):
            return found
        below = self.name.top if self.name else 0
        above = min((title.top for title in self.titles.values()), default=float("inf"))
        between = [b for b in self._page.blocks if below + 1 < b.top < above - 1]
        return max(between, key=lambda b: b.size, default=None)

    def says(self, key: str) -> bool:
        """Whether the wanted headline or label can be seen, and no other."""
        wanted = {"headline": self._texts.headline, "button": self._texts.button}[key]
        others = [value for value in VALUES[key] if value != wanted]
        return self._block(wanted) is not None and not any(self._block(other) for other in others)

    @cached_property
    def titles(self) -> dict[str, Block]:
        """The wanted cards' titles that are shown, by their text."""
        return {title: block for title in self._texts.titles if (block := self._block(title))}

    @cached_property
    def cards(self) -> int:
        """How many cards are shown, by the titles that any trade has."""
        return sum(
            self._block(title) is not None for title in {title for titles in TRADES.values() for title in titles}
        )

    @cached_property
    def button(self) -> Block | None:
        return self._block(self._texts.button)

    @cached_property
    def button_colour(self) -> Colour | None:
        """Behind the wanted label, or else behind the last text between cards and footer."""
        low = max((title.top for title in self.titles.values()), default=0)
        high = self.footer.top if self.footer else float("inf")
        between = [b for b in self._page.blocks if low < b.top < high - 1]
        block = self.button or max(between, key=lambda b: b.top, default=None)
        return self.behind(block) if block else None

    @cached_property
    def footer(self) -> Block | None:
        return self._block(self._texts.footer)

    @cached_property
    def picture(self) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom of what is no text between the bar and the headline; None if there is nothing."""
        if self.name is None or self.headline is None:
            return None
        top, bottom = int(self.name.top + self.name.height + 2 * BESIDE + 6), int(self.headline.top)
        drawn = np.argwhere((self.pixels[top:bottom].astype(int) < 245).any(axis=2))
        if len(drawn) < 100:
            return None
        (high, left), (low, right) = drawn.min(axis=0), drawn.max(axis=0)
        return int(left), int(high) + top, int(right), int(low) + top

    def behind(self, block: Block) -> Colour:
        """The colour on which a text stands."""
        return self.at(block.left - BESIDE, block.top + block.height / 2)

    def at(self, x: float, y: float) -> Colour:
        """The colour of a place."""
        height, width = self.pixels.shape[:2]
        red, green, blue = self.pixels[min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)]
        return int(red), int(green), int(blue)

    def around(self, block: Block) -> Pixels:
        """The corner of a card: what is above and left of its title, on a field of white."""
        left, top, size = int(block.left), int(block.top), 40
        field = np.full((size, size, 3), 255, np.uint8)
        part = self.pixels[max(0, top - size + 2) : max(0, top + 2), max(0, left - size) : max(0, left)]
        field[size - part.shape[0] :, size - part.shape[1] :] = part
        return field

    def _block(self, text: str) -> Block | None:
        best = max(self._page.blocks, key=lambda b: fuzz.ratio(b.text, text), default=None)
        return best if best and fuzz.ratio(best.text, text) >= SAME_TEXT else None


def _alike(left: Colour | None, right: Colour | None) -> bool:
    if left is None or right is None:
        return left is right
    pair = [rgb2lab(np.array([[colour]], float) / 255) for colour in (left, right)]
    return float(deltaE_ciede2000(*pair)[0, 0]) <= ALIKE


def _shade(page: Look, wanted: Look) -> bool:
    left, right = page.name, wanted.name
    if left is None or right is None:
        return False
    return _alike(page.behind(left), wanted.behind(right)) and _alike(left.colour, right.colour)


def _columns(page: Look, wanted: Look) -> bool:
    """Each title as far from the left."""
    both = [(block.left, wanted.titles[title].left) for title, block in page.titles.items()]
    return bool(both) and all(abs(left - right) <= NEAR for left, right in both)


def _placed(page: Look, wanted: Look) -> bool:
    """Left edge, middle or right edge, whichever fits: a headline with other words has another length."""
    left, right = page.headline, wanted.headline
    if left is None or right is None:
        return False
    ends = [(b.left, b.left + b.width / 2, b.left + b.width) for b in (left, right)]
    middle, edges = abs(ends[0][1] - ends[1][1]), (abs(ends[0][0] - ends[1][0]), abs(ends[0][2] - ends[1][2]))
    return middle <= NEAR if abs(ends[1][1] - page.pixels.shape[1] / 2) <= NEAR else min(edges) <= NEAR


def _headline_size(page: Look, wanted: Look) -> bool:
    left, right = page.headline, wanted.headline
    return left is not None and right is not None and abs(left.size / right.size - 1) <= 0.1


def _picture(page: Look, wanted: Look) -> bool:
    if page.picture is None or wanted.picture is None:
        return page.headline is not None and page.picture is wanted.picture
    sizes = [(right - left, bottom - top, left) for left, top, right, bottom in (page.picture, wanted.picture)]
    return all(abs(a - b) <= 2 * NEAR for a, b in zip(*sizes, strict=True))


def _footer(page: Look, wanted: Look) -> bool:
    left, right = page.footer, wanted.footer
    if left is None or right is None:
        return False
    above = [
        [look.at(4, block.top - distance) for distance in range(60)] for look, block in ((page, left), (wanted, right))
    ]
    drawn = [sum(not _alike(colour, (255, 255, 255)) for colour in column) for column in above]
    return _alike(page.behind(left), wanted.behind(right)) and abs(drawn[0] - drawn[1]) <= 3


def _corners(page: Look, wanted: Look) -> bool:
    if not page.titles or not wanted.titles:
        return False
    title = next(iter(page.titles))
    left, right = page.around(page.titles[title]), wanted.around(wanted.titles[title])
    return float(np.abs(left.astype(int) - right.astype(int)).mean()) <= 4


MEASURES: dict[str, Callable[[Look, Look], bool]] = {
    "palette": lambda page, wanted: _alike(page.button_colour, wanted.button_colour),
    "shade": _shade,
    "columns": _columns,
    "cards": lambda page, wanted: len(page.titles) == page.cards == wanted.cards,
    "headline_size": _headline_size,
    "alignment": _placed,
    "headline": lambda page, wanted: page.says("headline"),
    "button": lambda page, wanted: page.says("button"),
    "picture": _picture,
    "footer": _footer,
    "corners": _corners,
}
"""By decision: whether it shows in a page as it does in the one that is wanted."""
