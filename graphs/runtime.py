"""Opens what the graphs run on, the checkpointer and the store: for Python and the web page, and for `langgraph dev`.

with open_runtime() as runtime:
    state = runtime.turn("thread-1", user_message("Hello"), Context(agent="ada"))
    print(state["replies"])
    print(runtime.solve("reflexion", "thread-2", "Write …", reflexion.Context(evaluator="own_tests"))["answer"])
"""

import sqlite3
import threading
import zlib
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command

from graphs import collaborate, memgpt, react, reflexion, self_refine
from graphs.memgpt import Context, State
from memory.checkpoints import CheckpointsUnavailable, open_async_checkpointer, open_checkpointer
from memory.store import QdrantStore, open_store
from nodes.memgpt.events import event_text
from nodes.memgpt.receive import check_owner
from nodes.replies import Stopped
from settings import Settings

STEPS_BESIDE = 20  # of a turn, beside those that its budget counts

Method = Literal["react", "self_refine", "reflexion", "collaborate"]
SolverContext = react.Context | self_refine.Context | reflexion.Context | collaborate.Context
SOLVERS = {
    "react": react.builder,
    "self_refine": self_refine.builder,
    "reflexion": reflexion.builder,
    "collaborate": collaborate.builder,
}
Task = str | dict[str, Any] | Command[Any] | None


class ThreadBusy(RuntimeError):
    """The conversation has a turn under way."""


@dataclass
class Runtime:
    """The graphs with their memory. One per process; threads may share it."""

    settings: Settings
    store: QdrantStore
    checkpointer: BaseCheckpointSaver[str]
    _turns: dict[str, threading.Lock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph = memgpt.builder.compile(checkpointer=self.checkpointer, store=self.store, name="memgpt")
        self.solvers: dict[str, Any] = {
            name: cast(Any, builder).compile(checkpointer=self.checkpointer, store=self.store, name=name)
            for name, builder in SOLVERS.items()
        }

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
        values = None if message is None else {"messages": [message]}
        yield from self._stream(self.graph, self.config(thread), values, context, control, ())

    def solve(self, method: Method, thread: str, task: Task, context: SolverContext) -> dict[str, Any]:
        """Run react, self_refine, reflexion or collaborate to its end, or to where it waits; the state has `answer` and `stop`.

        Raises as `stream_solver` does.
        """
        for _ in self.stream_solver(method, thread, task, context):
            pass
        return self.solver_state(method, thread)

    def stream_solver(
        self,
        method: Method,
        thread: str,
        task: Task,
        context: SolverContext,
        control: RunControl | None = None,
        pause_after: Sequence[str] = (),
    ) -> Generator[dict[str, Any], None, None]:
        """Run a solver, giving LangGraph's parts as `stream` does, those of the machines inside it too.

        `task` None goes on with a run that was paused, stopped or cut off; `Command(resume=...)` with one that waits for a
        person; a mapping is the machine's whole input. `pause_after` names steps after which it waits:
        then `edit` changes the last draft, critique or lesson, and None goes on. Raises ValueError for an empty task, a run
        of another agent or nothing to go on with, ThreadBusy, and what models, sandbox and memory raise.
        """
        config = self.solver_config(method, thread)
        check_owner(cast(State, self.solver_state(method, thread)), cast(Context, context))
        if isinstance(task, str) and not task.strip():
            raise ValueError("The task is empty: say what is to be solved.")
        if (task is None or isinstance(task, Command)) and not self.solver_waits_at(method, thread):
            raise ValueError(f"There is nothing to go on with in {thread}: its last run has ended, or none was begun.")
        if not context.model:
            context = replace(context, model=self.settings.model)
        values = {"task": task} if isinstance(task, str) else task
        if isinstance(values, Command) and values.resume is None:
            values = Command(resume="")  # LangGraph takes None for no answer at all
        yield from self._stream(self.solvers[method], config, values, context, control, pause_after)

    def edit(self, method: Method, thread: str, values: dict[str, Any]) -> None:
        """Change a paused run's state, such as its drafts or trials, before going on with it."""
        self.solvers[method].update_state(self.solver_config(method, thread), values)

    def solver_state(self, method: Method, thread: str) -> dict[str, Any]:
        """The run's state; empty before its first step."""
        return self._values(self.solvers[method], self.solver_config(method, thread), thread)

    def solver_waits_at(self, method: Method, thread: str) -> str:
        """The step that a paused or cut-off run goes on with; empty if it has ended."""
        # Not `next`: that leaves out a step which was done, and whose checkpoint was not written before a crash.
        tasks = self.solvers[method].get_state(self.solver_config(method, thread)).tasks
        return str(tasks[0].name) if tasks else ""

    def solver_config(self, method: Method, thread: str) -> RunnableConfig:
        """LangGraph's configuration of a solver's thread: apart from a conversation of the same name."""
        return self.config(f"{method}:{thread}")

    def _stream(
        self,
        graph: Any,
        config: RunnableConfig,
        values: Any,
        context: Any,
        control: RunControl | None,
        pause_after: Sequence[str],
    ) -> Generator[dict[str, Any], None, None]:
        thread = config["configurable"]["thread_id"]
        # Above what the context's own budget allows, so that this bound is never what ends a run; the default is 10,007.
        budgets = [getattr(context, name, 0) for name in ("max_steps", "max_drafts", "max_trials", "max_turns")]
        config = {**config, "recursion_limit": STEPS_BESIDE + 4 * max(budgets)}
        lock = self._turns.setdefault(thread, threading.Lock())
        if not lock.acquire(blocking=False):
            raise ThreadBusy(f"The conversation {thread} has a turn under way: wait for its end, or stop it.")
        control = control or RunControl()
        parts = cast(
            Generator[dict[str, Any], None, None],
            graph.stream(
                values,
                config,
                context=context,
                stream_mode=["messages", "updates"],
                durability="sync",  # only then does a step repeated after a crash have the same ids
                version="v2",
                control=control,
                subgraphs=True,
                interrupt_after=list(pause_after),
            ),
        )
        try:
            for part in parts:  # noqa: UP028 (`yield from` would close the graph before the thought is told to end)
                yield part
        except (GraphDrained, Stopped):
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

    def _values(self, graph: Any, config: RunnableConfig, thread: str) -> dict[str, Any]:
        try:
            return cast(dict[str, Any], graph.get_state(config).values)
        except (sqlite3.DatabaseError, zlib.error) as error:
            raise CheckpointsUnavailable(
                f"The checkpoints of the conversation {thread} cannot be read ({error}). Restore checkpoints.sqlite from a "
                "backup, or begin a new conversation: everything said is still in recall storage."
            ) from error

    def state(self, thread: str) -> State:
        """The conversation's state; empty before its first turn."""
        return cast(State, self._values(self.graph, self.config(thread), thread))

    def config(self, thread: str) -> RunnableConfig:
        """LangGraph's configuration of a thread."""
        return {"configurable": {"thread_id": thread}}


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
