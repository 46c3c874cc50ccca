"""The past of an agent, and branches: as it was is what a copy taken then holds; what a branch wrote goes and comes back whole."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from graphs.memgpt import Context
from memory.archival import Archival
from memory.blocks import VERSION, list_threads, load_blocks, replayed, save_block
from memory.edge import EdgeClient
from memory.forget import Target
from memory.lessons import Lesson, Lessons
from memory.recall import SAID, Recall
from memory.stored import stored
from memory.turns import ThreadBusy
from models.scripted import PolicyModel, call
from nodes.memgpt.recalled import sources
from runtime import Runtime, open_runtime
from settings import Settings
from tests.graphs.test_memgpt import play

AGENT = "ada"
Copy = dict[str, Any]


def copy(runtime: Runtime, threads: tuple[str, ...] = ("t",)) -> Copy:
    """What the agent has now, as its searches and prompts have it."""
    store = runtime.store
    return {
        "blocks": load_blocks(store, AGENT),
        "messages": [item.value["text"] for item in store.all((AGENT, "message"))],
        "passages": [item.value["text"] for item in store.all((AGENT, "passage"))],
        "lessons": sorted(lesson.text for lesson in Lessons(store, AGENT).all()),
        "windows": {thread: window(runtime.state("memgpt", thread)) for thread in threads},
    }


def copy_then(runtime: Runtime, moment: datetime, threads: tuple[str, ...] = ("t",)) -> Copy:
    """The same, as it was at that moment."""
    was = runtime.as_of(AGENT, moment)
    return {
        "blocks": was.blocks,
        "messages": [point.value["text"] for point in was.messages],
        "passages": [point.value["text"] for point in was.passages],
        "lessons": sorted(point.value["lesson"] for point in was.lessons),
        "windows": {thread: window(was.conversations.get(thread, {})) for thread in threads},
    }


def window(state: Any) -> list[Any]:
    """What a conversation's window holds."""
    return [[m.text for m in state.get("messages", [])], state.get("summary", ""), state.get("clock", {})]


class Walk:
    """A conversation at random, each turn of which has a word of its own."""

    def __init__(self, runtime: Runtime, seed: int) -> None:
        self.runtime, self.random, self.words = runtime, random.Random(seed), 0
        self.others = 0

    def turn(self, thread: str = "t") -> str:
        """A turn that writes somewhere; returns its word."""
        word = f"qword{self.words}x"
        self.words += 1
        human = load_blocks(self.runtime.store, AGENT).get("human", "")
        old = self.random.choice(human.split("\n"))
        writes = [
            call("send_message", message=f"I heard of {word}."),
            call("working_context_append", block="human", content=f"Knows {word}", request_heartbeat=False),
            call("archival_memory_insert", content=f"A note on {word}.", request_heartbeat=False),
        ]
        if old and human.count(old) == 1:
            writes.append(
                call(
                    "working_context_replace",
                    block="human",
                    old_content=old,
                    new_content=f"Now {word}",
                    request_heartbeat=False,
                )
            )
        play(self.runtime, self.random.choice(writes), text=f"Let us talk of {word}.", thread=thread)
        if self.random.random() < 0.3:
            active = self.runtime.branches(thread)
            lesson = Lesson(word, f"Mind {word}.", f"Do {word}.", "failed", "x", active.active if active else thread)
            Lessons(self.runtime.store, AGENT).keep(lesson)
        return word

    def messages(self) -> list[tuple[str, str]]:
        """(key, text) of what the person has said in the active branch."""
        found = self.runtime.store.all((AGENT, "message"), {"role": "user"})
        return [(item.key, str(item.value["text"])) for item in found]


def hits(runtime: Runtime, word: str) -> list[str]:
    """Where any search finds a word, or a prompt would have it."""
    store = runtime.store
    found = [f"recall {i.key}" for i in Recall(store, AGENT).search(word).items]
    ranked = [
        *Recall(store, AGENT).nearest(word, page_size=50).items,
        *Archival(store, AGENT).search(word, page_size=50).items,
        *store.retrieve(word, sources(AGENT), floor=-1.0, without={}, limit=50),
    ]
    found += [f"ranked {i.key}" for i in ranked if word in str(i.value["text"])]
    found += [f"lesson {lesson.key}" for lesson in Lessons(store, AGENT).recall(word, 50) if word in lesson.text]
    found += [f"block {name}" for name, text in load_blocks(store, AGENT).items() if word in text]
    if word in repr(runtime.state("memgpt", "t")):
        found.append("the window")
    return found


