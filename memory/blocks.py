"""The working context's blocks as an agent keeps them between threads, and the list of its threads."""

import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from diff_match_patch import diff_match_patch
from langgraph.store.base import PutOp, SearchItem

from memory.recall import Trust
from memory.store import QdrantStore

VERSION = "block_version"
"""The namespace of what each block was before and after each edit."""

PRIVATE = "private "
"""Begins the name of a block's lines that only private conversations see (memory.privacy)."""

OUTSIDE = "outside"
"""The field of a block with those of its lines that were written after reading text from outside."""
MOST_EDITS = 100_000  # Qdrant wants a limit

BRANCH = re.compile(r"branch:\d+:(.+)", re.DOTALL)
"""The name of a thread that is a branch of a conversation."""


@dataclass(frozen=True)
class Thread:
    """One conversation of an agent."""

    agent: str
    thread: str
    title: str
    time: datetime
    private: bool = False


def load_blocks(store: QdrantStore, agent: str) -> dict[str, str]:
    """All of the agent's blocks by name; empty for an agent that has none yet."""
    return {item.key: str(item.value["text"]) for item in _kept(store, agent)}


def _kept(store: QdrantStore, agent: str) -> list[SearchItem]:
    return store.search((agent, "block"), limit=100)


def blocks_in_view(store: QdrantStore, agent: str, private: bool) -> dict[str, str]:
    """The blocks as a conversation sees them: in a private one those lines too that private ones have added, at the end."""
    kept = load_blocks(store, agent)
    seen = {name: text for name, text in kept.items() if not name.startswith(PRIVATE)}
    for name, text in kept.items() if private else ():
        if name.startswith(PRIVATE) and text:
            block = name.removeprefix(PRIVATE)
            seen[block] = "\n".join(part for part in (seen.get(block, ""), text) if part)
    return seen


def save_block(
    store: QdrantStore, agent: str, block: str, text: str, thread: str = "", said: str = "", trust: Trust = "own"
) -> None:
    """Keep one block, and the edit.

    `thread` and `said`: the conversation in which the agent made it, and the key of the message that it answered; empty for what
    no agent has written. `trust`: outside, where text from outside was in view.
    """
    save_blocks(store, agent, {block: text}, thread=thread, said=said, trust=trust)


def save_blocks(
    store: QdrantStore, agent: str, blocks: Mapping[str, str], noted: Collection[str] = (), outside: Collection[str] = (),
    **origin: str,
) -> None:  # fmt: skip
    """Keep blocks, all or none, with their edits and where these come from; of those `noted`, one that changes nothing too.

    A line that was written after reading text from outside keeps that mark while it stands; so do those in `outside`.
    """
    kept = {item.key: item.value for item in _kept(store, agent)}
    before = {block: str(value["text"]) for block, value in kept.items()}
    now = datetime.now(UTC).isoformat()
    puts: list[PutOp] = []
    for block, text in blocks.items():
        if text != before.get(block) or block in noted:
            edit = {"block": block, "text": text, "before": before.get(block), "time": now, **origin}
            marked = _marked(store, agent, kept.get(block, {OUTSIDE: []})) | set(outside)
            if origin.get("trust") == "outside":
                marked |= set(added_lines(before.get(block, ""), text))
            value = {"text": text, OUTSIDE: [line for line in text.split("\n") if line in marked]}
            puts.append(PutOp((agent, "block"), block, value, index=False))
            puts.append(PutOp((agent, VERSION), f"{block}:{uuid.uuid4()}", edit, index=False))
    if puts:
        store.batch(puts)


def lines_from_outside(store: QdrantStore, agent: str) -> set[str]:
    """The lines of the blocks that were written while text from outside was in view."""
    return {line for item in _kept(store, agent) for line in _marked(store, agent, item.value)}


def _marked(store: QdrantStore, agent: str, value: Mapping[str, Any]) -> set[str]:
    """Of a block; of one that was written before the marks were kept with it, as its edits tell."""
    return set(value[OUTSIDE]) if OUTSIDE in value else ever_from_outside(store, agent)


def ever_from_outside(store: QdrantStore, agent: str) -> set[str]:
    """The lines that any edit wrote while text from outside was in view, whether they still stand or not."""
    edits = store.search((agent, VERSION), filter={"trust": "outside"}, limit=MOST_EDITS)
    return {line for item in edits for line in added_lines(str(item.value["before"] or ""), str(item.value["text"]))}


def added_lines(before: str, after: str) -> list[str]:
    """The lines of a text that an earlier form of it does not have."""
    known = set(before.split("\n"))
    return [line for line in after.split("\n") if line.strip() and line not in known]


def add_lines(
    store: QdrantStore, agent: str, block: str, text: str, limit: int, outside: Collection[str] = ()
) -> tuple[int, list[str]]:
    """Add the lines that a block lacks, in at most `limit` characters; returns how many, and those that do not fit.

    `outside`: which of them were written after reading text from outside.
    """
    kept = load_blocks(store, agent).get(block, "")
    lines = kept.split("\n") if kept else []
    over: list[str] = []
    before = len(lines)
    marked: list[str] = []
    for line in text.split("\n"):
        if line.strip() and line not in lines:
            fits = len("\n".join([*lines, *marked, line])) <= limit
            (over if not fits else marked if line in outside else lines).append(line)
    if len(lines) > before:
        save_block(store, agent, block, "\n".join(lines))
    if marked:
        save_block(store, agent, block, "\n".join([*lines, *marked]), trust="outside")
    return len(lines) + len(marked) - before, over


def replayed(text: str, before: str, after: str) -> str:
    """Do the edit from `before` to `after` again, on a text that others may have edited since.

    Lines that are as the edit has them are added and taken out whole; one that others have changed is changed where the edit did.
    A line that is gone stays gone.
    """
    if text in (before, after):
        return after
    old, new = ([line for line in part.split("\n") if line] for part in (before, after))
    taken, added = [line for line in old if line not in new], [line for line in new if line not in old]
    lines = [line for line in text.split("\n") if line]
    if taken and added and not set(taken) <= set(lines):
        differ = diff_match_patch()
        return str(differ.patch_apply(differ.patch_make(before, after), text)[0])
    for line in taken:
        if line in lines:
            lines.remove(line)
    return "\n".join([*lines, *(line for line in added if line not in lines)])


def conversation_of(thread: str) -> str:
    """The conversation that a branch's thread belongs to; of any other thread, itself."""
    found = BRANCH.fullmatch(thread)
    return found[1] if found else thread


def save_thread(store: QdrantStore, agent: str, thread: str, title: str, begins: bool, private: bool = False) -> None:
    """Note that the agent has this conversation, and that it goes on now; its title is of the message that begins it.

    `private`: it becomes private (memory.privacy), unless it is so already.
    """
    conversation = conversation_of(thread)
    kept = store.get((agent, "thread"), conversation)
    value = dict(kept.value) if kept else {}
    if begins or kept is None:
        value["title"] = title
    if private:
        value["private"] = True
    if kept and kept.value == value:
        store.amend((agent, "thread"), conversation, {})
    else:
        store.put((agent, "thread"), conversation, value, index=False)


def list_threads(store: QdrantStore) -> list[Thread]:
    """The conversations of all agents, latest first."""
    threads: list[Thread] = []
    for namespace in store.list_namespaces(suffix=("thread",), limit=10_000):
        for item in store.all(namespace):
            when, private = item.updated_at.astimezone(UTC), bool(item.value.get("private"))
            threads.append(Thread(namespace[0], item.key, str(item.value["title"]), when, private))
    return sorted(threads, key=lambda t: t.time, reverse=True)
