"""QdrantStore: a LangGraph BaseStore on Qdrant, with what MemGPT needs and BaseStore lacks.

Added: exact text search, date ranges, true totals in a stable order, and ranking by words and meaning together.
This is the one place that queries Qdrant: every query is confined to a namespace, whose first label is the agent.
"""

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any, cast

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)
from qdrant_client import QdrantClient, models
from tqdm import tqdm

from memory import ranking
from memory.edge import EdgeClient
from memory.embedder import Embedder, EmbeddingFailed, open_embedder
from memory.server import COLLECTION, ServerClient
from settings import Settings

Namespace = tuple[str, ...]

TEXT_INDEX = models.TextIndexParams(
    type=models.TextIndexType.TEXT,
    tokenizer=models.TokenizerType.WORD,
    lowercase=True,
    ascii_folding=True,
    stemmer=models.SnowballParams(type=models.Snowball.SNOWBALL, language=models.SnowballLanguage.ENGLISH),
    stopwords=models.Language.ENGLISH,
    scoring=True,
)
INDEXES: dict[str, models.PayloadSchemaParams] = {
    "agent": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "scopes": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD),
    "path": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD),
    "value.text": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD),
    "folded": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD),
    "terms": TEXT_INDEX,
    "time": models.DatetimeIndexParams(type=models.DatetimeIndexType.DATETIME),
    "sequence": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=False, range=True),
    "value.role": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD),
    "value.thread": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD),
    "value.source": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD),
}
PLACE = ["value.thread", "value.position"]
POINTS = uuid.UUID("6f1d3c52-64b5-4e0e-9f7e-6a1c41a9d0b7")  # namespace of the point ids
READ_AT_ONCE = 1_000  # Edge holds the interpreter lock during a call
EMBED_AT_ONCE = 32
PASSAGE = 1_200  # characters; MiniLM reads 256 word pieces


@dataclass(frozen=True)
class Memory:
    """One memory to write. Writing the same namespace and key again replaces it."""

    key: str
    value: Mapping[str, Any]
    """What is kept; exact text search reads its "text"."""
    terms: str = ""
    """What BM25 ranks; empty: not found by ranked search."""
    passage: str = ""
    """What the embedder reads; empty: not embedded."""
    time: datetime | None = None
    """When it was said (UTC if without a zone); None: now."""
    sequence: int | None = None
    """Its place in the order of everything; None: the time in microseconds."""


@dataclass(frozen=True)
class Page:
    """One page of matches, oldest first unless asked otherwise."""

    items: list[SearchItem]
    total: int
    """How many match in all."""
    page: int
    """This page's number, from 0."""
    pages: int
    """How many pages there are; 0 when nothing matches."""


