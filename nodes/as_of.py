"""As it was: an agent's whole state at a past moment, and new branches of a conversation that begin there.

LangGraph keeps each step of each conversation, and Qdrant says when each memory was first written; so nothing is kept for this
but the versions of blocks. What was deleted since is not there: what is forgotten was never known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from memory.blocks import VERSION, conversation_of, load_blocks
from memory.branches import Branches, activate, branches_of, first, grown, save, settle, unsettled
from memory.checkpoints import last_values
from memory.store import QdrantStore
from memory.stored import Stored, stored
from memory.turns import locked
from nodes.memgpt.receive import check_owner
from nodes.memgpt.state import State
from nodes.replies import MEMGPT_THREAD

REST = "keep"
"""The step after which a turn has ended."""
EPOCH = datetime(1582, 10, 15, tzinfo=UTC)  # of UUIDs
SLACK = timedelta(seconds=1)
"""Between the time in a checkpoint's name and that in the checkpoint."""


@dataclass(frozen=True)
class AsOf:
    """What an agent had at a moment; to be read only."""

    moment: datetime
    blocks: dict[str, str]
    conversations: dict[str, State]
    """The state of each conversation, by its name."""
    messages: list[Stored]
    """Recall storage, in the order in which it was written."""
    passages: list[Stored]
    """Archival storage, likewise."""
    lessons: list[Stored]


@dataclass(frozen=True)
class Past:
    """The past of all agents' memories and conversations."""

    store: QdrantStore
    checkpointer: BaseCheckpointSaver[str]
    graph: Any
    """The compiled memgpt machine."""

    # ---- reading -----------------------------------------------------------------------------------------------------

    def as_of(self, agent: str, moment: datetime) -> AsOf:
        """The agent's state at that moment."""
        moment = _bounded(moment)
        self.settle()
        points = list(stored(self.store, agent))
        tree = _Trees(self.store)
        had = [point for point in points if point.written <= moment and tree.had(point, moment)]
        had.sort(key=lambda point: int(point.payload["sequence"]))
        kinds = {kind: [p for p in had if p.kind == kind] for kind in ("message", "passage", "lesson", "thread")}
        names = [point.key for point in kinds["thread"]]
        conversations = {name: self.state(tree.active(name, moment), moment) for name in names}
        blocks = blocks_at(points, load_blocks(self.store, agent), moment)
        return AsOf(moment, blocks, conversations, kinds["message"], kinds["passage"], kinds["lesson"])

    def state(self, thread: str, moment: datetime) -> State:
        """A thread's state at that moment; empty before its first step."""
        found = next(self._history(thread, moment), None)
        return cast(State, found.values if found else {})

    def _history(self, thread: str, moment: datetime) -> Iterator[Any]:
        """The thread's snapshots up to that moment, newest first."""
        before: RunnableConfig = {"configurable": {"checkpoint_id": _checkpoint_id(moment + SLACK)}}
        for snapshot in self.graph.get_state_history(thread_config(thread), before=before):
            if datetime.fromisoformat(snapshot.created_at) <= moment:
                yield snapshot

    # ---- branches ----------------------------------------------------------------------------------------------------

    def branch(self, agent: str, conversation: str, before: str | datetime) -> Branches:
        """Begin a branch of a conversation as it stood before a message, by its key in recall storage, or at a moment.

        A moment within a turn means the turn's beginning. What was written since by the branch that was active is put aside.
        A message that came in together with others goes with all of them. Raises ValueError for a message that is not of this
        conversation, for another agent's conversation, and where a forget has taken the earlier steps with it.
        """
        with locked(self.store.client, "branches"):
            tree = self._tree(agent, conversation) or first(agent, conversation)
            if isinstance(before, str):
                thread, moment = self._place(agent, conversation, before)
            else:
                moment = _bounded(before)
                thread = tree.active_at(moment)
            start = next(
                (s for s in self._history(thread, moment) if not s.next or s.metadata["source"] == "input"), None
            )
            if start is None and self._had_begun(agent, tree, thread, moment):
                raise ValueError(
                    "The steps before that are not here: they went when something was forgotten, or were not in the file that the "
                    "conversation was imported from. Choose a later message, or begin a new conversation."
                )
            tree, new = grown(tree, thread, datetime.fromisoformat(start.created_at) if start else EPOCH)
            self.checkpointer.delete_thread(new)  # left by a crash before it was noted
            if start and "agent" in start.values:  # before the first turn there is nothing to begin with
                self.graph.update_state(thread_config(new), {**start.values, "agent": agent}, as_node=REST)
            return self._go(activate(tree, new))

    def switch(self, agent: str, conversation: str, thread: str) -> Branches:
        """Go to another branch, with what it had written. Raises ValueError if there is none such."""
        with locked(self.store.client, "branches"):
            tree = self._tree(agent, conversation)
            if tree is None:
                raise ValueError(f"The conversation {conversation} has no branches.")
            return self._go(activate(tree, thread))

    def leave_out(self, agent: str, conversation: str) -> Branches:
        """Take all that a conversation has written out of memory, without deleting it."""
        with locked(self.store.client, "branches"):
            return self._go(activate(self._tree(agent, conversation) or first(agent, conversation), ""))

    def take_in(self, agent: str, conversation: str) -> Branches:
        """Undo that. Raises ValueError if the conversation is not left out."""
        with locked(self.store.client, "branches"):
            tree = self._tree(agent, conversation)
            if tree is None or not tree.is_left_out:
                raise ValueError(f"The conversation {conversation} is not left out of memory.")
            return self._go(activate(tree, tree.active))

    def settle(self) -> None:
        """Finish the changes of branches that a crash has cut short."""
        with locked(self.store.client, "branches"):
            for tree in unsettled(self.store):
                settle(self.store, tree)

    def _go(self, changed: Branches) -> Branches:
        save(self.store, changed)
        return settle(self.store, changed)

    def _tree(self, agent: str, conversation: str) -> Branches | None:
        """The branches of an agent's conversation; None if it has none yet. Raises ValueError for one that is not the agent's."""
        tree = branches_of(self.store, conversation)
        if tree is None and self.store.get((agent, "thread"), conversation) is None:
            check_owner(last_values(self.checkpointer, thread_id(conversation)), agent)
            raise ValueError(f"The agent {agent} has no conversation {conversation!r}.")
        if tree is not None:
            check_owner({"agent": tree.agent}, agent)
        return tree

    def _had_begun(self, agent: str, tree: Branches, thread: str, moment: datetime) -> bool:
        """Whether anything had been said in that branch by then."""
        said = (
            p
            for branch in tree.branches
            for p in stored(self.store, agent, thread=branch.thread)
            if p.kind == "message"
        )
        return any(p.written < moment and tree.has(thread, str(p.value["thread"]), p.written) for p in said)

    def _place(self, agent: str, conversation: str, key: str) -> tuple[str, datetime]:
        """The thread in which a message was said, and the moment before."""
        threads = branch_threads(self.store, conversation)
        said = [p for thread in threads for p in stored(self.store, agent, thread=thread) if p.kind == "message"]
        found = next((point for point in said if point.key == key), None)
        if found is None:
            raise ValueError(f"There is no message {key!r} in the conversation {conversation} of {agent}.")
        return str(found.value["thread"]), found.written


