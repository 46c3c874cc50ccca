"""An embedded memory that several processes have open: one owns it, the others are served, and its death costs nobody anything."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import models

from memory.edge import EdgeClient, MemoryInUse, Record
from memory.shared import OWNER, SharedEdge
from memory.store import QdrantStore
from memory.turns import ALL, Turns, locked
from memory.wire import from_wire, to_wire
from tests.conftest import WordEmbedder
from tests.memory.test_differential import Pair

ROOT = Path(__file__).parent.parent.parent
C = "memory"


def point(n: int, **payload: Any) -> models.PointStruct:
    return models.PointStruct(id=f"00000000-0000-0000-0000-{n:012}", vector={}, payload={"n": n, **payload})


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[SharedEdge, SharedEdge]]:
    """The owner and one that it serves."""
    with ExitStack() as closing:
        clients = []
        for _ in range(2):
            clients.append(SharedEdge(tmp_path))
            closing.callback(clients[-1].close)
        yield clients[0], clients[1]


def test_the_second_is_served(two: tuple[SharedEdge, SharedEdge]) -> None:
    owner, other = two
    assert (owner.is_owner, other.is_owner) == (True, False)
    assert (owner.is_shared, other.is_shared) == (True, True)
    other.upsert(C, [point(1, text="Zoë ✓ 𝄞", deep={"a": [1, None, 2.5], "kind": "dict"})])
    owner.upsert(C, [point(2)])
    for client in two:
        assert client.count(C).count == 2
        (found,) = client.retrieve(C, ids=[point(1).id])
        assert isinstance(found, Record)
        assert found.payload == {"n": 1, "text": "Zoë ✓ 𝄞", "deep": {"a": [1, None, 2.5], "kind": "dict"}}
    before = other.version()
    assert owner.version() == before
    owner.delete(C, [point(1).id])
    assert other.version() != before
    with pytest.raises(AttributeError):
        other.close_everything()
    with pytest.raises(TypeError, match="No Edge index for"):
        other.create_payload_index(
            C, field_name="x", field_schema=models.BoolIndexParams(type=models.BoolIndexType.BOOL)
        )


@pytest.mark.parametrize("seed", range(2))
def test_what_is_served_is_what_edge_answers(tmp_path: Path, seed: int) -> None:
    """The random requests of the differential test, in both ways."""
    pair = Pair(tmp_path / "edge", seed)
    pair.edge.close()
    with ExitStack() as closing:
        owner, other = (SharedEdge(tmp_path / "edge") for _ in range(2))
        closing.callback(owner.close)
        closing.callback(other.close)
        pair.edge = other  # type: ignore[assignment]
        for _ in range(15):
            pair.rng.choice([pair.upsert, pair.upsert, pair.delete, pair.update_vectors])()
            pair.compare()


def test_what_is_searched_is_the_same_here_and_there(two: tuple[SharedEdge, SharedEdge]) -> None:
    here, there = (QdrantStore(client, WordEmbedder()) for client in two)
    there.put(("ada", "note"), "a", {"text": "The cat is called Byron."})
    here.put(("ada", "note"), "b", {"text": "The dog is called Shelley."})
    for query in ("cat", "dog", "called"):
        answers = [[(i.key, i.score) for i in store.search(("ada",), query=query)] for store in (here, there)]
        assert answers[0] == answers[1]
        assert answers[0]
    assert here.list_namespaces() == there.list_namespaces() == [("ada", "note")]


OWN = """
import sys, time
from pathlib import Path
from memory.shared import SharedEdge
client = SharedEdge(Path(sys.argv[1]))
assert client.is_owner
print("open", flush=True)
time.sleep(600)
"""


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", OWN, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "open\n"
    yield process
    process.kill()
    process.wait()


def test_a_killed_owner_loses_nothing_and_one_of_the_others_takes_over(
    tmp_path: Path, other_process: subprocess.Popen[str]
) -> None:
    with ExitStack() as closing:
        clients = [SharedEdge(tmp_path) for _ in range(3)]
        for client in clients:
            closing.callback(client.close)
        assert not any(client.is_owner for client in clients)
        written: list[int] = []
        failed: list[BaseException] = []

        def write(client: SharedEdge, first: int) -> None:
            try:
                for n in range(first, first + 100):
                    client.upsert(C, [point(n)])
                    written.append(n)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=write, args=(client, 1_000 * i)) for i, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        while len(written) < 60:
            time.sleep(0.001)
        other_process.send_signal(signal.SIGKILL)
        other_process.wait()
        for thread in threads:
            thread.join(60)
        assert failed == []
        assert len(written) == 300
        assert [client.count(C).count for client in clients] == [300, 300, 300]
        assert sum(client.is_owner for client in clients) == 1


def test_an_answer_that_was_not_read_is_not_taken_for_the_next(two: tuple[SharedEdge, SharedEdge]) -> None:
    """As when a person presses Ctrl-C while a request is under way."""
    _, other = two
    other.upsert(C, [point(1)])
    connection: Any = other._owner

    class Interrupted:
        send_bytes = connection.send_bytes

        def recv_bytes(self) -> bytes:
            raise KeyboardInterrupt

    other._owner = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        other.count(C)
    other._owner = connection
    assert other.indexed_fields() == set()
    assert other.count(C).count == 1


def test_what_is_let_go_twice_is_let_go(two: tuple[SharedEdge, SharedEdge]) -> None:
    """As when the owner has died behind it, and it is asked again."""
    _, other = two
    assert other.begin("a") == ""
    other.end("a")
    other.end("a")
    assert two[0].begin("a") == ""


def test_an_owner_that_closes_leaves_the_memory_to_the_next(tmp_path: Path) -> None:
    owner, other = SharedEdge(tmp_path), SharedEdge(tmp_path)
    owner.upsert(C, [point(1)])
    owner.close()
    owner.close()
    assert other.count(C).count == 1
    assert other.is_owner
    with pytest.raises(RuntimeError, match="is closed"):
        owner.count(C)
    other.close()
    with pytest.raises(RuntimeError, match="is closed"):
        other.count(C)
    assert not (tmp_path / OWNER).exists()


def test_the_owners_file_is_for_the_owner_alone_and_strangers_are_told_nothing(tmp_path: Path) -> None:
    owner = SharedEdge(tmp_path)
    assert (tmp_path / OWNER).stat().st_mode & 0o777 == 0o600
    told = json.loads((tmp_path / OWNER).read_text())
    with pytest.raises(AuthenticationError):
        Client(("127.0.0.1", told["port"]), authkey=b"guess")
    with Client(("127.0.0.1", told["port"])) as stranger:  # says nothing of the key, and keeps nobody waiting
        stranger.send_bytes(b'{"call": "count", "arguments": ["c"], "options": {}}')
        other = SharedEdge(tmp_path)
        assert other.count(C).count == 0
        assert stranger.recv_bytes().startswith(b"#CHALLENGE#")
        assert b"FAILURE" in stranger.recv_bytes()
    other.close()
    owner.close()


def test_a_file_that_a_killed_owner_has_left_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port may be anybody's now: what is asked would be told to them. And one that serves nobody is not waited for long."""
    monkeypatch.setattr("memory.shared.TAKES_OVER_IN", 0.2)
    holder = EdgeClient(tmp_path)
    for process in (1, os.getpid()):
        (tmp_path / OWNER).write_text(json.dumps({"port": 9, "key": "00", "process": process}))
        with pytest.raises(MemoryInUse, match="is open in another process"):
            SharedEdge(tmp_path)
    (tmp_path / OWNER).write_text("{")
    with pytest.raises(MemoryInUse):
        SharedEdge(tmp_path)
    holder.close()
    SharedEdge(tmp_path).close()


