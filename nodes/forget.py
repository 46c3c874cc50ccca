"""One verified forget: what is meant goes from memory, conversations, lessons and kept dialogues, and a scan proves it.

The order is such that a crash loses nothing else and leaves a journal, by which the forget goes on when the memory is next opened.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.checkpoint.base import BaseCheckpointSaver

from memory.blocks import conversation_of
from memory.branches import RECORDS, Branches, branches_of, first
from memory.checkpoints import histories, keep_last_as, last_values, purge_checkpoints, thread_ids
from memory.forget import Marks, Target, contains, erase, left, lines_without, mark, purge
from memory.recall import SAID
from memory.store import QdrantStore
from memory.stored import stored
from nodes.memgpt.evict import fit_lines
from nodes.memgpt.log import NEW_CLOCK
from nodes.memgpt.recalled import keys_of
from nodes.memgpt.sources import sourced
from nodes.memgpt.window import exchanges
from nodes.replies import MEMGPT_THREAD
from settings import Settings
from tasks.kept import KeptData
from text import one_line

SUMMARY_TOKENS = 400
EMBEDDED_AFTERWARDS = 1_000  # texts that lost what was said before them
SUMMARY_LINE = 160  # characters
JOURNAL = "forget.json"
MACHINES = ("react:", "self_refine:", "reflexion:", "collaborate:")


@dataclass(frozen=True)
class Receipt:
    """What a forget has done. It holds none of the forgotten words."""

    agent: str
    time: str
    removed: dict[str, int]
    """How much went, by tier."""
    scanned: dict[str, int]
    """How many points, checkpoints and files were looked through afterwards."""
    left: list[str]
    """Where something forgotten was still found; empty if it is gone."""
    elsewhere: list[str]
    """What cannot be removed from here."""

    @property
    def digest(self) -> str:
        """SHA-256 of the receipt, to be quoted."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Forgetting:
    """Memory, checkpoints and kept files, of which things are forgotten."""

    store: QdrantStore
    checkpointer: BaseCheckpointSaver[str]
    settings: Settings

    def forget(self, agent: str, target: Target) -> Receipt:
        """Forget what an agent has of `target`, for good. Raises ValueError if it has nothing of it."""
        marks = mark(self.store, agent, target)
        if not marks.ids and not any(self._holds(thread, marks) for thread in self._threads(agent)):
            raise ValueError(f"The agent {agent} remembers nothing of that: nothing was changed.")
        path = self.settings.folder / JOURNAL
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(marks.to_row(), file)
        part.replace(path)
        return self._carry_out(marks)

    def finish(self) -> Receipt | None:
        """Go on with a forget that a crash has cut short; None where there is none."""
        path = self.settings.folder / JOURNAL
        if not path.exists():
            return None
        return self._carry_out(Marks.of_row(json.loads(path.read_text(encoding="utf-8"))))

    def _carry_out(self, marks: Marks) -> Receipt:
        removed: Counter[str] = Counter()
        for thread in self._threads(marks.agent):
            removed.update(self._clean(thread, marks))
        removed.update(self._clean_kept(marks))
        removed.update(erase(self.store, marks))
        self.store.embed_pending((marks.agent,), EMBEDDED_AFTERWARDS)
        elsewhere = [*purge(self.store), *purge_checkpoints(self.checkpointer)]
        scanned, found = self._scan(marks)
        elsewhere += self._sought_in_files(marks)[1]
        if self.store.client.has_files and self.store.client.is_shared:
            elsewhere.append(
                "temporary chats and copies of texts in other processes that have the memory open, until they close it"
            )
        _erase_file(self.settings.folder / JOURNAL)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Receipt(
            marks.agent,
            now,
            dict(+removed),
            scanned,
            found,
            [*elsewhere, "what model endpoints have been sent", "archives that were exported"],
        )

    # ---- conversations ----------------------------------------------------------------------------------------------

    def _threads(self, agent: str) -> list[str]:
        """The agent's threads, of all machines. What broke off in its first step has not noted yet whose it is."""
        own = {point.key for point in stored(self.store, agent) if point.kind == "thread"}

        def owner(thread: str) -> str:
            is_own = conversation_of(thread.removeprefix(MEMGPT_THREAD)) in own
            return str(last_values(self.checkpointer, thread).get("agent", agent if is_own else ""))

        return [thread for thread in thread_ids(self.checkpointer) if owner(thread) == agent]

    def _holds(self, thread: str, marks: Marks) -> bool:
        """Whether any checkpoint of a thread holds something forgotten."""
        return any(
            contains(_plain(values), (*marks.words, *marks.quotes)) or marks.keys & set(_ids(values))
            for values in histories(self.checkpointer, thread)
        )

    def _clean(self, thread: str, marks: Marks) -> Counter[str]:
        """Take it out of a thread, whose earlier checkpoints go with it; a solver's run goes whole."""
        is_conversation = not thread.startswith(MACHINES)
        name = thread.removeprefix(MEMGPT_THREAD)
        if is_conversation and marks.conversation == conversation_of(name):
            self.checkpointer.delete_thread(thread)
            return Counter({"conversations": 1})
        tree = self._tree(marks, name)
        if is_conversation and not tree.knows(name):  # a crash came before the branch was noted: nobody can go there
            self.checkpointer.delete_thread(thread)
            return Counter()
        was_said_here = is_conversation and bool({*tree.lineage(name)} & {*marks.threads})
        if not self._holds(thread, marks) and not was_said_here:
            return Counter()
        if not is_conversation:
            self.checkpointer.delete_thread(thread)
            return Counter({"runs": 1})
        values = last_values(self.checkpointer, thread)
        keep_last_as(self.checkpointer, thread, without(values, marks, self._said_before(values, name, marks)))
        return Counter({"conversations rewritten": 1})

    def _tree(self, marks: Marks, thread: str) -> Branches:
        """The branches of the conversation that a thread belongs to."""
        conversation = conversation_of(thread)
        return branches_of(self.store, conversation) or first(marks.agent, conversation)

    def _said_before(self, values: dict[str, Any], thread: str, marks: Marks) -> dict[str, str]:
        """What remains of what was said in a thread and has left its window, as lines by their keys, oldest first."""
        in_view = {key for message in values.get("messages", []) for key in keys_of(message)}
        tree = self._tree(marks, thread)
        said = [
            p for branch in tree.branches for p in stored(self.store, marks.agent, thread=branch.thread)
            if p.kind == "message" and p.value["role"] in SAID and tree.has(thread, branch.thread, p.written)
            and p.key not in in_view and not marks.mean(p.kind, p.key, p.value)
        ]  # fmt: skip
        said.sort(key=lambda point: int(point.value["sequence"]))
        return {p.key: one_line(f"{p.value['author']}: {p.value['text']}", SUMMARY_LINE) for p in said}

    # ---- files ------------------------------------------------------------------------------------------------------

    def _clean_kept(self, marks: Marks) -> Counter[str]:
        """Take the rows that hold it out of the dialogues and choices that the person has let be kept."""
        gone = 0
        for path in sorted(KeptData(self.settings).folder.glob("*.jsonl")):
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if not contains(json.loads(line), (*marks.words, *marks.quotes))]
            if len(kept) < len(lines):
                gone += len(lines) - len(kept)
                part = path.with_suffix(".part")
                part.write_text("".join(kept), encoding="utf-8")
                with path.open("r+b") as old:
                    part.replace(path)  # at once: a crash loses no other row
                    _overwrite(old)
        return Counter({"kept dialogues": gone})

    # ---- proof ------------------------------------------------------------------------------------------------------

    def _scan(self, marks: Marks) -> tuple[dict[str, int], list[str]]:
        """How much was looked through, and where something was still found."""
        points = sum(1 for _ in stored(self.store, marks.agent))
        found = [f"{n} memories"] if (n := left(self.store, marks)) else []
        threads = self._threads(marks.agent)
        found += [f"the conversation {thread}" for thread in threads if self._holds(thread, marks)]
        checkpoints = sum(1 for thread in threads for _ in histories(self.checkpointer, thread)) // 2
        files = [path for path in sorted(self.settings.folder.rglob("*")) if path.is_file() and path.name != JOURNAL]
        words, _ = self._sought_in_files(marks)
        keys = [key.encode() for key in marks.ids if len(key) >= LEAST_BYTES]
        found += [path.name for path in files if _has(path, [*words, *keys])]
        return {"memories": points, "checkpoints": checkpoints, "files": len(files)}, found

    def _sought_in_files(self, marks: Marks) -> tuple[list[bytes], list[str]]:
        """The words whose bytes no file may hold, and why others are not looked for."""
        points = stored(self.store, "")
        others = (point for point in points if point.payload["agent"] not in (marks.agent, *RECORDS))
        if any(contains(point.payload, marks.words) for point in others):
            return [], ["the same words in memories of other agents, which are theirs"]
        if any(len(word) < LEAST_BYTES for word in marks.words):
            return [], [
                "whether files hold so short a word: it stands in them by chance, and only keys were looked for"
            ]
        return [word.encode() for word in marks.words], []


