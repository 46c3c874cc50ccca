"""A Qdrant server or cluster (QDRANT_URL) behind the same methods as the embedded shard."""

import functools
from collections.abc import Callable
from typing import Any

from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

COLLECTION = "palimpsest"


class MemoryUnreachable(RuntimeError):
    """The Qdrant server does not answer, or refuses."""


USED = frozenset({"upsert", "update_vectors", "delete", "retrieve", "scroll", "count", "facet", "query_batch_points"})


def _told(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except (ResponseHandlingException, OSError) as error:
            raise MemoryUnreachable(
                f"Qdrant does not answer any more ({error}). Start it again; what was acknowledged is kept."
            ) from error

    return call


class ServerClient(QdrantClient):
    """QdrantClient with the collection made at birth, and the two methods that only an embedded shard has.

    Raises MemoryUnreachable when the server does not answer or refuses the key.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        try:
            if not self.collection_exists(COLLECTION):
                self.create_collection(COLLECTION, vectors_config={})
        except (ResponseHandlingException, UnexpectedResponse, OSError) as error:
            raise MemoryUnreachable(
                f"Qdrant at {options.get('url')} does not answer ({error}). Start it, correct QDRANT_URL or QDRANT_API_KEY, "
                "or unset QDRANT_URL to keep the memory in this process."
            ) from error

    def __getattribute__(self, name: str) -> Any:
        """The methods that the store uses, told in our words when the server is gone."""
        found = super().__getattribute__(name)
        return _told(found) if name in USED else found

    def indexed_fields(self) -> set[str]:
        """Names of the payload fields that have an index."""
        return set(self.get_collection(COLLECTION).payload_schema)

    def flush(self) -> None:
        """A server acknowledges what it has logged: nothing to do."""