@pytest.mark.parametrize("seed", range(1))
def test_as_it_was_is_what_a_copy_taken_then_holds(runtime: Runtime, seed: int) -> None:
    walk = Walk(runtime, seed)
    copies: list[tuple[datetime, Copy]] = []
    threads = ("t", "u")
    for step in range(50):
        chance = walk.random.random()
        if step > 5 and chance < 0.1:
            runtime.branch(AGENT, "t", walk.random.choice(said_in(runtime, "t")))
        elif step > 5 and chance < 0.2 and (tree := runtime.branches("t")):
            runtime.switch(AGENT, "t", walk.random.choice(tree.branches).thread)
        elif chance < 0.3:
            save_block(runtime.store, AGENT, "persona", f"I am number {step}.")
        else:
            walk.turn(walk.random.choice(threads))
        copies.append((datetime.now(UTC), copy(runtime, threads)))
    for moment, taken in copies:
        assert copy_then(runtime, moment, threads) == taken
    assert runtime.as_of(AGENT, copies[0][0] - timedelta(days=1)).messages == []


def said_in(runtime: Runtime, thread: str) -> list[str]:
    tree = runtime.branches(thread)
    where = {"role": "user", "thread": [branch.thread for branch in tree.branches] if tree else thread}
    return [item.key for item in runtime.store.all((AGENT, "message"), where)] or [first_key(runtime)]


def first_key(runtime: Runtime) -> str:
    return next(iter(runtime.as_of(AGENT, datetime.now(UTC)).messages)).key


@pytest.mark.parametrize("seed", range(2))
def test_what_an_abandoned_branch_wrote_is_in_no_search_and_comes_back_whole(runtime: Runtime, seed: int) -> None:
    walk = Walk(runtime, 100 + seed)
    words = [walk.turn() for _ in range(6)]
    heads: dict[str, Copy] = {"t": copy(runtime)}
    said: dict[str, list[str]] = {"t": words}
    active = "t"
    for _ in range(25):
        key, text = walk.random.choice(walk.messages())
        kept = said[active][: next(n for n, word in enumerate(said[active]) if word in text)]
        tree = runtime.branch(AGENT, "t", key)
        active = tree.active
        said[active] = [*kept, *(walk.turn() for _ in range(walk.random.randint(1, 2)))]
        heads[active] = copy(runtime)
        gone = set().union(*said.values()) - set(said[active])
        for word in walk.random.sample(sorted(gone), min(5, len(gone))):
            assert hits(runtime, word) == []
        assert all(hits(runtime, word) for word in said[active])
        if walk.random.random() < 0.5:
            active = walk.random.choice(list(heads))
            runtime.switch(AGENT, "t", active)
            assert copy(runtime) == heads[active]
    for branch, head in heads.items():
        runtime.switch(AGENT, "t", branch)
        assert copy(runtime) == head
    assert [thread.thread for thread in list_threads(runtime.store)] == ["t"]


def test_the_first_message_can_be_edited_and_names_the_conversation_anew(runtime: Runtime) -> None:
    play(runtime, call("send_message", message="Oh."), text="A lie, to begin with.")
    key = runtime.store.find((AGENT, "message"), "A lie").items[0].key
    runtime.branch(AGENT, "t", key)
    assert runtime.state("memgpt", "t") == {}
    state, _ = play(runtime, call("send_message", message="Good."), text="The truth.")
    assert "A lie" not in repr(state)
    assert [thread.title for thread in list_threads(runtime.store)] == ["The truth."]
    runtime.switch(AGENT, "t", "t")
    assert Recall(runtime.store, AGENT).search("A lie").total == 1


def test_edits_of_blocks_by_others_outlive_a_change_of_branches(runtime: Runtime) -> None:
    append = "working_context_append"
    play(runtime, call(append, block="human", content="Has a cat", request_heartbeat=False), text="A cat.")
    play(runtime, call(append, block="human", content="Has a dog", request_heartbeat=False), text="And a dog.")
    play(runtime, call(append, block="human", content="Sings", request_heartbeat=False), text="I sing.", thread="u")
    text = load_blocks(runtime.store, AGENT)["human"]
    save_block(runtime.store, AGENT, "human", f"{text}\nIs called Ada")
    runtime.branch(AGENT, "t", runtime.store.find((AGENT, "message"), "And a dog").items[0].key)
    assert load_blocks(runtime.store, AGENT)["human"] == "Has a cat\nSings\nIs called Ada"
    runtime.switch(AGENT, "t", "t")
    assert sorted(load_blocks(runtime.store, AGENT)["human"].split("\n")) == [
        "Has a cat",
        "Has a dog",
        "Is called Ada",
        "Sings",
    ]


def test_an_edit_is_done_again_line_by_line() -> None:
    assert replayed("a\nb", "a\nb", "a\nc") == "a\nc"
    assert replayed("x\na\nb", "a\nb", "a\nc") == "x\na\nc"
    assert replayed("x\na\nc", "a\nb", "a\nc") == "x\na\nc"
    assert replayed("x\ny", "y", "") == "x"
    assert replayed("", "", "y") == "y"


