"""The working context's blocks as an agent keeps them between threads, and the list of its threads."""

from dataclasses import dataclass
from datetime import UTC, datetime

from memory.store import QdrantStore


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


def save_block(store: QdrantStore, agent: str, block: str, text: str) -> None:
    """Keep one block."""
    store.put((agent, "block"), block, {"text": text}, index=False)


def save_thread(store: QdrantStore, agent: str, thread: str, title: str) -> None:
    """Note that the agent has this conversation, and that it goes on now; its first title stays."""
    if store.get((agent, "thread"), thread):
        store.amend((agent, "thread"), thread, {})
    else:
        store.put((agent, "thread"), thread, {"title": title}, index=False)


def list_threads(store: QdrantStore) -> list[Thread]:
    """The conversations of all agents, latest first."""
    threads: list[Thread] = []
    for namespace in store.list_namespaces(suffix=("thread",), limit=10_000):
        for item in store.all(namespace):
            threads.append(Thread(namespace[0], item.key, str(item.value["title"]), item.updated_at.astimezone(UTC)))
    return sorted(threads, key=lambda t: t.time, reverse=True)
