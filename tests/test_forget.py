"""One verified forget: nothing of it is left anywhere, everything else is as it was, and a crash in the middle is made good."""

import json
import random
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from graphs import react
from graphs.memgpt import Context
from memory.archival import Archival
from memory.blocks import load_blocks
from memory.documents import Section
from memory.forget import EDITED, Target, preview
from memory.lessons import Lesson, Lessons
from memory.recall import Recall
from memory.stored import stored
from memory.turns import ALL, ThreadBusy
from models.scripted import PolicyModel, call
from nodes.forget import JOURNAL, Receipt
from runtime import Runtime, open_runtime
from settings import Settings
from tasks.kept import KeptData
from tests.conftest import WordEmbedder
from tests.graphs.test_memgpt import play
from tests.graphs.test_recalled import fill
from tests.spare import Spare

SECRET = "Zebulonia"
TOLD = f"My sister lives in {SECRET} with two goats."


def everywhere(runtime: Runtime) -> None:
    """Put the secret into every tier of the agent `ada`."""
    play(runtime, call("send_message", message=f"{SECRET} is far away."), text=TOLD)
    play(
        runtime,
        call("working_context_append", block="human", content=f"Sister: {SECRET}\nGoats: two", request_heartbeat=False),
        text="And now?",
    )
    play(
        runtime,
        call("archival_memory_insert", content=f"The sister lives in {SECRET}.", request_heartbeat=False),
        text="Note it.",
    )
    play(runtime, call("recall_memory_search", query=SECRET, request_heartbeat=True), "So.", text="Where was it?")
    fill(runtime)
    play(runtime, call("send_message", message="Hello."), text="Another day", thread="second")
    play(runtime, call("send_message", message=f"Of {SECRET}."), text=f"What of {SECRET}?", thread="second")
    Archival(runtime.store, "ada").ingest(
        "map.txt", [Section(f"{SECRET} lies in the north.", "1"), Section("Goats eat hay.", "2")]
    )
    Lessons(runtime.store, "ada").keep(Lesson("l1", f"Say {SECRET}.", "Name the place.", "failed", "t 1"))
    model = PolicyModel(policy=lambda prompt: f"It is {SECRET}.")
    runtime.run("react", "solve", "Where?", react.Context(agent="ada", model=model))
    kept = KeptData(runtime.settings)
    kept.agree(True)
    rows = [{"task": "a", "turns": [SECRET]}, {"task": "b", "turns": ["goats"]}]
    (kept.folder / "collaborations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def found(home: Path, text: str) -> list[str]:
    """Files with the text in any letter case."""
    files = [p for p in home.rglob("*") if p.is_file()]
    return [p.name for p in files if text.lower().encode() in p.read_bytes().lower()]


def states(runtime: Runtime) -> str:
    """All checkpoints, as text."""
    return repr([kept.checkpoint["channel_values"] for kept in runtime.checkpointer.list(None)])


def rest(runtime: Runtime) -> dict[str, Any]:
    """All points of all agents, but for times of writing."""
    return {p.id: p.payload for p in stored(runtime.store, "")}


def test_a_text_goes_from_every_tier_and_every_file(home: Path, runtime: Runtime) -> None:
    everywhere(runtime)
    assert SECRET in states(runtime)
    receipt = runtime.forget("ada", Target(text=SECRET.lower()))
    assert receipt.left == []
    assert {"recall storage", "archival storage", "lessons", "working context", "runs", "kept dialogues"} <= set(
        receipt.removed
    )
    assert SECRET.lower() not in json.dumps(receipt.__dict__).lower()
    assert SECRET.lower() not in states(runtime).lower()
    assert SECRET.lower() not in repr(rest(runtime)).lower()
    assert found(home, SECRET) == []
    near = Recall(runtime.store, "ada").nearest(f"Where in {SECRET} does my sister live?", page_size=100)
    assert near.total == Recall(runtime.store, "ada").count() == len(near.items), "nothing gone takes a place"
    assert load_blocks(runtime.store, "ada")["human"] == "Goats: two"
    assert runtime.store.find(("ada", "passage"), "Goats eat hay.").total == 1
    assert (KeptData(runtime.settings).folder / "collaborations.jsonl").read_text().count("\n") == 1
    state, _ = play(runtime, call("send_message", message="Yes."), text="Are you there?", thread="second")
    assert state["replies"] == ["Yes."]
    with pytest.raises(ValueError, match="remembers nothing of that"):
        runtime.forget("ada", Target(text=SECRET))


def test_the_summary_is_made_of_what_remains(runtime: Runtime) -> None:
    play(runtime, call("send_message", message="Noted."), text=TOLD)
    play(runtime, call("send_message", message="A fine hobby."), text="I collect stamps.")
    fill(runtime)
    assert runtime.state("memgpt", "t")["summary"]
    runtime.forget("ada", Target(text=SECRET))
    summary = runtime.state("memgpt", "t")["summary"]
    assert "I collect stamps." in summary
    assert SECRET not in summary


def test_another_agent_keeps_its_own(runtime: Runtime) -> None:
    play(runtime, call("send_message", message="Yes."), text=TOLD)
    bob = PolicyModel(policy=lambda prompt: "(listening)")
    runtime.run("memgpt", "bob", TOLD, Context(agent="bob", model=bob, answers=False))
    before = {i: p for i, p in rest(runtime).items() if p["agent"] == "bob"}
    runtime.forget("ada", Target(text=SECRET))
    assert {i: p for i, p in rest(runtime).items() if p["agent"] == "bob"} == before
    assert SECRET in repr(runtime.state("memgpt", "bob"))


def test_one_message_goes_with_what_was_kept_from_it_and_what_quotes_it(home: Path, runtime: Runtime) -> None:
    insert = call("archival_memory_insert", content="The person has a sister.", request_heartbeat=False)
    play(runtime, insert, text=TOLD)
    play(runtime, call("send_message", message="Nice."), text="I collect stamps.")
    play(runtime, call("recall_memory_search", query="goats", request_heartbeat=True), "So.", text="Look it up.")
    key = next(i.key for i in runtime.store.find(("ada", "message"), TOLD, where={"role": "user"}).items)
    receipt = runtime.forget("ada", Target(keys=(key,)))
    assert receipt.left == []
    assert runtime.store.find(("ada", "passage"), "sister").total == 0
    assert found(home, SECRET) == []
    assert SECRET not in states(runtime)
    assert runtime.store.find(("ada", "message"), "I collect stamps.").total == 1


def test_a_document_that_a_message_quotes_stays(runtime: Runtime) -> None:
    line = "The kiln reaches nine hundred degrees."
    Archival(runtime.store, "ada").ingest("kiln.txt", [Section(f"{line} It is old.", "")])
    play(runtime, "(listening)", text=line)
    key = runtime.store.find(("ada", "message"), line, where={"role": "user"}).items[0].key
    runtime.forget("ada", Target(keys=(key,)))
    assert runtime.store.find(("ada", "passage"), line).total == 1
    assert runtime.store.find(("ada", "message"), line).total == 0


def test_a_receipt_says_what_was_not_looked_for_in_files(runtime: Runtime) -> None:
    play(runtime, "(listening)", text="I like tea.")
    assert "so short a word" in " ".join(runtime.forget("ada", Target(text="tea")).elsewhere)
    play(runtime, "(listening)", text=TOLD)
    bob = PolicyModel(policy=lambda prompt: "(listening)")
    runtime.run("memgpt", "bob", TOLD, Context(agent="bob", model=bob, answers=False))
    receipt = runtime.forget("ada", Target(text=SECRET))
    assert receipt.left == []
    assert "memories of other agents" in " ".join(receipt.elsewhere)


def test_a_conversation_days_and_a_document_go(home: Path, runtime: Runtime) -> None:
    def at(day: int) -> str:
        return (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=day)).isoformat()

    play(runtime, "(listening)", text="Apples are ripe.", thread="first", now=at(0))
    play(runtime, "(listening)", text="Pears are ripe.", thread="second", now=at(1))
    play(runtime, "(listening)", text="Plums are ripe.", thread="third", now=at(2))
    Archival(runtime.store, "ada").ingest("fruit.txt", [Section("Quinces are sour.", "")])
    runtime.forget("ada", Target(conversation="first"))
    assert runtime.state("memgpt", "first") == {}
    day = datetime(2026, 3, 2, tzinfo=UTC)
    runtime.forget("ada", Target(since=day, before=day + timedelta(days=1)))
    runtime.forget("ada", Target(document="fruit.txt"))
    for gone in ("Apples", "Pears", "Quinces"):
        assert found(home, f"{gone} are") == []
    assert [i.value["text"] for i in runtime.store.find(("ada", "message"), "ripe").items] == ["Plums are ripe."]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Target(),
        lambda: Target(text="a", document="b"),
        lambda: Target(since=datetime.now(UTC)),
        lambda: Target(text=" "),
    ],
)
def test_one_thing_at_a_time_is_forgotten(make: Callable[[], Target]) -> None:
    with pytest.raises(ValueError, match="Say one thing to forget"):
        make()


