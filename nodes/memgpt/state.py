"""What the MemGPT machine remembers between steps (State), and what its caller sets (Context)."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Literal, NotRequired

from langchain_core.messages import AnyMessage
from langchain_core.tools import BaseTool
from langgraph.graph.message import add_messages
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypedDict

from memory.recall import Trust
from models.protocol import Protocol
from nodes.context import RunContext, check
from nodes.tool_policy import ToolPolicy

BLOCKS = ("persona", "human")
"""The working context's blocks (MemGPT §2.1): who the agent is, and what it knows of the person."""

SMALLEST_WINDOW = 2_800
"""Tokens: instructions, tools, and enough room that a question, a call and its result fit beside them."""

Stop = Literal[
    "", "waiting", "refused", "step_limit", "loop", "empty_reply", "stopped", "token_cap", "call_cap", "time_cap"
]
"""Why a turn ended: waiting = the agent yielded and waits for the next event; a cap is the caller's (Context.max_tokens …)."""

WakeReason = Literal["event", "failed", "heartbeat", ""]
"""Why the agent is to think next; empty: it has yielded."""


class Evicted(TypedDict):
    """What left the window last, for the one line that tells the agent so."""

    count: int
    total: int
    since: str
    until: str


class TurnProgress(TypedDict):
    """The turn under way."""

    event: str
    """Id of the message that began it; eviction spares that one."""
    wake: WakeReason
    steps: int
    """Thoughts so far."""
    last_calls: str
    """Digest of the calls of the last step."""
    repeats: int
    """How often in a row they were made."""
    asked: bool
    """Whether a person began it, and so waits for an answer."""
    reminded: bool
    """Whether the agent was told that it has not answered."""


class Clock(TypedDict):
    """Where the conversation's log stands (nodes.memgpt.log)."""

    sequence: int
    """Of the last record: microseconds."""
    position: int
    """Of the next thing said aloud, counted from 0."""
    previous: str
    """The last thing said aloud, in short."""


class Recalled(TypedDict):
    """A memory that was looked up before the thought (nodes.memgpt.recalled)."""

    key: str
    storage: Literal["recall", "archival"]
    speaker: str
    """`user` or `assistant`; empty in archival storage."""
    author: str
    source: str
    """The document that it is from; empty for what is none's."""
    time: str
    until: NotRequired[str]
    """When a newer memory took its place; empty while it holds."""
    text: str
    """Cut to fit."""
    trust: Trust
    score: float
    """Of the ranking that found it (memory.ranking)."""


class Sourced(TypedDict):
    """A sentence of the summary."""

    text: str
    keys: list[str]
    """Of the messages in recall storage that it comes from; none where no message says it."""


class Counters(TypedDict):
    """What the agent is told to be outside its window."""

    recall: int
    archival: int


class Tokens(TypedDict):
    """What a turn took, as the server has counted it; 0 where it does not count."""

    read: int
    """Of all prompts."""
    cached: int
    """Of these, what the server had computed before."""
    written: int


class Operation(TypedDict):
    """What one kind of work has taken in a turn."""

    calls: int
    """Of the model, or of tools."""
    read: int
    """Tokens of prompts."""
    written: int
    """Tokens of replies."""
    milliseconds: int
    bytes: int
    """Of what was sent to the model, or came back from tools."""


class State(TypedDict, total=False):
    """Plain data, bounded by the window: everything older is in recall storage."""

    version: int
    """STATE_VERSION of the code that wrote it; an older one is migrated when the next event comes in."""
    agent: str
    """Whose conversation this is, from its first turn on."""
    messages: Annotated[list[AnyMessage], add_messages]
    """The FIFO queue."""
    queue_ids: list[str]
    """Ids of the messages that this machine put into the queue; any other id is new input."""
    working_context: dict[str, str]
    outside_lines: list[str]
    """Lines that were written into it while text from outside was in view."""
    solver_tools: list[str]
    """Names of the caller's tools that the machines of `solve_carefully` may call."""
    recalled: list[Recalled]
    """What bears on the event of the turn under way, and is out of the window."""
    summary: str
    """The recursive summary of everything that left the queue."""
    summary_sources: list[Sourced]
    """Its sentences with what they come from."""
    summary_trust: Trust
    """`outside` once text from outside has gone into the summary."""
    evicted: Evicted
    counters: Counters
    warned: bool
    """Whether this period (from one eviction to the next) has had its memory-pressure alert."""
    full: bool
    """Whether the window was full when it was last counted: then a flush comes before the next thought."""
    forgot: bool
    """Whether a person has told something in the last turn of which the model has kept nothing."""
    calls: Protocol
    """How the model was told of its tools at the last thought; native before the first."""
    limit: int
    """Most tokens of a prompt, where the endpoint has said so."""
    calibration: float
    """Tokens that the model counted for each that was estimated."""
    clock: Clock
    turn: TurnProgress
    tokens: Tokens
    """Of the last turn."""
    meter: dict[str, Operation]
    """What the last turn took, by what was done: recall, thinking, tools, solving (machines inside), summary, note."""
    thoughts: list[str]
    """What the model thought in the last turn, where its server tells it apart: for the person; it is in no prompt."""
    replies: list[str]
    """What was sent to the person in the last turn."""
    stop: Stop
    error: str
    """What was wrong with an event that was refused."""


