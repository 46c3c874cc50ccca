"""Agents on the move: written to an archive and read from one, given another name, or merged into another agent.

Each way is idempotent: cut off by a crash and done again, it writes what is missing. What is there already is never overwritten.
"""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import TypeAdapter, ValidationError

from memory.archival import Archival
from memory.archive import (
    Archive,
    ConversationRow,
    MemoryRow,
    NoArchive,
    insert_rows,
    read_archive,
    renamed,
    renamed_thread,
    row_of,
    write_archive,
)
from memory.blocks import VERSION, add_lines, added_lines, conversation_of, list_threads, load_blocks
from memory.branches import Branches, branches_of, save
from memory.checkpoints import keep_last_as, last_values, thread_ids
from memory.forget import TIERS
from memory.recall import Trust
from memory.store import QdrantStore
from memory.stored import delete_points, stored
from nodes.as_of import REST, branch_threads, thread_config, thread_id
from nodes.context import check_agent
from nodes.forget import MACHINES
from nodes.memgpt.state import Context, State
from nodes.tool_decisions import DECISION, POLICY, set_tool_policy, tool_policy_of
from settings import Settings

JOURNAL = "moving.json"
STAYS = (POLICY, DECISION)
"""What is in no archive: what an agent may do on this machine is for the person here to say, not for a file."""
WRITTEN_AT_ONCE = 500
STATE = TypeAdapter(State)

Progress = Callable[[int, int], None]
"""Called with (done, of how many) memories or texts."""


@dataclass(frozen=True)
class Moved:
    """What came over."""

    agent: str
    memories: dict[str, int]
    """How many came, by tier; those that were there already are not counted."""
    conversations: int
    """How many conversations came with their windows."""
    renamed: dict[str, str]
    """Conversations that bear another name now: another agent here has one of theirs."""


