"""What the ReAct machine remembers between steps (State), and what its caller sets (Context)."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypedDict

from langchain_core.messages import AnyMessage
from langchain_core.tools import BaseTool
from langgraph.graph.message import add_messages
from pydantic.json_schema import SkipJsonSchema

from nodes.context import RunContext, check, check_positive
from nodes.tool_decisions import Decided
from nodes.tool_policy import ToolPolicy

Stop = Literal["", "answered", "step_limit", "time_limit", "loop", "error"]
"""Why a run ended. `error`: three steps in a row in which every call failed, or replies without content."""

BuiltIn = Literal["calculator", "python", "search", "lookup"]
BUILT_IN: tuple[BuiltIn, ...] = ("calculator", "python", "search", "lookup")


class Place(TypedDict):
    """The page that was opened last, and how far `lookup` has come in it."""

    title: str
    string: str
    found: int


class State(TypedDict, total=False):
    """Plain data. `task` goes in, `answer` and `stop` come out."""

    version: int
    task: str
    agent: str
    messages: Annotated[list[AnyMessage], add_messages]
    """Task, thoughts with their calls, observations."""
    steps: int
    seconds: float
    """Time spent, also over interruptions."""
    last_calls: str
    """Digest of the last step's calls and their results."""
    repeats: int
    """How often in a row they were the same."""
    failures: int
    """Steps in a row in which every call failed."""
    place: Place
    decisions: list[Decided]
    """What the tool policy said to each call."""
    outside: str
    """The tool whose result was the first text from outside; empty while there was none."""
    answer: str
    stop: Stop
    error: str


@dataclass(kw_only=True)
class ReactOptions(RunContext):
    """What the caller of the ReAct machine sets, and of one that has its steps worked out by it."""

    tools: list[BuiltIn] = field(default_factory=lambda: list(BUILT_IN))
    """Which of the built-in tools the model may call."""
    mcp: list[str] = field(default_factory=list)
    """MCP servers whose tools are attached: a URL (streamable HTTP), or a name in PALIMPSEST_MCP_SERVERS (stdio)."""
    more_tools: SkipJsonSchema[list[BaseTool]] = field(default_factory=list)
    """Any LangChain tools."""
    tool_policy: ToolPolicy = field(default_factory=ToolPolicy)
    """Which tools with side effects may be called, beside what the agent's own policy says. The restrictions of both hold."""
    outside: str = ""
    """What of the task is from outside, such as a document that it quotes: side effects then need a yes. Empty: nothing."""
    temporary: bool = False
    """Whether the log of decisions stays out of the agent's memory, as in a temporary chat."""
    max_steps: int = 8
    """Most thoughts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.tool_policy, ToolPolicy):  # Studio and other clients send plain data
            self.tool_policy = ToolPolicy.model_validate(self.tool_policy)
        check_positive(self, "max_steps")
        for name in self.tools:
            check(name in BUILT_IN, "tools", name, f"use some of {', '.join(BUILT_IN)}")


@dataclass(kw_only=True)
class Context(ReactOptions):
    """What the caller sets for a run. Raises ValueError, naming the field, for a value that cannot work."""

    instructions: str = ""
    """Added to the system message."""
    max_seconds: float = 180.0
    """Most time in all; a tool still running then is given up."""
    max_repeats: int = 2
    """How often in a row the same calls may have the same results; once more, and the run is stopped as a loop."""
    observation_characters: int = 2_000
    """Most of a result that the model sees."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "max_seconds", "max_repeats", "observation_characters")