def test_nothing_is_forgotten_while_a_turn_is_under_way_and_no_turn_meanwhile(runtime: Runtime) -> None:
    play(runtime, "(listening)", text=TOLD)
    runtime.store.client.begin("t")
    with pytest.raises(ThreadBusy):
        runtime.forget("ada", Target(text=SECRET))
    runtime.store.client.end("t")
    runtime.store.client.begin(ALL)
    with pytest.raises(ThreadBusy):
        play(runtime, "(listening)", text="Hello")


def test_what_is_seen_beforehand_is_what_goes(runtime: Runtime) -> None:
    everywhere(runtime)
    seen = preview(runtime.store, "ada", Target(text=SECRET))
    assert {p.kind for p in seen} >= {"message", "passage", "lesson", "block"}
    gone = {p.id for p in seen if p.kind not in EDITED}
    before = rest(runtime)
    runtime.forget("ada", Target(text=SECRET))
    after = rest(runtime)
    assert before.keys() - after.keys() == gone
    rewritten = {i for i in after if after[i] != before[i]}
    changed = [{k for k in after[i] if after[i][k] != before[i].get(k)} for i in rewritten if "passage" in after[i]]
    assert all(fields == {"passage"} for fields in changed), "what the embedder read beside the forgotten"


def test_random_messages_go_and_everything_else_stays(home: Path, runtime: Runtime) -> None:
    rng = random.Random(7)
    words = [f"wombat{n:03d}" for n in range(20)]
    for word in words:
        play(
            runtime,
            call("send_message", message=f"Yes, {word} it is."),
            text=f"Remember {word}, please.",
            window=30_000,
        )
    Recall(runtime.store, "ada").nearest("words")  # all are embedded
    for word in rng.sample(words, 3):
        before = rest(runtime)
        receipt = runtime.forget("ada", Target(text=word))
        assert receipt.left == []
        assert found(home, word) == []
        after = rest(runtime)
        same = [i for i in after if {**after[i], "passage": ""} == {**before[i], "passage": ""}]
        assert len(same) == len(after)
        words.remove(word)
        assert all(word in repr(after) for word in words)


