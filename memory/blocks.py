"""The working context's blocks as an agent keeps them between threads, and the list of its threads."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from langgraph.store.base import PutOp

from memory.recall import Trust
from memory.store import QdrantStore

VERSION = "block_version"
"""The namespace of what each block was before and after each edit."""


BRANCH = "branch:"
"""Begins the name of a thread that is a branch of a conversation; a number and the conversation's name come after it."""


@dataclass(frozen=True)
class Thread:
    """One conversation of an agent."""

    agent: str
    thread: str
    title: str
    time: datetime


def load_blocks(store: QdrantStore, agent: str) -> dict[str, str]:
    """The agent's blocks by name; empty for an agent that has none yet."""
    return {item.key: str(item.value["text"]) for item in store.search((agent, "block"), limit=100)}


def save_block(
    store: QdrantStore, agent: str, block: str, text: str, thread: str = "", said: str = "", trust: Trust = "own"
) -> None:
    """Keep one block, and the edit.

    `thread` and `said`: the conversation in which the agent made it, and the key of the message that it answered; empty for what
    no agent has written. `trust`: outside, where text from outside was in view.
    """
    kept = store.get((agent, "block"), block)
    before = None if kept is None else str(kept.value["text"])
    if text == before:
        return
    now = datetime.now(UTC).isoformat()
    version = {
        "block": block, "text": text, "before": before, "thread": thread, "said": said, "trust": trust, "time": now,
    }  # fmt: skip
    store.batch(
        [
            PutOp((agent, "block"), block, {"text": text}, index=False),
            PutOp((agent, VERSION), f"{block}:{uuid.uuid4()}", version, index=False),
        ]
    )


def replayed(text: str, before: str, after: str) -> str:
    """Do the edit from `before` to `after` again, on a text that others may have edited too: line by line."""
    if text in (before, after):
        return after
    old, new = before.split("\n"), after.split("\n")
    lines = text.split("\n")
    for line in [line for line in old if line not in new and line in lines]:
        lines.remove(line)
    return "\n".join([*lines, *(line for line in new if line and line not in old and line not in lines)])


def conversation_of(thread: str) -> str:
    """The conversation that a branch's thread belongs to; of any other thread, itself."""
    return thread.split(":", 2)[2] if thread.startswith(BRANCH) else thread


def save_thread(store: QdrantStore, agent: str, thread: str, title: str, begins: bool) -> None:
    """Note that the agent has this conversation, and that it goes on now; its title is of the message that begins it."""
    conversation = conversation_of(thread)
    if not begins and store.get((agent, "thread"), conversation):
        store.amend((agent, "thread"), conversation, {})
    else:
        store.put((agent, "thread"), conversation, {"title": title}, index=False)


def list_threads(store: QdrantStore) -> list[Thread]:
    """The conversations of all agents, latest first."""
    threads: list[Thread] = []
    for namespace in store.list_namespaces(suffix=("thread",), limit=10_000):
        for item in store.all(namespace):
            threads.append(Thread(namespace[0], item.key, str(item.value["title"]), item.updated_at.astimezone(UTC)))
    return sorted(threads, key=lambda t: t.time, reverse=True)
