"""Agents carried in and out: what comes back is what went, nothing reaches another agent, and a crash costs nothing."""

import contextlib
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from graphs import react
from graphs.memgpt import Context
from memory.archival import Archival
from memory.archive import NoArchive
from memory.blocks import VERSION, load_blocks, save_block
from memory.documents import Section
from memory.lessons import Lesson, Lessons
from memory.stored import stored
from models.scripted import ScriptedModel, call
from nodes.moving import Moved
from runtime import Runtime, open_runtime
from settings import Settings
from tests.graphs.test_memgpt import play
from tests.test_branches import AGENT, Walk, copy, dying_at_write


def grown(runtime: Runtime) -> None:
    """An agent with everything: branches, flushes, notes and their wordings, documents, lessons, other languages."""
    walk = Walk(runtime, 3)
    for _ in range(8):
        walk.turn()
    runtime.branch(AGENT, "t", walk.messages()[3][0])
    for _ in range(3):
        walk.turn()
    archival = Archival(runtime.store, AGENT)
    archival.insert("Meine Katze heißt Byron und wohnt in München.", thread="t")
    archival.insert("I live in Berlin.")
    archival.insert("i live in berlin!")
    archival.ingest("a.md", [Section("Deadline: 3 May.", "p. 1"), Section("私は京都に住んでいます。", "p. 2")])
    Lessons(runtime.store, AGENT).keep(Lesson("l", "Test zero.", "Write roman(n).", "failed", "t:1", "t"))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Runtime]:
    with open_runtime(Settings(home=tmp_path / "other")) as opened:
        yield opened


def test_what_went_out_comes_back_byte_for_byte(runtime: Runtime, other: Runtime, tmp_path: Path) -> None:
    grown(runtime)
    first, again = tmp_path / "a.zip", tmp_path / "b.zip"
    counts = runtime.export_agent(AGENT, first)
    moved = other.import_agent(AGENT, first)
    assert moved.memories == counts
    assert not moved.renamed
    other.export_agent(AGENT, again)
    assert first.read_bytes() == again.read_bytes()
    assert copy(other) == copy(runtime)
    for query in ("Where do I live?", "Katze", "京都", "deadline"):
        found = [[(i.key, i.score) for i in Archival(r.store, AGENT).search(query).items] for r in (runtime, other)]
        assert found[0] == found[1]
    before = copy(runtime)
    for each in (runtime, other):
        each.switch(AGENT, "t", "t")
    assert copy(other) == copy(runtime) != before


def exported(runtime: Runtime, agent: str, tmp_path: Path) -> dict[str, list[Any]]:
    """What an agent's archive holds, by file."""
    runtime.export_agent(agent, tmp_path / "exported.zip")
    return lines(tmp_path / "exported.zip")


def lines(path: Path) -> dict[str, list[Any]]:
    with zipfile.ZipFile(path) as archive:
        return {name: [json.loads(line) for line in archive.read(name).splitlines()] for name in archive.namelist()}