@contextmanager
def dying_at_write(at: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is done here is killed at its write of that number, counted from 1."""
    update, written = EdgeClient._update, 0

    def dies(client: EdgeClient, operation: Any) -> None:
        nonlocal written
        written += 1
        if written == at:
            raise KeyboardInterrupt
        update(client, operation)

    with monkeypatch.context() as patched:
        patched.setattr(EdgeClient, "_update", dies)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.mark.parametrize("at", [1, 2, 3, 5, 9])
def test_a_change_of_branches_that_a_crash_cuts_short_is_finished_before_anything_else(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    walk = Walk(runtime, 7)
    for _ in range(8):
        walk.turn()
    whole = copy(runtime)
    key = walk.messages()[2][0]
    with dying_at_write(at, monkeypatch):
        runtime.branch(AGENT, "t", key)
    before = runtime.as_of(AGENT, now_before(runtime, key)).blocks  # a look at the past finishes it too
    assert copy_then(runtime, datetime.now(UTC)) == copy(runtime)
    assert copy(runtime)["blocks"] in (whole["blocks"], before)
    if runtime.branches("t"):
        word = walk.turn()
        said = ["Let us talk of qword0x.", "Let us talk of qword1x.", f"Let us talk of {word}."]
        assert sorted(text for _, text in walk.messages()) == sorted(said)
        runtime.switch(AGENT, "t", "t")
    assert copy(runtime) == whole


def now_before(runtime: Runtime, key: str) -> datetime:
    """The moment before a message."""
    return next(p.written for p in stored(runtime.store, AGENT) if p.key == key) - timedelta(microseconds=1)


def test_a_fork_at_a_moment_within_a_turn_begins_with_that_turn(runtime: Runtime) -> None:
    walk = Walk(runtime, 3)
    first, second = walk.turn(), walk.turn()
    records = runtime.as_of(AGENT, datetime.now(UTC)).messages
    during = next(p.written for p in records if second in p.value["text"])
    runtime.branch(AGENT, "t", during + timedelta(microseconds=1))
    assert hits(runtime, first)
    assert not hits(runtime, second)


def test_forgetting_reaches_what_is_put_aside(runtime: Runtime, home: Path) -> None:
    play(
        runtime, call("working_context_append", block="human", content="Zebulonia", request_heartbeat=False), text="Z."
    )
    play(runtime, call("send_message", message="Far."), text="Where is Zebulonia?")
    runtime.branch(AGENT, "t", runtime.store.find((AGENT, "message"), "Z.").items[0].key)
    play(runtime, call("send_message", message="Hello."), text="Something else.")
    receipt = runtime.forget(AGENT, Target(text="Zebulonia"))
    assert receipt.left == []
    assert receipt.removed["earlier working context"] == 2  # what it was, and that it was undone
    files = [path for path in home.rglob("*") if path.is_file()]
    assert not [path.name for path in files if b"zebulonia" in path.read_bytes().lower()]
    assert runtime.as_of(AGENT, datetime.now(UTC)).blocks["human"] == ""


def test_a_forgotten_conversation_goes_with_all_its_branches(runtime: Runtime) -> None:
    walk = Walk(runtime, 5)
    walk.turn()
    key = walk.messages()[0][0]
    walk.turn()
    runtime.branch(AGENT, "t", key)
    walk.turn()
    runtime.forget(AGENT, Target(conversation="t"))
    assert runtime.branches("t") is None
    assert runtime.state("memgpt", "t") == {}
    assert runtime.store.count((AGENT, "message"), {"role": SAID}) == 0
    assert {p.kind for p in stored(runtime.store, AGENT)} <= {"block", VERSION}
    assert "qword" not in repr(list(stored(runtime.store, AGENT)))


def test_what_cannot_be_branched_says_so(runtime: Runtime) -> None:
    walk = Walk(runtime, 9)
    walk.turn()
    with pytest.raises(ValueError, match="no message 'nothing'"):
        runtime.branch(AGENT, "t", "nothing")
    with pytest.raises(ValueError, match="belongs to another agent"):
        runtime.branch("eve", "t", datetime.now(UTC))
    with pytest.raises(ValueError, match="has no branches"):
        runtime.switch(AGENT, "t", "branch:2:t")
    runtime.branch(AGENT, "t", walk.messages()[0][0])
    with pytest.raises(ValueError, match="has no branch 'x'"):
        runtime.switch(AGENT, "t", "x")
    with pytest.raises(ValueError, match="cannot have the name"):
        play(runtime, text="Hello", thread="branch:2:t")
    context = Context(agent=AGENT, model=PolicyModel(policy=lambda prompt: "Hm."))
    stream = runtime.stream("memgpt", "t", "Hello", context)
    next(stream)
    with pytest.raises(ThreadBusy):
        runtime.switch(AGENT, "t", "t")
    stream.close()


def test_branches_outlive_the_process(home: Path, monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> None:
    walk = Walk(runtime, 11)
    walk.turn()
    key = walk.messages()[0][0]
    tree = runtime.branch(AGENT, "t", key)
    word = walk.turn()
    runtime.store.close()
    with open_runtime(Settings(home=home)) as again:
        assert again.branches("t") == tree.__class__(**{**tree.__dict__, "settled": True})
        assert hits(again, word)
