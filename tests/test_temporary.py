"""A temporary chat reads what the agent remembers, and leaves nothing: no point, no checkpoint, no byte."""

from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from graphs.memgpt import Context
from memory.archival import Archival
from memory.blocks import list_threads, load_blocks
from memory.forget import Target
from memory.stored import stored
from models.scripted import PolicyModel, call
from nodes.memgpt.evict import SUMMARISE
from runtime import Runtime, open_runtime
from settings import Settings
from tests.graphs.test_memgpt import play, results

SECRET = "xylophone"


def traces(runtime: Runtime, home: Path) -> list[str]:
    """Where the secret stands on disk or in the memory."""
    runtime.store.flush()
    found = [str(path) for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    return found + [point.id for point in stored(runtime.store, "") if SECRET in repr(point.payload)]


def chatty(prompt: list[BaseMessage]) -> AIMessage:
    """Uses every tool that writes, and says the secret wherever it can."""
    if prompt[0].text == SUMMARISE:
        return AIMessage(f"We spoke of the {SECRET}.")
    if isinstance(prompt[-1], HumanMessage) and "memory_pressure" not in prompt[-1].text:
        return AIMessage("", tool_calls=[
            {"name": "archival_memory_insert", "args": {"content": f"The {SECRET}.", "request_heartbeat": True}, "id": "1"},
            {"name": "working_context_append", "args": {"block": "human", "content": SECRET, "request_heartbeat": True}, "id": "2"},
            {"name": "solve_carefully", "args": {"task": SECRET, "method": "reflexion", "request_heartbeat": True}, "id": "3"},
            {"name": "archival_memory_search", "args": {"query": "cats", "page": 0, "request_heartbeat": True}, "id": "4"},
        ])  # fmt: skip
    return call("send_message", message=f"So it is, the {SECRET}. " + "And more. " * 30)


def test_it_leaves_no_byte_and_no_point(runtime: Runtime, home: Path) -> None:
    play(runtime, call("send_message", message="Noted."), text="My cat is called Byron.", thread="kept")
    before = sorted((point.id, repr(point.payload)) for point in stored(runtime.store, ""))
    context = Context(agent="ada", model=PolicyModel(policy=chatty), window=2_800, temporary=True)
    for n in range(12):
        state = runtime.run("memgpt", "gone", f"Turn {n}: the {SECRET} " + "and other things " * 20, context)
    assert state["evicted"]["total"] > 0
    assert SECRET in state["summary"]
    assert state["replies"]
    failed = [r for r in results(state) if r["status"] == "Failed"]
    assert failed
    assert all("temporary" in r["message"] for r in failed)
    assert traces(runtime, home) == []
    assert sorted((point.id, repr(point.payload)) for point in stored(runtime.store, "")) == before
    assert [thread.thread for thread in list_threads(runtime.store)] == ["kept"]


def test_a_small_models_notes_are_not_kept_either(
    runtime: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.memgpt.keep.protocol_of", lambda runtime: "text")
    play(runtime, call("send_message", message="Ok."), text=f"I have a {SECRET}.", thread="gone", temporary=True)
    assert traces(runtime, home) == []


def test_it_reads_what_is_remembered(runtime: Runtime) -> None:
    play(runtime, call("send_message", message="Noted."), text="My cat is called Byron.", thread="kept")
    Archival(runtime.store, "ada").insert("Byron likes tuna.")
    search = call("recall_memory_search", query="Byron", page=0, request_heartbeat=True)
    state, model = play(
        runtime,
        search,
        call("send_message", message="Byron."),
        text="What is my cat called?",
        thread="gone",
        temporary=True,
    )
    assert "My cat is called Byron." in repr(model.prompts[0])
    assert "of 1 (page 0" in results(state)[0]["message"]
    state, _ = play(
        runtime, call("send_message", message="Tuna."), text="What does Byron eat?", thread="gone", temporary=True
    )
    assert [m.text for m in state["messages"] if isinstance(m, HumanMessage)]
    assert any("tuna" in quote["text"] for quote in state["recalled"])


def test_what_is_temporary_stays_so_and_what_is_kept_too(runtime: Runtime) -> None:
    play(runtime, call("send_message", message="Ok."), text="Hello.", thread="kept")
    with pytest.raises(ValueError, match="is kept"):
        play(runtime, call("send_message", message="Ok."), text="Hello.", thread="kept", temporary=True)
    play(runtime, call("send_message", message="Ok."), text="Hello.", thread="gone", temporary=True)
    with pytest.raises(ValueError, match="is a temporary chat"):
        play(runtime, call("send_message", message="Ok."), text="Hello.", thread="gone")
    with pytest.raises(ValueError, match="no conversation"):
        runtime.branch("ada", "gone", "x")
    with pytest.raises(ValueError, match="another agent"):
        runtime.run("memgpt", "gone", "Hi", Context(agent="eve", model="offline", temporary=True))


def test_it_goes_with_the_process_and_with_what_is_forgotten(home: Path, runtime: Runtime) -> None:
    play(runtime, call("send_message", message="Ok."), text="I keep bees.", thread="kept")
    play(runtime, call("send_message", message="Ok."), text="What do I keep?", thread="gone", temporary=True)
    runtime.forget("ada", Target(text="bees"))
    assert runtime.state("memgpt", "gone") == {}
    play(runtime, call("send_message", message="Ok."), text="Hello.", thread="gone", temporary=True)
    with open_runtime(Settings(home=home / "other")) as other:
        assert other.state("memgpt", "gone") == {}
    assert load_blocks(runtime.store, "ada")


def test_what_it_solves_inside_leaves_nothing_either(runtime: Runtime, home: Path) -> None:
    solve = call("solve_carefully", task=f"What is a {SECRET}?", method="react", request_heartbeat=True)
    inside = AIMessage(f"A {SECRET} has wooden bars.")
    state, _ = play(
        runtime,
        solve,
        inside,
        call("send_message", message=f"A {SECRET} has bars."),
        text="Think.",
        thread="gone",
        temporary=True,
    )
    assert SECRET in state["replies"][0]
    assert traces(runtime, home) == []


def test_it_is_recalled_however_long_the_chat_is(runtime: Runtime) -> None:
    play(runtime, call("send_message", message="Noted."), text="My cat is called Byron.", thread="kept")
    for text in ("Hello.", "How are you?", "And today?", "What is my cat called?"):
        state, _ = play(runtime, call("send_message", message="So."), text=text, thread="gone", temporary=True)
    assert "My cat is called Byron." in [quote["text"] for quote in state["recalled"]]