def written(path: Path, files: dict[str, list[Any]]) -> Path:
    files["manifest.json"][0] |= {
        "memories": len(files["memories.jsonl"]), "conversations": len(files["conversations.jsonl"])
    }  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        for name, rows in files.items():
            archive.writestr(name, "".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_archive_that_is_read_again_brings_nothing(runtime: Runtime, tmp_path: Path) -> None:
    grown(runtime)
    runtime.export_agent(AGENT, tmp_path / "a.zip")
    moved = runtime.import_agent(AGENT, tmp_path / "a.zip")
    assert (moved.memories, moved.conversations, moved.renamed) == ({}, 0, {})
    runtime.export_agent(AGENT, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_second_agent_from_an_archive_gets_conversations_of_its_own(runtime: Runtime, tmp_path: Path) -> None:
    grown(runtime)
    before = exported(runtime, AGENT, tmp_path)
    moved = runtime.import_agent("eve", tmp_path / "exported.zip")
    assert moved.renamed.keys() == {"t"}
    assert exported(runtime, AGENT, tmp_path) == before
    name = moved.renamed["t"]
    after = exported(runtime, "eve", tmp_path)
    assert json.dumps(after["branches.jsonl"]).replace(name, "t") == json.dumps(before["branches.jsonl"])
    assert len(after["conversations.jsonl"]) == len(before["conversations.jsonl"])
    tree = runtime.branches(name)
    assert tree
    threads = {branch.thread for branch in tree.branches}
    values = [row["value"] for row in after["memories.jsonl"]]
    assert {value[link] for value in values for link in ("thread", "left") if value.get(link)} <= threads
    runtime.switch("eve", name, name)
    assert exported(runtime, AGENT, tmp_path) == before
    with pytest.raises(ValueError, match="another agent"):
        runtime.switch("eve", "t", "t")
    assert runtime.import_agent("eve", written(tmp_path / "again.zip", before)).memories == {}


def test_an_agent_who_is_there_keeps_its_own_and_gets_what_it_lacks(runtime: Runtime, tmp_path: Path) -> None:
    save_block(runtime.store, "eve", "human", "Keeps bees.\nHas a boat.")
    save_block(runtime.store, "eve", "persona", "I am Eve. " + "x" * 1_960)
    runtime.export_agent("eve", tmp_path / "eve.zip")
    save_block(runtime.store, AGENT, "human", "Plays chess.\nHas a boat.")
    save_block(runtime.store, AGENT, "persona", "I am Ada, a companion with a long memory.")
    moved = runtime.import_agent(AGENT, tmp_path / "eve.zip")
    blocks = load_blocks(runtime.store, AGENT)
    assert blocks["human"] == "Plays chess.\nHas a boat.\nKeeps bees."
    assert blocks["persona"] == "I am Ada, a companion with a long memory."
    assert Archival(runtime.store, AGENT).search("I am Eve.").items
    edits = [p.value["text"] for p in stored(runtime.store, AGENT) if p.kind == VERSION]
    assert "Keeps bees.\nHas a boat." not in edits, "another working context's past stays with it"
    again = exported(runtime, AGENT, tmp_path)
    runtime.import_agent(AGENT, tmp_path / "eve.zip")
    assert exported(runtime, AGENT, tmp_path) == again
    assert moved.agent == AGENT


def test_another_name_changes_nothing_else(runtime: Runtime, tmp_path: Path) -> None:
    grown(runtime)
    before, was = exported(runtime, AGENT, tmp_path), copy(runtime)
    runtime.run("react", "r", "How old?", react.Context(agent=AGENT, model=ScriptedModel(turns=[AIMessage("42")])))
    runtime.rename_agent(AGENT, "grace")
    after = exported(runtime, "grace", tmp_path)
    assert after["memories.jsonl"] == before["memories.jsonl"]
    assert list(stored(runtime.store, AGENT)) == []
    assert {row["state"]["agent"] for row in after["conversations.jsonl"]} == {"grace"}
    assert runtime.state("react", "r")["agent"] == "grace"
    runtime.rename_agent("grace", AGENT)
    assert copy(runtime) == was
    runtime.switch(AGENT, "t", "t")
    play(runtime, call("send_message", message="Ok."), text="Hello again.", thread="t")
    key = runtime.store.find((AGENT, "message"), "qword2x", where={"role": "user"}).items[0].key
    runtime.branch(AGENT, "t", key)  # from a step that was taken under the other name
    play(runtime, call("send_message", message="Ok."), text="Hello.", thread="t")
    runtime.rename_agent(AGENT, "grace")
    runtime.branch("grace", "t", key)
    model = ScriptedModel(turns=[call("send_message", message="Ok.")])
    assert runtime.run("memgpt", "t", "Hello.", Context(agent="grace", model=model))["replies"] == ["Ok."]


def test_two_agents_become_one(runtime: Runtime, tmp_path: Path) -> None:
    grown(runtime)
    save_block(runtime.store, "eve", "human", "Keeps bees.")
    Archival(runtime.store, "eve").insert("The vault code is seven.")
    moved = runtime.rename_agent("eve", AGENT)
    assert moved.memories["archival storage"] == 1
    assert Archival(runtime.store, AGENT).search("vault code").items[0].value["text"] == "The vault code is seven."
    assert load_blocks(runtime.store, AGENT)["human"].endswith("\nKeeps bees.")
    assert not list(stored(runtime.store, "eve"))


@pytest.mark.parametrize(
    ("agent", "to", "wanted"), [("ada", "ada", "already"), ("bob", "ada", "no agent"), ("ada", "a b", "agent")]
)
def test_what_cannot_be_renamed_says_so(runtime: Runtime, agent: str, to: str, wanted: str) -> None:
    Archival(runtime.store, AGENT).insert("x")
    with pytest.raises(ValueError, match=wanted):
        runtime.rename_agent(agent, to)
    with pytest.raises(ValueError, match="no agent"):
        runtime.export_agent("bob", runtime.settings.folder / "bob.zip")


@pytest.mark.parametrize("at", [1, 2, 4])
@pytest.mark.parametrize("what", ["import", "rename"])
def test_a_crash_on_the_way_costs_nothing(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, what: str
) -> None:
    grown(runtime)
    whole = exported(runtime, AGENT, tmp_path)
    file = tmp_path / "exported.zip"

    def move() -> Moved:
        return runtime.import_agent("eve", file) if what == "import" else runtime.rename_agent(AGENT, "eve")

    monkeypatch.setattr("nodes.moving.WRITTEN_AT_ONCE", 20)
    with dying_at_write(at, monkeypatch):
        move()
    if what == "import":
        move()
    runtime.finish()
    after = exported(runtime, "eve", tmp_path)
    name = (
        "t"
        if what == "rename"
        else next(row["key"] for row in after["memories.jsonl"] if row["namespace"] == ["thread"])
    )
    assert json.dumps(after["memories.jsonl"]).replace(name, "t") == json.dumps(whole["memories.jsonl"])
    assert len(after["conversations.jsonl"]) == len(whole["conversations.jsonl"])
    assert bool(list(stored(runtime.store, AGENT))) is (what == "import")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_archive_reaches_another_agent(runtime: Runtime, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever the lines say, and whether they are refused or not: what the other agent has is what it had."""
    if runtime.branches("t") is None:
        grown(runtime)
    before = exported(runtime, AGENT, tmp_path)
    files = json.loads(json.dumps(before))
    names = st.sampled_from(
        ["t", "branch:2:t", AGENT, "message", "@aside", "@branches", "thread", "../ada", "in=ada", "ada.message"]
    )
    for _ in range(data.draw(st.integers(1, 6))):
        rows = files[data.draw(st.sampled_from(sorted(files.keys() - {"manifest.json"})))]
        row = rows[data.draw(st.integers(0, len(rows) - 1))]
        inner = [part for part in (row, row.get("value"), row.get("state")) if isinstance(part, dict)]
        part = data.draw(st.sampled_from(inner))
        field = data.draw(st.sampled_from(sorted([*part, "agent", "tags", "id"])))
        part[field] = data.draw(st.one_of(names, st.lists(names, max_size=3), st.none()))
    with contextlib.suppress(NoArchive):
        runtime.import_agent("mallory", written(tmp_path / "made up.zip", files))
    assert exported(runtime, AGENT, tmp_path) == before
    runtime.past.settle()
    assert exported(runtime, AGENT, tmp_path) == before


# ---- an archive that somebody has made up --------------------------------------------------------------------------------

Change = Callable[[dict[str, list[Any]]], None]


def set_in(file: str, number: int, **fields: Any) -> Change:
    return lambda files: files[file][number].update(fields)


def set_value(number: int, **fields: Any) -> Change:
    return lambda files: files["memories.jsonl"][number]["value"].update(fields)


REFUSED: dict[str, Change] = {
    "another version": set_in("manifest.json", 0, version=2),
    "no version": lambda files: files["manifest.json"][0].pop("version") and files["manifest.json"][0].update(format="x"),
    "a label with a dot": set_in("memories.jsonl", 0, namespace=["message.x"]),
    "no namespace": set_in("memories.jsonl", 0, namespace=[]),
    "an agent": set_in("memories.jsonl", 0, agent="eve"),
    "tags": set_in("memories.jsonl", 0, tags=["in=eve"]),
    "no text": set_value(0, text=None),
    "a role that is none": set_value(0, role="system"),
    "trust that is none": set_value(0, trust="admin"),
    "a time that is none": set_in("memories.jsonl", 0, created_at="yesterday"),
    "a time without a zone": set_in("memories.jsonl", 0, created_at="2026-01-05T10:00:00"),
    "a number too large": set_in("memories.jsonl", 0, sequence=2**70),
    "a number too large in a value": set_value(0, more=2**70),
    "a branch of another conversation": lambda files: files["branches.jsonl"][0]["branches"][1].update(thread="branch:2:victim"),
    "a circle of branches": lambda files: files["branches.jsonl"][0]["branches"][1].update(parent="branch:2:t"),
    "a first branch with a parent": lambda files: files["branches.jsonl"][0]["branches"][0].update(parent="t"),
    "an active branch that is none": lambda files: files["branches.jsonl"][0].update(actives=[["", "x"]]),
    "a branch of more fields": lambda files: files["branches.jsonl"][0]["branches"][1].update(agent="eve"),
    "a message of no kind": lambda files: files["conversations.jsonl"][0]["state"]["messages"][0].update(type="evil"),
    "a clock that is none": lambda files: files["conversations.jsonl"][0]["state"].update(clock="now"),
    "a conversation named as a branch": lambda files: next(
        row for row in files["memories.jsonl"] if row["namespace"] == ["thread"]
    ).update(key="branch:2:t"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused_whole(runtime: Runtime, other: Runtime, tmp_path: Path, what: str) -> None:
    grown(runtime)
    files = exported(runtime, AGENT, tmp_path)
    REFUSED[what](files)
    with pytest.raises(NoArchive):
        other.import_agent(AGENT, written(tmp_path / "made up.zip", files))
    assert not list(stored(other.store, ""))


def test_an_archive_of_which_a_part_is_missing_is_refused(runtime: Runtime, other: Runtime, tmp_path: Path) -> None:
    Archival(runtime.store, AGENT).insert("I keep bees.")
    files = exported(runtime, AGENT, tmp_path)
    whole = (tmp_path / "exported.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(tmp_path / "fewer.zip", "w") as archive:
        for name, rows in files.items():
            archive.writestr(name, "" if name == "memories.jsonl" else "".join(json.dumps(row) + "\n" for row in rows))
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("manifest.json", "")
    for name, reason in (("cut", "no archive"), ("fewer", "parts of it are missing"), ("empty", "is empty")):
        with pytest.raises(NoArchive, match=reason):
            other.import_agent(AGENT, tmp_path / f"{name}.zip")
    assert not list(stored(other.store, ""))
