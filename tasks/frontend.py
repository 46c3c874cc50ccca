"""The environment of web pages: a page that is compared with a hidden one."""

import os
from collections.abc import Sequence
from functools import lru_cache

from sandbox.html import RenderedPage, render_html
from tasks.answers import MARKER, SAID, page_in
from tasks.backend_score import TruthFailed
from tasks.colbench import Task
from tasks.dialogue import Turn, said_by
from tasks.environment import Score, Scoring

SUCCESS_AT = 0.99
"""Similarity from which a page counts as the one that was wanted: on our own pages, another label of the button is below it."""
FAILURES = {"done": "", "time": "time", "crash": "crash", "too_long": "crash"}


class Frontend:
    """A web page."""

    instructions = f"""\
You design a web page together with a person who has a clear picture of it in mind. The page is one HTML document, from <html> \
to </html>, styled with Tailwind classes (link https://cdn.jsdelivr.net/npm/tailwindcss@2.2.19/dist/tailwind.min.css); \
pictures are https://picsum.photos/id/48/WIDTH/HEIGHT; there are no scripts. The person sees your page as a picture, not its \
source, and tells you in two sentences what differs from what they want. You have {{turns}} turns in all: show a whole page in \
each. When it is right, or you have no turn left, reply with `{MARKER}` and the whole page after it. What you want to think \
first, write before the line `{SAID}`; the person sees only what follows it."""

    def artefact(self, said: str) -> str:
        """The page of a reply."""
        return page_in(said)

    def answer(self, turns: Sequence[Turn], marked: str | None) -> str:
        """The page after the marker, else the last that was shown."""
        pages = [page_in(said) for said in reversed(said_by("agent", turns))]
        return page_in(marked or "") or next(filter(None, pages), "")

    def versions(self, task: Task | None, turns: Sequence[Turn], answer: str) -> list[str]:
        pages = [page_in(said) for said in said_by("agent", turns)]
        return list(dict.fromkeys(page.strip() + "\n" for page in pages if page))

    def score(self, task: Task, answer: str, scoring: Scoring) -> Score:
        """Likeness to the hidden page."""
        from tasks.clip import clip_cosine
        from tasks.similarity import similarity  # takes half a second to import, which only pages need

        if not answer:
            return Score(score=0.0, success=False, failure="no_answer", message="There is no page.")
        page, reference = render_html(answer), _reference(task, os.getpid())
        alike, cosine = similarity(page, reference), clip_cosine(page, reference, scoring.settings.clip)
        parts = {"blocks": alike.blocks, "colours": alike.colours, "structure": alike.structure}
        success = alike.score >= SUCCESS_AT
        return Score(
            score=alike.score,
            success=success,
            failure=FAILURES[page.exit_reason] or ("" if success else "wrong"),
            message=page.message,
            parts=parts if cosine is None else {**parts, "clip": cosine},
        )

    def check(self, task: Task, scoring: Scoring) -> None:
        _reference(task, os.getpid())


@lru_cache(maxsize=64)
def _reference(task: Task, process: int) -> RenderedPage:
    page = render_html(task.ground_truth)
    if page.exit_reason == "time":  # a busy machine
        page = render_html(task.ground_truth)
    if page.exit_reason != "done":
        raise TruthFailed(task, page.message)
    return page
