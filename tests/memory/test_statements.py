"""Notes that say the same are one; those that differ stay two; what a newer one replaces is told so, and comes back with it."""

import itertools
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memory.archival import Archival
from memory.edge import EdgeClient
from memory.embedder import CachingEmbedder, LocalEmbedder
from memory.forget import Target
from memory.minilm import WeightsMissing
from memory.points import WORDING
from memory.recall import Message, Recall
from memory.statements import asks_about_then
from memory.store import QdrantStore
from models.scripted import call
from nodes.memgpt.recalled import quotes
from runtime import Runtime
from tests.graphs.test_memgpt import play, results

EMBEDDER = CachingEmbedder(LocalEmbedder())


@pytest.fixture
def archival(tmp_path: Path) -> Iterator[Archival]:
    with QdrantStore(EdgeClient(tmp_path / "store"), EMBEDDER) as store:
        yield Archival(store, "ada")


SAME = [
    ("My cat is called Byron.", "my cat is called byron"),
    ("I have 3 children.", "I am the parent of 3 children."),
    ("My sister Carla lives in Ghent.", "I have a sister, Carla, who lives in Ghent."),
    ("In Porto I won a chess tournament.", "I won a chess tournament in Porto."),
    ("Meine Katze heißt Byron.", "Meine Katze heißt Byron!"),
]
OTHER = [
    ("My cat is called Byron.", "My dog is called Byron."),
    ("I have 3 children.", "I have 4 children."),
    ("I like chess.", "I can't stand chess."),
    ("I like chess.", "I do not like chess."),
    ("I always go to the gym every week.", "I never go to the gym any more."),
    ("My sister Carla lives in Ghent.", "My sister Ines lives in Ghent."),
    ("I play the cello.", "I play the oboe."),
    ("Ich wohne in Berlin.", "Ich wohne in Hamburg."),
    ("The audit closes on 3 May.", "The audit closes on 4 May."),
    ("The rent is 800 euros.", "The rent is 800 dollars."),
    ("Ines is treasurer at Harbor Co.", "Ines runs Harbor Co's wiki."),
    ("I use version 2.1 of the tool.", "I use version 2.2 of the tool."),
    ("My brother is a pilot.", "My brother is a pilot in the army."),
    ("I went to Rome.", "I went to Rome with my father."),
    ("I read books.", "I read books in the morning."),
    ("Ada is my mother's friend.", "Ada is my friend."),
    ("I take the bus to work.", "I take the train to work."),
]
REPLACED = [
    ("I live in Berlin.", "I live in Munich."),
    ("I work as a baker.", "I work as a nurse."),
    ("I am 40 years old.", "I am 41 years old."),
    ("I live in Berlin.", "I no longer live in Berlin."),
    ("The meeting is at 4 pm.", "The meeting is at 5 pm."),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_what_says_the_same_is_one_note(archival: Archival, old: str, new: str) -> None:
    assert archival.insert(old, said="m1") == 1
    assert archival.insert(new, said="m2") == 0
    (item,) = archival.search(new).items
    assert item.value["text"] == old
    assert [(w["text"], w["said"]) for w in archival.wordings(item.key)] == [(new, "m2")]
    assert archival.count() == archival.newest().total == 1


@pytest.mark.parametrize(("old", "new"), OTHER)
def test_what_differs_in_a_name_a_number_or_a_not_stays_two(archival: Archival, old: str, new: str) -> None:
    assert archival.insert(old) == archival.insert(new) == 1
    assert {item.value["text"] for item in archival.search(new).items} == {old, new}


@pytest.mark.parametrize(("old", "new"), REPLACED)
def test_what_holds_now_comes_first_unless_it_is_asked_what_held_then(archival: Archival, old: str, new: str) -> None:
    archival.insert(old, time=datetime(2026, 1, 5, tzinfo=UTC))
    archival.insert(new, time=datetime(2026, 2, 7, tzinfo=UTC))
    first, second = archival.search(old).items
    assert (first.value["text"], second.value["text"]) == (new, old)
    assert second.value["until"][:10] == "2026-02-07"
    assert "until" not in first.value
    then = {item.value["text"]: item.score or 0.0 for item in archival.search(f"Before, earlier: {old}").items}
    now = {item.value["text"]: item.score or 0.0 for item in archival.search(old).items}
    assert then[old] / then[new] > now[old] / now[new]
    noted = {quote["text"]: quote["until"][:10] for quote in quotes(archival.store, "ada", old, (), 400)}
    assert noted == {new: "", old: "2026-02-07"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("I like apples.", "I like pears."),
        ("My cat is called Byron.", "My dog is called Byron."),
        ("The meeting is about the roof.", "The meeting is about the garden."),
        ("I work with Ada.", "I work with Bela."),
        ("My sister drives a taxi.", "My sister drives a bus."),
        ("My daughter lives in Berlin.", "My son lives in Munich."),
        ("I like smoking.", "I quit smoking."),
    ],
)
def test_one_thing_at_a_time_holds_of_few_things(archival: Archival, old: str, new: str) -> None:
    assert archival.insert(old) == archival.insert(new) == 1
    assert not [item for item in archival.search(old).items if "until" in item.value]


