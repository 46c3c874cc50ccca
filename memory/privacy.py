"""Private conversations: what one has written is seen in private conversations only, and these run on models of this machine only.

So nothing of it can reach another endpoint by way of a conversation that may.
"""

from memory.blocks import conversation_of
from memory.branches import branches_of
from memory.store import QdrantStore


def is_private(store: QdrantStore, agent: str, thread: str) -> bool:
    """Whether the thread is of a private conversation."""
    found = store.get((agent, "thread"), conversation_of(thread))
    return bool(found and found.value.get("private"))


def set_private(store: QdrantStore, agent: str, conversation: str, private: bool) -> None:
    """Make a conversation private, or no longer so. Raises ValueError if the agent has no such conversation."""
    found = store.get((agent, "thread"), conversation)
    if found is None:
        raise ValueError(f"The agent {agent} has no conversation {conversation!r}.")
    store.put((agent, "thread"), conversation, {**found.value, "private": private}, index=False)


def private_threads(store: QdrantStore, agent: str) -> list[str]:
    """The threads of all private conversations of an agent, those of their branches too."""
    threads: list[str] = []
    for item in store.all((agent, "thread"), {"private": True}):
        tree = branches_of(store, item.key)
        threads += [branch.thread for branch in tree.branches] if tree else [item.key]
    return threads


def all_private_threads(store: QdrantStore) -> list[str]:
    """Those of all agents."""
    agents = [namespace[0] for namespace in store.list_namespaces(suffix=("thread",), limit=10_000)]
    return [thread for agent in agents for thread in private_threads(store, agent)]