CHILD = """
import os, signal, sys
import memory.store
from tests.conftest import WordEmbedder
memory.store.open_embedder = lambda settings: WordEmbedder()
import nodes.forget as forget
from memory.forget import Target
from runtime import open_runtime
place, number = sys.argv[1], int(sys.argv[2])
kept = getattr(forget, place)
seen = 0
def dies(*given, **more):
    global seen
    seen += 1
    if seen == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return kept(*given, **more)
setattr(forget, place, dies)
with open_runtime() as runtime:
    runtime.forget("ada", Target(text="Zebulonia"))
"""


@pytest.mark.parametrize(
    ("place", "number"), [("keep_last_as", 2), ("erase", 1), ("purge_checkpoints", 1), ("_erase_file", 1)]
)
def test_a_forget_that_is_killed_goes_on_when_the_memory_is_opened(
    home: Path, tmp_path: Path, spare: Spare, monkeypatch: pytest.MonkeyPatch, place: str, number: int
) -> None:
    monkeypatch.setattr("memory.store.open_embedder", lambda settings: WordEmbedder())
    with open_runtime(Settings(home=home)) as runtime:
        everywhere(runtime)
    spare.start(CHILD, place, str(number), out=tmp_path / "child", PALIMPSEST_HOME=str(home))
    assert spare.status() == -signal.SIGKILL, (tmp_path / "child").read_text()
    assert (home / JOURNAL).exists()
    with open_runtime(Settings(home=home)) as runtime:
        assert not (home / JOURNAL).exists()
        assert SECRET not in states(runtime)
        assert SECRET not in repr(rest(runtime))
        assert "Goats: two" in load_blocks(runtime.store, "ada")["human"]
        assert runtime.state("memgpt", "second")["messages"]
        assert "forgetting:" not in repr([k.config for k in runtime.checkpointer.list(None)])
    assert found(home, SECRET) == []


def test_a_receipt_is_told_apart_by_its_digest() -> None:
    receipt = Receipt("ada", "2026-01-01T00:00:00+00:00", {"recall storage": 1}, {"files": 2}, [], [])
    other = Receipt("ada", "2026-01-01T00:00:00+00:00", {"recall storage": 2}, {"files": 2}, [], [])
    assert len(receipt.digest) == 64
    assert receipt.digest != other.digest