class QdrantStore(BaseStore):
    """Long-term memory of all agents. Threads may share it; close it, or use it as a context manager."""

    supports_ttl = False

    def __init__(self, client: EdgeClient | QdrantClient, embedder: Embedder) -> None:
        self.client = cast(ServerClient, client)  # EdgeClient has the methods used here, and answers alike
        self.embedder = embedder
        self.on_embedding: Callable[[int, int], None] | None = None
        """Called with (done, total) while a search embeds what no search had needed before."""
        self.weights = ranking.Weights()
        self._sized = False
        self._embedding = threading.Lock()
        self._clean: set[Namespace] = set()
        """Namespaces in which nothing but `_fresh` is left to embed."""
        self._fresh: dict[str, Namespace] = {}
        """What this process has written and not embedded: looking for it would cost more with every memory there is."""
        indexed = self.client.indexed_fields()
        for field, schema in INDEXES.items():
            if field not in indexed:
                self.client.create_payload_index(COLLECTION, field_name=field, field_schema=schema)

    def __enter__(self) -> "QdrantStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def flush(self) -> None:
        """Write to disk what has been acknowledged (the end of a turn does it)."""
        self.client.flush()

    def close(self) -> None:
        """Flush and release Qdrant."""
        self.client.close()

    # ---- BaseStore ------------------------------------------------------------------------------------------------

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run `ops`: reads see the store as it was, and of two puts to one key the later wins, as in LangGraph's own."""
        results: list[Result] = []
        puts: dict[tuple[Namespace, str], PutOp] = {}
        for op in ops:
            match op:
                case GetOp():
                    results.append(self._get(op.namespace, op.key))
                case SearchOp():
                    results.append(self._search(op))
                case ListNamespacesOp():
                    results.append(self._list_namespaces(op))
                case PutOp():
                    puts[(op.namespace, op.key)] = op
                    results.append(None)
        if puts:
            self._put(list(puts.values()))
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch` in a thread: Qdrant is called synchronously."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _get(self, namespace: Namespace, key: str) -> Item | None:
        records = self.client.retrieve(COLLECTION, ids=[point_id(namespace, key)], with_payload=True)
        return _item(records[0].payload or {}) if records else None

    def _put(self, ops: list[PutOp]) -> None:
        ids = [point_id(op.namespace, op.key) for op in ops]
        if gone := [i for i, op in zip(ids, ops, strict=True) if op.value is None]:
            self.client.delete(COLLECTION, points_selector=cast(Any, gone))
        kept = [(i, op) for i, op in zip(ids, ops, strict=True) if op.value is not None]
        if not kept:
            return
        before = {str(r.id): r.payload or {} for r in self.client.retrieve(COLLECTION, ids=[i for i, _ in kept])}
        points = []
        for i, op in kept:
            value = op.value or {}
            text = "" if op.index is False else _text_of(value, op.index)
            memory = Memory(op.key, value, terms=text, passage=text[:PASSAGE])
            points.append(_point(i, op.namespace, memory, before.get(i)))
        self._upsert(points)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        conditions = _value_conditions("value", op.filter or {})
        if op.query:
            return self._load(self._ranked(op.namespace_prefix, op.query, conditions)[op.offset : op.offset + op.limit])
        where = _inside(op.namespace_prefix, *conditions)
        return self._ordered(where, op.offset, op.limit)

    def _list_namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        hits = self.client.facet(COLLECTION, key="path", limit=100_000, exact=True).hits
        found = {tuple(str(hit.value).split(".")) for hit in hits}
        found = {n for n in found if all(_matches(condition, n) for condition in op.match_conditions or ())}
        if op.max_depth is not None:
            found = {n[: op.max_depth] for n in found}
        return sorted(found)[op.offset : op.offset + op.limit]

    # ---- beyond BaseStore -----------------------------------------------------------------------------------------

    def write(self, namespace: Namespace, memories: Sequence[Memory]) -> None:
        """Write `memories`; writing one twice is writing it once."""
        points = [_point(point_id(namespace, m.key), namespace, m) for m in memories]
        if points:
            self._upsert(points)

    def delete_where(self, namespace: Namespace, where: dict[str, Any]) -> int:
        """Delete what has the values `where`; returns how many went."""
        selector = _inside(namespace, *_value_conditions("value", where))
        total = self.client.count(COLLECTION, count_filter=selector).count
        self.client.delete(COLLECTION, points_selector=selector)
        return total

    def count(self, namespace: Namespace, where: dict[str, Any] | None = None) -> int:
        """How many memories are in `namespace`, with the values `where` (lists mean any of)."""
        conditions = _value_conditions("value", where or {})
        return self.client.count(COLLECTION, count_filter=_inside(namespace, *conditions)).count

    def find(
        self,
        namespace: Namespace,
        text: str = "",
        *,
        case_sensitive: bool = True,
        since: datetime | None = None,
        before: datetime | None = None,
        where: dict[str, Any] | None = None,
        page: int = 0,
        page_size: int = 10,
        newest_first: bool = False,
    ) -> Page:
        """Memories that contain `text` literally, from `since` up to but not including `before`.

        Oldest first, so that what is written between two calls moves no earlier page. Raises ValueError for a page that
        does not exist.
        """
        conditions = _value_conditions("value", where or {})
        if text:
            field, wanted = ("value.text", text) if case_sensitive else ("folded", text.casefold())
            conditions.append(models.FieldCondition(key=field, match=models.MatchSubstring(substring=wanted)))
        if since or before:
            conditions.append(models.FieldCondition(key="time", range=models.DatetimeRange(gte=since, lt=before)))
        selector = _inside(namespace, *conditions)
        total = self.client.count(COLLECTION, count_filter=selector).count
        check_page(page, page_size, total)
        items = self._ordered(selector, page * page_size, page_size, newest_first)
        return Page(items, total, page, ceil(total / page_size))

    def rank(
        self,
        namespace: Namespace,
        query: str,
        *,
        where: dict[str, Any] | None = None,
        page: int = 0,
        page_size: int = 10,
    ) -> Page:
        """Memories near `query` in words and meaning, best first: `weights.depth` from each half, and no more in all pages.

        Embeds what has no vector of this embedder yet, so the first search after a long time takes longer. Raises
        ValueError for a page that does not exist.
        """
        ranked = self._ranked(namespace, query, _value_conditions("value", where or {}))
        check_page(page, page_size, len(ranked))
        start = page * page_size
        return Page(self._load(ranked[start : start + page_size]), len(ranked), page, ceil(len(ranked) / page_size))

    def embed_pending(self, namespace: Namespace, limit: int | None = None) -> int:
        """Embed what this embedder has not embedded yet, with a progress bar; returns how many that was."""
        with self._embedding:
            return self._embed_pending(namespace, limit)

    def _embed_pending(self, namespace: Namespace, limit: int | None) -> int:
        name = self._vector_name()
        known = any(namespace[: len(clean)] == clean for clean in self._clean)
        fresh = [i for i, path in self._fresh.copy().items() if path[: len(namespace)] == namespace]
        pending = models.Filter(
            must=_inside(namespace).must,
            must_not=[
                models.HasVectorCondition(has_vector=name),
                models.IsEmptyCondition(is_empty=models.PayloadField(key="passage")),
            ],
        )
        total = len(fresh) if known else self.client.count(COLLECTION, count_filter=pending).count
        total = total if limit is None else min(total, limit)
        done = 0
        with tqdm(total=total, desc="Embedding", unit="memory", disable=None if total > EMBED_AT_ONCE else True) as bar:
            while done < total:
                size = min(EMBED_AT_ONCE, total - done)
                fields = ["passage"]
                if known:
                    ids = fresh[done : done + size]
                    for i in ids:  # before it is read: what is written anew meanwhile is fresh again
                        self._fresh.pop(i, None)
                    records = self.client.retrieve(COLLECTION, ids=ids, with_payload=fields)
                else:
                    records, _ = self.client.scroll(COLLECTION, scroll_filter=pending, limit=size, with_payload=fields)
                    ids = [str(r.id) for r in records]
                if not ids:
                    break
                if records:  # what was written may have been deleted since
                    vectors = self._embed([str((r.payload or {})["passage"]) for r in records])
                    rows = zip(records, vectors, strict=True)
                    self._update_vectors([models.PointVectors(id=r.id, vector={name: v}) for r, v in rows])
                done += len(ids)
                bar.update(len(ids))
                if self.on_embedding:
                    self.on_embedding(done, total)
        if isinstance(self.client, EdgeClient) and limit is None:  # nobody else writes there
            self._clean.add(namespace)
        return done

    def _update_vectors(self, points: list[models.PointVectors]) -> None:
        try:
            self.client.update_vectors(COLLECTION, points=points)
        except Exception as error:
            if "No point with id" not in str(error):
                raise
            left = {str(r.id) for r in self.client.retrieve(COLLECTION, ids=[str(p.id) for p in points])}
            if points := [p for p in points if str(p.id) in left]:  # the others were deleted while they were embedded
                self.client.update_vectors(COLLECTION, points=points)

    def _upsert(self, points: list[models.PointStruct]) -> None:
        self.client.upsert(COLLECTION, points=points)
        for point in points:
            payload = point.payload or {}
            if "passage" in payload:
                self._fresh[str(point.id)] = tuple(payload["path"].split("."))

    # ---- reading ------------------------------------------------------------------------------------------------

    def _ordered(
        self, selector: models.Filter, offset: int, limit: int, newest_first: bool = False
    ) -> list[SearchItem]:
        """Memories by sequence. Qdrant refuses an offset with an order, so ids up to the offset are read, in parts."""
        ids = self._ordered_ids(selector, offset + limit, newest_first)[offset : offset + limit]
        if not ids:
            return []
        payloads = {str(r.id): r.payload or {} for r in self.client.retrieve(COLLECTION, ids=ids)}
        return [_found(payloads[i]) for i in ids if i in payloads]

    def _ordered_ids(self, selector: models.Filter, wanted: int, newest_first: bool) -> list[str]:
        """The first ids by sequence, and by id where that is the same: Qdrant alone orders ties anew at every call."""
        direction = models.Direction.DESC if newest_first else models.Direction.ASC
        step = -1 if newest_first else 1
        ids: list[str] = []
        start: int | None = None
        while len(ids) < wanted:
            limit = min(READ_AT_ONCE, wanted - len(ids)) + 1
            order = models.OrderBy(key="sequence", direction=direction, start_from=start)
            records, _ = self.client.scroll(
                COLLECTION, scroll_filter=selector, limit=limit, order_by=order, with_payload=["sequence"]
            )
            rows = [(int((r.payload or {})["sequence"]), str(r.id)) for r in records]
            is_last = len(rows) < limit
            if not is_last:  # what shares the last sequence may be cut: read it whole
                start = rows[-1][0]
                rows = [row for row in rows if row[0] != start]
                rows += [(start, i) for i in self._with_sequence(selector, start)]
                start += step
            ids += [i for _, i in sorted(rows, key=lambda row: (step * row[0], row[1]))]
            if is_last:
                break
        return ids

    def _with_sequence(self, selector: models.Filter, sequence: int) -> list[str]:
        same = models.FieldCondition(key="sequence", range=models.Range(gte=sequence, lte=sequence))
        tied = models.Filter(must=[*cast(list[models.Condition], selector.must or []), same])
        ids: list[str] = []
        offset: Any = None
        while True:
            records, offset = self.client.scroll(
                COLLECTION, scroll_filter=tied, limit=READ_AT_ONCE, offset=offset, with_payload=False
            )
            ids += [str(r.id) for r in records]
            if offset is None:
                return ids

    def _ranked(self, prefix: Namespace, query: str, conditions: list[models.Condition]) -> list[tuple[str, float]]:
        """Ids and scores, best first."""
        self.embed_pending(prefix)
        name = self._vector_name()
        selector = _inside(prefix, *conditions)
        scoring = models.Bm25Scoring(bm25=models.Bm25Params(k=self.weights.k, b=self.weights.b))
        dense, lexical = self.client.query_batch_points(
            COLLECTION,
            requests=[
                models.QueryRequest(
                    query=models.NearestQuery(nearest=self._embed([query])[0]),
                    using=name,
                    filter=selector,
                    limit=self.weights.depth,
                    with_payload=False,
                ),
                models.QueryRequest(
                    query=models.TextQuery(text=models.TextQueryInput(query=query, scoring=scoring)),
                    using="terms",
                    filter=selector,
                    limit=self.weights.depth,
                    with_payload=False,
                    # Rarity is counted among this agent's memories, not among everybody's.
                    params=models.SearchParams(idf=models.IdfCorpusParams(corpus=_inside(prefix))),
                ),
            ],
        )
        near, worded = ({str(p.id): p.score for p in half.points} for half in (dense, lexical))
        fused = ranking.fuse(near, worded, self.weights)
        records = self.client.retrieve(COLLECTION, ids=list(fused), with_payload=PLACE)
        places = {str(r.id): _place(r.payload or {}) for r in records}
        scores = ranking.lend_to_neighbours({i: fused[i] for i in places}, places, self.weights)
        return sorted(scores.items(), key=lambda found: (-found[1], found[0]))

    def _load(self, ranked: Sequence[tuple[str, float]]) -> list[SearchItem]:
        payloads = {str(r.id): r.payload or {} for r in self.client.retrieve(COLLECTION, ids=[i for i, _ in ranked])}
        return [_found(payloads[i], score) for i, score in ranked if i in payloads]

    def _embed(self, texts: list[str]) -> list[list[float]]:
        vectors = self.embedder.embed(texts)
        if not self._sized:
            config = models.DenseVectorConfig(size=vectors.shape[1], distance=models.Distance.COSINE)
            try:
                self.client.create_vector_name(
                    COLLECTION,
                    vector_name=self.embedder.name,
                    vector_name_config=models.DenseVectorNameConfig(dense=config),
                )
            except Exception as error:
                if "already exists" not in str(error):
                    raise
                raise EmbeddingFailed(
                    f"The embedder {self.embedder.name} now returns {vectors.shape[1]} numbers per text, but this memory "
                    "holds its vectors with another number. Set PALIMPSEST_EMBEDDINGS_MODEL to the model that wrote them."
                ) from error
            self._sized = True
        return cast(list[list[float]], vectors.tolist())

    def _vector_name(self) -> str:
        """The name of this embedder's vectors, which exist from here on."""
        if not self._sized:
            self._embed(["size"])
        return self.embedder.name


def open_store(settings: Settings) -> QdrantStore:
    """The store that the settings name: Qdrant Edge in `settings.folder`, or a server.

    Raises MemoryInUse, MemoryDamaged or MemoryUnreachable.
    """
    client: EdgeClient | ServerClient
    if settings.qdrant_url:
        client = ServerClient(url=settings.qdrant_url, api_key=settings.qdrant_api_key.get_secret_value() or None)
    else:
        client = EdgeClient(settings.folder / "memory")
    return QdrantStore(client, open_embedder(settings))


# ---- points ----------------------------------------------------------------------------------------------------------


def point_id(namespace: Namespace, key: str) -> str:
    """The id of the point: the same memory always has the same one, and another agent's cannot be guessed from it."""
    return str(uuid.uuid5(POINTS, json.dumps([*namespace, key])))


def check_page(page: int, page_size: int, total: int) -> None:
    """Raise ValueError unless `page` exists; page 0 always does."""
    pages = ceil(total / page_size)
    if page < 0 or page >= max(1, pages):
        exist = (
            f"{total} matches are on pages 0 to {pages - 1}" if total else "nothing matches, so there is only page 0"
        )
        raise ValueError(f"Page {page} does not exist: {exist}.")


def _point(i: str, namespace: Namespace, memory: Memory, before: dict[str, Any] | None = None) -> models.PointStruct:
    now = datetime.now(UTC)
    said = memory.time or now
    said = said if said.tzinfo else said.replace(tzinfo=UTC)
    payload: dict[str, Any] = {
        "agent": namespace[0],
        "scopes": [".".join(namespace[: n + 1]) for n in range(len(namespace))],
        "path": ".".join(namespace),
        "key": memory.key,
        "value": dict(memory.value),
        "time": said.isoformat(),
        "sequence": time.time_ns() // 1000 if memory.sequence is None else memory.sequence,
        "created_at": now.isoformat(),
        "updated_at": now.isoformat(),
    }
    if isinstance(text := memory.value.get("text"), str):
        payload["folded"] = text.casefold()
    if flags := _flags("value", memory.value):
        payload["flags"] = flags
    if memory.terms:
        payload["terms"] = memory.terms
    if memory.passage:
        payload["passage"] = memory.passage
    if before:
        payload |= {field: before[field] for field in ("created_at", "sequence")}
    return models.PointStruct(id=i, vector={}, payload=payload)


def _flags(path: str, value: Mapping[str, Any]) -> list[str]:
    """The true and false in a value as words: Edge 0.9 finds no point by a boolean."""
    flags = []
    for key, part in value.items():
        if isinstance(part, bool):
            flags.append(f"{_field(path, key)}={part}")
        elif isinstance(part, dict):
            flags += _flags(_field(path, key), part)
    return flags


def _field(path: str, key: str) -> str:
    return f'{path}."{key}"' if "." in key else f"{path}.{key}"


def _text_of(value: Mapping[str, Any], fields: Sequence[str] | None) -> str:
    """The searchable text of a value put without one: the named fields, its "text", or all of it."""
    if fields is not None and list(fields) != ["$"]:
        parts: list[Any] = []
        for field in fields:
            part: Any = value
            for step in field.split("."):
                part = part.get(step) if isinstance(part, dict) else None
            if part is not None:
                parts.append(part)
        return "\n".join(p if isinstance(p, str) else json.dumps(p, ensure_ascii=False) for p in parts)
    text = value.get("text")
    return text if isinstance(text, str) else json.dumps(value, ensure_ascii=False)


def _item(payload: dict[str, Any]) -> Item:
    return Item(
        value=payload["value"],
        key=payload["key"],
        namespace=tuple(payload["path"].split(".")),
        created_at=datetime.fromisoformat(payload["created_at"]),
        updated_at=datetime.fromisoformat(payload["updated_at"]),
    )


def _found(payload: dict[str, Any], score: float | None = None) -> SearchItem:
    item = _item(payload)
    return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)


def _place(payload: dict[str, Any]) -> tuple[str, int] | None:
    value = payload.get("value", {})
    position = value.get("position")
    return (str(value.get("thread", "")), position) if isinstance(position, int) else None


# ---- conditions ------------------------------------------------------------------------------------------------------


def _inside(namespace: Namespace, *conditions: models.Condition) -> models.Filter:
    """Confine to a namespace and all below it; its first label is the tenant."""
    must: list[models.Condition] = list(conditions)
    if namespace:
        tenant = models.FieldCondition(key="agent", match=models.MatchValue(value=namespace[0]))
        scope = models.FieldCondition(key="scopes", match=models.MatchValue(value=".".join(namespace)))
        must = [tenant, scope, *must]
    return models.Filter(must=must)


def _value_conditions(path: str, wanted: dict[str, Any]) -> list[models.Condition]:
    """BaseStore's filter as Qdrant conditions: equality, nested values, $eq $ne $gt $gte $lt $lte; a list is any of."""
    conditions: list[models.Condition] = []
    for key, value in wanted.items():
        field = _field(path, key)
        if isinstance(value, dict) and any(k.startswith("$") for k in value):
            conditions += [_operator(field, name, operand) for name, operand in value.items()]
        elif isinstance(value, dict):
            conditions += _value_conditions(field, value)
        else:
            conditions.append(_equals(field, value))
    return conditions


def _operator(field: str, name: str, operand: Any) -> models.Condition:
    if name == "$eq":
        return _equals(field, operand)
    if name == "$ne":
        return models.Filter(must_not=[_equals(field, operand)])
    if name in ("$gt", "$gte", "$lt", "$lte"):
        return models.FieldCondition(key=field, range=models.Range(**{name[1:]: float(operand)}))
    raise ValueError(f"Unsupported operator: {name}. Use $eq, $ne, $gt, $gte, $lt or $lte.")


def _equals(field: str, value: Any) -> models.Condition:
    if value is None:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=field))
    if isinstance(value, bool):
        return models.FieldCondition(key="flags", match=models.MatchValue(value=f"{field}={value}"))
    if isinstance(value, int | str):
        return models.FieldCondition(key=field, match=models.MatchValue(value=value))
    if isinstance(value, float):
        return models.FieldCondition(key=field, range=models.Range(gte=value, lte=value))
    if isinstance(value, list | tuple) and value and all(isinstance(v, str) for v in value):
        return models.FieldCondition(key=field, match=models.MatchAny(any=list(value)))
    raise ValueError(f"Cannot filter {field} by {value!r}: use text, a number, true, false, null or a list of texts.")


def _matches(condition: MatchCondition, namespace: Namespace) -> bool:
    path = tuple(condition.path)
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(want in ("*", have) for want, have in zip(path, part, strict=True))
