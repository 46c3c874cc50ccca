"""What the exports of other systems hold becomes an agent's: conversations that go on here, notes, lines of the working context.

Read again, a file brings only what is new in it. A message keeps its day, and a conversation its order.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from tqdm import tqdm

from memory.archival import Archival
from memory.blocks import add_lines
from memory.branches import branches_of
from memory.checkpoints import last_values
from memory.exports.records import Block, Note, Record, Said, Talk, Unread
from memory.points import Memory, point_of
from memory.recall import Message, Recall, Trust
from memory.store import QdrantStore
from memory.stored import stored
from nodes.as_of import REST, active_thread, branch_threads, thread_config, thread_id
from nodes.context import STATE_VERSION
from nodes.memgpt.log import NEW_CLOCK, LogClock
from nodes.memgpt.state import Context

Progress = Callable[[int, int], None]
"""Called with (done, of how many) records, then of how many texts that are embedded."""
TRUST: dict[str, Trust] = {"user": "own", "assistant": "outside"}
"""What a person said is theirs; what another system's model answered may have read anything."""
TITLE = 60  # characters
EMBEDDED_AT_IMPORT = 15_000  # texts
EMBEDDED_AT_ONCE = 500
EMBEDS_FOR = 120.0  # seconds: a slow processor embeds fewer
SHOWN_FROM = 50  # records, for a progress bar


@dataclass
class Imported:
    """What became of a file; the numbers add up to what is in it."""

    agent: str
    messages: int = 0
    conversations: int = 0
    """In which there was something new."""
    notes: int = 0
    lines: int = 0
    """Added to the working context."""
    known: int = 0
    """Messages, notes and lines that were here already."""
    is_embedded: bool = True
    """Whether all is found by meaning. Else some is found by words until later searches, or a second import, have embedded it."""
    empty: int = 0
    """Conversations without a message that can be read."""
    unread: list[Unread] = field(default_factory=list)


@dataclass(frozen=True)
class Importing:
    """Reads records into the memory of one agent."""

    store: QdrantStore
    checkpointer: BaseCheckpointSaver[str]
    graph: Any
    """The compiled memgpt machine."""
    agent: str
    user: str = Context.user

    def take_in(self, records: Sequence[Record], progress: Progress | None = None) -> Imported:
        """Read them in; stopped and begun again, it goes on where it was. Raises what memory raises."""
        result = Imported(self.agent)
        is_short = len(records) < SHOWN_FROM
        for done, record in enumerate(tqdm(records, desc="Importing", disable=True if is_short else None), 1):
            match record:
                case Talk():
                    self._talk(record, result)
                case Note():
                    self._note(record, result)
                case Block():
                    self._block(record, result)
                case Unread():
                    result.unread.append(record)
            if progress:
                progress(done, len(records))
        self.store.flush()
        result.is_embedded = self._embed(progress)
        self.store.flush()
        return result

    def _embed(self, progress: Progress | None) -> bool:
        """Embed what has come, for some minutes at the most; whether all is."""
        embedded, until = 0, time.monotonic() + EMBEDS_FOR

        def told(done: int, total: int) -> None:
            if progress:
                progress(embedded + done, embedded + total)

        while embedded < EMBEDDED_AT_IMPORT and time.monotonic() < until:
            part = min(EMBEDDED_AT_ONCE, EMBEDDED_AT_IMPORT - embedded)
            done = self.store.embed_pending((self.agent,), part, told)
            embedded += done
            if done < part:
                return True
        return False

    def _note(self, note: Note, result: Imported) -> None:
        key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.agent}:{note.text}"))
        archival = Archival(self.store, self.agent)
        if archival.has(key):
            result.known += 1
            return
        archival.insert(note.text, key=key, time=note.time, trust=note.trust)
        result.notes += 1

    def _block(self, block: Block, result: Imported) -> None:
        lines = block.text.split("\n")  # another system's model wrote them
        added, over = add_lines(self.store, self.agent, block.name, block.text, Context.block_limit, outside=lines)
        result.lines += added
        if over:
            self._note(Note("\n".join(over), trust="outside"), result)

    def _talk(self, talk: Talk, result: Imported) -> None:
        """Write the messages that are not here yet behind those that are; what is not in view can be found."""
        if not talk.said:
            result.empty += 1
            return
        conversation = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.agent}:{talk.key}").hex
        tree = branches_of(self.store, conversation)
        if tree and tree.is_left_out:
            result.unread.append(Unread(talk.title, "it is left out of memory here: take it in again first"))
            return
        thread = active_thread(self.store, conversation)
        threads = branch_threads(self.store, conversation)
        known = {point.key for name in threads for point in stored(self.store, self.agent, thread=name)}
        state = last_values(self.checkpointer, thread_id(thread))
        clock = LogClock(state.get("clock", NEW_CLOCK), thread)
        new = [message for said in talk.said if (message := self._message(said, conversation, clock, known))]
        result.messages += len(new)
        result.known += len(talk.said) - len(new)
        if new:
            result.conversations += 1
            Recall(self.store, self.agent).write(new)
            self._list(conversation, talk.title or new[0].text, new[-1].time)
            self._open(thread, state, clock, new)

    def _message(self, said: Said, conversation: str, clock: LogClock, known: set[str]) -> Message | None:
        key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{conversation}:{said.key}"))
        if key in known:
            return None
        known.add(key)  # an export may have a message twice
        last = datetime.fromtimestamp(clock.clock["sequence"] / 1e6, UTC) if clock.clock["sequence"] else None
        clock.move_to(said.time or last or datetime.now(UTC))
        author = self.user if said.role == "user" else self.agent
        return clock.record(key, said.role, said.text, author, TRUST[said.role], clock.next_sequence())

    def _list(self, conversation: str, title: str, last: datetime) -> None:
        """Put the conversation on the list, at the day of its last message."""
        memory = Memory(conversation, {"title": " ".join(title.split())[:TITLE]})
        point = point_of((self.agent, "thread"), memory, sequence=int(last.timestamp() * 1_000_000))
        point.payload = {**(point.payload or {}), "updated_at": last.isoformat()}
        self.store.insert([point])

    def _open(self, thread: str, state: dict[str, Any], clock: LogClock, new: Sequence[Message]) -> None:
        """A window from which all of it has left: so it goes on here."""
        total = (state.get("evicted") or {}).get("total", 0) + len(new)
        since, until = new[0].time.isoformat(), new[-1].time.isoformat()
        evicted = {"count": len(new), "total": total, "since": since, "until": until}
        begun = {"version": STATE_VERSION, "agent": self.agent, "messages": [], "queue_ids": [], "stop": "waiting"}
        update = {"clock": clock.clock, "evicted": evicted, **({} if state else begun)}
        self.graph.update_state(thread_config(thread), update, as_node=REST)
