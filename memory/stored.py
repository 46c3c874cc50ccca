"""Every memory of an agent as it lies in Qdrant, what is put aside too: for what must see all, such as a forget."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from memory.conditions import Namespace, inside, value_conditions
from memory.ordering import READ_AT_ONCE
from memory.points import COLLECTION, namespace_of
from memory.store import QdrantStore

NEEDS: dict[str, set[str]] = {
    "message": {"role", "text", "author", "thread", "sequence", "time"}, "block_version": {"block", "text", "before"},
    "eviction": {"thread"}, "lesson": {"text", "lesson"}, "passage": {"text", "trust"}, "wording": {"text", "of"},
    "block": {"text"}, "thread": {"title"}, "tool_policy": {"policy"},
}  # fmt: skip
"""What the value of each kind has."""


@dataclass(frozen=True)
class Stored:
    """A point as it lies there."""

    id: str
    payload: dict[str, Any]

    @property
    def namespace(self) -> Namespace:
        """Where it is."""
        return namespace_of(self.payload["tags"])

    @property
    def kind(self) -> str:
        """What it is: message, passage, document, lesson, block …; `other` for what another LangGraph tool put in such a place."""
        kind = self.namespace[-1]
        return kind if NEEDS.get(kind, set()) <= self.payload["value"].keys() else "other"

    @property
    def key(self) -> str:
        """Its key."""
        return str(self.payload["key"])

    @property
    def value(self) -> dict[str, Any]:
        """What is kept."""
        return dict(self.payload["value"])

    @property
    def written(self) -> datetime:
        """When it was written first."""
        return datetime.fromisoformat(str(self.payload["created_at"]))


def delete_points(store: QdrantStore, points: Sequence[Stored]) -> None:
    """Delete them."""
    for start in range(0, len(points), READ_AT_ONCE):
        ids = [point.id for point in points[start : start + READ_AT_ONCE]]
        store.client.delete(COLLECTION, points_selector=ids)


def stored(store: QdrantStore, agent: str, **wanted: Any) -> Iterator[Stored]:
    """All that an agent has, with these values, in no order; `agent` empty: all that there is."""
    where = inside((agent,), *value_conditions(wanted)) if agent else None
    offset: Any = None
    while True:
        records, offset = store.client.scroll(COLLECTION, scroll_filter=where, limit=READ_AT_ONCE, offset=offset)
        for record in records:
            yield Stored(str(record.id), record.payload or {})
        if offset is None:
            return
