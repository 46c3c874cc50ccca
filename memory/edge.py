"""Qdrant Edge behind the methods of QdrantClient that the store uses, so that every query is written once.

Requests come in as `qdrant_client.models` and run on one shard in this process. Edge is in beta; the guards are:
a lock of our own before `load` (a refused second load damages the holder), a reload when a flush fails, and no
unflushed exit. Every call holds the interpreter lock, so reads are paged by the callers.
"""

import atexit
import os
import shutil
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import portalocker
import qdrant_edge as edge
from qdrant_client import models

from memory.edge_translation import filter_of, filter_or_none, index_of, named_vectors, query_of
from memory.turns import Turns

COPIED_AT_ONCE = 500  # points


class MemoryInUse(RuntimeError):
    """Another process has the memory folder open."""


class MemoryDamaged(RuntimeError):
    """The memory folder cannot be read."""


@dataclass(slots=True)
class Record:
    """A point that was read: the part of QdrantClient's Record and ScoredPoint that the store uses, at a tenth of their cost."""

    id: str
    payload: dict[str, Any]
    score: float = 0.0


@dataclass(slots=True)
class QueryResult:
    """The points of one query."""

    points: list[Record]


class EdgeClient(Turns):
    """One shard directory, spoken to as a QdrantClient with a single collection (its name is accepted and ignored).

    Safe to share between threads. Raises MemoryInUse when another process holds the folder, MemoryDamaged when its
    files cannot be read.
    """

    is_shared = False
    """Whether other processes write to the memory too."""
    has_files = True
    """Whether its files are on this machine, and can be written anew."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.shard_folder = folder / "shard"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = _lock_folder(folder)
        self._guard = threading.RLock()
        self._unflushed = False
        self._opened = uuid.uuid4().hex
        self._updates = 0
        try:
            self._shard: edge.EdgeShard | None = self._load()
        except BaseException:
            self._lock_file.close()
            raise
        atexit.register(self.close)

    def _load(self) -> edge.EdgeShard:
        try:
            if not self.shard_folder.exists() and (self.folder / "shard.old").exists():
                (self.folder / "shard.old").rename(
                    self.shard_folder
                )  # the process died while it put new files in their place
            shutil.rmtree(self.folder / "shard.old", ignore_errors=True)
            if self.shard_folder.exists():
                return edge.EdgeShard.load(str(self.shard_folder))
            # A shard wants one vector from birth; the embedders' are added by name when they are known.
            config = edge.EdgeConfig(vectors={"unused": edge.EdgeVectorParams(1, edge.Distance.Cosine)})
            building = self.folder / "shard.new"
            shutil.rmtree(building, ignore_errors=True)  # of a process that died here; the folder is ours
            building.mkdir(mode=0o700)
            edge.EdgeShard.create(str(building), config).close()
            building.rename(self.shard_folder)  # whole or not at all
            return edge.EdgeShard.load(str(self.shard_folder))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            # Edge reports damage as a bare Exception, or as a Rust panic that is not an Exception at all.
            raise MemoryDamaged(
                f"The memory in {self.shard_folder} cannot be read ({str(error)[:300]}). Nothing was changed. "
                "Restore the folder from a backup, or move it away to start with an empty memory."
            ) from error

    def _open_shard(self) -> edge.EdgeShard:
        if self._shard is None:
            raise RuntimeError(f"The memory in {self.folder} is closed.")
        return self._shard

    def _update(self, operation: edge.UpdateOperation) -> None:
        with self._guard:
            self._unflushed = True  # also where it fails: a part of it may be done
            self._updates += 1
            self._open_shard().update(operation)

    def version(self) -> str:
        """Changes with each write: where it has not, all is as it was."""
        return f"{self._opened}:{self._updates}"

    def flush(self) -> None:
        """Write everything to disk. When Edge fails at it, reload the shard: its log still has every update."""
        with self._guard:
            if not self._unflushed:
                return
            shard = self._open_shard()
            try:
                shard.flush()
            except Exception:
                shard.close()
                self._shard = None
                self._shard = self._load()
                self._shard.flush()
            self._unflushed = False

    def close(self) -> None:
        """Flush, close and release the folder; a second call does nothing."""
        with self._guard:
            try:
                if self._shard is not None:
                    self.flush()
            finally:
                if self._shard is not None:  # None too where a flush failed and the shard could not be read again
                    self._shard.close()
                self._shard = None
                self._lock_file.close()
                atexit.unregister(self.close)

    def rewrite(self, indexes: Mapping[str, models.PayloadSchemaParams]) -> None:
        """Write every point into new files and put them in place of the old ones, so that no byte of a deleted point is left.

        A crash leaves the old files or the new ones.
        """
        with self._guard:
            self.flush()
            building, old = self.folder / "shard.new", self.folder / "shard.old"
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(mode=0o700)
            self._copy_to(building, indexes)
            self._open_shard().close()
            self._shard = None
            self.shard_folder.rename(old)
            building.rename(self.shard_folder)
            self._shard = self._load()

    def _copy_to(self, folder: Path, indexes: Mapping[str, models.PayloadSchemaParams]) -> None:
        config = edge.EdgeConfig(vectors={"unused": edge.EdgeVectorParams(1, edge.Distance.Cosine)})
        copy = edge.EdgeShard.create(str(folder), config)
        sizes: dict[str, int] = {}
        for field, schema in indexes.items():
            copy.update(edge.UpdateOperation.create_field_index(field, index_of(schema)))
        offset: Any = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=COPIED_AT_ONCE, with_payload=True, with_vector=True)
            records, offset = self._open_shard().scroll(request)
            points = []
            for record in records:
                vectors = cast(dict[str, list[float]], record.vector or {})
                for name, vector in vectors.items():
                    if name not in sizes:
                        sizes[name] = len(vector)
                        copy.update(edge.UpdateOperation.create_dense_vector(name, len(vector), edge.Distance.Cosine))
                points.append(edge.Point(str(record.id), cast(Any, vectors), record.payload or {}))
            if points:
                copy.update(edge.UpdateOperation.upsert_points(points))
            if offset is None:
                break
        if sizes:
            copy.update(edge.UpdateOperation.delete_vector_name("unused"))
        copy.flush()
        copy.close()

    def create_payload_index(self, _: str, field_name: str, field_schema: models.PayloadSchemaParams) -> None:
        self._update(edge.UpdateOperation.create_field_index(field_name, index_of(field_schema)))

    def delete_payload_index(self, _: str, field_name: str) -> None:
        self._update(edge.UpdateOperation.delete_field_index(field_name))

    def indexed_fields(self) -> set[str]:
        """Names of the payload fields that have an index."""
        with self._guard:
            return set(self._open_shard().info().payload_schema)

    def create_vector_name(self, _: str, vector_name: str, vector_name_config: models.DenseVectorNameConfig) -> None:
        size = vector_name_config.dense.size
        self._update(edge.UpdateOperation.create_dense_vector(vector_name, size, edge.Distance.Cosine))
        self._update(edge.UpdateOperation.delete_vector_name("unused"))  # its files cost every flush

    def upsert(
        self, _: str, points: Sequence[models.PointStruct], *, update_mode: models.UpdateMode | None = None
    ) -> None:
        rows = [edge.Point(str(p.id), named_vectors(p.vector), p.payload) for p in points]
        mode = edge.UpdateMode.InsertOnly if update_mode is models.UpdateMode.INSERT_ONLY else None
        self._update(edge.UpdateOperation.upsert_points(rows, update_mode=mode))

    def update_vectors(self, _: str, points: Sequence[models.PointVectors], update_filter: models.Filter) -> None:
        rows = [edge.PointVectors(str(p.id), named_vectors(p.vector)) for p in points]
        self._update(edge.UpdateOperation.update_vectors(rows, filter_of(update_filter)))

    def set_payload(self, _: str, payload: dict[str, Any], points: models.Filter, key: str | None = None) -> None:
        self._update(edge.UpdateOperation.set_payload_by_filter(filter_of(points), payload, key))

    def delete_payload(self, _: str, keys: Sequence[str], points: models.Filter) -> None:
        self._update(edge.UpdateOperation.delete_payload_by_filter(filter_of(points), list(keys)))

    def delete(self, _: str, points_selector: Sequence[str] | models.Filter) -> None:
        if isinstance(points_selector, models.Filter):
            self._update(edge.UpdateOperation.delete_points_by_filter(filter_of(points_selector)))
        else:
            self._update(edge.UpdateOperation.delete_points([str(i) for i in points_selector]))

    def retrieve(self, _: str, ids: Sequence[str], with_payload: bool | list[str] = True) -> list[Record]:
        with self._guard:
            rows = self._open_shard().retrieve(list(ids), with_payload, False)
        return [Record(str(r.id), r.payload or {}) for r in rows]

    def count(self, _: str, count_filter: models.Filter | None = None) -> models.CountResult:
        with self._guard:
            request = edge.CountRequest(exact=True, filter=filter_or_none(count_filter))
            return models.CountResult(count=self._open_shard().count(request))

    def scroll(
        self, _: str, scroll_filter: models.Filter | None = None, limit: int = 10, order_by: models.OrderBy | None = None,
        offset: str | None = None, with_payload: bool | list[str] = True,
    ) -> tuple[list[Record], str | None]:  # fmt: skip
        order = None
        if order_by is not None:
            descending = order_by.direction == models.Direction.DESC
            order = edge.OrderBy(
                order_by.key,
                edge.Direction.Desc if descending else edge.Direction.Asc,
                cast(int | None, order_by.start_from),
            )
        request = edge.ScrollRequest(
            offset=offset,
            limit=limit,
            filter=filter_or_none(scroll_filter),
            with_payload=with_payload,
            with_vector=False,
            order_by=order,
        )
        with self._guard:
            rows, following = self._open_shard().scroll(request)
        records = [Record(str(r.id), r.payload or {}) for r in rows]
        return records, None if following is None else str(following)

    def query_batch_points(self, _: str, requests: Sequence[models.QueryRequest]) -> list[QueryResult]:
        batch = edge.QueryBatchRequest([query_of(request) for request in requests])
        with self._guard:
            answers = self._open_shard().query_batch(batch)
        return [QueryResult([Record(str(p.id), p.payload or {}, p.score) for p in points]) for points in answers]

    def facet(
        self, _: str, key: str, facet_filter: models.Filter | None = None, limit: int = 10, exact: bool = True
    ) -> models.FacetResponse:
        request = edge.FacetRequest(key=key, limit=limit, exact=exact, filter=filter_or_none(facet_filter))
        with self._guard:
            hits = self._open_shard().facet(request).hits
        return models.FacetResponse(hits=[models.FacetValueHit(value=h.value, count=h.count) for h in hits])


def _lock_folder(folder: Path) -> Any:
    """Take the folder for this process. The lock goes with the process, however it ends."""
    path = folder / "lock"
    file = path.open("a+")
    path.chmod(0o600)
    try:
        portalocker.lock(file, portalocker.LOCK_EX | portalocker.LOCK_NB)
    except portalocker.LockException:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise MemoryInUse(
            f"The memory in {folder} is open in another process (number {holder}). Close that one, set PALIMPSEST_HOME "
            "to another folder, or set QDRANT_URL to share one Qdrant server between several."
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
