"""What the store asks of Qdrant: the methods of QdrantClient that it uses, and two that only an embedded shard needs."""

from collections.abc import Sequence
from typing import Any, Protocol

from qdrant_client import models

COLLECTION = "palimpsest"
Ids = Sequence[str]


class QdrantLike(Protocol):
    """An EdgeClient, a ServerClient, or a QdrantClient with `indexed_fields` and `flush`. All requests are qdrant_client.models."""

    def create_payload_index(self, collection_name: str, /, field_name: str, field_schema: Any) -> Any: ...

    def delete_payload_index(self, collection_name: str, /, field_name: str) -> Any: ...

    def indexed_fields(self) -> set[str]:
        """Names of the payload fields that have an index."""
        ...

    def create_vector_name(self, collection_name: str, /, vector_name: str, vector_name_config: Any) -> Any: ...

    def upsert(self, collection_name: str, /, points: Any, *, update_mode: Any = None) -> Any: ...

    def update_vectors(self, collection_name: str, /, points: Sequence[models.PointVectors]) -> Any: ...

    def set_payload(self, collection_name: str, /, payload: Any, points: Any, key: str | None = None) -> Any: ...

    def delete_payload(self, collection_name: str, /, keys: Sequence[str], points: Any) -> Any: ...

    def delete(self, collection_name: str, /, points_selector: Any) -> Any: ...

    def retrieve(self, collection_name: str, /, ids: Any, with_payload: Any = True) -> Sequence[Any]: ...

    def count(self, collection_name: str, /, count_filter: models.Filter | None = None) -> models.CountResult: ...

    def scroll(
        self,
        collection_name: str,
        /,
        scroll_filter: models.Filter | None = None,
        limit: int = 10,
        order_by: Any = None,
        offset: Any = None,
        with_payload: Any = True,
    ) -> tuple[Sequence[Any], Any]: ...

    def query_batch_points(self, collection_name: str, /, requests: Sequence[models.QueryRequest]) -> Sequence[Any]: ...

    def facet(
        self,
        collection_name: str,
        /,
        key: str,
        facet_filter: models.Filter | None = None,
        limit: int = 10,
        exact: bool = True,
    ) -> models.FacetResponse: ...

    def flush(self) -> None:
        """Write to disk what has been acknowledged."""
        ...

    def close(self) -> Any: ...
