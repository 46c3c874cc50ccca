"""The Edge adapter against QdrantClient(":memory:"): the same random operations, the same answers.

With QDRANT_URL set for the tests (TEST_QDRANT_URL), a real server takes the part of the local client.
"""

import os
import random
import uuid
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from memory.edge import EdgeClient

WORDS = ["apple", "Banana", "cherry", "date", "elder", "fig", "Grape", "lemon", "mango", "Nut"]
COLLECTION = "differential"
F = models.FieldCondition


def clients(folder: Path) -> tuple[EdgeClient, QdrantClient]:
    warnings.filterwarnings("ignore", module="qdrant_client")
    url = os.environ.get("TEST_QDRANT_URL")
    other = QdrantClient(url=url) if url else QdrantClient(":memory:")
    if url and other.collection_exists(COLLECTION):
        other.delete_collection(COLLECTION)
    other.create_collection(COLLECTION, vectors_config={})
    edge = EdgeClient(folder)
    size = models.DenseVectorConfig(size=4, distance=models.Distance.COSINE)
    for client in (edge, other):
        client.create_vector_name(
            COLLECTION, vector_name="dense", vector_name_config=models.DenseVectorNameConfig(dense=size)
        )
        indexes: dict[str, Any] = {
            "agent": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
            "text": models.TextIndexParams(type=models.TextIndexType.TEXT, scoring=True),
            "time": models.DatetimeIndexParams(type=models.DatetimeIndexType.DATETIME),
            "sequence": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=False, range=True),
        }
        for field, schema in indexes.items():
            client.create_payload_index(COLLECTION, field_name=field, field_schema=schema)
    return edge, other


class Pair:
    """Both clients, given the same things to do."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.edge, self.other = clients(folder)
        self.rng = random.Random(seed)
        self.ids: list[str] = []
        self.sequence = 0

    def upsert(self) -> None:
        points = []
        for _ in range(self.rng.randint(1, 8)):
            again = bool(self.ids) and self.rng.random() < 0.2
            i = self.rng.choice(self.ids) if again else str(uuid.UUID(int=self.rng.getrandbits(128)))
            self.sequence += 1
            vector = {"dense": [self.rng.uniform(0.1, 1) for _ in range(4)]} if self.rng.random() < 0.7 else {}
            time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self.rng.randrange(500))
            text = " ".join(self.rng.choices(WORDS, k=self.rng.randint(1, 6)))
            payload = {
                "agent": self.rng.choice("ab"),
                "text": text,
                "time": time.isoformat(),
                "sequence": self.sequence,
            }
            if self.rng.random() < 0.5:
                payload["value"] = {
                    "n": self.rng.randrange(5),
                    "x": self.rng.randrange(100) / 100,
                    "tag": self.rng.choice(WORDS),
                }
            points.append(models.PointStruct(id=i, vector=vector, payload=payload))
        points = list({p.id: p for p in points}.values())
        self.ids = sorted({*self.ids, *(str(p.id) for p in points)})
        self.both("upsert", points=points)

    def delete(self) -> None:
        if self.ids and self.rng.random() < 0.5:
            gone = self.rng.sample(self.ids, 1)
            self.ids.remove(gone[0])
            self.both("delete", points_selector=gone)
        else:
            selector = models.Filter(must=[F(key="value.n", match=models.MatchValue(value=self.rng.randrange(5)))])
            self.both("delete", points_selector=selector)
            left = self.edge.scroll(COLLECTION, limit=10_000)[0]
            self.ids = sorted(r.id for r in left)

    def update_vectors(self) -> None:
        if self.ids:
            points = [
                models.PointVectors(id=i, vector={"dense": [self.rng.uniform(0.1, 1) for _ in range(4)]})
                for i in self.rng.sample(self.ids, min(3, len(self.ids)))
            ]
            early = models.Filter(must=[F(key="sequence", range=models.Range(lte=self.rng.randint(1, self.sequence)))])
            self.both("update_vectors", points=points, update_filter=early)

    def both(self, name: str, **arguments: Any) -> None:
        getattr(self.edge, name)(COLLECTION, **arguments)
        getattr(self.other, name)(COLLECTION, **arguments)

    def filter(self) -> models.Filter:
        day = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=self.rng.randrange(20))
        conditions: list[Any] = [
            F(key="text", match=models.MatchSubstring(substring=self.rng.choice(WORDS)[:3])),
            F(key="time", range=models.DatetimeRange(gte=day, lt=day + timedelta(days=5))),
            F(key="value.n", match=models.MatchValue(value=self.rng.randrange(5))),
            F(key="value.x", range=models.Range(gt=0.3, lte=0.9)),
            F(key="value.tag", match=models.MatchAny(any=self.rng.sample(WORDS, 3))),
            models.HasVectorCondition(has_vector="dense"),
            models.IsEmptyCondition(is_empty=models.PayloadField(key="value")),
            models.HasIdCondition(has_id=self.rng.sample(self.ids, min(3, len(self.ids)))),
            models.Filter(should=[F(key="agent", match=models.MatchValue(value=a)) for a in "ac"]),
        ]
        chosen = self.rng.sample(conditions, self.rng.randint(0, 2))
        refused = self.rng.sample(conditions, self.rng.randint(0, 1))
        tenant = F(key="agent", match=models.MatchValue(value=self.rng.choice("ab")))
        return models.Filter(must=[tenant, *chosen], must_not=refused)

    def compare(self) -> None:
        where = self.filter()
        assert self.edge.count(COLLECTION, where).count == self.other.count(COLLECTION, where).count
        for direction in models.Direction:
            order = models.OrderBy(key="sequence", direction=direction)
            ours, theirs = (c.scroll(COLLECTION, where, limit=7, order_by=order)[0] for c in (self.edge, self.other))
            assert [(r.id, r.payload) for r in ours] == [(r.id, r.payload) for r in theirs]
        words = models.TextQuery(text=models.TextQueryInput(query=" ".join(self.rng.sample(WORDS, 2))))
        near = models.NearestQuery(nearest=[self.rng.uniform(0.1, 1) for _ in range(4)])
        requests = [
            models.QueryRequest(query=q, using=u, filter=where, limit=50, with_payload=["sequence"])
            for q, u in ((words, "text"), (near, "dense"))
        ]
        answers = zip(*(c.query_batch_points(COLLECTION, requests) for c in (self.edge, self.other)), strict=True)
        for mine, other in answers:
            got, wanted = ({str(p.id): p.score for p in a.points} for a in (mine, other))
            assert got == pytest.approx(wanted, abs=1e-4)
            told, expected = ({str(p.id): p.payload for p in a.points} for a in (mine, other))
            assert told == expected
        facets = [c.facet(COLLECTION, "agent", limit=10, exact=True).hits for c in (self.edge, self.other)]
        assert {h.value: h.count for h in facets[0]} == {h.value: h.count for h in facets[1]}
        if self.ids:
            some = self.rng.sample(self.ids, min(4, len(self.ids)))
            read = ({str(r.id): r.payload for r in c.retrieve(COLLECTION, ids=some)} for c in (self.edge, self.other))
            assert next(read) == next(read)


@pytest.mark.parametrize("seed", range(6))
def test_edge_answers_as_the_client_does(tmp_path: Path, seed: int) -> None:
    pair = Pair(tmp_path / "edge", seed)
    for _ in range(40):
        pair.rng.choice([pair.upsert, pair.upsert, pair.delete, pair.update_vectors])()
        pair.compare()
    pair.edge.flush()
    pair.edge.close()
    pair.edge = EdgeClient(tmp_path / "edge")
    pair.compare()
    pair.edge.close()