@dataclass(frozen=True)
class Moving:
    """Carries agents in and out."""

    store: QdrantStore
    checkpointer: BaseCheckpointSaver[str]
    graph: Any
    """The compiled memgpt machine."""
    settings: Settings

    # ---- out -----------------------------------------------------------------------------------------------------------

    def export(self, agent: str, path: Path) -> dict[str, int]:
        """Write all of an agent to a file: memories, working context, lessons, the last state of each conversation.

        Returns how many memories of each tier. Raises ValueError if there is no such agent.
        """
        points = [point for point in stored(self.store, agent) if point.kind not in STAYS]
        if not points:
            raise ValueError(f"There is no agent {agent!r}: it has no memories.")
        names = [point.key for point in points if point.kind == "thread"]
        states = [row for name in names for row in self._states(name)]
        trees = [replace(tree, agent="") for name in names if (tree := branches_of(self.store, name))]
        write_archive(path, agent, [row_of(point) for point in points], states, trees)
        return dict(Counter(TIERS.get(point.kind, point.kind) for point in points))

    def _states(self, conversation: str) -> Iterator[ConversationRow]:
        for thread in branch_threads(self.store, conversation):
            if values := last_values(self.checkpointer, thread_id(thread)):
                yield ConversationRow(thread=thread, state=_plain(values))

    # ---- in ------------------------------------------------------------------------------------------------------------

    def take_in(self, agent: str, file: IO[bytes], progress: Progress | None = None) -> Moved:
        """Read an archive into the memory of `agent`, who may be there already or not.

        A conversation whose name another agent here uses gets a new one. The working context of an agent who is there gets the
        lines that it lacks. Raises NoArchive, before anything is written, if any part of the file cannot be read.
        """
        check_agent(agent)
        archive = read_archive(file)
        states = {row.thread: _checked(row) for row in archive.conversations()}
        names = self._names(agent, archive, states)
        rows = (renamed(row, names) for row in archive.memories() if row.namespace[-1] not in STAYS)
        came = self._write(agent, rows, archive.manifest.memories, progress)
        for tree in archive.branches:
            self._keep_branches(agent, tree, names)
        opened = self._open_conversations(agent, {renamed_thread(t, names): s for t, s in states.items()})
        self.store.flush()
        return Moved(agent, dict(came), opened, {old: new for old, new in names.items() if old != new})

    def _names(self, agent: str, archive: Archive, states: Mapping[str, State]) -> dict[str, str]:
        """The name of each conversation here: its own, or where that is another agent's, always the same other one."""
        owners = {thread.thread: thread.agent for thread in list_threads(self.store)}
        known = {row.key for row in archive.memories() if row.namespace == ["thread"]}
        known |= {conversation_of(str(row.value["thread"])) for row in archive.memories() if row.value.get("thread")}
        known |= {tree.conversation for tree in archive.branches} | {conversation_of(thread) for thread in states}
        names = {}
        for name in sorted(known):
            tree = branches_of(self.store, name)
            state = last_values(self.checkpointer, thread_id(name))
            owner = tree.agent if tree else state.get("agent") or owners.get(name, agent)
            names[name] = name if owner == agent else uuid.uuid5(uuid.NAMESPACE_OID, f"{agent}:{name}").hex
        return names

    def _write(self, agent: str, rows: Iterable[MemoryRow], total: int, progress: Progress | None) -> Counter[str]:
        """The working context comes last and at once: until it is there, what was cut short is begun anew."""
        came: Counter[str] = Counter()
        is_there = bool(load_blocks(self.store, agent))
        blocks: list[MemoryRow] = []
        outside: set[str] = set()
        done = 0
        for batch in _batches(rows):
            blocks += [row for row in batch if row.namespace == ["block"]]
            outside |= {line for row in batch for line in _lines_from_outside(row)}
            past = VERSION if is_there else "block"  # the past of another working context stays where it was
            came += insert_rows(self.store, agent, [row for row in batch if row.namespace[-1] not in ("block", past)])
            done += len(batch)
            if progress:
                progress(done, total)
        if is_there:
            for row in blocks:
                _, over = add_lines(self.store, agent, row.key, str(row.value["text"]), Context.block_limit, outside)
                for trust, lines in (("own", set(over) - outside), ("outside", set(over) & outside)):
                    note = "\n".join(line for line in over if line in lines)
                    key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{agent}:{note}"))
                    if note:
                        Archival(self.store, agent).insert(note, key=key, trust=cast(Trust, trust))
            return came
        return came + insert_rows(self.store, agent, blocks)

    def _keep_branches(self, agent: str, tree: Branches, names: Mapping[str, str]) -> None:
        conversation = names[tree.conversation]
        if branches_of(self.store, conversation) is None:
            branches = tuple(
                replace(b, thread=renamed_thread(b.thread, names), parent=b.parent and renamed_thread(b.parent, names))
                for b in tree.branches
            )
            actives = tuple((since, renamed_thread(thread, names)) for since, thread in tree.actives)
            save(self.store, Branches(agent, conversation, branches, actives, tree.settled))

    def _open_conversations(self, agent: str, states: Mapping[str, State]) -> int:
        """Give each thread that has no state yet the one that it had."""
        opened = 0
        for thread, state in states.items():
            if not last_values(self.checkpointer, thread_id(thread)):
                self.graph.update_state(thread_config(thread), {**state, "agent": agent}, as_node=REST)
                opened += 1
        return opened

    # ---- another name ----------------------------------------------------------------------------------------------------

    def rename(self, agent: str, to: str) -> Moved:
        """Give an agent another name; if an agent of that name is there, the two become one. Raises ValueError."""
        check_agent(to)
        if agent == to:
            raise ValueError(f"The agent {agent} has that name already.")
        if next(stored(self.store, agent), None) is None:
            raise ValueError(f"There is no agent {agent!r}: it has no memories.")
        journal = self.settings.folder / JOURNAL
        begun = journal.with_suffix(".new")
        is_new = next(stored(self.store, to), None) is None
        begun.write_text(json.dumps({"agent": agent, "to": to, "is_new": is_new}))
        begun.replace(journal)  # whole, or not there
        return self._rename(agent, to, is_new)

    def finish(self) -> None:
        """Finish a renaming that a crash has cut short."""
        journal = self.settings.folder / JOURNAL
        if journal.exists():
            cut_short = json.loads(journal.read_text())
            self._rename(cut_short["agent"], cut_short["to"], cut_short.get("is_new", False))

    def _rename(self, agent: str, to: str, is_new: bool) -> Moved:
        points = list(stored(self.store, agent))
        if not is_new:  # two become one: it may do nothing that it might not, and what either is kept from, it is
            set_tool_policy(
                self.store, to, tool_policy_of(self.store, to).restricted_as(tool_policy_of(self.store, agent))
            )
        moved = [point for point in points if is_new or point.namespace != (agent, POLICY)]
        came = self._write(to, map(row_of, moved), len(moved), None)
        names = [point.key for point in points if point.kind == "thread"]
        for name in names:
            if tree := branches_of(self.store, name):
                save(self.store, replace(tree, agent=to))
            for thread in branch_threads(self.store, name):
                if last_values(self.checkpointer, thread_id(thread)).get("agent") == agent:
                    self.graph.update_state(thread_config(thread), {"agent": to}, as_node=REST)
        for run in thread_ids(self.checkpointer):
            values = last_values(self.checkpointer, run)
            if run.startswith(MACHINES) and values.get("agent") == agent:
                keep_last_as(self.checkpointer, run, {**values, "agent": to})
        delete_points(self.store, points)
        self.store.flush()
        (self.settings.folder / JOURNAL).unlink()
        return Moved(to, dict(came), len(names), {})


def _lines_from_outside(row: MemoryRow) -> list[str]:
    """The lines that an edit of a block wrote after text from outside had been read."""
    if row.namespace[-1] != VERSION or row.value.get("trust") != "outside":
        return []
    return added_lines(str(row.value.get("before") or ""), str(row.value["text"]))


def _batches(rows: Iterable[MemoryRow]) -> Iterator[list[MemoryRow]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, WRITTEN_AT_ONCE)):
        yield batch


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """A conversation's state as JSON, without what an earlier version wrote in another form: the next turn makes it anew."""
    state = {name: value for name, value in values.items() if name in State.__annotations__}
    try:
        STATE.validate_python(state)
    except ValidationError as error:
        for wrong in {each["loc"][0] for each in error.errors()}:
            del state[str(wrong)]
    return cast(dict[str, Any], STATE.dump_python(cast(State, state), mode="json"))


def _checked(row: ConversationRow) -> State:
    try:
        return STATE.validate_python(row.state)
    except ValidationError as error:
        first = error.errors()[0]
        raise NoArchive(
            f"The state of the conversation {row.thread!r} cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}."
        ) from error