def test_text_from_outside_takes_no_place_and_what_was_told_is_no_wording_of_it(archival: Archival) -> None:
    archival.insert("I live in Berlin.")
    archival.insert("I live in Munich.", trust="outside")
    assert not [item for item in archival.search("Where do I live?").items if "until" in item.value]
    archival.insert("I have a boat.", trust="outside")
    assert archival.insert("I have a boat!") == 1
    assert archival.insert("I have a boat?", trust="outside") == 0
    assert {item.value["trust"] for item in archival.search("boat", page_size=2).items} == {"own", "outside"}


def test_a_note_embeds_no_message(archival: Archival) -> None:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    Recall(archival.store, "ada").write([Message("m", "user", "Hello.", "ada", "own", now, "t", 1, 0)])
    archival.insert("I have a boat.")
    assert archival.store.embed_pending(("ada", "message")) == 1


def test_insertions_in_other_words_lose_no_statement(archival: Archival) -> None:
    """Statements in five wordings each, in an order by chance."""
    rng = random.Random(0)
    statements = [
        [form.format(*values) for form in forms.split("|")] for forms, filled in WORDINGS for values in filled
    ]
    told = [wording for wordings in statements for wording in wordings]
    rng.shuffle(told)
    kept = sum(map(archival.insert, told))
    assert kept == archival.count()
    assert kept < 2.6 * len(statements), "of four that say it again, more than half are known"
    for wordings in statements:
        found = [str(item.value["text"]) for item in archival.search(wordings[0], page_size=10).items]
        assert set(found) & set(wordings)


NAMES = "Carla Ines Judit Maren Olga Tove Zora Hanna Lena Mira".split()
CITIES = "Ghent Turin Leeds Porto Graz Lyon Bergen Malaga Krakow Tampere".split()
THINGS = "umbrella bicycle guitar camera telescope canoe typewriter".split()
PETS = itertools.product("cat dog parrot rabbit".split(), "Byron Biscuit Pepper Rocket Waffle".split())
WORDINGS: list[tuple[str, Iterable[tuple[Any, ...]]]] = [
    (
        "My {0} is called {1}.|I have a {0} named {1}.|The name of my {0} is {1}.|My {0}'s name is {1}.|"
        "The person has a {0} called {1}.",
        PETS,
    ),
    (
        "My sister {0} lives in {1}.|{0}, my sister, lives in {1}.|I have a sister, {0}, who lives in {1}.|"
        "The person's sister {0} lives in {1}.|My sister is called {0} and she lives in {1}.",
        zip(NAMES, CITIES, strict=True),
    ),
    (
        "I lost my {0} last week.|Last week I lost my {0}.|My {0} got lost last week.|The person lost a {0} last week.|"
        "It was last week that I lost my {0}.",
        zip(THINGS, strict=True),
    ),
    (
        "My friend {0} is {1} years old.|{0} is my friend and {1} years old.|The person's friend {0} is {1} years old.|"
        "The age of my friend {0} is {1}.|I have a friend, {0}, who is {1}.",
        zip(NAMES, range(31, 41), strict=True),
    ),
]
"""Five wordings of a statement, and what it is said of."""


def test_what_held_once_and_is_said_again_holds_again(archival: Archival) -> None:
    for text in ("I live in Berlin.", "I live in Munich.", "I live in Berlin."):
        assert archival.insert(text) == 1
    first, *others = archival.search("Where do I live?").items
    assert (first.value["text"], "until" in first.value) == ("I live in Berlin.", False)
    assert all("until" in item.value for item in others)


def test_the_agent_is_told_that_it_is_kept_already(runtime: Runtime) -> None:
    insert = call("archival_memory_insert", content="The person has a boat.", request_heartbeat=False)
    play(runtime, insert, text="I have a boat.")
    state, _ = play(runtime, insert, text="I have a boat!")
    assert [result["message"] for result in results(state)][-1] == "That is kept already, in other words or the same."
    assert Archival(runtime.store, "ada").count() == 1


def test_a_wording_becomes_the_note_when_its_note_is_forgotten(runtime: Runtime) -> None:
    archival = Archival(runtime.store, "ada")
    insert = call("archival_memory_insert", content="The person has a boat.", request_heartbeat=False)
    play(runtime, insert, text="I have a boat.")
    again = call("archival_memory_insert", content="The person has a boat!", request_heartbeat=False)
    play(runtime, again, text="As I said, a boat.", thread="u")
    runtime.forget("ada", Target(conversation="t"))
    assert archival.count() == 1
    (item,) = archival.search("boat").items
    assert item.namespace == ("ada", "passage")
    assert archival.newest().total == 1
    assert runtime.store.count(("ada", "passage", WORDING)) == 0


def test_what_lost_its_place_holds_again_without_the_one_that_took_it(archival: Archival) -> None:
    archival.insert("I live in Berlin.")
    archival.insert("I live in Munich.", key="new")
    assert [bool(item.value.get("until")) for item in archival.search("Where do I live?").items] == [False, True]
    archival.store.delete(archival.namespace, "new:0")
    (item,) = archival.search("Where do I live?").items
    assert "until" not in item.value


def test_without_weights_a_note_is_kept_as_it_is(archival: Archival, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> frozenset[str]:
        raise WeightsMissing("no weights")

    archival.insert("I have a boat.")
    monkeypatch.setattr("memory.archival.frequent_words", missing)
    assert archival.insert("I have a boat.") == 1


def test_a_question_about_the_past_is_told_from_one_about_now() -> None:
    assert asks_about_then("Where did I use to live before?")
    assert asks_about_then("What was my previous job?")
    assert not asks_about_then("Where do I live?")
    assert not asks_about_then("What did I tell you of my job?")
