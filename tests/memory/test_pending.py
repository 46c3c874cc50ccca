"""What is not embedded yet: Qdrant itself tells, and nothing but a vector changes it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from memory.edge import EdgeClient
from memory.embedder import EmbeddingFailed, EndpointEmbedder
from memory.minilm import Floats
from memory.points import COLLECTION, Memory
from memory.ranked_requests import nearest_request
from memory.recall import Recall
from memory.server import ServerClient
from memory.store import QdrantStore
from tests.conftest import WordEmbedder
from tests.memory.test_recall import say


def test_an_unreachable_embedder_says_so_and_keeps_what_was_written(tmp_path: Path) -> None:
    embedder = EndpointEmbedder("http://127.0.0.1:9/v1", "m", "")
    embedder._client = embedder._client.with_options(max_retries=0)
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        recall = Recall(store, "ada")
        say(recall, ["Tea in the morning"])
        recall.embed_some()
        with pytest.raises(EmbeddingFailed, match=r"127\.0\.0\.1:9"):
            recall.nearest("tea")
        assert recall.search("Tea").total == 1
    with QdrantStore(EdgeClient(tmp_path), WordEmbedder()) as store:
        assert Recall(store, "ada").nearest("tea").total == 1


class FailingEmbedder(WordEmbedder):
    """Counts the texts that it is given, and fails while it is told to."""

    def __init__(self) -> None:
        self.failing = False
        self.texts: list[str] = []

    def embed(self, texts: list[str]) -> Floats:
        if self.failing:
            raise EmbeddingFailed("the endpoint is down")
        self.texts += texts
        return super().embed(texts)


SPACE = ("ada", "message")


def passages(*texts: str) -> list[Memory]:
    return [Memory(text, {"text": text}, passage=text) for text in texts]


def test_what_an_embedder_failed_at_is_embedded_when_it_is_back(tmp_path: Path) -> None:
    embedder = FailingEmbedder()
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        store.write(SPACE, passages("tea in the morning"))
        store.rank(SPACE, "anything")
        store.write(SPACE, passages("ships at night"))
        embedder.failing = True
        with pytest.raises(EmbeddingFailed, match="is down"):
            store.rank(SPACE, "ships")
        Recall(store, "ada").embed_some()  # a flush goes on without
        embedder.failing = False
        assert store.embed_pending(SPACE) == 1
        assert store.rank(SPACE, "ships at night").items[0].key == "ships at night"


@pytest.mark.parametrize("many", [1, 33, 100])
def test_nothing_is_embedded_twice(tmp_path: Path, many: int) -> None:
    embedder = FailingEmbedder()
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        for _ in range(2):  # a step that is repeated after a crash
            store.add(SPACE, passages(*(f"memory {n}" for n in range(many))))
            store.embed_pending(SPACE)
        assert store.embed_pending(SPACE) == 0
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        assert store.embed_pending(SPACE) == 0
    assert sorted(t for t in embedder.texts if t != "size") == sorted(f"memory {n}" for n in range(many))


def test_what_is_pending_outlives_the_process(tmp_path: Path) -> None:
    embedder = FailingEmbedder()
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        store.write(SPACE, passages("one", "two"))
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        assert store.embed_pending(SPACE, limit=1) == 1
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        assert store.embed_pending(SPACE) == 1


def test_a_text_that_was_written_anew_while_it_was_embedded_is_embedded_again(tmp_path: Path) -> None:
    class Slow(FailingEmbedder):
        def embed(self, texts: list[str]) -> Floats:
            if texts == ["old words"]:
                store.write(SPACE, [Memory("k", {"text": "x"}, passage="new words")])
            return super().embed(texts)

    embedder = Slow()
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        store.write(SPACE, [Memory("k", {"text": "x"}, passage="old words")])
        store.embed_pending(SPACE)
        assert store.embed_pending(SPACE) == 1
        assert nearest_score(store, "new words") == pytest.approx(1.0, abs=1e-3)


def test_a_memory_that_was_put_anew_with_the_same_text_keeps_its_new_tags(tmp_path: Path) -> None:
    class Slow(FailingEmbedder):
        def embed(self, texts: list[str]) -> Floats:
            if texts == ["same words"] and not done:
                done.append(True)
                store.put(SPACE, "k", {"text": "same words", "role": "user", "done": True})
            return super().embed(texts)

    done: list[bool] = []
    with QdrantStore(EdgeClient(tmp_path), Slow()) as store:
        store.put(SPACE, "k", {"text": "same words", "role": "system", "done": False})
        store.embed_pending(SPACE)
        assert store.count(SPACE, {"role": "user", "done": True}) == 1
        assert store.embed_pending(SPACE) == 1, "it was written anew"
        assert store.count(SPACE, {"role": "user", "done": True}) == 1


def nearest_score(store: QdrantStore, text: str) -> float:
    vector = store.embedder.embed([text])[0].tolist()
    request = nearest_request(vector, store.embedder.name, models.Filter(must=[]), store.weights)
    return store.client.query_batch_points(COLLECTION, [request])[0].points[0].score


def test_progress_is_told_to_the_one_who_asked(tmp_path: Path) -> None:
    with QdrantStore(EdgeClient(tmp_path), FailingEmbedder()) as store:
        store.write(SPACE, passages(*(f"memory {n}" for n in range(140))))
        told: list[tuple[int, int]] = []
        store.rank(SPACE, "memory", progress=lambda done, total: told.append((done, total)))
        assert told == [(128, 140), (140, 140)]


def test_a_deleted_memory_stops_no_embedding(tmp_path: Path) -> None:
    class Deleting(FailingEmbedder):
        def embed(self, texts: list[str]) -> Floats:
            if texts != ["size"]:
                store.delete(SPACE, "gone")
            return super().embed(texts)

    with QdrantStore(EdgeClient(tmp_path), Deleting()) as store:
        store.write(SPACE, passages("gone", "stays"))
        store.embed_pending(SPACE)
        assert store.embed_pending(SPACE) == 0
        assert store.rank(SPACE, "stays").items[0].key == "stays"


def test_it_is_looked_for_again_only_after_something_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    scroll = EdgeClient.scroll

    def counted(*given: Any, **options: Any) -> Any:
        looked.append(options)
        return scroll(*given, **options)

    monkeypatch.setattr(EdgeClient, "scroll", counted)
    with QdrantStore(EdgeClient(tmp_path), FailingEmbedder()) as store:
        for text in ("one", "two"):
            store.write(SPACE, passages(text))
            assert store.embed_pending(SPACE) == 1
            assert store.embed_pending(SPACE) == 0
            before = len(looked)
            assert store.embed_pending(SPACE) == 0
            assert len(looked) == before


def test_other_writers_of_a_server_are_seen() -> None:
    client = ServerClient(location=":memory:")
    with QdrantStore(client, FailingEmbedder()) as store, QdrantStore(client, FailingEmbedder()) as other:
        assert store.embed_pending(SPACE) == 0
        other.write(SPACE, passages("one"))
        assert store.embed_pending(SPACE) == 1


def test_a_vector_that_comes_late_does_not_replace_that_of_the_new_text() -> None:
    class Late(FailingEmbedder):
        def embed(self, texts: list[str]) -> Floats:
            if texts == ["old words"]:
                other.write(SPACE, [Memory("k", {"text": "x"}, passage="new words")])
                assert other.embed_pending(SPACE) == 1
            return super().embed(texts)

    client = ServerClient(location=":memory:")
    with QdrantStore(client, Late()) as store, QdrantStore(client, FailingEmbedder()) as other:
        store.write(SPACE, [Memory("k", {"text": "x"}, passage="old words")])
        store.embed_pending(SPACE)
        assert nearest_score(store, "new words") == pytest.approx(1.0, abs=1e-3)
        assert store.embed_pending(SPACE) == 0


def test_what_was_written_anew_while_the_embedder_was_down_keeps_no_old_vector(tmp_path: Path) -> None:
    embedder = FailingEmbedder()
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        store.write(SPACE, [Memory("k", {"text": "x"}, passage="old words")])
        store.embed_pending(SPACE)
        embedder.failing = True
        store.write(SPACE, [Memory("k", {"text": "x"}, passage="new words")])
        with pytest.raises(EmbeddingFailed):
            store.embed_pending(SPACE)
    with QdrantStore(EdgeClient(tmp_path), FailingEmbedder()) as store:
        assert store.embed_pending(SPACE) == 1
        assert nearest_score(store, "new words") == pytest.approx(1.0, abs=1e-3)


def test_each_embedder_has_its_own_vectors_of_what_is_there_now(tmp_path: Path) -> None:
    class Wider(FailingEmbedder):
        name = "wider"

        def embed(self, texts: list[str]) -> Floats:
            return np.hstack([super().embed(texts), np.zeros((len(texts), 8), np.float32)])

    pending: list[int] = []
    for embedder, text in ((FailingEmbedder(), "first"), (Wider(), "second"), (FailingEmbedder(), "third")):
        with QdrantStore(EdgeClient(tmp_path), embedder) as store:
            store.write(SPACE, passages(text))
            if text == "third":
                store.write(SPACE, passages("first"))
            pending.append(store.embed_pending(SPACE))
            assert store.rank(SPACE, text).items[0].key == text
    assert pending == [1, 2, 3], (
        "the third and the second are new to the first embedder, and the first was written anew"
    )
    with QdrantStore(EdgeClient(tmp_path), Wider()) as store:
        assert store.embed_pending(SPACE) == 2, "what was written anew has none of its old vectors"


def test_the_vector_that_edge_wants_at_birth_goes_with_the_first_embedding(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with QdrantStore(EdgeClient(tmp_path), FailingEmbedder()) as store:
            store.write(SPACE, passages(text))
            assert store.embed_pending(SPACE) == 1
        storages = {path.name for path in tmp_path.rglob("vector_storage-*")}
        assert storages == {f"vector_storage-{FailingEmbedder.name}"}


def test_a_search_embeds_some_of_many_and_finds_the_rest_by_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory.pending.AT_SEARCH", 1)
    monkeypatch.setattr("memory.pending.MANY", 10)
    embedder = FailingEmbedder()
    words = [f"word{n}" for n in range(30)]
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        store.write(SPACE, [Memory(word, {"text": word}, word, word) for word in words])
        unembedded = 0
        for number, word in enumerate(words[:5], 1):
            (found,) = store.retrieve(word, [(SPACE, {})], floor=0.9, without={}, limit=1)
            assert found.key == word
            assert 30 - number == store.count(SPACE) - len(set(words) & embedded(store, embedder))
            unembedded += word not in embedded(store, embedder)
        assert unembedded, "some was found by its words only"
        assert store.embed_pending(SPACE) == 25


def embedded(store: QdrantStore, embedder: FailingEmbedder) -> set[str]:
    """The keys that have a vector."""
    having = models.Filter(must=[models.HasVectorCondition(has_vector=embedder.name)])
    return {str((record.payload or {})["key"]) for record in store.client.scroll(COLLECTION, having, limit=100)[0]}