class Input(TypedDict):
    """A turn's input: one or more new messages. A user message is a person's, a system message is a system alert."""

    messages: Annotated[list[AnyMessage], add_messages]


@dataclass(kw_only=True)
class Context(RunContext):
    """What the caller sets for a run. Raises ValueError, naming the field, for a value that cannot work."""

    window: int = 8_192
    """Most tokens of a prompt. Leave room for the reply: the model's context length less 1,024."""
    warn_at: float = 0.7
    """Share of the window from which the agent is warned (MemGPT §2.2)."""
    flush_at: float = 1.0
    """Share of the window from which the queue is flushed."""
    evict_share: float = 0.5
    """Share of the window that a flush frees."""
    recall_share: float = 0.15
    """Most of the window that memories looked up before a thought may take; 0: the agent finds only what it searches."""
    block_limit: int = 2_000
    """Most characters of a block of the working context."""
    page_size: int = 10
    """Results on a page of a search."""
    max_steps: int = 20
    """Most thoughts in a turn."""
    max_repeats: int = 2
    """How often in a row the same calls may be made; once more, and the turn is stopped as a loop."""
    max_tokens: int = 0
    """Most tokens that the model may read and write in a turn; 0: no cap. No call is begun whose prompt would go beyond it."""
    max_calls: int = 0
    """Most calls of the model in a turn; 0: no cap."""
    max_seconds: float = 0
    """Most time of a turn; 0: no cap. A reply under way is broken off; a tool of a machine inside `solve_carefully` is not."""
    answers: bool = True
    """Whether a person's message must be answered: an agent that sends nothing is reminded once, then its text is delivered."""
    temporary: bool = False
    """Whether the chat reads memory and writes none. The runtime keeps its state in this process only, and no checkpoint of it."""
    mcp: list[str] = field(default_factory=list)
    """MCP servers whose tools `solve_carefully` may use: a URL (streamable HTTP), or a name in PALIMPSEST_MCP_SERVERS (stdio)."""
    more_tools: SkipJsonSchema[list[BaseTool]] = field(default_factory=list)
    """LangChain tools that it may use."""
    tool_policy: ToolPolicy = field(default_factory=ToolPolicy)
    """Which of these may be called that have side effects, beside what the agent's own policy says."""
    private: bool = False
    """Whether to make the conversation private: see memory.privacy. It stays so until it is made public."""
    user: str = "user"
    """Name of the person, for the log."""
    now: str = ""
    """ISO time at which this turn happens; empty: the clock."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.tool_policy, ToolPolicy):  # Studio and other clients send plain data
            self.tool_policy = ToolPolicy.model_validate(self.tool_policy)
        check(
            not (self.private and self.temporary),
            "private",
            self.private,
            "a temporary chat keeps nothing: use one of them",
        )
        check(self.window >= SMALLEST_WINDOW, "window", self.window, f"use {SMALLEST_WINDOW} tokens or more")
        check(0 < self.warn_at < self.flush_at <= 1, "warn_at", self.warn_at, "use 0 < warn_at < flush_at <= 1")
        check(0 <= self.recall_share <= 0.5, "recall_share", self.recall_share, "use a share from 0 to 0.5")
        check(0 < self.evict_share <= 1, "evict_share", self.evict_share, "use a share above 0, at most 1")
        for name in ("max_tokens", "max_calls", "max_seconds"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "use 0 for no cap, or a number above it")
        for name in ("block_limit", "page_size", "max_steps", "max_repeats"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "use 1 or more")
        self.time()

    def time(self) -> datetime:
        """When this turn happens, in UTC."""
        if not self.now:
            return datetime.now(UTC)
        try:
            time = datetime.fromisoformat(self.now)
        except ValueError:
            raise ValueError(
                f"Context.now={self.now!r} is not an ISO time such as 2026-01-31T09:30:00+00:00."
            ) from None
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
