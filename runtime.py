"""Opens settings, checkpointer and store once, and runs any machine: for Python, the web page, and `langgraph dev`.

with open_runtime() as runtime:
    state = runtime.run("memgpt", "thread-1", "Hello", memgpt.Context(agent="ada"))
    print(state["replies"])
    print(runtime.run("reflexion", "thread-2", "Write …", reflexion.Context(evaluator="own_tests"))["answer"])
"""

import sqlite3
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command

from graphs import collaborate, memgpt, react, reflexion, self_refine
from memory.blocks import BRANCH
from memory.branches import Branches, branches_of
from memory.checkpoints import CheckpointsUnavailable, StrictSerializer, open_checkpointer
from memory.exports import read_export
from memory.forget import Target
from memory.privacy import all_private_threads, set_private
from memory.store import QdrantStore, open_store
from memory.turns import ALL, ThreadBusy
from models.endpoint import is_private_host
from models.reply import Stopped
from nodes.as_of import AsOf, Past, active_thread, thread_config
from nodes.context import STATE_VERSION, check_agent
from nodes.forget import JOURNAL as FORGETTING
from nodes.forget import Forgetting, Receipt
from nodes.importing import Imported, Importing
from nodes.memgpt.event import parse_event
from nodes.memgpt.receive import check_owner
from nodes.moving import JOURNAL as MOVING
from nodes.moving import Moved, Moving, Progress
from nodes.tool_decisions import read_log, set_tool_policy, tool_policy_of
from nodes.tool_policy import ToolPolicy
from settings import Settings

Machine = Literal["memgpt", "react", "self_refine", "reflexion", "collaborate"]
Context = memgpt.Context | react.Context | self_refine.Context | reflexion.Context | collaborate.Context
Given = str | BaseMessage | dict[str, Any] | Command[Any] | None
Part = dict[str, Any]
"""One of LangGraph's stream parts: {type, ns, data}, of type messages, updates or custom."""

MACHINES: dict[Machine, Any] = {
    "memgpt": memgpt.graph,
    "react": react.graph,
    "self_refine": self_refine.graph,
    "reflexion": reflexion.graph,
    "collaborate": collaborate.graph,
}


