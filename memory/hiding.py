"""A view of Qdrant without what certain conversations have written: every read passes here, and no query can undo it."""

from collections.abc import Sequence
from typing import Any, cast

from qdrant_client import models

from memory.conditions import value_conditions
from memory.server import Client


class Hiding:
    """A client that reads as if the threads had written nothing. What is written goes through as it is."""

    def __init__(self, client: Client, threads: Sequence[str]) -> None:
        self._client = client
        self._written_there = value_conditions({"thread": list(threads)})

    def __getattr__(self, name: str) -> Any:
        """What reads no memories is the client's own."""
        return getattr(self._client, name)

    def count(self, collection: str, count_filter: models.Filter | None = None) -> Any:
        return self._client.count(collection, count_filter=self._without(count_filter))

    def scroll(self, collection: str, scroll_filter: models.Filter | None = None, **options: Any) -> Any:
        return self._client.scroll(collection, scroll_filter=self._without(scroll_filter), **options)

    def facet(self, collection: str, facet_filter: models.Filter | None = None, **options: Any) -> Any:
        return self._client.facet(collection, facet_filter=self._without(facet_filter), **options)

    def query_batch_points(self, collection: str, requests: Sequence[models.QueryRequest]) -> Any:
        hidden = [request.model_copy(update={"filter": self._without(request.filter)}) for request in requests]
        return self._client.query_batch_points(collection, requests=hidden)

    def retrieve(self, collection: str, ids: Sequence[str], **options: Any) -> Any:
        if not ids:
            return []
        named = models.Filter(must=[models.HasIdCondition(has_id=cast(Any, list(ids)))])
        seen, _ = self.scroll(collection, named, limit=len(ids), with_payload=False)
        return self._client.retrieve(collection, ids=[str(record.id) for record in seen], **options)

    def _without(self, given: models.Filter | None) -> models.Filter:
        must: list[models.Condition] = [given] if given else []
        return models.Filter(must=must, must_not=cast(Any, self._written_there))
