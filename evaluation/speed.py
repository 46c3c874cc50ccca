"""What memory operations and turns cost, each beside what else one could use, in one run.

    python -m evaluation speed memory [--points 10000 100000]     this store, QdrantClient(path=), sqlite-vec with FTS5
    python -m evaluation speed turn [--messages 10 100 1000 10000]  a turn, and that of a bare two-node LangGraph agent
    python -m evaluation speed colbench                           scoring of programs and pages, the graph's share of a turn

Times on a shared machine are noisy: read the ratios.
"""

import argparse
import hashlib
import random
import sqlite3
import statistics
import struct
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Protocol, TypedDict

import numpy as np
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from tqdm import tqdm

from evaluation.report import print_table, write_json
from evaluation.speed_colbench import run_colbench
from graphs.memgpt import Context, user_message
from intervals import interval
from memory.checkpoints import open_checkpointer
from memory.edge import EdgeClient
from memory.minilm import Floats
from memory.recall import Message, Recall
from memory.store import QdrantStore
from models.scripted import PolicyModel, call
from nodes.memgpt.evict import SUMMARISE
from runtime import open_runtime
from settings import Settings

AGENTS, DIMENSIONS, BATCH, LENGTH = 20, 384, 100, 25
START_TIME = datetime(2026, 1, 1, tzinfo=UTC)
REPEATS, MOST_SECONDS = 50, 20.0
WORDS = [
    f"{a}{b}{c}" for a in "bdfgklmnprstvz" for b in "aeiou" for c in ("ba", "do", "fi", "ga", "ku", "le", "mo", "ni")
]
TALK = (
    "we walked along the river this morning and my sister told me about her new house near the old market where she "
    "grows apples tea roses and two kinds of beans so next week I will bring her some books and stay for dinner if "
    "the weather holds"
).split()


# ---- speed memory ----------------------------------------------------------------------------------------------------


class Row(TypedDict):
    """One made-up memory."""

    number: int
    agent: str
    text: str
    time: datetime


class Contender(Protocol):
    """A store under test; every search is confined to one agent and gives ten results."""

    def upsert(self, rows: list[Row], vectors: Floats) -> None: ...
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

    def upsert(self, rows: list[Row], vectors: Floats) -> None:
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

    def upsert(self, rows: list[Row], vectors: Floats) -> None:
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
        m = self.models
        where = self._filter(agent, m.FieldCondition(key="text", match=m.MatchSubstring(substring=word)))
        self.client.count("c", where)
        return len(self.client.scroll("c", where, limit=10, order_by="sequence")[0])

    def dates(self, agent: str, since: datetime, before: datetime) -> int:
        m = self.models
        where = self._filter(agent, m.FieldCondition(key="time", range=m.DatetimeRange(gte=since, lt=before)))
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

    def upsert(self, rows: list[Row], vectors: Floats) -> None:
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
        where = "agent = ? AND instr(text, ?)"
        self.db.execute(f"SELECT count(*) FROM m WHERE {where}", (agent, word)).fetchall()
        return len(self.db.execute(f"SELECT * FROM m WHERE {where} ORDER BY id LIMIT 10", (agent, word)).fetchall())

    def dates(self, agent: str, since: datetime, before: datetime) -> int:
        where, values = "agent = ? AND time >= ? AND time < ?", (agent, since.isoformat(), before.isoformat())
        self.db.execute(f"SELECT count(*) FROM m WHERE {where}", values).fetchall()
        return len(self.db.execute(f"SELECT * FROM m WHERE {where} ORDER BY id LIMIT 10", values).fetchall())

    def close(self) -> None:
        self.db.close()


CONTENDERS: dict[str, Callable[[Path], Contender]] = {
    "palimpsest": Palimpsest,
    "QdrantClient(path=)": QdrantLocal,
    "sqlite-vec + FTS5": SqliteVec,
}


