"""What memory operations cost: this store, `QdrantClient(path=)`, and sqlite-vec with FTS5, in one run."""

import argparse
import hashlib
import random
import statistics
import struct
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np
from tqdm import tqdm

from evaluation.report import print_table
from memory.edge import EdgeClient
from memory.minilm import Floats
from memory.recall import Message, Recall
from memory.store import QdrantStore

AGENTS, DIMENSIONS, BATCH, LENGTH = 20, 384, 100, 25
START_TIME = datetime(2026, 1, 1, tzinfo=UTC)
REPEATS, MOST_SECONDS = 50, 20.0
WORDS = [
    f"{a}{b}{c}" for a in "bdfgklmnprstvz" for b in "aeiou" for c in ("ba", "do", "fi", "ga", "ku", "le", "mo", "ni")
]


class MadeUpMemory(TypedDict):
    """One made-up memory."""

    number: int
    agent: str
    text: str
    time: datetime


class Contender(Protocol):
    """A store under test; every search is confined to one agent and gives ten results."""

    def upsert(self, rows: list[MadeUpMemory], vectors: Floats) -> None: ...
    def hybrid(self, agent: str, text: str, vector: list[float]) -> int: ...
    def text(self, agent: str, word: str) -> int: ...
    def dates(self, agent: str, since: datetime, before: datetime) -> int: ...
    def close(self) -> None: ...


class HashEmbedder:
    """Random unit vectors by the text's hash: the cost of a real embedder is the same for every store."""

    name = "hash-384"

    def embed(self, texts: list[str]) -> Floats:
        """Shape (len(texts), 384)."""
        seeds = [int.from_bytes(hashlib.sha256(t.encode()).digest()[:8], "little") for t in texts]
        vectors = np.stack([np.random.default_rng(s).standard_normal(DIMENSIONS, np.float32) for s in seeds])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


class Palimpsest:
    """This project's store on Qdrant Edge, as the agent uses it: pages with true totals, and the fused ranking."""

    def __init__(self, folder: Path) -> None:
        self.store = QdrantStore(EdgeClient(folder), HashEmbedder())

    def upsert(self, rows: list[MadeUpMemory], vectors: Floats) -> None:
        for agent in {r["agent"] for r in rows}:
            Recall(self.store, agent).write(
                [
                    Message(
                        str(r["number"]), "user", r["text"], "user", "own", r["time"], "t", r["number"], r["number"]
                    )
                    for r in rows
                    if r["agent"] == agent
                ]
            )
        self.store.embed_pending(())
        self.store.flush()

    def hybrid(self, agent: str, text: str, vector: list[float]) -> int:
        return len(Recall(self.store, agent).nearest(text).items)

    def text(self, agent: str, word: str) -> int:
        return len(Recall(self.store, agent).search(word).items)

    def dates(self, agent: str, since: datetime, before: datetime) -> int:
        last = before - timedelta(days=1)
        return len(Recall(self.store, agent).search_dates(since.date().isoformat(), last.date().isoformat()).items)

    def close(self) -> None:
        self.store.close()


