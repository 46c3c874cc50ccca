"""What the collaborate machine remembers between steps (State), and what its caller sets (Context)."""

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from langchain_core.language_models import BaseChatModel
from pydantic.json_schema import SkipJsonSchema

from nodes.context import RunContext, check, check_positive
from settings import Settings
from tasks.colbench import TaskKind
from tasks.dialogue import Turn
from tasks.environment import Scoring

Stop = Literal["", "answered", "turn_limit"]
PersonKind = Literal["human", "rules", "model", "vision"]


class State(TypedDict, total=False):
    """Plain data, all of which the agent may see: the hidden reference is looked up by `task` where a score or a reply needs it.

    `task`, or a `wish` of one's own, goes in; `answer`, `score` and `trajectory` come out.
    """

    task: str
    """An id of tasks.lookup; empty for a wish without a reference."""
    wish: str
    kind: TaskKind
    version: int
    agent: str
    setting: dict[str, Any]
    """What of the context the run was begun with, by field: who the person is must not change on the way."""
    description: str
    examples: str
    turns: list[Turn]
    answer: str
    stop: Stop
    score: float | None
    success: bool | None
    failure: str
    message: str
    """What a programmer would be told of the first failed test; never an expected value."""
    parts: dict[str, float]
    """Of a page: blocks, colours, structure."""
    passed: list[bool]
    told: list[str]
    input_tokens: int
    output_tokens: int
    trajectory: dict[str, Any]


class Input(TypedDict, total=False):
    """A run's input: the id of a task, or a wish and its kind."""

    task: str
    wish: str
    kind: TaskKind


@dataclass(kw_only=True)
class Context(RunContext):
    """What the caller sets for a run. Raises ValueError, naming the field, for a value that cannot work."""

    ROUNDS = "max_turns"

    person: PersonKind = "human"
    """`human`: the run waits for what a person says; `rules`: from the task's single facts, without a model; `model`: a language
    model that knows the requirements in words; `vision`: a model that sees both pages."""
    person_model: str | SkipJsonSchema[BaseChatModel] = ""
    """Who plays the person of `model` and `vision`; empty: the same model."""
    max_turns: int = 10
    """Replies of the agent, the answer among them; 1: it answers at once."""
    patience: int = 0
    """Of `rules`: how many questions it answers; 0: without end."""
    vagueness: float = 0.1
    """Of `rules`: how often it answers only when it is asked again."""
    forgetfulness: float = 0.1
    """Of `rules`: the share of facts that come to its mind only when it is asked again."""
    question_cost: float = 0.0
    """What each reply of the person takes off the score; success stays what the tests say."""
    memory: bool = False
    """Whether the agent has its MemGPT memory: it then knows this person from earlier tasks, and notes what it learns."""
    refine: bool = False
    """Whether it works on a program with Reflexion, on the visible examples or its own tests, before it answers."""
    tolerance: float = 0.0
    """Largest difference between numbers that count as equal; 0: `==`."""
    scoring: Literal["palimpsest", "released"] = "palimpsest"
    """`released`: the public scorer's rules, faults included, for comparing with published numbers."""
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "max_turns")
        check(self.max_turns <= 100, "max_turns", self.max_turns, "use 1 to 100")
        check(self.patience >= 0, "patience", self.patience, "use 0 for no end, or a number of questions")
        for name in ("vagueness", "forgetfulness", "question_cost"):
            check(0 <= getattr(self, name) <= 1, name, getattr(self, name), "use a share from 0 to 1")
        check(0 <= self.tolerance < 1, "tolerance", self.tolerance, "use 0 for ==, or a small share such as 1e-9")

    def scoring_of(self, settings: Settings) -> Scoring:
        """How the answer is scored."""
        return Scoring(settings=settings, tolerance=self.tolerance, released=self.scoring == "released")

    def setting(self) -> dict[str, Any]:
        """The fields that a run keeps from its begin to its end, without models."""
        names = "person max_turns patience vagueness forgetfulness question_cost memory refine tolerance scoring seed".split()
        return {name: getattr(self, name) for name in names}
