"""Embeds what is not embedded yet: what Qdrant itself has no vector of this embedder for, though it has a passage.

A vector goes with the text that it was made of: writing a memory anew takes it away.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, cast

from qdrant_client import models
from tqdm import tqdm

from memory.conditions import Namespace, inside
from memory.embedder import Embedder, EmbeddingFailed
from memory.points import COLLECTION, NO_PASSAGE
from memory.server import Client

BATCH = 128  # texts
MANY = 2_000
AT_SEARCH = 96
"""How many texts a search embeds first where more than MANY are pending, as after an import: it is not to take minutes."""
READ = ["passage", "updated_at"]

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
        self._none_at: dict[Namespace, str] = {}  # the client's version when nothing was pending

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Unit vectors of `texts`. Raises EmbeddingFailed."""
        self._open()
        return cast(list[list[float]], self._embedder.embed(texts).tolist())

    def embed_for_search(self, namespace: Namespace, progress: Progress | None = None, but: Sequence[str] = ()) -> bool:
        """Embed what is pending in `namespace`, of very much a part; returns whether some is left. As `embed_pending` otherwise."""
        done, total = self._embed_pending(namespace, None, progress, but, part=AT_SEARCH)
        return done < total

    def embed_pending(self, namespace: Namespace, limit: int | None = None, progress: Progress | None = None) -> int:
        """Embed what is pending in `namespace`, at most `limit`, with a progress bar; returns how many that was.

        What cannot be embedded stays pending. Raises EmbeddingFailed and WeightsMissing.
        """
        return self._embed_pending(namespace, limit, progress, ())[0]

    def _embed_pending(
        self, namespace: Namespace, limit: int | None, progress: Progress | None, but: Sequence[str], part: int = 0
    ) -> tuple[int, int]:
        """How many were embedded, of how many; the points `but` stay pending. `part`: of more than MANY only so many."""
        self._open()
        unembedded = models.Filter(
            must_not=[
                models.HasVectorCondition(has_vector=self._embedder.name),
                models.FieldCondition(key="tags", match=models.MatchValue(value=NO_PASSAGE)),
                models.HasIdCondition(has_id=cast(Any, list(but))),
            ]
        )
        where = inside(namespace, unembedded)
        with self._agents["".join(namespace[:1])]:
            version = self._client.version()
            if version and self._none_at.get(namespace) == version:
                return 0, 0
            batch = self._read(where, limit)
            if version and not batch and not but:
                self._none_at[namespace] = version
            pending = len(batch)
            if pending == BATCH:
                pending = self._client.count(COLLECTION, count_filter=where).count
            total = part if part and pending > MANY else pending if limit is None else min(pending, limit)
            batch = dict(list(batch.items())[:total])
            done = 0
            with tqdm(total=total, desc="Embedding", unit="memory", disable=None if total > BATCH else True) as bar:
                while batch:
                    self._embed_batch(batch)
                    done += len(batch)
                    bar.update(len(batch))
                    if progress:
                        progress(done, total)
                    batch = self._read(where, total - done) if done < total else {}
        return done, pending

    def _read(self, where: models.Filter, most: int | None) -> dict[str, dict[str, Any]]:
        size = BATCH if most is None else min(BATCH, most)
        records, _ = self._client.scroll(COLLECTION, scroll_filter=where, limit=size, with_payload=READ)
        return {str(r.id): r.payload for r in records}

    def _embed_batch(self, read: dict[str, dict[str, Any]]) -> None:
        vectors = self.embed([str(payload["passage"]) for payload in read.values()])
        points = [
            models.PointVectors.model_construct(id=i, vector={self._embedder.name: v})
            for i, v in zip(read, vectors, strict=True)
        ]
        times = [str(payload["updated_at"]) for payload in read.values()]
        same = models.Filter(must=[models.FieldCondition(key="updated_at", match=models.MatchAny(any=times))])
        try:  # what was written anew while it was embedded is left as it is
            self._client.update_vectors(COLLECTION, points=points, update_filter=same)
        except Exception:
            if len(self._client.retrieve(COLLECTION, ids=list(read), with_payload=False)) == len(read):
                raise
            # Some were deleted while they were embedded: Qdrant says so after it has written all others.

    def _open(self) -> None:
        """Make the vectors' name, once."""
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
            self._opened = True

    def _has_vectors(self, name: str) -> bool:
        having = models.Filter(must=[models.HasVectorCondition(has_vector=name)])
        return self._client.count(COLLECTION, count_filter=having).count > 0