class QdrantLocal:
    """QdrantClient(path=): prefetch of both halves, joined by RRF, since it has no other fusion but DBSF."""

    def __init__(self, folder: Path) -> None:
        from qdrant_client import QdrantClient, models

        warnings.filterwarnings("ignore", module="qdrant_client")
        self.models = models
        self.client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
        vectors = models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)
        self.client.create_collection("c", vectors_config={"dense": vectors})
        index = models.TextIndexParams(type=models.TextIndexType.TEXT, scoring=True)
        self.client.create_payload_index("c", "text", index)

    def _filter(self, agent: str, *conditions: Any) -> Any:
        m = self.models
        return m.Filter(must=[m.FieldCondition(key="agent", match=m.MatchValue(value=agent)), *conditions])

    def upsert(self, rows: list[MadeUpMemory], vectors: Floats) -> None:
        points = [
            self.models.PointStruct(
                id=r["number"],
                vector={"dense": v.tolist()},
                payload={**r, "time": r["time"].isoformat(), "sequence": r["number"]},
            )
            for r, v in zip(rows, vectors, strict=True)
        ]
        self.client.upsert("c", points)

    def hybrid(self, agent: str, text: str, vector: list[float]) -> int:
        m = self.models
        where = self._filter(agent)
        words = m.TextQuery(text=m.TextQueryInput(query=text))
        halves = [
            m.Prefetch(query=vector, using="dense", filter=where, limit=200),
            m.Prefetch(query=words, using="text", filter=where, limit=200),
        ]
        fusion = m.FusionQuery(fusion=m.Fusion.RRF)
        return len(self.client.query_points("c", prefetch=halves, query=fusion, limit=10).points)

    def text(self, agent: str, word: str) -> int:
        return self._first(agent, key="text", match=self.models.MatchSubstring(substring=word))

    def dates(self, agent: str, since: datetime, before: datetime) -> int:
        return self._first(agent, key="time", range=self.models.DatetimeRange(gte=since, lt=before))

    def _first(self, agent: str, **condition: Any) -> int:
        where = self._filter(agent, self.models.FieldCondition(**condition))
        self.client.count("c", where)
        return len(self.client.scroll("c", where, limit=10, order_by="sequence")[0])

    def close(self) -> None:
        self.client.close()


class SqliteVec:
    """sqlite-vec (partitioned by agent) with FTS5, joined by RRF: the usual hybrid in one file."""

    def __init__(self, folder: Path) -> None:
        import apsw
        import sqlite_vec

        folder.mkdir()
        self.db = apsw.Connection(str(folder / "memory.sqlite"))
        self.db.enable_load_extension(True)
        self.db.load_extension(sqlite_vec.loadable_path())
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("CREATE TABLE m(id INTEGER PRIMARY KEY, agent TEXT, text TEXT, time TEXT)")
        self.db.execute("CREATE INDEX by_time ON m(agent, time)")
        self.db.execute("CREATE VIRTUAL TABLE f USING fts5(text, agent UNINDEXED, tokenize='porter')")
        self.db.execute(f"CREATE VIRTUAL TABLE v USING vec0(agent TEXT PARTITION KEY, e FLOAT[{DIMENSIONS}])")

    def upsert(self, rows: list[MadeUpMemory], vectors: Floats) -> None:
        with self.db:
            for r, v in zip(rows, vectors, strict=True):
                n = r["number"]
                self.db.execute(
                    "INSERT OR REPLACE INTO m VALUES(?,?,?,?)", (n, r["agent"], r["text"], r["time"].isoformat())
                )
                self.db.execute(
                    "INSERT OR REPLACE INTO f(rowid, text, agent) VALUES(?,?,?)", (n, r["text"], r["agent"])
                )
                self.db.execute("INSERT INTO v(rowid, agent, e) VALUES(?,?,?)", (n, r["agent"], v.tobytes()))

    def hybrid(self, agent: str, text: str, vector: list[float]) -> int:
        packed = struct.pack(f"{DIMENSIONS}f", *vector)
        near = self.db.execute("SELECT rowid FROM v WHERE e MATCH ? AND k = 200 AND agent = ?", (packed, agent))
        asked = " OR ".join(text.split())
        worded = self.db.execute(
            "SELECT rowid FROM f WHERE f MATCH ? AND agent = ? ORDER BY bm25(f) LIMIT 200", (asked, agent)
        )
        scores: dict[Any, float] = {}
        for half in (near.fetchall(), worded.fetchall()):
            for rank, (i,) in enumerate(half):
                scores[i] = scores.get(i, 0.0) + 1 / (60 + rank)
        best = sorted(scores, key=lambda i: -scores[i])[:10]
        return len([self.db.execute("SELECT text FROM m WHERE id=?", (i,)).fetchall() for i in best])

    def text(self, agent: str, word: str) -> int:
        return self._first("agent = ? AND instr(text, ?)", (agent, word))

    def dates(self, agent: str, since: datetime, before: datetime) -> int:
        return self._first("agent = ? AND time >= ? AND time < ?", (agent, since.isoformat(), before.isoformat()))

    def _first(self, where: str, values: tuple[str, ...]) -> int:
        self.db.execute(f"SELECT count(*) FROM m WHERE {where}", values).fetchall()
        return len(self.db.execute(f"SELECT * FROM m WHERE {where} ORDER BY id LIMIT 10", values).fetchall())

    def close(self) -> None:
        self.db.close()


