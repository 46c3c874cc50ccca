"""What the Reflexion machine remembers between steps (State), and what its caller sets (Context)."""

from dataclasses import dataclass, field
from typing import Literal, NotRequired, TypedDict

from langchain_core.language_models import BaseChatModel
from pydantic.json_schema import SkipJsonSchema

from memory.lessons import Outcome
from memory.recall import Trust
from nodes.context import check, check_positive
from nodes.react.state import ReactOptions

Stop = Literal["", "solved", "budget"]
Evaluator = Literal["tests", "own_tests", "exact", "judge"]


class Recalled(TypedDict):
    """A lesson of an earlier run."""

    key: str
    text: str
    task: str
    trust: NotRequired[Trust]
    """`outside` if the trial that taught it had read text from outside."""


class Trial(TypedDict):
    """One attempt, what came of it, and what was learnt."""

    number: int
    answer: str
    trajectory: NotRequired[str]
    """How the ReAct machine came to it: thoughts, calls, observations. Runs begun before it was kept have none."""
    outcome: Outcome | Literal[""]
    """Empty until it was evaluated."""
    score: float
    feedback: str
    error: str
    """Why the attempt itself ended early: a budget of its tools, a loop."""
    lesson: str
    """What to do otherwise next time; a person may edit it while the run is paused."""
    outside: NotRequired[str]
    """By what text from outside came into it; empty for none."""


class State(TypedDict, total=False):
    """Plain data. `task` goes in, `answer`, `score` and `stop` come out. Nothing hidden stands here: see Context."""

    version: int
    agent: str
    task: str
    run: str
    """Id of this run, for the lessons' sources."""
    recalled: list[Recalled]
    own_tests: str
    """The assertions that the model wrote itself, without the invalid ones."""
    trials: list[Trial]
    seconds: float
    answer: str
    score: float
    stop: Stop


@dataclass(kw_only=True)
class Context(ReactOptions):
    """What the caller sets for a run. It is not checkpointed, so hidden tests and expected answers belong here.

    Raises ValueError, naming the field, for a value that cannot work.
    """

    ROUNDS = "max_trials"

    attempt: Literal["write", "react"] = "write"
    """`write`: one reply; `react`: the ReAct machine with `tools`, `mcp` and `max_steps`, whose trajectory the reflection sees."""
    evaluator: Evaluator = "judge"
    """`tests`: those below; `own_tests`: the model's own; `exact`: the expected answer below; `judge`: a model."""
    tests: str = ""
    """Assertions in Python. The model sees those that failed, as a programmer would."""
    functions: list[str] = field(default_factory=list)
    """Functions that the tests call; empty: those that the program defines."""
    expected: str = ""
    """The right answer, compared without case, punctuation and articles; the model is told right or wrong only."""
    judge: str | SkipJsonSchema[BaseChatModel] = ""
    """Who judges; empty: the same model."""
    accept_at: float = 0.9
    """Score of the judge from which an answer counts as right."""
    first_attempt: str = ""
    """An answer that is there already: the first trial, instead of one that the model makes."""
    max_trials: int = 4
    max_seconds: float = 600.0
    """Time after which no further trial is begun."""
    max_lessons: int = 3
    """Most lessons recalled, and most of this run's own that the next attempt sees (Ω in the paper)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "max_trials", "max_seconds", "max_lessons")
        check(0 < self.accept_at <= 1, "accept_at", self.accept_at, "use a score above 0, at most 1")
        check(
            self.evaluator != "tests" or bool(self.tests.strip()),
            "tests",
            self.tests,
            "the evaluator `tests` needs some",
        )
        wants = self.evaluator == "exact"
        check(
            not wants or bool(self.expected.strip()), "expected", self.expected, "the evaluator `exact` needs an answer"
        )

    @property
    def is_program(self) -> bool:
        """Whether the answer is a program."""
        return self.evaluator in ("tests", "own_tests")
