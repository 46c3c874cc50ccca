"""Inputs after public bug reports of other memory systems (mem0, Graphiti, LangGraph, LibreChat, Lobe Chat, LlamaIndex …)."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from graphs.memgpt import Context
from memory.archival import Archival
from memory.documents import Section
from memory.forget import Target
from memory.recall import EVICTION, Recall
from memory.stored import stored
from models.scripted import PolicyModel, call
from nodes.memgpt.evict import SUMMARISE
from runtime import Runtime, open_runtime
from settings import Settings
from tests.test_branches import AGENT, copy, said_in
from tests.test_branches_edges import key_of, say

LOCKER = "My locker is Q77R14."


def compacted(runtime: Runtime) -> Any:
    """A conversation whose first message, of a locker, has left the window for a summary that tells of it."""

    def policy(prompt: list[BaseMessage]) -> AIMessage:
        if prompt[0].text == SUMMARISE:
            return AIMessage("The person's locker is Q77R14. They talk of the weather.")
        return call("send_message", message="I see.") if isinstance(prompt[-1], HumanMessage) else AIMessage("ok")

    context = Context(agent=AGENT, model=PolicyModel(policy=policy), window=2_800)
    runtime.run("memgpt", "t", LOCKER, context)
    number = 0
    while not runtime.store.count((AGENT, EVICTION)):
        number += 1
        runtime.run("memgpt", "t", f"Day {number}: " + "it rains and the wind blows; " * 30, context)
    return context


@pytest.mark.parametrize("by", ["text", "keys", "conversation", "days"])
def test_a_forget_after_compaction_reaches_the_summary_and_the_records(runtime: Runtime, by: str) -> None:
    began = datetime.now(UTC)
    compacted(runtime)
    targets = {
        "text": Target(text="Q77R14"),
        "keys": Target(keys=(key_of(runtime, "locker"),)),
        "conversation": Target(conversation="t"),
        "days": Target(since=began, before=datetime.now(UTC)),
    }
    receipt = runtime.forget(AGENT, targets[by])
    assert receipt.left == []
    assert receipt.removed["records of flushes"] == 1
    assert "Q77R14" not in repr(list(stored(runtime.store, AGENT)))
    assert "Q77R14" not in repr(runtime.state("memgpt", "t"))
    assert "Q77R14" not in repr(runtime.as_of(AGENT, datetime.now(UTC)))


def test_a_branch_before_a_compacted_message_restores_that_very_window(runtime: Runtime) -> None:
    compacted(runtime)
    second = key_of(runtime, "Day 1:")
    runtime.branch(AGENT, "t", second)
    state = runtime.state("memgpt", "t")
    assert not state.get("summary")
    assert LOCKER in [m.text for m in state["messages"]]
    assert Recall(runtime.store, AGENT).search("Day 1:").total == 0


def test_twenty_branches_show_the_shared_beginning_after_the_memory_is_opened_again(
    runtime: Runtime, home: Any
) -> None:
    say(runtime, "Once.")
    say(runtime, "Twice.")
    first = key_of(runtime, "Twice.")
    for number in range(20):
        runtime.branch(AGENT, "t", first)
        say(runtime, f"Instead {number}.")
    tree = runtime.branches("t")
    assert tree is not None
    runtime.store.close()
    with open_runtime(Settings(home=home)) as again:
        for number, branch in enumerate(tree.branches):
            again.switch(AGENT, "t", branch.thread)
            said = [again.store.get((AGENT, "message"), key) for key in said_in(again, "t")]
            assert [item.value["text"] for item in said if item] == [
                "Once.",
                f"Instead {number - 1}." if number else "Twice.",
            ]


def test_what_is_forgotten_in_the_active_branch_leaves_the_others(runtime: Runtime) -> None:
    say(runtime, "Hello.", answer="First answer.")
    for answer in ("Second answer.", "Third answer."):
        runtime.branch(AGENT, "t", key_of(runtime, "Hello."))
        say(runtime, "Hello.", answer=answer)
    key = runtime.store.find((AGENT, "message"), "Third answer.", where={"role": "assistant"}).items[0].key
    runtime.forget(AGENT, Target(keys=(key,)))
    tree = runtime.branches("t")
    assert tree is not None
    texts = []
    for branch in tree.branches:
        runtime.switch(AGENT, "t", branch.thread)
        texts.append([item.value["text"] for item in runtime.store.all((AGENT, "message"), {"role": "assistant"})])
    assert texts == [["First answer."], ["Second answer."], []]


def test_writing_at_an_old_point_leaks_nothing_either_way(runtime: Runtime) -> None:
    say(runtime, "One.")
    say(runtime, "The gate code is HERON.")
    before = copy(runtime)
    runtime.branch(AGENT, "t", key_of(runtime, "HERON"))
    state = say(runtime, "The gate code is OTTER.")
    assert "HERON" not in repr(state)
    runtime.switch(AGENT, "t", "t")
    assert copy(runtime) == before


def test_equal_instants_agree_in_any_zone(runtime: Runtime) -> None:
    say(runtime, "One.")
    moment = datetime.now(UTC)
    say(runtime, "Two.")
    for hours in (-5, 0, 9):
        local = moment.astimezone(timezone(timedelta(hours=hours)))
        assert "Two." not in repr(runtime.as_of(AGENT, local).messages)
        assert "One." in repr(runtime.as_of(AGENT, local).messages)


def test_a_document_forgotten_leaves_what_another_says_and_can_come_back(runtime: Runtime) -> None:
    archival = Archival(runtime.store, AGENT)
    archival.ingest("first.txt", [Section("Ines has badge 4471.", "1")])
    archival.ingest("second.txt", [Section("Ines runs the wiki.", "1")])
    say(runtime, "Hello.")
    runtime.forget(AGENT, Target(document="first.txt"))
    assert [item.value["source"] for item in archival.search("Ines badge").items] == ["second.txt"]
    archival.ingest("first.txt", [Section("Ines has badge 4471.", "1")])
    assert archival.search("badge 4471").items[0].value["source"] == "first.txt"


def test_the_same_text_in_two_documents_is_theirs_each(runtime: Runtime) -> None:
    archival = Archival(runtime.store, AGENT)
    say(runtime, "Hello.")
    for name in ("a.txt", "b.txt"):
        archival.ingest(name, [Section("The licence ends in May.", "1")])
    runtime.forget(AGENT, Target(document="a.txt"))
    assert archival.sources() == {"b.txt": 1}


def test_a_note_forgotten_can_be_kept_again(runtime: Runtime) -> None:
    archival = Archival(runtime.store, AGENT)
    say(runtime, "Hello.")
    assert archival.insert("Dag moved to Narvik.") == 1
    runtime.forget(AGENT, Target(text="Narvik"))
    assert archival.insert("Dag moved to Narvik.") == 1
    assert archival.search("Narvik").total == 1


def test_a_long_paragraph_kept_twice_is_there_once(runtime: Runtime) -> None:
    archival = Archival(runtime.store, AGENT)
    text = " ".join(f"word{n} of the same paragraph" for n in range(12))
    assert [archival.insert(text), archival.insert(text)] == [1, 0]
    assert archival.search(text).total == 1


def test_many_different_sentences_all_stay(runtime: Runtime) -> None:
    archival = Archival(runtime.store, AGENT)
    texts = [f"Shelf {n} holds jar {n * 7 % 101}." for n in range(200)]
    assert sum(map(archival.insert, texts)) == 200
    assert {str(item.value["text"]) for item in runtime.store.all(archival.namespace)} == set(texts)
