"""Branches and the past where a tester found them wrong: edges, crashes, owners, forgets."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import memory.branches
from graphs.memgpt import Context
from memory.archival import Archival
from memory.blocks import load_blocks, save_block
from memory.forget import Target
from memory.recall import Recall
from memory.stored import stored
from memory.turns import ThreadBusy
from models.scripted import PolicyModel, call
from runtime import Runtime
from tests.graphs.test_memgpt import play
from tests.test_branches import AGENT, Walk, copy, copy_then, hits


def key_of(runtime: Runtime, text: str) -> str:
    return runtime.store.find((AGENT, "message"), text, where={"role": "user"}).items[0].key


def say(runtime: Runtime, text: str, thread: str = "t", answer: str = "Ok.") -> Any:
    return play(runtime, call("send_message", message=answer), text=text, thread=thread)[0]


def append(runtime: Runtime, line: str, text: str, thread: str = "t") -> None:
    play(
        runtime,
        call("working_context_append", block="human", content=line, request_heartbeat=False),
        text=text,
        thread=thread,
    )


def replace(runtime: Runtime, old: str, new: str, text: str, thread: str = "t") -> None:
    change = call("working_context_replace", block="human", old_content=old, new_content=new, request_heartbeat=False)
    play(runtime, change, text=text, thread=thread)


def human(runtime: Runtime) -> str:
    return load_blocks(runtime.store, AGENT)["human"]


def test_steps_that_a_forget_took_along_cannot_be_gone_back_to(runtime: Runtime) -> None:
    for text in ("One.", "Two.", "Of zebulonia.", "Three."):
        say(runtime, text)
    runtime.forget(AGENT, Target(text="zebulonia"))
    before = copy(runtime)
    with pytest.raises(ValueError, match="went when something was forgotten"):
        runtime.branch(AGENT, "t", key_of(runtime, "Two."))
    assert copy(runtime) == before
    say(runtime, "Four.")
    runtime.branch(AGENT, "t", key_of(runtime, "Four."))
    assert "One." in repr(runtime.state("memgpt", "t")["messages"])


def test_a_forgotten_message_is_not_what_a_branch_was_embedded_with(runtime: Runtime, home: Path) -> None:
    play(runtime, "Hm.", text="My sister lives in Zebulonia.")
    say(runtime, "A third thing.")
    runtime.branch(AGENT, "t", key_of(runtime, "third"))
    say(runtime, "An edited third thing.")
    runtime.forget(AGENT, Target(keys=(key_of(runtime, "Zebulonia"),)))
    files = [path for path in home.rglob("*") if path.is_file()]
    assert not [path.name for path in files if b"zebulonia" in path.read_bytes().lower()]


def test_a_forget_reaches_a_turn_that_broke_off_in_its_first_step(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(runtime, "I know zebulonia well.")
    with monkeypatch.context() as patched:
        patched.setattr(Archival, "count", lambda archival: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            say(runtime, "Zebulonia is my home.", thread="u")
    assert runtime.forget(AGENT, Target(text="zebulonia")).left == []
    held = [kept.checkpoint["channel_values"] for kept in runtime.checkpointer.list(None)]
    assert "zebulonia" not in repr(held).lower()


def test_days_that_are_forgotten_take_no_line_that_a_change_of_branches_turned(runtime: Runtime) -> None:
    append(runtime, "Has a cat", "I have a cat")
    since = datetime.now(UTC)
    say(runtime, "Zebulonia is far.")
    runtime.branch(AGENT, "t", key_of(runtime, "I have a cat"))
    runtime.switch(AGENT, "t", "t")
    runtime.forget(AGENT, Target(since=since, before=datetime.now(UTC)))
    assert human(runtime) == "Has a cat"


def test_an_edit_within_a_line_that_others_edited_too(runtime: Runtime) -> None:
    append(runtime, "Name: Ada; pet: cat", "start")
    replace(runtime, "pet: cat", "pet: dog", "I have a dog now")
    replace(runtime, "Name: Ada", "Name: Ada L.", "call me Ada L.", thread="u")
    runtime.branch(AGENT, "t", key_of(runtime, "I have a dog"))
    assert human(runtime) == "Name: Ada L.; pet: cat"
    runtime.switch(AGENT, "t", "t")
    assert human(runtime) == "Name: Ada L.; pet: dog"


def test_there_and_back_again_is_exact(runtime: Runtime) -> None:
    append(runtime, "Lives in Rome", "Rome")
    replace(runtime, "Rome", "Paris", "Paris now", thread="u")
    tree = runtime.branch(AGENT, "t", key_of(runtime, "Rome"))
    runtime.switch(AGENT, "t", "t")
    assert human(runtime) == "Lives in Paris"
    save_block(runtime.store, AGENT, "human", "")
    runtime.switch(AGENT, "t", tree.active)
    runtime.switch(AGENT, "t", "t")
    assert human(runtime) == ""


def test_no_turn_runs_while_branches_change(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    append(runtime, "Lives in Rome", "I live in Rome")
    runtime.branch(AGENT, "t", key_of(runtime, "I live in Rome"))
    blocks = memory.branches._turn_blocks

    def meanwhile(*arguments: Any) -> None:
        with pytest.raises(ThreadBusy):
            say(runtime, "Hello.")
        blocks(*arguments)

    monkeypatch.setattr(memory.branches, "_turn_blocks", meanwhile)
    runtime.switch(AGENT, "t", "t")
    assert human(runtime) == "Lives in Rome"


def test_a_branch_without_a_turn_is_still_its_agents(runtime: Runtime) -> None:
    say(runtime, "First secret.")
    runtime.branch(AGENT, "t", key_of(runtime, "First"))
    eve = Context(agent="eve", model=PolicyModel(policy=lambda prompt: "Hi."))
    with pytest.raises(ValueError, match="belongs to another agent"):
        runtime.run("memgpt", "t", "I am eve.", eve)
    with pytest.raises(ValueError, match="belongs to another agent"):
        runtime.switch("eve", "t", "t")
    with pytest.raises(ValueError, match="has no conversation 'new'"):
        runtime.branch("nobody", "new", datetime.now(UTC))


def test_names_and_moments_at_the_edges(runtime: Runtime) -> None:
    for name in ("a:b:c", "memgpt:x", "branch:foo", "@branches", "forgetting:t", "日本"):
        say(runtime, "One.", thread=name)
        say(runtime, "Two.", thread=name)
        said = [p for p in stored(runtime.store, AGENT, thread=name) if p.value["text"] == "Two."]
        runtime.branch(AGENT, name, said[0].key)
        assert "Two." not in repr(runtime.state("memgpt", name)["messages"])
        runtime.switch(AGENT, name, name)
        assert "Two." in repr(runtime.state("memgpt", name)["messages"])
    now = copy(runtime)["messages"]
    for moment in (datetime(6000, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        assert [point.value["text"] for point in runtime.as_of(AGENT, moment).messages] == now
    assert runtime.as_of("nobody", datetime.now(UTC)).messages == []
    with pytest.raises(ValueError, match="no time zone"):
        runtime.as_of(AGENT, datetime(2026, 1, 1))


def test_a_forget_leaves_the_past_of_branches_that_never_had_it(runtime: Runtime) -> None:
    say(runtime, "One.")
    say(runtime, "Two.")
    runtime.branch(AGENT, "t", key_of(runtime, "Two."))
    say(runtime, "Of zebulonia.")
    runtime.switch(AGENT, "t", "t")
    moment = datetime.now(UTC)
    say(runtime, "Three.")
    before = runtime.as_of(AGENT, moment).conversations
    runtime.forget(AGENT, Target(text="zebulonia"))
    assert runtime.as_of(AGENT, moment).conversations == before


def test_a_forget_clears_a_branch_that_a_crash_left_unnoted(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    say(runtime, "Of zebulonia.")
    say(runtime, "Two.")
    with monkeypatch.context() as patched:
        patched.setattr("nodes.as_of.save", lambda store, branches: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runtime.branch(AGENT, "t", key_of(runtime, "Two."))
    assert runtime.forget(AGENT, Target(text="zebulonia")).left == []
    held = [kept.checkpoint["channel_values"] for kept in runtime.checkpointer.list(None)]
    assert "zebulonia" not in repr(held).lower()


def test_a_message_that_is_put_aside_is_read_by_no_key(runtime: Runtime) -> None:
    say(runtime, "I keep bees.")
    key = key_of(runtime, "bees")
    recall = Recall(runtime.store, AGENT)
    assert recall.read(key)
    runtime.branch(AGENT, "t", key)
    assert recall.read(key) is None
    runtime.switch(AGENT, "t", "t")
    assert recall.read(key)


def test_a_turn_elsewhere_finds_a_change_of_branches_finished(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(runtime, "Keeps bees.", "I keep bees.")
    with monkeypatch.context() as patched:
        patched.setattr("nodes.as_of.settle", lambda store, tree: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runtime.branch(AGENT, "t", key_of(runtime, "bees"))
    prompt = play(runtime, call("send_message", message="Ok."), text="Hello.", thread="u")[1].prompts[0]
    assert "bees" not in repr(prompt)


def test_a_conversation_that_is_left_out_is_nowhere_and_comes_back_whole(runtime: Runtime) -> None:
    walk = Walk(runtime, 5)
    for _ in range(5):
        walk.turn()
    runtime.branch(AGENT, "t", walk.messages()[2][0])
    walk.turn()
    other = walk.turn("u")
    whole, moment = copy(runtime), datetime.now(UTC)
    words = [f"qword{number}x" for number in range(walk.words) if f"qword{number}x" != other]
    runtime.leave_out(AGENT, "t")
    out = datetime.now(UTC)
    for word in words:
        assert [hit for hit in hits(runtime, word) if hit != "the window"] == []
    assert hits(runtime, other)
    with pytest.raises(ValueError, match="left out of memory"):
        say(runtime, "Hello.")
    with pytest.raises(ValueError, match="another agent"):
        runtime.take_in("eve", "t")
    assert copy_then(runtime, moment) == whole
    assert copy_then(runtime, out) == copy(runtime) != whole
    save_block(runtime.store, AGENT, "persona", "I am new.")
    runtime.take_in(AGENT, "t")
    assert copy(runtime) == {**whole, "blocks": {**whole["blocks"], "persona": "I am new."}}
    with pytest.raises(ValueError, match="not left out"):
        runtime.take_in(AGENT, "t")
    walk.turn()


def test_what_is_left_out_can_be_forgotten_carried_and_branched(runtime: Runtime, tmp_path: Path) -> None:
    say(runtime, "My cat is called Byron.")
    say(runtime, "I keep bees.")
    runtime.leave_out(AGENT, "t")
    runtime.leave_out(AGENT, "t")
    runtime.export_agent(AGENT, tmp_path / "a.zip")
    runtime.import_agent("eve", tmp_path / "a.zip")
    assert Recall(runtime.store, "eve").search("Byron").total == 0
    runtime.forget(AGENT, Target(text="Byron"))
    tree = runtime.switch(AGENT, "t", "t")
    assert not tree.is_left_out
    assert Recall(runtime.store, AGENT).search("bees").total > 0
    assert Recall(runtime.store, AGENT).search("Byron").total == 0
