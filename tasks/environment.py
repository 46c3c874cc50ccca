"""What an environment of ColBench is: how an agent works in it, what in a dialogue is the answer, and what that is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from settings import Settings
from tasks.colbench import Task
from tasks.dialogue import Turn


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How answers are scored."""

    settings: Settings
    tolerance: float = 0.0
    """Largest difference between numbers that count as equal; 0: `==`."""
    released: bool = False
    """Whether by the public scorer's rules, faults included."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What an answer is worth."""

    score: float
    """From 0 to 1."""
    success: bool
    failure: str = ""
    """The kind of the first failure; empty if there is none."""
    message: str = ""
    """What a programmer would be told of it; never an expected value."""
    passed: tuple[bool, ...] = ()
    """Of a program: for each test."""
    parts: dict[str, float] = field(default_factory=dict)
    """Of a page: blocks, colours, structure, and CLIP's cosine where its weights are."""

    @classmethod
    def of_tests(cls, passed: tuple[bool, ...], failure: str = "", message: str = "") -> "Score":
        """Of a program: the share of its tests that pass, and success when all do."""
        share = sum(passed) / len(passed)
        return cls(score=share, success=all(passed), failure=failure, message=message, passed=passed)


class Environment(Protocol):
    """One kind of task."""

    instructions: str
    """Of the agent's system message; names `{turns}`."""

    def artefact(self, said: str) -> str:
        """What a reply shows the person beside its words; empty if nothing."""
        ...

    def answer(self, turns: Sequence[Turn], marked: str | None) -> str:
        """The answer of a dialogue that has ended: `marked` is what follows the marker, None without one."""
        ...

    def versions(self, task: Task | None, turns: Sequence[Turn], answer: str) -> list[str]:
        """The programs or pages that the agent has shown, oldest first, each once."""
        ...

    def score(self, task: Task, answer: str, scoring: Scoring) -> Score:
        """What an answer is worth. Raises TruthFailed, and what sandbox and browser raise."""
        ...

    def check(self, task: Task, scoring: Scoring) -> None:
        """Raise TruthFailed if nothing can be scored against the task's reference."""
        ...
