"""The environment of functions: a program that hidden tests score."""

import os
from collections.abc import Sequence
from functools import lru_cache

from sandbox.choose import shared_sandbox
from settings import Settings
from tasks.answers import MARKER, SAID
from tasks.backend_score import BackendScorer
from tasks.colbench import Task, called
from tasks.dialogue import Turn, said_by
from tasks.environment import Score, Scoring
from tasks.programs import DEFINES, program_for, program_in
from tasks.released_scoring import score_as_released


class Backend:
    """A Python function."""

    instructions = f"""\
You write a Python function together with a person who knows what it has to do, down to details that the request leaves out. \
Ask before you write: the function is tested on exactly those details. The person cannot program and answers in two sentences, \
so ask one short question at a time. You have {{turns}} turns in all. When you know enough, or have no turn left, reply with \
`{MARKER}` and the whole program after it, with nothing but Python's standard library. What you want to think first, write before \
the line `{SAID}`; the person sees only what follows it."""

    def artefact(self, said: str) -> str:
        """Nothing: the person cannot program."""
        return ""

    def answer(self, turns: Sequence[Turn], marked: str | None) -> str:
        """The text that holds the program: what follows the marker, else the reply, else the last one that showed a program."""
        said = [*reversed(said_by("agent", turns))]
        tries = said if marked is None else [marked, *said]
        return next(filter(DEFINES.search, tries), tries[0])

    def versions(self, task: Task | None, turns: Sequence[Turn], answer: str) -> list[str]:
        name = called(task.calls) if task else ""
        found = [program_for(text, name) if name else program_in(text) for text in [*said_by("agent", turns), answer]]
        return list(dict.fromkeys(code.strip() + "\n" for code in found if DEFINES.search(code)))

    def score(self, task: Task, answer: str, scoring: Scoring) -> Score:
        """Share of the hidden tests that pass."""
        if scoring.released:
            return score_as_released(shared_sandbox(scoring.settings), task, answer)
        return _scorer(scoring.settings, scoring.tolerance, os.getpid()).score(task, answer)

    def check(self, task: Task, scoring: Scoring) -> None:
        _scorer(scoring.settings, 0.0, os.getpid()).truth(task)


@lru_cache(maxsize=8)
def _scorer(settings: Settings, tolerance: float, process: int) -> BackendScorer:
    """One a process: a forked one has a sandbox of its own."""
    return BackendScorer(shared_sandbox(settings), tolerance)
