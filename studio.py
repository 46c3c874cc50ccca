"""What `langgraph dev` opens, as langgraph.json names it: the same memory and checkpoints as everybody's."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from langgraph.checkpoint.base import BaseCheckpointSaver

from memory.checkpoints import open_async_checkpointer
from memory.store import QdrantStore, open_store
from settings import Settings


@asynccontextmanager
async def checkpointer() -> AsyncIterator[BaseCheckpointSaver[str]]:
    """The checkpointer."""
    async with open_async_checkpointer(Settings()) as saver:
        yield saver


@contextmanager
def store() -> Iterator[QdrantStore]:
    """The store."""
    with open_store(Settings()) as opened:
        yield opened
