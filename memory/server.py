"""A Qdrant server or cluster (QDRANT_URL) behind the same methods as the embedded shard."""

from collections.abc import Callable
from typing import Any

from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from memory.edge import EdgeClient
from memory.points import COLLECTION
from memory.shared import SharedEdge
from memory.turns import Turns


class MemoryUnreachable(RuntimeError):
    """The Qdrant server does not answer, or refuses."""


class ServerClient(Turns):
    """QdrantClient, whose collection is made when it is opened. `options` are QdrantClient's.

    Raises MemoryUnreachable when the server does not answer or refuses the key.
    """

    is_shared = True
    has_files = False

    def __init__(self, **options: Any) -> None:
        super().__init__()
        try:
            self._client = QdrantClient(**options)
            if not self._client.collection_exists(COLLECTION):
                self._client.create_collection(COLLECTION, vectors_config={})
        except (ResponseHandlingException, UnexpectedResponse, OSError) as error:
            raise MemoryUnreachable(
                f"Qdrant at {options.get('url')} does not answer ({error}). Start it, correct QDRANT_URL or QDRANT_API_KEY, "
                "or unset QDRANT_URL to keep the memory in this process."
            ) from error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """QdrantClient's method of that name; a connection error becomes MemoryUnreachable."""

        def method(*arguments: Any, **options: Any) -> Any:
            try:
                return getattr(self._client, name)(*arguments, **options)
            except (ResponseHandlingException, OSError) as error:
                raise MemoryUnreachable(
                    f"Qdrant does not answer any more ({error}). Start it again; what was acknowledged is kept."
                ) from error

        return method

    def indexed_fields(self) -> set[str]:
        return set(self.get_collection(COLLECTION).payload_schema)

    def version(self) -> str:
        """Empty: a server does not tell when it was written to."""
        return ""

    def flush(self) -> None:
        """A server acknowledges what it has logged: nothing to do."""

    def close(self) -> None:
        self._client.close()


Client = EdgeClient | SharedEdge | ServerClient
"""What the store asks of Qdrant: requests are qdrant_client.models, and two methods are more than QdrantClient has."""
