"""Opens what the graphs run on, the checkpointer and the store: for Python and the web page, and for `langgraph dev`.

with open_runtime() as runtime:
    state = runtime.turn("thread-1", user_message("Hello"), Context(agent="ada"))
    print(state["replies"])
"""

import sqlite3
import threading
import zlib
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from graphs import memgpt
from graphs.memgpt import Context, State
from memory.checkpoints import CheckpointsUnavailable, open_async_checkpointer, open_checkpointer
from memory.store import QdrantStore, open_store
from nodes.memgpt.events import event_text
from nodes.memgpt.receive import check_owner
from settings import Settings

RECURSION_LIMIT = 200  # above what max_steps allows; LangGraph's default is 10,007


class ThreadBusy(RuntimeError):
    """The conversation has a turn under way."""


@dataclass
class Runtime:
    """The memgpt graph with its memory. One per process; threads may share it."""

    settings: Settings
    store: QdrantStore
    checkpointer: BaseCheckpointSaver[str]
    _turns: dict[str, threading.Lock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph = memgpt.builder.compile(checkpointer=self.checkpointer, store=self.store, name="memgpt")

    def turn(self, thread: str, event: BaseMessage | str | None, context: Context) -> State:
        """Run one turn to its end; the state has `replies` and `stop`. Raises as `stream` does."""
        for _ in self.stream(thread, event, context):
            pass
        return self.state(thread)

    def stream(
        self, thread: str, event: BaseMessage | str | None, context: Context, control: RunControl | None = None
    ) -> Generator[dict[str, Any], None, None]:
        """Run one turn, giving LangGraph's parts {type, ns, data} of the modes messages and updates as they come.

        `event` None goes on with an unfinished turn. `control.request_drain()`, or closing the iterator, stops the turn.
        Memory is on disk when it ends. Raises ValueError for an event that cannot be read or a thread of another agent,
        ThreadBusy if the thread has a turn under way, and what the model's or the memory's failure raises; the event is
        kept then.
        """
        message = memgpt.user_message(event) if isinstance(event, str) else event
        check_owner(self.state(thread), context)
        if message is not None:
            event_text(message)
        if not context.model:
            context = replace(context, model=self.settings.model)
        lock = self._turns.setdefault(thread, threading.Lock())
        if not lock.acquire(blocking=False):
            raise ThreadBusy(f"The conversation {thread} has a turn under way: wait for its end, or stop it.")
        control = control or RunControl()
        parts = cast(
            Generator[dict[str, Any], None, None],
            self.graph.stream(
                cast(Any, None if message is None else {"messages": [message]}),
                self.config(thread),
                context=context,
                stream_mode=cast(Any, ["messages", "updates"]),
                durability="sync",  # only then does a step repeated after a crash have the same ids
                version="v2",
                control=control,
            ),
        )
        try:
            for part in parts:  # noqa: UP028 (`yield from` would close the graph before the thought is told to end)
                yield part
        except GraphDrained:
            pass  # as asked
        except GeneratorExit:
            control.request_drain("closed")  # the thought under way ends at its next token
            raise
        finally:
            try:
                parts.close()
                self.store.flush()
            finally:
                lock.release()

    def state(self, thread: str) -> State:
        """The conversation's state; empty before its first turn."""
        try:
            return cast(State, self.graph.get_state(self.config(thread)).values)
        except (sqlite3.DatabaseError, zlib.error) as error:
            raise CheckpointsUnavailable(
                f"The checkpoints of the conversation {thread} cannot be read ({error}). Restore checkpoints.sqlite from a "
                "backup, or begin a new conversation: everything said is still in recall storage."
            ) from error

    def config(self, thread: str) -> RunnableConfig:
        """LangGraph's configuration of a thread."""
        return {"configurable": {"thread_id": thread}, "recursion_limit": RECURSION_LIMIT}


@contextmanager
def open_runtime(settings: Settings | None = None) -> Iterator[Runtime]:
    """Open checkpointer and store, and close them at the end.

    Raises MemoryInUse, MemoryDamaged, MemoryUnreachable or CheckpointsUnavailable, which say what to do.
    """
    settings = settings or Settings()
    with open_store(settings) as store, open_checkpointer(settings) as checkpointer:
        yield Runtime(settings, store, checkpointer)


@asynccontextmanager
async def studio_checkpointer() -> AsyncIterator[BaseCheckpointSaver[str]]:
    """The checkpointer, as `langgraph.json` names it."""
    async with open_async_checkpointer(Settings()) as saver:
        yield saver


@contextmanager
def studio_store() -> Iterator[QdrantStore]:
    """The store, as `langgraph.json` names it."""
    with open_store(Settings()) as store:
        yield store
