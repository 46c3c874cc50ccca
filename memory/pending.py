"""Embeds what is not embedded yet. That is a mark in Qdrant itself: it is set with the text, and taken away with the vector."""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

from qdrant_client import models
from tqdm import tqdm

from memory.conditions import Namespace, inside
from memory.embedder import Embedder, EmbeddingFailed
from memory.points import COLLECTION, PENDING
from memory.server import Client

BATCH = 128  # texts
MARKED_AT_ONCE = 1_000  # memories
READ = ["passage", "tags", "updated_at"]

Progress = Callable[[int, int], None]
"""Called with (done, total) after each batch."""


class PendingEmbeddings:
    """The vectors of one embedder. Threads may share it; each agent's memories are embedded by one thread at a time."""

    def __init__(self, client: Client, embedder: Embedder) -> None:
        self._client = client
        self._embedder = embedder
        self._opened = False
        self._opening = threading.Lock()
        self._agents: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Unit vectors of `texts`. Raises EmbeddingFailed."""
        self._open()
        return cast(list[list[float]], self._embedder.embed(texts).tolist())

    def embed_pending(self, namespace: Namespace, limit: int | None = None, progress: Progress | None = None) -> int:
        """Embed what is marked in `namespace`, at most `limit`, with a progress bar; returns how many that was.

        What cannot be embedded stays marked. Raises EmbeddingFailed and WeightsMissing.
        """
        self._open()
        where = inside(namespace, self._marked())
        with self._agents["".join(namespace[:1])]:
            total = self._client.count(COLLECTION, count_filter=where).count
            total = total if limit is None else min(total, limit)
            done = 0
            with tqdm(total=total, desc="Embedding", unit="memory", disable=None if total > BATCH else True) as bar:
                while done < total:
                    size = min(BATCH, total - done)
                    records, _ = self._client.scroll(COLLECTION, scroll_filter=where, limit=size, with_payload=READ)
                    if not records:  # deleted meanwhile
                        break
                    self._embed_batch({str(r.id): r.payload for r in records})
                    done += len(records)
                    bar.update(len(records))
                    if progress:
                        progress(done, total)
        return done

    def _embed_batch(self, read: dict[str, dict[str, Any]]) -> None:
        vectors = self.embed([str(payload["passage"]) for payload in read.values()])
        points = [
            models.PointVectors.model_construct(id=i, vector={self._embedder.name: v})
            for i, v in zip(read, vectors, strict=True)
        ]
        try:
            self._client.update_vectors(COLLECTION, points=points)
        except Exception:
            there = {str(r.id) for r in self._client.retrieve(COLLECTION, ids=list(read), with_payload=False)}
            points = [p for p in points if p.id in there]
            if len(points) == len(read):
                raise
            if points:  # the others were deleted while they were embedded
                self._client.update_vectors(COLLECTION, points=points)
        self._tag(read, "")

    def _tag(self, read: dict[str, dict[str, Any]], mark: str) -> None:
        """Set the mark of these points, as they were read. One that was written anew meanwhile keeps its own."""
        by_tags: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for i, payload in read.items():
            by_tags[tuple(payload.get("tags", ()))].append(i)
        for before, ids in by_tags.items():
            tags = [*(tag for tag in before if not tag.startswith(PENDING)), *([mark] if mark else [])]
            times = list({str(read[i]["updated_at"]) for i in ids})
            same = models.FieldCondition(key="updated_at", match=models.MatchAny(any=times))
            where = models.Filter(must=[models.HasIdCondition(has_id=cast(Any, ids)), same])
            self._client.set_payload(COLLECTION, {"tags": tags}, points=where)

    def _marked(self) -> models.FieldCondition:
        return models.FieldCondition(key="tags", match=models.MatchValue(value=PENDING + self._embedder.name))

    def _open(self) -> None:
        """Once: make the vectors' name, and mark what another embedder, or an earlier version, has left without a vector."""
        with self._opening:
            if self._opened:
                return
            name, size = self._embedder.name, self._embedder.embed(["size"]).shape[1]
            config = models.DenseVectorConfig(size=size, distance=models.Distance.COSINE)
            try:
                self._client.create_vector_name(
                    COLLECTION, vector_name=name, vector_name_config=models.DenseVectorNameConfig(dense=config)
                )
            except Exception as error:
                if not self._has_vectors(name):
                    raise
                raise EmbeddingFailed(
                    f"The embedder {name} now returns {size} numbers per text, but this memory holds its vectors with another "
                    "number. Set PALIMPSEST_EMBEDDINGS_MODEL to the model that wrote them."
                ) from error
            unmarked = models.Filter(
                must_not=[
                    models.HasVectorCondition(has_vector=name),
                    models.IsEmptyCondition(is_empty=models.PayloadField(key="passage")),
                    self._marked(),
                ]
            )
            while records := self._client.scroll(
                COLLECTION, scroll_filter=unmarked, limit=MARKED_AT_ONCE, with_payload=READ
            )[0]:
                self._tag({str(r.id): r.payload for r in records}, PENDING + name)
            self._opened = True

    def _has_vectors(self, name: str) -> bool:
        having = models.Filter(must=[models.HasVectorCondition(has_vector=name)])
        return self._client.count(COLLECTION, count_filter=having).count > 0