CONTENDERS: dict[str, Callable[[Path], Contender]] = {
    "palimpsest": Palimpsest,
    "QdrantClient(path=)": QdrantLocal,
    "sqlite-vec + FTS5": SqliteVec,
}


def made_up_rows(points: int) -> list[MadeUpMemory]:
    """Memories of random words, spread over the agents and over a year."""
    rng = random.Random(0)
    return [
        MadeUpMemory(
            number=n,
            agent=f"agent-{n % AGENTS}",
            text=" ".join(rng.choices(WORDS, k=LENGTH)),
            time=START_TIME + timedelta(seconds=n * 365 * 86_400 / points),
        )
        for n in range(points)
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--points", type=int, nargs="+", default=[10_000, 100_000])


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every contender at every size; p50 of each operation."""
    results = []
    for points in arguments.points:
        rows = made_up_rows(points)
        table = []
        for name, make in CONTENDERS.items():
            with tempfile.TemporaryDirectory() as folder:
                contender = make(Path(folder) / "store")
                p50 = _measure(contender, rows, f"{name}, {points:,} points")
                contender.close()
            results.append({"store": name, "points": points, **p50})
            table.append([name, *(f"{p50[k]:.3g}" for k in p50)])
        ours = results[-len(CONTENDERS)]
        for name, result in zip(CONTENDERS, results[-len(CONTENDERS) :], strict=True):
            ratios = [result[k] / ours[k] if k.endswith("ms") else ours[k] / result[k] for k in p50]
            table.append([f"{name}: times palimpsest", *(f"{r:.1f}" for r in ratios)])
        print_table(f"{points:,} points, {AGENTS} agents, p50", ["store", *p50], table)
    return {"results": results}


def _measure(contender: Contender, rows: list[MadeUpMemory], title: str) -> dict[str, float]:
    embedder, rng = HashEmbedder(), random.Random(1)
    took = 0.0
    for start in tqdm(range(0, len(rows), BATCH), desc=title, disable=None):
        part = rows[start : start + BATCH]
        vectors = embedder.embed([r["text"] for r in part])
        began = time.perf_counter()
        contender.upsert(part, vectors)
        took += time.perf_counter() - began
    queries = [(f"agent-{rng.randrange(AGENTS)}", rng.sample(WORDS, 5), rng.randrange(360)) for _ in range(REPEATS)]

    def hybrid(agent: str, words: list[str], day: int) -> int:
        text = " ".join(words)
        return contender.hybrid(agent, text, embedder.embed([text])[0].tolist())

    def dates(agent: str, words: list[str], day: int) -> int:
        since = START_TIME + timedelta(days=day)
        return contender.dates(agent, since, since + timedelta(days=3))

    result = {"upsert/s": len(rows) / took}
    for name, operation in (
        ("hybrid ms", hybrid),
        ("text ms", lambda agent, words, day: contender.text(agent, words[0])),
        ("dates ms", dates),
    ):
        times: list[float] = []
        for query in queries:
            began = time.perf_counter()
            operation(*query)
            times.append(1_000 * (time.perf_counter() - began))
            if sum(times) > 1_000 * MOST_SECONDS:
                break
        result[name] = statistics.median(times)
    return result
