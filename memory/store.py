"""QdrantStore: a LangGraph BaseStore on Qdrant, with what MemGPT needs and BaseStore lacks.

Added: exact text search, date ranges, true totals in a stable order, and ranking by words and meaning together.
This is the one place that queries Qdrant: every query is confined to a namespace, whose first label is the agent.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from functools import partial
from math import ceil
from typing import Any, NamedTuple, cast

from langgraph.store.base import BaseStore, GetOp, Item, ListNamespacesOp, Op, PutOp, Result, SearchItem, SearchOp
from qdrant_client import models

from memory import ranking
from memory.conditions import IN, Namespace, inside, matches, value_conditions
from memory.embedder import CachingEmbedder, Embedder, open_embedder, reads
from memory.hiding import Hiding
from memory.languages import Languages
from memory.ordering import READ_AT_ONCE, ordered_ids
from memory.pending import PendingEmbeddings, Progress
from memory.points import (
    COLLECTION,
    INDEXES,
    NOT_ENGLISH,
    PASSAGE,
    Memory,
    item_of,
    links_of,
    match_of,
    place_of,
    point_id,
    point_of,
    text_of,
)
from memory.ranked_requests import nearest_request, words_requests
from memory.result_page import ResultPage, check_page
from memory.server import Client, ServerClient
from memory.shared import SharedEdge
from memory.statements import asks_about_then
from memory.upgrade import upgrade
from memory.words import language_of
from settings import Settings
from text import folded, normalised

PLACE = ["agent", "value.thread", "value.position", "value.of", "value.supersedes", "value.time"]
LOOKED_AT = 100  # of what a search ranks: those of which it is known what stands beside them
MOST_TAGS = 1_000_000  # Qdrant wants a limit; there is a tag for each thread


class Ranked(NamedTuple):
    """A point that was found."""

    id: str
    score: float
    until: str
    """When a newer statement took its place; empty while it holds."""


Source = tuple[Namespace, Mapping[str, Any]]
"""A namespace, and the values that its memories must have."""


class QdrantStore(BaseStore):
    """Long-term memory of all agents. Threads may share it; close it, or use it as a context manager."""

    supports_ttl = False

    def __init__(self, client: Client, embedder: Embedder) -> None:
        self.client = client
        self.embedder = embedder
        self._whole = self
        self.weights = ranking.Weights()
        self._pending = PendingEmbeddings(client, embedder)
        self._sequence = 0
        self._counting = threading.Lock()
        self._languages = Languages()
        indexed = client.indexed_fields()
        for field, schema in INDEXES.items():
            if field not in indexed:
                client.create_payload_index(COLLECTION, field_name=field, field_schema=schema)
        upgrade(client, indexed)

    def __enter__(self) -> "QdrantStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hiding(self, threads: Sequence[str]) -> "QdrantStore":
        """This store for reads that see nothing of what those threads have written."""
        if not threads:
            return self
        view = copy(self)
        view.client = cast(Client, Hiding(self.client, threads))
        return view

    def never_embed(self, threads: Sequence[str]) -> None:
        """Give the embedder nothing of what those threads have written; it is found by its words."""
        self._pending = PendingEmbeddings(self.hiding(threads).client, self.embedder)

    def flush(self) -> None:
        """Write to disk what has been acknowledged (the end of a turn does it)."""
        self.client.flush()

    def close(self) -> None:
        """Flush and release Qdrant."""
        self.client.close()

    # ---- what BaseStore asks for ----------------------------------------------------------------------------------

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
        # What memory.branches has put aside still has this id, in another namespace.
        return next((i for r in records if (i := item_of(r.payload or {})).namespace == namespace), None)

    def _put(self, ops: list[PutOp]) -> None:
        ids = [point_id(op.namespace, op.key) for op in ops]
        if gone := [i for i, op in zip(ids, ops, strict=True) if op.value is None]:
            self.client.delete(COLLECTION, points_selector=cast(Any, gone))
        kept = [(i, op) for i, op in zip(ids, ops, strict=True) if op.value is not None]
        if not kept:
            return
        before = {str(r.id): r.payload or {} for r in self.client.retrieve(COLLECTION, ids=[i for i, _ in kept])}
        points = []
        for sequence, (i, op) in zip(self._numbers(len(kept)), kept, strict=True):
            value = op.value or {}
            text = "" if op.index is False else text_of(value, op.index)
            point = point_of(op.namespace, Memory(op.key, value, text, text[:PASSAGE]), sequence)
            if i in before:
                point.payload = {**(point.payload or {}), **{f: before[i][f] for f in ("created_at", "sequence")}}
            points.append(point)
        self._languages.note(points)
        self.client.upsert(COLLECTION, points=points)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        conditions = value_conditions(op.filter or {})
        if op.query:
            return self._load(self._ranked(op.namespace_prefix, op.query, conditions)[op.offset : op.offset + op.limit])
        where = inside(op.namespace_prefix, *conditions)
        return self._ordered(where, op.offset, op.limit)

    def _list_namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        scopes = {
            tag.removeprefix(IN): count for tag, count in self._tags(None, exact=True).items() if tag.startswith(IN)
        }
        inner: Counter[str] = Counter()
        for scope, count in scopes.items():
            inner[scope.rpartition(".")[0]] += count
        found = {tuple(scope.split(".")) for scope, count in scopes.items() if count > inner[scope]}
        found = {n for n in found if all(matches(condition, n) for condition in op.match_conditions or ())}
        if op.max_depth is not None:
            found = {n[: op.max_depth] for n in found}
        return sorted(found)[op.offset : op.offset + op.limit]

    def _tags(self, where: models.Filter | None, *, exact: bool) -> dict[str, int]:
        """How many memories have each tag, exactly or about so."""
        hits = self.client.facet(COLLECTION, key="tags", facet_filter=where, limit=MOST_TAGS, exact=exact).hits
        return {str(hit.value): hit.count for hit in hits}

    # ---- beyond BaseStore -----------------------------------------------------------------------------------------

    def write(self, namespace: Namespace, memories: Sequence[Memory]) -> None:
        """Write `memories`, in place of those of the same keys."""
        if memories:
            points = self._points(namespace, memories)
            self._languages.note(points)
            self.client.upsert(COLLECTION, points=points)

    def add(self, namespace: Namespace, memories: Sequence[Memory]) -> None:
        """Write those of `memories` whose keys are not there yet: a step repeated after a crash changes nothing."""
        if memories:
            self.insert(self._points(namespace, memories))

    def insert(self, points: list[models.PointStruct]) -> None:
        """Write points that are made already, but for those whose ids are there."""
        self._languages.note(points)
        self.client.upsert(COLLECTION, points=points, update_mode=models.UpdateMode.INSERT_ONLY)

    def amend(self, namespace: Namespace, key: str, changes: Mapping[str, Any]) -> None:
        """Change fields of a memory's value that no search reads; its time, its place and its vector stay."""
        selector = models.Filter(must=[models.HasIdCondition(has_id=[point_id(namespace, key)])])
        self.client.set_payload(COLLECTION, {"updated_at": datetime.now(UTC).isoformat()}, points=selector)
        if changes:
            self.client.set_payload(COLLECTION, dict(changes), points=selector, key="value")

    def date(self, namespace: Namespace, key: str, written: datetime) -> None:
        """Say when a memory was written first, where it had to be written again."""
        selector = models.Filter(must=[models.HasIdCondition(has_id=[point_id(namespace, key)])])
        self.client.set_payload(COLLECTION, {"created_at": written.isoformat()}, points=selector)

    def _points(self, namespace: Namespace, memories: Sequence[Memory]) -> list[models.PointStruct]:
        numbered = zip(memories, self._numbers(len(memories)), strict=True)
        return [point_of(namespace, memory, sequence) for memory, sequence in numbered]

    def _numbers(self, count: int) -> range:
        """Sequence numbers: microseconds, but always above the last ones, whatever is done to the clock."""
        with self._counting:
            first = max(self._whole._sequence + 1, time.time_ns() // 1000)
            self._whole._sequence = first + count - 1
        return range(first, first + count)

    def delete_where(self, namespace: Namespace, where: dict[str, Any]) -> int:
        """Delete what has the values `where`; returns how many went."""
        selector = inside(namespace, *value_conditions(where))
        total = self.client.count(COLLECTION, count_filter=selector).count
        self.client.delete(COLLECTION, points_selector=selector)
        return total

    def count(self, namespace: Namespace, where: dict[str, Any] | None = None) -> int:
        """How many memories are in `namespace`, with the values `where` (lists mean any of)."""
        conditions = value_conditions(where or {})
        return self.client.count(COLLECTION, count_filter=inside(namespace, *conditions)).count

    def find(
        self, namespace: Namespace, text: str = "", *, case_sensitive: bool = True, since: datetime | None = None,
        before: datetime | None = None, where: dict[str, Any] | None = None, page: int = 0, page_size: int = 10,
        newest_first: bool = False,
    ) -> ResultPage:  # fmt: skip
        """Memories that contain `text` (compared as text.normalised has it), from `since` up to but not including `before`.

        Oldest first, so that what is written between two calls moves no earlier page. Raises ValueError for a page that
        does not exist, and for a text without anything that can be seen.
        """
        conditions = value_conditions(where or {})
        if text:
            field, wanted = ("normalised", normalised(text)) if case_sensitive else ("folded", folded(text))
            if not wanted:
                raise ValueError(
                    f"The text {text!r} has no character that can be seen: name one that the memories contain."
                )
            conditions.append(models.FieldCondition(key=field, match=models.MatchSubstring(substring=wanted)))
        if since or before:
            conditions.append(models.FieldCondition(key="time", range=models.DatetimeRange(gte=since, lt=before)))
        selector = inside(namespace, *conditions)
        total = self.client.count(COLLECTION, count_filter=selector).count
        check_page(page, page_size, total)
        items = self._ordered(selector, page * page_size, page_size, newest_first)
        return ResultPage(items, total, page, ceil(total / page_size))

    def all(self, namespace: Namespace, where: dict[str, Any] | None = None) -> Iterator[SearchItem]:
        """All memories in `namespace`, with the values `where`, oldest first."""
        page, pages = 0, 1
        while page < pages:
            found = self.find(namespace, where=where, page=page, page_size=READ_AT_ONCE)
            yield from found.items
            page, pages = page + 1, found.pages

    def rank(
        self, namespace: Namespace, query: str, *, where: dict[str, Any] | None = None, page: int = 0, page_size: int = 10,
        progress: Progress | None = None,
    ) -> ResultPage:  # fmt: skip
        """Memories near `query` in words and meaning, best first: `weights.depth` from each half, and no more in all pages.

        Embeds first what has no vector yet, of very much a part, telling `progress`; the rest is found by its words. Raises
        ValueError for a page that does not exist.
        """
        ranked = self._ranked(namespace, query, value_conditions(where or {}), progress)
        check_page(page, page_size, len(ranked))
        start = page * page_size
        items = self._load(ranked[start : start + page_size])
        return ResultPage(items, len(ranked), page, ceil(len(ranked) / page_size))

    def retrieve(
        self, query: str, sources: Sequence[Source], *, floor: float, without: Mapping[Namespace, Iterable[str]], limit: int,
        progress: Progress | None = None,
    ) -> list[SearchItem]:  # fmt: skip
        """The best few of what is in any of `sources`, all of one agent, ranked together; the keys `without` are left out.

        Below the floor is a smaller cosine; where the embedder does not know the query's language, what shares no word with it.
        """
        agents = {namespace[:1] for namespace, _ in sources}
        if len(agents) != 1:
            raise ValueError(f"The sources {[n for n, _ in sources]} are not of one agent.")
        anywhere = models.Filter(should=[inside(n, *value_conditions(where)) for n, where in sources])
        left_out = [point_id(namespace, key) for namespace, keys in without.items() for key in keys]
        return self._load(self._ranked(agents.pop(), query, [anywhere], progress, floor, left_out)[:limit])

    def forget_cached(self) -> None:
        """Drop the copies of texts that this process holds: those of the embedder."""
        if isinstance(self.embedder, CachingEmbedder):
            self.embedder.forget()

    def embed_pending(self, namespace: Namespace, limit: int | None = None, progress: Progress | None = None) -> int:
        """Embed what this embedder has not embedded yet, at most `limit`; returns how many that was. See memory/pending.py."""
        return self._pending.embed_pending(namespace, limit, progress)

    # ---- reading --------------------------------------------------------------------------------------------------

    def _ordered(
        self, selector: models.Filter, offset: int, limit: int, newest_first: bool = False
    ) -> list[SearchItem]:
        """Memories by sequence. Qdrant refuses an offset with an order, so ids up to the offset are read, in parts."""
        ids = ordered_ids(self.client, selector, offset + limit, newest_first)[offset : offset + limit]
        if not ids:
            return []
        payloads = {str(r.id): r.payload or {} for r in self.client.retrieve(COLLECTION, ids=ids)}
        return [match_of(payloads[i]) for i in ids if i in payloads]

    def _ranked(
        self, prefix: Namespace, query: str, conditions: list[models.Condition], progress: Progress | None = None,
        floor: float | None = None, left_out: Sequence[str] = (),
    ) -> list[Ranked]:  # fmt: skip
        """The best first; with a floor as `retrieve` has it. What is left out need not be embedded yet."""
        has_more = self._pending.embed_for_search(prefix, progress, left_out)
        others = models.Filter(must_not=[models.HasIdCondition(has_id=cast(Any, list(left_out)))])
        selector = inside(prefix, *conditions, *([others] if left_out else []))
        is_read = reads(self.embedder, language_of(query))
        weights = self.weights if is_read else self.weights.for_unread
        nearest = nearest_request(self._pending.embed([query])[0], self.embedder.name, selector, self.weights)
        requests = [nearest, *self._words_requests(prefix, query, selector)]
        dense, *lexical = self.client.query_batch_points(COLLECTION, requests=requests)
        near = {str(p.id): p.score for p in dense.points}
        worded: Counter[str] = Counter()
        for half in lexical:
            worded.update({str(p.id): p.score for p in half.points})
        scores = ranking.fuse(near, worded, weights)
        # Reading payloads is half of what a search costs, and neighbours of what is further down never come up.
        best = sorted(scores, key=scores.__getitem__, reverse=True)[:LOOKED_AT]
        found = {str(r.id): r.payload or {} for r in self.client.retrieve(COLLECTION, ids=best, with_payload=PLACE)}
        places = {i: place_of(payload) for i, payload in found.items()}
        scores = ranking.spread_to_neighbours(scores, places, weights)
        if floor is not None:
            unknown = 1.0 if has_more else -1.0  # what is not embedded yet has its words
            scores = {i: s for i, s in scores.items() if (near.get(i, unknown) >= floor if is_read else worded[i] > 0)}
        links = {i: links_of(payload) for i, payload in found.items() if i in scores}
        scores = ranking.collapsed(scores, {i: said_again for i, (said_again, _) in links.items()})
        newer = {old: i for i, (_, olds) in links.items() if i in scores for old in olds if old in scores}
        until = {old: str(found[i]["value"]["time"]) for old, i in newer.items()}
        if not asks_about_then(query):
            scores = ranking.outdated(scores, newer)
        ranked = [Ranked(i, score, until.get(i, "")) for i, score in scores.items()]
        return sorted(ranked, key=lambda r: (-r.score, r.id))

    def _words_requests(self, prefix: Namespace, query: str, selector: models.Filter) -> list[models.QueryRequest]:
        """A word's rarity is counted among this agent's memories, not everybody's; that of another language, among those in it."""
        is_shared = self.client.is_shared or not prefix
        other = models.FieldCondition(key="tags", match=models.MatchValue(value=NOT_ENGLISH))
        tags_of_agent = partial(self._tags, inside(prefix[:1], other), exact=False)
        languages = self._languages.of("".join(prefix[:1]), tags_of_agent, is_shared=is_shared)
        return words_requests(query, languages, (inside(prefix), inside(prefix, other)), selector, self.weights)

    def _load(self, ranked: Sequence[Ranked]) -> list[SearchItem]:
        records = self.client.retrieve(COLLECTION, ids=[r.id for r in ranked])
        payloads = {str(r.id): r.payload or {} for r in records}
        items = [(match_of(payloads[r.id], r.score), r.until) for r in ranked if r.id in payloads]
        for item, until in items:
            if until:
                item.value["until"] = until
        return [item for item, _ in items]


def open_store(settings: Settings) -> QdrantStore:
    """The store that the settings name: Qdrant Edge in `settings.folder`, here or in another process, or a server.

    Raises MemoryInUse, MemoryDamaged or MemoryUnreachable.
    """
    client: Client
    if settings.qdrant_url:
        client = ServerClient(url=settings.qdrant_url, api_key=settings.qdrant_api_key.get_secret_value() or None)
    else:
        client = SharedEdge(settings.folder / "memory")
    return QdrantStore(client, open_embedder(settings))