@dataclass
class Runtime:
    """The machines with their memory. Threads may share it."""

    settings: Settings
    store: QdrantStore
    checkpointer: BaseCheckpointSaver[str]

    def __post_init__(self) -> None:
        kept = {"checkpointer": self.checkpointer, "store": self.store}
        self.graphs: dict[Machine, Any] = {name: graph.copy(kept) for name, graph in MACHINES.items()}
        self._begin_temporary()
        self._guard_embedder()
        self.past = Past(self.store, self.checkpointer, self.graphs["memgpt"])
        self._moving = Moving(self.store, self.checkpointer, self.graphs["memgpt"], self.settings)

    def _begin_temporary(self) -> None:
        """Have no temporary chats, and room for new ones: their states are in this process only, and go with it."""
        saver = InMemorySaver(serde=StrictSerializer())
        self._temporary = MACHINES["memgpt"].copy({"checkpointer": saver, "store": self.store})
        self._temporary_threads: set[str] = set()

    def _graph(self, machine: Machine, thread: str) -> Any:
        return self._temporary if machine == "memgpt" and thread in self._temporary_threads else self.graphs[machine]

    def run(self, machine: Machine, thread: str, given: Given, context: Context) -> dict[str, Any]:
        """Run a machine to its end, or to where it waits; gives the thread's state. Takes and raises what `stream` does."""
        for _ in self.stream(machine, thread, given, context):
            pass
        return self.state(machine, thread)

    def stream(
        self, machine: Machine, thread: str, given: Given, context: Context, control: RunControl | None = None,
        pause_after: Sequence[str] = (),
    ) -> Generator[Part, None, None]:  # fmt: skip
        """Run a machine, giving LangGraph's parts as they come, those of the machines inside it too.

        `given`: what a person says, or another event (memgpt), or a task; a mapping is the machine's whole input. None goes on
        with a run that was paused, stopped or cut off; `Command(resume=...)` with one that waits for a person. `pause_after`
        names steps after which it waits: then `edit` changes the state, and None goes on. `control.request_drain()`, or
        closing the iterator, stops the run. Memory is on disk when it ends.

        Raises ValueError for an input that is empty or cannot be read, a thread of another agent or version, and nothing to go
        on with; ThreadBusy if the thread has a run under way; and what models, sandbox and memory raise: the input is kept
        then.
        """
        self._check_name(machine, thread)
        context = replace(context, model=context.model or self.settings.model, settings=self.settings)
        control = control or RunControl()
        with self._turn(machine, thread):
            if isinstance(context, memgpt.Context):
                self._check_temporary(thread, context)
            self._check(machine, thread, given, context)
            # Above what the context's own budget allows, so that this bound is never what ends a run; the default is 10,007.
            config: RunnableConfig = {**self.config(machine, thread), "recursion_limit": context.supersteps}
            parts: Generator[Part, None, None] = self._graph(machine, thread).stream(
                _values(machine, given),
                config,
                context=context,
                stream_mode=["messages", "updates", "custom"],
                durability="sync",  # only then does a step repeated after a crash have the same ids
                version="v2",
                control=control,
                subgraphs=True,
                interrupt_after=list(pause_after),
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
                parts.close()

    def edit(self, machine: Machine, thread: str, values: dict[str, Any]) -> None:
        """Change a paused run's state, such as its drafts or trials, before going on with it."""
        self._graph(machine, thread).update_state(self.config(machine, thread), values)

    def forget(self, agent: str, target: Target) -> Receipt:
        """Forget something for good, in every tier; gives the proof. Raises ValueError where the agent has nothing of it, and
        ThreadBusy while a turn is under way.
        """
        with self._alone():
            self._begin_temporary()  # they may have read it
            return Forgetting(self.store, self.checkpointer, self.settings).forget(agent, target)

    # ---- agents carried in and out ------------------------------------------------------------------------------------

    def export_agent(self, agent: str, path: Path) -> dict[str, int]:
        """Write all of an agent to one file (docs/archive.md); returns how many memories of each tier.

        Memories, working context, lessons, and of each conversation and its branches the last state. Raises ValueError if there
        is no such agent, and ThreadBusy while a turn is under way.
        """
        with self._alone():
            return self._moving.export(agent, path)

    def import_agent(self, agent: str, archive: Path | IO[bytes], progress: Progress | None = None) -> Moved:
        """Read such a file into the memory of `agent`, who may be there already; nothing that is there is overwritten.

        A conversation whose name another agent here uses gets a new one. Raises ValueError, before anything is written, if any
        part of the file cannot be read, and ThreadBusy.
        """
        with self._alone(), _opened(archive) as file:
            moved = self._moving.take_in(agent, file, progress)
            self._guard_embedder()  # private conversations may have come
            return moved

    def import_export(self, agent: str, export: Path | IO[bytes], progress: Progress | None = None) -> Imported:
        """Read an export of another system (memory/exports): of ChatGPT, Claude, mem0 or Letta, Markdown, or JSON lines.

        Read again, or begun again after it was stopped, it brings only what is not here yet. Raises ValueError for a file that is
        none of these, and ThreadBusy.
        """
        with self._alone(), _opened(export) as file:
            check_agent(agent)
            records = read_export(Path(str(getattr(file, "name", "the file"))).name, file)
            return Importing(self.store, self.checkpointer, self.graphs["memgpt"], agent).take_in(records, progress)

    def rename_agent(self, agent: str, to: str) -> Moved:
        """Give an agent another name; if there is an agent of that name, the two become one. Raises ValueError and ThreadBusy."""
        with self._alone():
            return self._moving.rename(agent, to)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no turn is under way, and none begins. Raises ThreadBusy."""
        self._finish_for_others()
        if self.store.client.begin(ALL):
            raise ThreadBusy("A turn is under way, a forget or an import: wait for its end, or stop it.")
        try:
            self.past.settle()
            yield
        finally:
            self.store.client.end(ALL)

    def finish(self) -> None:
        """Finish what a crash has cut short: a forget, a renaming, a change of branches. Where a turn is under way in another
        process, that one has done so, or is at it.
        """
        if self.store.client.begin(ALL):
            return
        try:
            Forgetting(self.store, self.checkpointer, self.settings).finish()
            self._moving.finish()
            self.past.settle()
        finally:
            self.store.client.end(ALL)

    def _finish_for_others(self) -> None:
        """Finish what another process began and was killed at."""
        if any((self.settings.folder / journal).exists() for journal in (FORGETTING, MOVING)):
            self.finish()

    def state(self, machine: Machine, thread: str) -> dict[str, Any]:
        """The thread's state; empty before its first step."""
        return cast(dict[str, Any], self._snapshot(machine, thread).values)

    def pending_step(self, machine: Machine, thread: str) -> str:
        """The step that a paused or cut-off run goes on with; empty if it has ended."""
        # Not `next`: that leaves out a step which was done, and whose checkpoint was not written before a crash.
        tasks = self._snapshot(machine, thread).tasks
        return str(tasks[0].name) if tasks else ""

    def config(self, machine: Machine, thread: str) -> RunnableConfig:
        """LangGraph's configuration of a thread; of a conversation, that of its active branch."""
        if machine != "memgpt":
            return {"configurable": {"thread_id": f"{machine}:{thread}"}}
        return thread_config(active_thread(self.store, thread))

    # ---- what the tools of an agent may do --------------------------------------------------------------------------------

    def tool_policy(self, agent: str) -> ToolPolicy:
        """The agent's tool policy (nodes.tool_policy)."""
        return tool_policy_of(self.store, agent)

    def set_tool_policy(self, agent: str, policy: ToolPolicy, by: str = "") -> None:
        """Give the agent another tool policy: a program may narrow it, the person `by` widen it. Raises ValueError."""
        check_agent(agent)
        set_tool_policy(self.store, agent, policy, by)

    def decisions(self, agent: str, most: int = 100) -> list[dict[str, Any]]:
        """The last decisions on the agent's calls, each with its rule, and changes of its policy, newest first."""
        return read_log(self.store, agent, most)

    def question(self, machine: Machine, thread: str) -> dict[str, Any] | None:
        """What a run waits for a person to answer, by `Command(resume=…)`; None for nothing."""
        interrupts = self._snapshot(machine, thread).interrupts
        return dict(interrupts[0].value) if interrupts else None

    # ---- the past, and branches -------------------------------------------------------------------------------------

    def as_of(self, agent: str, moment: datetime) -> AsOf:
        """The whole state of an agent as it was at a past moment, to be read."""
        return self.past.as_of(agent, moment)

    def branches(self, thread: str) -> Branches | None:
        """The branches of a conversation, and which of them is active; None if it has never been branched."""
        return branches_of(self.store, thread)

    def branch(self, agent: str, thread: str, before: str | datetime) -> Branches:
        """Go on from an earlier point of a conversation: before a message, by its key in recall storage, or at a moment.

        The next message begins a new branch there. What the old branch wrote since (messages, passages, lessons, edits of the
        working context) is in no search any more, until `switch` goes back to it. Raises ValueError for what is not of this
        agent or conversation, and ThreadBusy.
        """
        with self._turn("memgpt", thread):
            return self.past.branch(agent, thread, before)

    def switch(self, agent: str, thread: str, branch: str) -> Branches:
        """Go to another branch of a conversation, by its name in `branches`. Raises ValueError and ThreadBusy."""
        with self._turn("memgpt", thread):
            return self.past.switch(agent, thread, branch)

    def make_private(self, agent: str, thread: str, private: bool = True) -> None:
        """Make a conversation private, or public again (memory.privacy). Raises ValueError if there is none such, and ThreadBusy.

        A private one runs on models of this machine only, and only private ones see what it has written. What others have noted of
        it before stays with them, and what it has put into the working context stays in view of all.
        """
        with self._turn("memgpt", thread):
            check_owner(self.state("memgpt", thread), agent)
            set_private(self.store, agent, thread, private)
            self._guard_embedder()

    def _guard_embedder(self) -> None:
        """Let no private text go to an embedder elsewhere."""
        if self.settings.embeddings_url and not is_private_host(self.settings.embeddings_url, self.settings):
            self.store.never_embed(all_private_threads(self.store))

    def leave_out(self, agent: str, thread: str) -> Branches:
        """Leave a conversation out of memory: nothing that it has written is in a search, a prompt or the working context any more.

        Nothing is deleted; `take_in` brings it back whole. Raises ValueError for a conversation that is not there or another
        agent's, and ThreadBusy.
        """
        with self._turn("memgpt", thread):
            return self.past.leave_out(agent, thread)

    def take_in(self, agent: str, thread: str) -> Branches:
        """Take a conversation into memory again. Raises ValueError if it is not left out, and ThreadBusy."""
        with self._turn("memgpt", thread):
            return self.past.take_in(agent, thread)

    def _check(self, machine: Machine, thread: str, given: Given, context: Context) -> None:
        state = self.state(machine, thread)
        check_owner(state, context.agent)
        if machine == "memgpt" and (tree := self.branches(thread)):
            check_owner({"agent": tree.agent}, context.agent)
            if tree.is_left_out:
                raise ValueError(f"The conversation {thread} is left out of memory: take it in again to go on with it.")
        if given is None or isinstance(given, Command):
            if not self.pending_step(machine, thread):
                raise ValueError(
                    f"There is nothing to go on with in {thread}: its last run has ended, or none was begun."
                )
            if machine != "memgpt" and state.get("version", STATE_VERSION) != STATE_VERSION:
                raise ValueError(f"The run {thread} was begun by another version of Palimpsest: begin a new one.")
        elif machine == "memgpt":
            for message in _values(machine, given)["messages"]:
                parse_event(message)
        elif isinstance(given, str) and not given.strip():
            raise ValueError("The task is empty: say what is to be solved.")

    def _check_temporary(self, thread: str, context: memgpt.Context) -> None:
        """A temporary chat stays one, and a conversation that is kept stays kept."""
        if context.temporary and thread not in self._temporary_threads:
            if self.state("memgpt", thread) or self.store.get((context.agent, "thread"), thread):
                raise ValueError(f"The conversation {thread} is kept: begin a new one for a temporary chat.")
            self._temporary_threads.add(thread)
        elif not context.temporary and thread in self._temporary_threads:
            raise ValueError(f"{thread} is a temporary chat: begin a new conversation for what is to be kept.")

    def _check_name(self, machine: Machine, thread: str) -> None:
        if machine == "memgpt" and (BRANCH.fullmatch(thread) or not thread):
            raise ValueError(f"A conversation cannot have the name {thread!r}: its branches would. Choose another.")

    def _snapshot(self, machine: Machine, thread: str) -> Any:
        try:
            return self._graph(machine, thread).get_state(self.config(machine, thread))
        except (sqlite3.DatabaseError, zlib.error) as error:
            raise CheckpointsUnavailable(
                f"The checkpoints of the conversation {thread} cannot be read ({error}). Restore checkpoints.sqlite from a "
                "backup, or begin a new conversation: everything said is still in recall storage."
            ) from error

    @contextmanager
    def _turn(self, machine: Machine, thread: str) -> Iterator[None]:
        """One run at a time in a thread and its branches, with its memory on disk at the end."""
        name = f"{machine}:{thread}"
        self._finish_for_others()
        rival = self.store.client.begin(name)
        if rival == ALL:
            raise ThreadBusy("Something is being forgotten, or an agent carried in or out: wait for its end.")
        if rival:
            raise ThreadBusy(f"The conversation {thread} has a turn under way: wait for its end, or stop it.")
        try:
            self.past.settle()
            yield
        finally:
            try:
                self.store.flush()
            finally:
                self.store.client.end(name)


def _opened(file: Path | IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    return file.open("rb") if isinstance(file, Path) else nullcontext(file)


def _values(machine: Machine, given: Given) -> Any:
    """What goes into the graph."""
    if isinstance(given, Command) and given.resume is None:
        return Command(resume="")  # LangGraph takes None for no answer at all
    if machine == "memgpt" and isinstance(given, str | BaseMessage):
        return {"messages": [memgpt.user_message(given) if isinstance(given, str) else given]}
    return {"task": given} if isinstance(given, str) else given


@contextmanager
def open_runtime(settings: Settings | None = None) -> Iterator[Runtime]:
    """Open checkpointer and store, and close them at the end; without settings, those of the environment.

    Raises MemoryInUse, MemoryDamaged, MemoryUnreachable or CheckpointsUnavailable, which say what to do.
    """
    settings = settings or Settings()
    with open_store(settings) as store, open_checkpointer(settings) as checkpointer:
        runtime = Runtime(settings, store, checkpointer)
        runtime.finish()
        yield runtime