class _Trees:
    """The branches of conversations, each read once."""

    def __init__(self, store: QdrantStore) -> None:
        self._store = store
        self._found: dict[str, Branches | None] = {}

    def of(self, conversation: str) -> Branches | None:
        if conversation not in self._found:
            self._found[conversation] = branches_of(self._store, conversation)
        return self._found[conversation]

    def active(self, conversation: str, moment: datetime) -> str:
        """The thread of the branch that was active then."""
        tree = self.of(conversation)
        return tree.active_at(moment) if tree else conversation

    def had(self, point: Stored, moment: datetime) -> bool:
        """Whether the branch that was active then has what was written; what belongs to no conversation is had by all."""
        thread = str(point.value.get("thread", ""))
        tree = self.of(conversation_of(thread)) if thread else None
        return tree is None or tree.has(tree.remembered_at(moment), thread, point.written)


def blocks_at(points: list[Stored], now: dict[str, str], moment: datetime) -> dict[str, str]:
    """The blocks at a moment, by what each edit since had before it."""
    edits = sorted((p for p in points if p.kind == VERSION and p.written > moment), key=lambda p: p.written)
    found: dict[str, str | None] = dict(now)
    for edit in reversed(edits):
        found[edit.value["block"]] = edit.value["before"]
    return {block: text for block, text in found.items() if text is not None}


def branch_threads(store: QdrantStore, conversation: str) -> list[str]:
    """The threads of all branches of a conversation."""
    tree = branches_of(store, conversation)
    return [branch.thread for branch in tree.branches] if tree else [conversation]


def active_thread(store: QdrantStore, conversation: str) -> str:
    """The thread of a conversation's active branch."""
    tree = branches_of(store, conversation)
    return tree.active if tree else conversation


def thread_id(thread: str) -> str:
    """LangGraph's name of a conversation's thread: none has the name of a solver's run."""
    is_plain = ":" not in thread or conversation_of(thread) != thread
    return thread if is_plain else f"{MEMGPT_THREAD}{thread}"


def thread_config(thread: str) -> RunnableConfig:
    """LangGraph's configuration of a conversation's thread."""
    return {"configurable": {"thread_id": thread_id(thread)}}


def _bounded(moment: datetime) -> datetime:
    """The moment, or now for one that is still to come. Raises ValueError for one without a time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"The moment {moment} has no time zone: give it one, such as {moment}+00:00.")
    return min(moment, datetime.now(UTC))


def _checkpoint_id(moment: datetime) -> str:
    """The least name that a checkpoint of that moment can have (a UUID of version 6)."""
    ticks = f"{int((moment - EPOCH).total_seconds() * 10_000_000):015x}"
    return f"{ticks[:8]}-{ticks[8:12]}-6{ticks[12:]}-8000-000000000000"
