"""What the Self-Refine machine remembers between steps (State), and what its caller sets (Context)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NotRequired, TypedDict

from langchain_core.language_models import BaseChatModel
from pydantic.json_schema import SkipJsonSchema

from nodes.context import check, check_positive
from nodes.react.state import ReactOptions

Stop = Literal["", "accepted", "budget"]
Critic = Callable[[str], tuple[float, str]]
"""A check in code: from a draft to its score, 0 to 1, and its criticism."""


class Draft(TypedDict):
    """One version of the answer, and what was said of it."""

    number: int
    text: str
    score: float
    """From 0 to 1; -1 until it was criticised."""
    critique: str
    outside: NotRequired[str]
    """By what text from outside came into it; empty for none."""


class State(TypedDict, total=False):
    """Plain data. `task` goes in, `answer` (the best draft) and `stop` come out."""

    version: int
    agent: str
    task: str
    drafts: list[Draft]
    """Every draft, in order. A person may edit the last one, or its critique, while the run is paused."""
    seconds: float
    answer: str
    score: float
    stop: Stop


@dataclass(kw_only=True)
class Context(ReactOptions):
    """What the caller sets for a run. Raises ValueError, naming the field, for a value that cannot work."""

    ROUNDS = "max_drafts"

    draft: Literal["write", "react"] = "write"
    """Who writes and revises: `write`: one reply; `react`: the ReAct machine with `tools`, `mcp` and `max_steps`."""
    critic: str | SkipJsonSchema[BaseChatModel] = ""
    """Who criticises; empty: the same model."""
    tests: str = ""
    """Assertions in Python: then the draft is a program, and they criticise it, in the sandbox."""
    functions: list[str] = field(default_factory=list)
    """Functions that the tests call; empty: those that the program defines."""
    checker: SkipJsonSchema[Critic | None] = None
    """Code that criticises instead of a model."""
    accept_at: float = 0.9
    """Score from which a draft is accepted; with `tests`, all of them must hold."""
    max_drafts: int = 4
    max_seconds: float = 300.0
    """Time after which no further draft is begun."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "max_drafts", "max_seconds")
        check(0 < self.accept_at <= 1, "accept_at", self.accept_at, "use a score above 0, at most 1")
        check(not self.tests or bool(self.tests.strip()), "tests", self.tests, "write assertions, or leave it empty")
        both = bool(self.tests) and self.checker is not None
        check(not both, "checker", self.checker, "give tests or a checker, not both")
