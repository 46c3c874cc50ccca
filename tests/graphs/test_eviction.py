"""Eviction with proof: what leaves is on record and found again, and each sentence of the summary names its messages."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from qdrant_client import models

from graphs.memgpt import Context
from memory.archival import Archival
from memory.documents import Section
from memory.edge import MemoryDamaged
from memory.points import COLLECTION, point_id
from memory.proof import is_found
from memory.recall import EVICTION, SAID, Message, Recall
from models.scripted import PolicyModel, call
from nodes.memgpt.evict import SUMMARISE
from nodes.memgpt.sources import sourced
from runtime import Runtime

SUMMARY = "The person keeps bees in Ravenna. They like tea."


def listening(prompt: list[BaseMessage]) -> AIMessage:
    if prompt[0].text == SUMMARISE:
        return AIMessage(SUMMARY)
    return call("send_message", message="Go on.") if isinstance(prompt[-1], HumanMessage) else AIMessage("ok")


def say(runtime: Runtime, text: str) -> Any:
    return runtime.run("memgpt", "t", text, Context(agent="ada", model=PolicyModel(policy=listening), window=2_800))


def fill(runtime: Runtime, until: int = 1) -> Any:
    """Talk until so many flushes are on record."""
    rng = random.Random(1)
    words = "river market apple train garden winter letter music bridge doctor".split()
    state = say(runtime, "I keep bees in Ravenna.")
    while runtime.store.count(("ada", EVICTION)) < until:
        state = say(runtime, " ".join(rng.choices(words, k=40)) + ".")
    return state


def test_a_flush_is_on_record_with_what_left_and_the_summary_before_and_after(runtime: Runtime) -> None:
    state = fill(runtime, until=2)
    first, second = [item.value for item in runtime.store.all(("ada", EVICTION))]
    assert (first["before"], first["after"], second["before"]) == ("", SUMMARY, SUMMARY)
    assert first["count"] + second["count"] == second["total"] == state["evicted"]["total"]
    assert first["tokens"] > 500
    recall = Recall(runtime.store, "ada")
    left = [recall.read(key) for record in (first, second) for key in record["keys"]]
    in_view = {m.id for m in state["messages"]}
    assert all(value and value["role"] in SAID for value in left)
    assert not in_view & {*first["keys"], *second["keys"]}
    said = runtime.store.count(("ada", "message"), {"role": "user"})
    assert said == sum(value["role"] == "user" for value in left if value) + sum(
        m.type == "human" for m in state["messages"]
    )


def test_a_sentence_of_the_summary_opens_the_message_that_said_it(runtime: Runtime) -> None:
    state = fill(runtime, until=2)
    bees, tea = state["summary_sources"]
    value = Recall(runtime.store, "ada").read(bees["keys"][0])
    assert value is not None
    assert value["text"] == "I keep bees in Ravenna."
    assert tea == {"text": "They like tea.", "keys": []}, "nobody said so"


@pytest.mark.parametrize("damage", ["text", "point"])
def test_what_is_not_found_by_its_text_is_written_anew_before_it_leaves(runtime: Runtime, damage: str) -> None:
    say(runtime, "I keep bees in Ravenna.")
    key = runtime.store.find(("ada", "message"), "Ravenna").items[0].key
    number = point_id(("ada", "message"), key)
    if damage == "point":
        runtime.store.client.delete(COLLECTION, points_selector=[number])
    else:
        selector = models.Filter(must=[models.HasIdCondition(has_id=[number])])
        runtime.store.client.set_payload(COLLECTION, {"folded": "something else"}, points=selector)
    recall = Recall(runtime.store, "ada")
    assert recall.search("bees in ravenna", case_sensitive=False).total == 0
    fill_on(runtime)
    assert [item.key for item in recall.search("bees in ravenna", case_sensitive=False).items] == [key]
    assert next(runtime.store.all(("ada", EVICTION))).value["written anew"] == [key]


def fill_on(runtime: Runtime) -> None:
    while not runtime.store.count(("ada", EVICTION)):
        say(runtime, "Of other things, " * 30)


def test_what_cannot_be_found_even_then_stays(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    say(runtime, "I keep bees in Ravenna.")
    monkeypatch.setattr("memory.proof.is_found", lambda recall, message: False)
    with pytest.raises(MemoryDamaged, match="They stay there"):
        fill_on(runtime)
    assert "Ravenna" in repr(runtime.state("memgpt", "t")["messages"])
    monkeypatch.setattr("memory.proof.is_found", is_found)
    fill_on(runtime)
    assert "Ravenna" not in repr(runtime.state("memgpt", "t")["messages"])


def test_sources_are_handed_on_from_summary_to_summary_and_joined() -> None:
    texts = {"a": "I keep bees in Ravenna.", "b": "My brother Teo paints boats.", "c": "It rains."}
    first = sourced("Bees in Ravenna. Her brother Teo paints boats.", texts, [])
    assert [each["keys"] for each in first] == [["a"], ["b"]]
    again = sourced("Ada keeps bees; Teo, her brother, paints.", {"d": "Hello there."}, first)
    assert [sorted(each["keys"]) for each in again] == [["a", "b"]]
    assert sourced("", texts, first) == []
    assert sourced("Zzz qqq.", {}, []) == [{"text": "Zzz qqq.", "keys": []}]


def test_sources_in_other_scripts() -> None:
    texts = {"a": "私は京都に住んでいます。", "b": "Я живу в Киеве и люблю шахматы."}
    found = sourced("京都に住む。\nЛюбит шахматы.", texts, [])
    assert [each["keys"] for each in found] == [["a"], ["b"]]


def test_a_message_without_a_visible_character_is_no_loss(runtime: Runtime) -> None:
    recall = Recall(runtime.store, "ada")
    now = Context().time()
    assert is_found(recall, Message("k", "user", "\u200b", "ada", "own", now, "t", 1, 0))
    assert not is_found(recall, Message("k", "user", "x", "ada", "own", now, "t", 1, 0))


def test_what_the_agent_said_is_written_anew_too(runtime: Runtime) -> None:
    def vault(prompt: list[BaseMessage]) -> AIMessage:
        if isinstance(prompt[-1], HumanMessage) and "Hello." in prompt[-1].text:
            return call("send_message", message="The vault code is xylophone seven.")
        return listening(prompt)

    runtime.run("memgpt", "t", "Hello.", Context(agent="ada", model=PolicyModel(policy=vault), window=2_800))
    key = runtime.store.find(("ada", "message"), "xylophone", where={"role": "assistant"}).items[0].key
    runtime.store.client.delete(COLLECTION, points_selector=[point_id(("ada", "message"), key)])
    fill_on(runtime)
    (item,) = Recall(runtime.store, "ada").search("xylophone").items
    assert (item.key, item.value["author"], item.value["thread"]) == (key, "ada", "t")


def test_a_lost_reply_that_may_have_read_outside_text_is_not_trusted_again(runtime: Runtime) -> None:
    Archival(runtime.store, "ada").ingest("a.txt", [Section("The vault code is xylophone seven.", "")])

    def reads(prompt: list[BaseMessage]) -> AIMessage:
        if isinstance(prompt[-1], HumanMessage) and "Hello." in prompt[-1].text:
            return call("archival_memory_search", query="vault", request_heartbeat=True)
        if isinstance(prompt[-1], ToolMessage) and prompt[-1].name == "archival_memory_search":
            return call("send_message", message="It is xylophone seven.")
        return listening(prompt)

    runtime.run("memgpt", "t", "Hello.", Context(agent="ada", model=PolicyModel(policy=reads), window=2_800))
    said = runtime.store.find(("ada", "message"), "xylophone", where={"role": "assistant"}).items[0]
    runtime.store.client.delete(COLLECTION, points_selector=[point_id(("ada", "message"), said.key)])
    fill_on(runtime)
    (item,) = Recall(runtime.store, "ada").search("It is xylophone").items
    assert item.value["trust"] == said.value["trust"] == "outside"


def test_what_is_written_anew_was_there_before(runtime: Runtime) -> None:
    say(runtime, "I keep bees in Ravenna.")
    moment = datetime.now(UTC)
    key = runtime.store.find(("ada", "message"), "Ravenna").items[0].key
    selector = models.Filter(must=[models.HasIdCondition(has_id=[point_id(("ada", "message"), key)])])
    runtime.store.client.set_payload(COLLECTION, {"folded": "x"}, points=selector)
    fill_on(runtime)
    assert key in [message.key for message in runtime.as_of("ada", moment).messages]


def test_a_sentence_without_a_word_has_no_source_and_scripts_without_spaces_have_sentences() -> None:
    assert sourced("👍", {"a": "Hello."}, []) == [{"text": "👍", "keys": []}]
    assert len(sourced("私は京都に住む。犬を飼う。兄は東京にいる。", {"a": "京都に住んでいます。"}, [])) == 3