# ---- who is at what --------------------------------------------------------------------------------------------------


def test_turns_are_held_in_all_processes_and_go_with_the_one_that_held_them(tmp_path: Path) -> None:
    owner, other, third = (SharedEdge(tmp_path) for _ in range(3))
    assert other.begin("a") == ""
    assert owner.begin("a") == third.begin("a") == "a"
    assert owner.begin("b") == ""
    assert third.begin(ALL) == "a"
    owner.close()  # `other` or `third` has it next, and each holds what it held
    assert third.begin("b") == ""
    third.end("b")
    assert other.count(C).count == 0
    assert third.begin("a") == "a"
    other.close()
    end = time.monotonic() + 10
    while third.begin("a"):  # it is told that the other has ended
        assert time.monotonic() < end
    third.close()


names = st.sampled_from(["a", "b", ALL, "lock x"])


@given(st.lists(st.tuples(st.sampled_from(["begin", "end"]), names, st.sampled_from(["p", "q"])), max_size=30))
def test_at_most_one_holds_a_name_and_all_is_alone(steps: list[tuple[str, str, str]]) -> None:
    turns, held = Turns(), dict[str, str]()
    for step, name, holder in steps:
        if step == "end":
            if name in held:
                turns.end(name)
                del held[name]
            continue
        runs = held.keys() - {"lock x"}
        blocked = name in held or (name == ALL and bool(runs)) or (name in ("a", "b") and ALL in held)
        assert bool(turns.begin(name, holder)) == blocked
        if not blocked:
            held[name] = holder
    turns.end_all_of("p")
    assert all((not turns.begin(name)) for name, holder in held.items() if holder == "p" and name == "lock x")


def test_a_lock_is_waited_for(two: tuple[SharedEdge, SharedEdge]) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(two[1], "branches"):
            order.append("second")

    with locked(two[0], "branches"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


# ---- the wire --------------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
plain = st.recursive(
    scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3), max_leaves=8
)


def is_no_list(value: Any) -> bool:
    return not isinstance(value, list)  # lists of mappings stand in payloads alone


@given(st.lists(plain, max_size=3), st.dictionaries(st.text(), plain, max_size=3))
def test_plain_data_comes_over_as_it_was(values: list[Any], payload: dict[str, Any]) -> None:
    rng = random.Random(0)
    vector = [rng.random() for _ in range(4)]
    for value in (
        payload,
        {"a"},
        Record("i", payload, 0.5),
        models.UpdateMode.INSERT_ONLY,
        *(v for v in values if not isinstance(v, list)),
    ):
        assert from_wire(json.loads(json.dumps(to_wire(value)))) == value
    sent = models.PointVectors(id="x", vector={"dense": vector})
    assert from_wire(json.loads(json.dumps(to_wire([sent])))) == [sent]
    with pytest.raises(TypeError, match="is not sent"):
        to_wire(object())
