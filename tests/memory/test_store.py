"""QdrantStore: what LangGraph expects of a store, and what it adds."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, PutOp
from langgraph.store.memory import InMemoryStore

from memory.edge import EdgeClient
from memory.embedder import EmbeddingFailed
from memory.minilm import Floats
from memory.points import Memory, point_id
from memory.server import ServerClient
from memory.store import QdrantStore
from tests.conftest import WordEmbedder

names = st.sampled_from(["a", "b", "c"])
spaces = st.lists(names, min_size=1, max_size=3).map(tuple)
scalars = st.one_of(st.integers(-3, 3), st.sampled_from(["x", "y", "Zz"]), st.booleans(), st.just(0.5), st.none())
values = st.dictionaries(st.sampled_from(["p", "q", "d.t"]), st.one_of(scalars, st.fixed_dictionaries({"in": scalars})))
puts = st.lists(st.tuples(spaces, names, st.one_of(values, st.none())), max_size=12)
filters = st.dictionaries(
    st.sampled_from(["p", "q", "d.t"]),
    st.one_of(
        st.sampled_from(["x", "Zz", True, False, 1, 0.5]),
        st.fixed_dictionaries({"$ne": st.sampled_from(["x", 2])}),
        st.fixed_dictionaries({"$eq": st.sampled_from(["y", -1, True])}),
        st.fixed_dictionaries({"in": st.sampled_from(["x", 1])}),
    ),
    max_size=2,
)


def kept(items: list[Any]) -> list[Any]:
    return sorted(((i.namespace, i.key, i.value) for i in items), key=repr)


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(puts=puts, prefix=spaces, wanted=filters, batch=st.booleans())
def test_it_keeps_and_finds_as_langgraphs_own_store(
    tmp_path_factory: pytest.TempPathFactory, puts: Any, prefix: Any, wanted: Any, batch: bool
) -> None:
    theirs = InMemoryStore()
    with QdrantStore(EdgeClient(tmp_path_factory.mktemp("s")), WordEmbedder()) as ours:
        ops = [PutOp(*p) for p in puts]
        for store in (ours, theirs):
            if batch:
                store.batch(ops)
            else:
                for op in ops:
                    store.batch([op])
        for namespace, key, _ in puts:
            mine, other = ours.get(namespace, key), theirs.get(namespace, key)
            assert (mine and mine.value) == (other and other.value)
        assert kept(ours.search(prefix, limit=100)) == kept(theirs.search(prefix, limit=100))
        # Python holds True == 1; Qdrant and PostgreSQL do not.
        if not any(isinstance(v, bool) or v in (0, 1) for v in _scalars(wanted)):
            assert kept(ours.search(prefix, filter=wanted, limit=100)) == kept(
                theirs.search(prefix, filter=wanted, limit=100)
            )
        if any(value is None for _, _, value in puts):
            return  # LangGraph's in-memory store goes on listing a namespace that is empty
        for arguments in ({}, {"prefix": prefix}, {"suffix": prefix}, {"max_depth": 1}, {"prefix": ("*", "b")}):
            assert sorted(ours.list_namespaces(**arguments)) == sorted(theirs.list_namespaces(**arguments))


def _scalars(value: Any) -> list[Any]:
    return [s for v in value.values() for s in _scalars(v)] if isinstance(value, dict) else [value]


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({"role": "user"}, ["1"]),
        ({"role": ["user", "system"]}, ["1", "2"]),
        ({"role": {"$ne": "user"}}, ["2", "3"]),
        ({"thread": "t=1"}, ["2"]),
        ({"role": "user=True"}, []),
        ({"role=user": True}, ["3"]),
        ({"deep": {"role": "user"}}, ["3"]),
    ],
)
def test_filters_by_what_stands_in_the_tags(store: QdrantStore, wanted: dict[str, Any], keys: list[str]) -> None:
    store.put(("a",), "1", {"role": "user", "source": "x"})
    store.put(("a",), "2", {"role": "system", "thread": "t=1"})
    store.put(("a",), "3", {"role=user": True, "deep": {"role": "user"}})
    assert sorted(item.key for item in store.search(("a",), filter=wanted)) == keys


def test_filters_by_number_and_boolean(store: QdrantStore) -> None:
    for n in range(5):
        store.put(("a",), str(n), {"n": n, "x": n / 2, "even": n % 2 == 0, "deep": {"even": n % 2 == 0}})

    def found(wanted: dict[str, Any]) -> list[str]:
        return sorted(i.key for i in store.search(("a",), filter=wanted))

    assert found({"n": {"$gt": 1, "$lte": 3}}) == ["2", "3"]
    assert found({"x": {"$lt": 1}}) == ["0", "1"]
    assert found({"even": True}) == ["0", "2", "4"]
    assert found({"deep": {"even": False}}) == ["1", "3"]
    with pytest.raises(ValueError, match=r"Unsupported operator: \$like"):
        store.search(("a",), filter={"n": {"$like": 1}})


def test_async_and_batch(store: QdrantStore) -> None:
    async def run() -> None:
        await store.aput(("a",), "k", {"text": "one"})
        item = await store.aget(("a",), "k")
        assert item is not None
        assert item.value == {"text": "one"}
        results = await store.abatch([GetOp(("a",), "k"), PutOp(("a",), "k", {"text": "two"}), GetOp(("a",), "none")])
        assert results[0].value == {"text": "one"}  # type: ignore[union-attr]
        assert results[2] is None

    asyncio.run(run())
    item = store.get(("a",), "k")
    assert item is not None
    assert item.updated_at > item.created_at


def test_ttl_is_refused_clearly(store: QdrantStore) -> None:
    with pytest.raises(NotImplementedError):
        store.put(("a",), "k", {"x": 1}, ttl=5)


def test_ranked_search_by_words_and_index_fields(store: QdrantStore) -> None:
    store.put(("a", "docs"), "dog", {"text": "A running dog chases its tail"})
    store.put(("a", "docs"), "car", {"title": "Engines", "body": "Cars and their motors"}, index=["title"])
    store.put(("a", "docs"), "hidden", {"text": "A dog that must not be found"}, index=False)
    assert store.search(("a",), query="dogs run")[0].key == "dog"
    keys = [i.key for i in store.search(("a",), query="engines")]
    assert keys[0] == "car"
    assert "hidden" not in [i.key for i in store.search(("a",), query="dog")]
    assert store.search(("b",), query="dog") == []


texts = st.lists(st.sampled_from(["Tea", "tea", "coffee", "TEA and coffee"]), min_size=0, max_size=35)


@settings(max_examples=25, deadline=None)
@given(texts=texts, size=st.integers(1, 9), newest=st.booleans(), more=st.integers(0, 5), sensitive=st.booleans())
def test_paging_visits_every_match_once_even_while_more_is_written(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], size: int, newest: bool, more: int, sensitive: bool
) -> None:
    with QdrantStore(EdgeClient(tmp_path_factory.mktemp("s")), WordEmbedder()) as store:
        space = ("a", "message")
        # Sequences repeat, so that the order has ties.
        store.write(space, [Memory(str(n), {"text": t}, sequence=n // 2) for n, t in enumerate(texts)])
        matching = [str(n) for n, t in enumerate(texts) if ("tea" in t if sensitive else "tea" in t.casefold())]
        seen: list[str] = []
        page, pages = 0, 1
        while page < pages:
            found = store.find(space, "tea", case_sensitive=sensitive, page=page, page_size=size, newest_first=newest)
            pages = max(1, -(-len(matching) // size))
            assert found.page == page
            if not newest:
                assert found.total >= len(matching)
                store.write(
                    space, [Memory(f"new-{page}-{n}", {"text": "tea"}, sequence=10**6 + page) for n in range(more)]
                )
            else:
                assert found.total == len(matching)
            seen += [i.key for i in found.items if not i.key.startswith("new-")]
            page += 1
        assert sorted(seen) == sorted(matching)
        with pytest.raises(ValueError, match="does not exist"):
            store.find(space, "tea", page=10**9)
        with pytest.raises(ValueError, match="does not exist"):
            store.find(space, "tea", page=-1)


def test_long_listings_are_read_in_parts_with_every_memory_once(
    store: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory.store.READ_AT_ONCE", 7)
    store.write(("a",), [Memory(str(n), {"text": "x"}, sequence=n // 3) for n in range(60)])
    keys = [i.key for p in range(6) for i in store.find(("a",), page=p, page_size=10).items]
    assert sorted(keys, key=int) == [str(n) for n in range(60)]


def test_dates_end_with_the_day_before_the_bound(store: QdrantStore) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    store.write(("a",), [Memory(str(h), {"text": "x"}, time=start + timedelta(hours=h)) for h in range(72)])
    found = store.find(("a",), since=start + timedelta(days=1), before=start + timedelta(days=2), page_size=50)
    assert found.total == 24


def test_agents_never_see_each_other(store: QdrantStore) -> None:
    for agent in ("ada", "ada-2", "adam"):
        store.write((agent, "message"), [Memory("k", {"text": f"secret of {agent}"}, terms="secret", passage="secret")])
    assert [i.value["text"] for i in store.find(("ada",), "secret").items] == ["secret of ada"]
    assert [i.value["text"] for i in store.rank(("ada",), "secret").items] == ["secret of ada"]
    assert store.delete_where(("ada",), {"text": "secret of adam"}) == 0
    assert store.count(("adam",)) == 1
    assert point_id(("ada", "message"), "k") != point_id(("adam", "message"), "k")


def test_writing_twice_is_writing_once(store: QdrantStore) -> None:
    for _ in range(3):
        store.write(("a",), [Memory("k", {"text": "x"})])
    assert store.count(("a",)) == 1


class OtherEmbedder(WordEmbedder):
    name = "other-8"

    def embed(self, texts: list[str]) -> Floats:
        return np.asarray(super().embed(texts)[:, :8], np.float32)


def test_another_embedder_embeds_anew_and_never_mixes(tmp_path: Path) -> None:
    with QdrantStore(EdgeClient(tmp_path), WordEmbedder()) as store:
        store.put(("a",), "k", {"text": "green tea"})
        assert store.rank(("a",), "tea").total == 1
    progress: list[tuple[int, int]] = []
    with QdrantStore(EdgeClient(tmp_path), OtherEmbedder()) as store:
        for _ in range(2):
            found = store.rank(("a",), "tea", progress=lambda done, total: progress.append((done, total)))
            assert found.total == 1
    assert progress == [(1, 1)]


def test_an_embedder_that_changes_its_size_is_refused(tmp_path: Path) -> None:
    with QdrantStore(EdgeClient(tmp_path), WordEmbedder()) as store:
        store.put(("a",), "k", {"text": "green tea"})
        store.rank(("a",), "tea")
    shrunk = OtherEmbedder()
    shrunk.name = WordEmbedder.name
    with QdrantStore(EdgeClient(tmp_path), shrunk) as store:
        with pytest.raises(EmbeddingFailed, match="another number"):
            store.rank(("a",), "tea")
        assert store.find(("a",), "tea").total == 1


@pytest.mark.parametrize("text", ["a" * 10_000_000, "zero\u200bwidth \u202ebidi\u202c", "🧑‍🚀 ñ Ⅳ ǅ İ"])
def test_hard_texts_come_back_as_they_were(store: QdrantStore, text: str) -> None:
    store.write(("a",), [Memory("k", {"text": text}, terms=text[:1_000])])
    item = store.get(("a",), "k")
    assert item is not None
    assert item.value["text"] == text
    assert store.find(("a",), text[:50]).total == 1
    assert store.find(("a",), text[:50].upper(), case_sensitive=False).total == 1


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_the_same_store_on_the_client_of_a_server() -> None:
    """What the local stand-in for a server can do: all but stemmed BM25, which only the engine has."""
    with QdrantStore(ServerClient(location=":memory:"), WordEmbedder()) as store:
        space = ("a", "message")
        times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(25)]
        store.write(
            space,
            [
                Memory(str(n), {"text": f"Tea {n}", "even": n % 2 == 0}, passage="tea", time=t, sequence=n // 2)
                for n, t in enumerate(times)
            ],
        )
        store.put(("b", "message"), "k", {"text": "Tea of another"})
        found = [store.find(space, "tea", case_sensitive=False, page=p) for p in range(3)]
        assert [p.total for p in found] == [25] * 3
        assert sorted(int(i.key) for p in found for i in p.items) == list(range(25))
        assert store.find(space, since=times[3], before=times[5]).total == 2
        assert len(store.search(("a",), filter={"even": True}, limit=50)) == 13
        assert store.list_namespaces() == [("a", "message"), ("b", "message")]
        assert store.embed_pending(("a",)) == 25
        assert store.embed_pending(("a",)) == 0
        assert store.delete_where(space, {"even": True}) == 13
        assert store.count(space) == 12
        store.flush()