def made_up_rows(points: int) -> list[Row]:
    """Memories of random words, spread over the agents and over a year."""
    rng = random.Random(0)
    return [
        Row(
            number=n,
            agent=f"agent-{n % AGENTS}",
            text=" ".join(rng.choices(WORDS, k=LENGTH)),
            time=START_TIME + timedelta(seconds=n * 365 * 86_400 / points),
        )
        for n in range(points)
    ]


def run_memory(arguments: argparse.Namespace) -> dict[str, Any]:
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
    result = {"results": results}
    write_json(arguments.out, "speed_memory", result)
    return result


def _measure(contender: Contender, rows: list[Row], title: str) -> dict[str, float]:
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


# ---- speed turn ------------------------------------------------------------------------------------------------------


class BareState(TypedDict):
    """The state of the agent to compare with."""

    messages: Annotated[list[AnyMessage], add_messages]


def bare_agent(checkpointer: Any, policy: Callable[[list[BaseMessage]], AIMessage]) -> Any:
    """The least LangGraph agent with a tool: model ⇄ tools, the whole conversation in its state."""
    model = PolicyModel(policy=policy)

    def think(state: BareState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    def act(state: BareState) -> dict[str, Any]:
        last = state["messages"][-1]
        assert isinstance(last, AIMessage)
        return {"messages": [ToolMessage("Sent.", tool_call_id=str(c["id"])) for c in last.tool_calls]}

    builder = StateGraph(BareState)
    builder.add_node("think", think)
    builder.add_node("act", act)
    builder.add_edge(START, "think")
    builder.add_edge("think", "act")
    builder.add_edge("act", END)
    return builder.compile(checkpointer=checkpointer)


def instant(prompt: list[BaseMessage]) -> AIMessage:
    """The scripted model of both: one call that says something."""
    if prompt and prompt[0].text == SUMMARISE:
        return AIMessage("We have talked of many things, one after the other.")
    if prompt and isinstance(prompt[-1], HumanMessage) and prompt[-1].text.startswith('{"type": "memory_pressure"'):
        return AIMessage("Noted.")
    return call("send_message", id=f"call_{len(prompt)}_{time.monotonic_ns()}", message="Yes, I have heard that. " * 4)


def says(n: int) -> str:
    """What the person says in turn n: 200 characters."""
    return f"Turn {n}: " + " ".join(random.Random(n).choices(TALK, k=38))


def run_turn(arguments: argparse.Namespace) -> dict[str, Any]:
    """CPU milliseconds and checkpoint bytes of a turn as the conversation grows."""
    marks, most = sorted(arguments.messages), max(arguments.messages)
    with tempfile.TemporaryDirectory() as folder:
        ours = _measure_memgpt(Path(folder) / "memgpt", marks, arguments.turns)
        bare = {m: _measure_bare(Path(folder) / f"bare{m}", m, arguments.turns) for m in tqdm(marks, desc="Bare agent")}
    rows, results = [], []
    for mark in marks:
        result = {"messages": mark, "memgpt": ours[mark], "bare": bare[mark]}
        results.append(result)
        cpu, bytes_ = ours[mark]["cpu ms"], ours[mark]["bytes"]
        bare_cpu, bare_bytes = bare[mark]["cpu ms"], bare[mark]["bytes"]
        rows.append(
            [
                f"{mark:,}",
                f"{cpu['mean']:.1f} [{cpu['low']:.1f}, {cpu['high']:.1f}]",
                f"{bare_cpu['mean']:.1f} [{bare_cpu['low']:.1f}, {bare_cpu['high']:.1f}]",
                f"{cpu['mean'] / bare_cpu['mean']:.2f}",
                f"{bytes_['mean']:,.0f}",
                f"{bare_bytes['mean']:,.0f}",
                f"{bytes_['mean'] / bare_bytes['mean']:.3f}",
            ]
        )
    headers = ["messages", "CPU ms", "bare CPU ms", "ratio", "bytes", "bare bytes", "ratio"]
    print_table("One turn, with an instant model", headers, rows)
    flat = None
    if 100 in marks and most > 100:
        flat = ours[most]["cpu ms"]["mean"] / ours[100]["cpu ms"]["mean"]
        print(f"CPU of a turn at {most:,} messages / at 100: {flat:.2f}")
    result = {"results": results, "flatness": flat}
    write_json(arguments.out, "speed_turn", result)
    return result


def _measure_memgpt(home: Path, marks: list[int], turns: int) -> dict[int, Any]:
    context = Context(agent="speed", model=PolicyModel(policy=instant))
    measured: dict[int, Any] = {}
    with open_runtime(Settings(home=home)) as runtime:
        database = sqlite3.connect(home / "checkpoints.sqlite")
        said = number = 0

        def one_turn() -> None:
            nonlocal said, number
            runtime.run("memgpt", "speed", user_message(says(number)), context)
            said, number = said + 2, number + 1

        with tqdm(total=marks[-1], desc="Messages", disable=None) as bar:
            for mark in marks:
                while said < mark:
                    one_turn()
                    bar.update(2)
                measured[mark] = _turns(one_turn, turns, database)
                bar.update(2 * turns)
        database.close()
    return measured


def _measure_bare(home: Path, messages: int, turns: int) -> dict[str, Any]:
    config: RunnableConfig = {"configurable": {"thread_id": "speed"}}
    with open_checkpointer(Settings(home=home)) as saver:
        graph = bare_agent(saver, instant)
        past: list[AnyMessage] = []
        for n in range(messages // 2):
            reply = instant([])
            results = [ToolMessage("Sent.", tool_call_id=str(c["id"])) for c in reply.tool_calls]
            past += [HumanMessage(says(n)), reply, *results]
        graph.update_state(config, {"messages": past}, as_node="act")
        database = sqlite3.connect(home / "checkpoints.sqlite")
        number = messages

        def one_turn() -> None:
            nonlocal number
            graph.invoke({"messages": [HumanMessage(says(number))]}, config, durability="sync")
            number += 1

        measured = _turns(one_turn, min(turns, 10), database)
        database.close()
        return measured


def _turns(one_turn: Callable[[], None], turns: int, database: sqlite3.Connection) -> dict[str, Any]:
    """CPU of each of some turns, and what they add to the checkpoints."""
    one_turn()
    size = "SELECT (SELECT sum(length(checkpoint) + length(metadata)) FROM checkpoints) + (SELECT sum(length(value)) FROM writes)"
    before = database.execute(size).fetchone()[0] or 0
    times = []
    for _ in range(turns):
        began = time.process_time()
        one_turn()
        times.append(1_000 * (time.process_time() - began))
    after = database.execute(size).fetchone()[0]
    return {"cpu ms": interval(times), "bytes": {"mean": (after - before) / turns}}


# ---- the command -----------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    what = parser.add_subparsers(required=True, metavar="WHAT")
    memory = what.add_parser("memory", help="memory operations beside other embedded stores")
    memory.add_argument("--points", type=int, nargs="+", default=[10_000, 100_000])
    memory.set_defaults(measure=run_memory)
    turn = what.add_parser("turn", help="CPU and checkpoint bytes of a turn as the conversation grows")
    turn.add_argument("--messages", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    turn.add_argument("--turns", type=int, default=120, help="turns measured at each length")
    turn.set_defaults(measure=run_turn)
    colbench = what.add_parser("colbench", help="scoring of programs and pages, and the graph's share of a turn")
    colbench.add_argument("--answers", type=int, default=1_500, help="programs in each round")
    colbench.add_argument("--pages", type=int, default=60, help="pages in each round")
    colbench.add_argument("--dialogues", type=int, default=60)
    colbench.set_defaults(measure=run_colbench)
    for command in (memory, turn, colbench):
        command.add_argument("--out", type=Path, help="JSON file of the result")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for."""
    result: dict[str, Any] = arguments.measure(arguments)
    return result
