"""Two agents in one memory: whatever one asks, writes, deletes or filters by, it reaches nothing of the other's."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.archival import Archival
from memory.blocks import load_blocks, save_block
from memory.documents import Section
from memory.edge import EdgeClient
from memory.forget import Target, erase, mark, preview
from memory.lessons import Lesson, Lessons
from memory.points import Memory
from memory.recall import Recall
from memory.store import QdrantStore
from memory.stored import stored
from tests.conftest import WordEmbedder
from tests.memory.test_recall import say

SECRET = "xylophone"
ADAS = ("The vault code is {}.", "A note on the {}.", "All about a {}.")
"""What the other agent has; the word alone stands in mallory's own names too."""
HOSTILE = [
    "ada", "in=ada", "ada.message", "message", "@aside", "../ada", "*", "", "agent", "tags", "value.thread", "t", "in=ada.message",
    SECRET, 'a"b', "ada\x00", "passage", "kept", "thread",
]  # fmt: skip
words = st.sampled_from(HOSTILE)
wanted = st.dictionaries(
    st.one_of(words, st.sampled_from(["thread", "role", "source", "author", "agent", "tags", "in"])),
    st.one_of(
        words,
        st.booleans(),
        st.integers(0, 3),
        st.lists(words, min_size=1, max_size=2),
        st.fixed_dictionaries({"$ne": words}),
    ),
    max_size=2,
)
labels = st.lists(words, max_size=2).map(lambda rest: ("mallory", *rest))


def state(store: QdrantStore) -> list[Any]:
    return sorted((point.id, repr(point.payload)) for point in stored(store, "ada"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[QdrantStore]:
    with QdrantStore(EdgeClient(tmp_path), WordEmbedder()) as opened:
        say(Recall(opened, "ada"), [ADAS[0].format(SECRET), "Another day."])
        Archival(opened, "ada").insert(ADAS[1].format(SECRET), key="kept", thread="t")
        Archival(opened, "ada").ingest("a.txt", [Section(ADAS[2].format(SECRET), "")])
        save_block(opened, "ada", "human", f"Knows a {SECRET}.")
        Lessons(opened, "ada").keep(Lesson("l", f"Mind the {SECRET}.", f"Do {SECRET}.", "failed", "x", "t"))
        opened.put(("ada", "thread"), "t", {"title": SECRET}, index=False)
        opened.embed_pending(("ada",))
        say(Recall(opened, "mallory"), ["Hello."])
        yield opened


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nothing_crosses_between_two_agents(store: QdrantStore, data: st.DataObject) -> None:
    before = state(store)
    namespace, where, query, key = data.draw(labels), data.draw(wanted), data.draw(words), data.draw(words)
    recall, archival = Recall(store, "mallory"), Archival(store, "mallory")
    calls: list[Any] = [
        lambda: store.search(namespace, query=query or None, filter=where, limit=50),
        lambda: store.get(namespace, key),
        lambda: store.find(namespace, query, where=where, page_size=50).items,
        lambda: store.rank(namespace, query, where=where, page_size=50).items,
        lambda: store.retrieve(query, [(namespace, where)], floor=-1.0, without={}, limit=50),
        lambda: recall.search(query, page_size=50).items, lambda: recall.nearest(query, page_size=50).items,
        lambda: recall.read(key), lambda: archival.search(query, page_size=50).items, lambda: archival.text(key),
        lambda: archival.sources(), lambda: archival.wordings(key), lambda: load_blocks(store, "mallory"),
        lambda: Lessons(store, "mallory").recall(query, 50), lambda: store.hiding([key]).find(namespace, page_size=50).items,
        lambda: preview(store, "mallory", Target(text=query)), lambda: preview(store, "mallory", Target(keys=(key,))),
        lambda: preview(store, "mallory", Target(conversation=key)), lambda: preview(store, "mallory", Target(document="a.txt")),
        lambda: store.put(namespace, key, {"text": "x", "agent": "ada", "tags": ["in=ada"]}),
        lambda: store.add(namespace, [Memory(key, {"text": "x", **where}, "x", "x")]),
        lambda: store.amend(namespace, key, {"text": "changed"}), lambda: store.delete(namespace, key),
        lambda: store.delete_where(namespace, where), lambda: archival.forget("a.txt"), lambda: archival.insert("x", key="kept"),
        lambda: erase(store, mark(store, "mallory", Target(text=query or "x"))),
    ]  # fmt: skip
    for call in calls:
        with contextlib.suppress(ValueError):  # of what cannot be asked so
            told = repr(call())
            assert not any(text.format(SECRET) in told for text in ADAS)
    assert state(store) == before


def test_what_other_tools_put_into_our_places_breaks_no_forget(store: QdrantStore) -> None:
    for kind in ("message", "passage", "block", "block_version", "eviction", "lesson", "thread", "document"):
        store.put(("mallory", kind), "x", {"text": "Odile", "position": 1})
        store.put(("mallory", "deep", kind), "x", {"note": "Odile"})
    for target in (Target(text="Odile"), Target(keys=("x",)), Target(conversation="x"), Target(document="x")):
        assert preview(store, "mallory", target) is not None
    erase(store, mark(store, "mallory", Target(text="Odile")))
    assert "Odile" not in repr([point.payload for point in stored(store, "mallory")])