LEAST_BYTES = 6
"""A shorter word stands in binary files by chance."""


def without(values: dict[str, Any], marks: Marks, said_before: dict[str, str]) -> dict[str, Any]:
    """A conversation's state without what is forgotten. The summary is made anew, of what remains of what had left the window."""
    kept: list[AnyMessage] = []
    for exchange in exchanges(values.get("messages", [])):
        keys = {key for message in exchange for key in keys_of(message)}
        if not keys & marks.keys and not marks.in_text(_plain(exchange)):
            kept += exchange
    summary = fit_lines("\n".join(said_before.values()), SUMMARY_TOKENS) if values.get("summary") else ""
    held = {name: value for name, value in values.items() if name != "__start__" or not marks.in_text(_plain(value))}
    return {
        **held,
        "messages": kept,
        "queue_ids": [str(message.id) for message in kept],
        "working_context": {n: lines_without(t, marks) for n, t in values.get("working_context", {}).items()},
        "outside_lines": [line for line in values.get("outside_lines", []) if not marks.in_line(line)],
        "summary": summary,
        "summary_sources": sourced(summary, said_before, []),
        "recalled": [],
        "replies": [text for text in values.get("replies", []) if not marks.in_text(text)],
        "thoughts": [],
        "error": "",
        "clock": {**NEW_CLOCK, **values.get("clock", {}), "previous": ""},
    }


def _plain(value: Any) -> Any:
    """A structure with messages as strings, lists and mappings."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, AIMessage):
        return [value.text, [call["args"] for call in value.tool_calls]]
    return str(getattr(value, "content", value))


def _ids(values: Any) -> Iterator[str]:
    """Keys of the messages in a checkpoint, and of what was recalled."""
    parts: Iterable[Any] = values.values() if isinstance(values, dict) else values
    for part in parts:
        for item in part if isinstance(part, list) else []:
            if isinstance(item, dict):
                yield str(item.get("key", ""))
            elif getattr(item, "id", None):
                yield from keys_of(item)


def _erase_file(path: Path) -> None:
    """Overwrite a file, then delete it."""
    if path.exists():
        with path.open("r+b") as file:
            _overwrite(file)
        path.unlink()


def _overwrite(file: IO[bytes]) -> None:
    file.write(b"\0" * os.fstat(file.fileno()).st_size)
    file.flush()
    os.fsync(file.fileno())


def _has(path: Path, needles: list[bytes]) -> bool:
    data = path.read_bytes()
    lower = data.lower()
    return any(needle in data or needle in lower for needle in needles)
