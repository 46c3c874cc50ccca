"""Private conversations: what one has written is in no prompt to a model elsewhere, whatever is said, branched, kept or carried."""

import random
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from pydantic import SecretStr

from graphs.memgpt import Context
from memory.archival import Archival
from memory.blocks import blocks_in_view, list_threads, load_blocks, save_block
from memory.lessons import Lesson, Lessons
from memory.minilm import Floats
from memory.points import COLLECTION, point_id
from memory.privacy import private_threads
from memory.recall import Recall
from models.chat import EndpointChat
from models.endpoint import is_local, is_private_host, open_model
from models.offline import OfflineModel
from models.refusals import ModelFailed
from models.scripted import PolicyModel, call
from nodes.memgpt.evict import SUMMARISE
from runtime import Runtime
from settings import Settings
from tests.conftest import WordEmbedder
from tests.graphs.test_memgpt import play, results

AGENT = "ada"


class LocalModel(PolicyModel):
    """A model of this machine, as far as the tests go."""


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.replies.is_local", lambda model, settings: isinstance(model, LocalModel | OfflineModel))


class Talk:
    """Turns by chance in a private and two public conversations, each with words of its own."""

    def __init__(self, runtime: Runtime, seed: int) -> None:
        self.runtime, self.random, self.words = runtime, random.Random(seed), 0
        self.told: list[str] = []
        """All that models elsewhere were told."""

    def turn(self, thread: str, **options: Any) -> None:
        is_ours = thread == "private" or self.random.random() < 0.5
        word = f"{'secret' if thread == 'private' else 'open'}{self.words}x"
        self.words += 1

        def think(prompt: list[BaseMessage]) -> AIMessage:
            if not is_ours:
                self.told.append(repr(prompt))
            if prompt[0].text == SUMMARISE:
                return AIMessage(f"We spoke of {word}.")
            if isinstance(prompt[-1], ToolMessage) or not isinstance(prompt[-1], HumanMessage):
                return call("send_message", message=f"So {word}.")
            return AIMessage("", tool_calls=[self.write(word, thread), self.search()])

        model = (LocalModel if is_ours else PolicyModel)(policy=think)
        text = f"Let us talk of {word}. " + "And of other things. " * self.random.choice([0, 20])
        context = Context(agent=AGENT, model=model, window=2_800, private=thread == "private", **options)
        self.runtime.run("memgpt", thread, text, context)
        if self.random.random() < 0.3:
            lesson = Lesson(word, f"Mind {word}.", f"Do {word}.", "failed", "x", thread)
            Lessons(self.runtime.store, AGENT).keep(lesson)

    def write(self, word: str, thread: str) -> Any:
        seen = blocks_in_view(self.runtime.store, AGENT, thread == "private")
        human = seen.get("human", "").split("\n")
        name, arguments = self.random.choice([
            ("archival_memory_insert", {"content": f"A note on {word}."}),
            ("working_context_append", {"block": "human", "content": f"Knows {word}"}),
            ("working_context_replace", {"block": "human", "old_content": self.random.choice(human), "new_content": f"Now {word}"}),
        ])  # fmt: skip
        return {"name": name, "args": {**arguments, "request_heartbeat": True}, "id": "w"}

    def search(self) -> Any:
        name, arguments = self.random.choice([
            ("recall_memory_search", {"query": "secret"}), ("recall_memory_search_ignore_case", {"query": "SECRET"}),
            ("recall_memory_search_date", {"start_date": "2020-01-01", "end_date": "2090-01-01"}),
            ("archival_memory_search", {"query": "a note on secret1x"}),
        ])  # fmt: skip
        return {"name": name, "args": {**arguments, "page": 0, "request_heartbeat": True}, "id": "s"}


@pytest.mark.parametrize("seed", range(1))
def test_no_private_word_is_in_a_prompt_to_a_model_elsewhere(runtime: Runtime, seed: int) -> None:
    talk = Talk(runtime, seed)
    talk.turn("private")
    for _ in range(25):
        chance, thread = talk.random.random(), talk.random.choice(["private", "a", "b"])
        keys = [i.key for i in runtime.store.all((AGENT, "message"), {"role": "user", "thread": thread})]
        tree = runtime.branches(thread)
        if chance < 0.12 and keys:
            runtime.branch(AGENT, thread, talk.random.choice(keys))
        elif chance < 0.2 and tree:
            runtime.switch(AGENT, thread, talk.random.choice(tree.branches).thread)
        talk.turn(thread)
    assert any("open" in prompt for prompt in talk.told)
    assert [prompt for prompt in talk.told if _has_secret(prompt)] == []
    assert any("secret" in text for text in load_blocks(runtime.store, AGENT).values()), "the owner sees all"


def _has_secret(prompt: str) -> bool:
    """Whether a word that was said in private stands in it; a query that asks for one does not count."""
    return any(
        f"{before}secret" in prompt
        for before in ("talk of ", "So ", "Knows ", "Now ", "A note on ", "spoke of ", "Mind ")
    )


def test_private_conversations_see_each_other_and_all_else(runtime: Runtime) -> None:
    play(runtime, call("send_message", message="Ok."), text="My cat is called Byron.", thread="open")
    said = LocalModel(policy=lambda prompt: call("send_message", message="Ok."))
    for thread, text in (("p", "My vault code is xylophone."), ("q", "What is my vault code, and my cat's name?")):
        state = runtime.run("memgpt", thread, text, Context(agent=AGENT, model=said, private=True))
    assert {"My vault code is xylophone.", "My cat is called Byron."} <= {quote["text"] for quote in state["recalled"]}
    state, model = play(runtime, call("send_message", message="?"), text="What is my vault code?", thread="open")
    assert "xylophone" not in repr(model.prompts)
    assert [t.thread for t in list_threads(runtime.store) if t.private] == ["q", "p"]
    assert sorted(private_threads(runtime.store, AGENT)) == ["p", "q"]


def test_a_private_conversation_goes_to_no_model_elsewhere(runtime: Runtime) -> None:
    elsewhere = PolicyModel(policy=lambda prompt: call("send_message", message="Ok."))
    here = LocalModel(policy=lambda prompt: call("send_message", message="Here."))
    with pytest.raises(ModelFailed, match="models on this machine only"):
        runtime.run("memgpt", "p", "My vault code is xylophone.", Context(agent=AGENT, model=elsewhere, private=True))
    assert Recall(runtime.store, AGENT).search("xylophone").total == 0
    state = runtime.run("memgpt", "p", None, Context(agent=AGENT, model=here, private=True))
    assert state["replies"] == ["Here."]
    with pytest.raises(ModelFailed, match="private"):  # the record tells, whatever the caller says
        runtime.run("memgpt", "p", "And?", Context(agent=AGENT, model=elsewhere))
    runtime.run("memgpt", "p", None, Context(agent=AGENT, model=here))
    runtime.make_private(AGENT, "p", private=False)
    runtime.run("memgpt", "p", "And?", Context(agent=AGENT, model=elsewhere))
    runtime.make_private(AGENT, "p")
    with pytest.raises(ModelFailed, match="private"):
        runtime.run("memgpt", "p", "And?", Context(agent=AGENT, model=elsewhere))
    with pytest.raises(ValueError, match="no conversation"):
        runtime.make_private(AGENT, "nothing")
    with pytest.raises(ValueError, match="another agent"):
        runtime.make_private("eve", "p")
    with pytest.raises(ValueError, match="use one of them"):
        Context(private=True, temporary=True)


def test_a_turn_that_was_cut_off_does_not_go_on_elsewhere(runtime: Runtime) -> None:
    def fails(prompt: list[BaseMessage]) -> AIMessage:
        raise ModelFailed("It broke.")

    with pytest.raises(ModelFailed, match="broke"):
        runtime.run("memgpt", "p", "Xylophone.", Context(agent=AGENT, model=LocalModel(policy=fails), private=True))
    elsewhere = PolicyModel(policy=lambda prompt: call("send_message", message="Ok."))
    with pytest.raises(ModelFailed, match="private"):
        runtime.run("memgpt", "p", None, Context(agent=AGENT, model=elsewhere))


def test_an_edit_in_view_of_some_lines_keeps_the_others(runtime: Runtime) -> None:
    save_block(runtime.store, AGENT, "human", "Has a cat.")
    here = [
        {"name": "working_context_append", "args": {"block": "human", "content": "The code is xylophone."}, "id": "1"},
        {"name": "send_message", "args": {"message": "Ok."}, "id": "2"},
    ]
    model = LocalModel(policy=lambda prompt: AIMessage("", tool_calls=here))
    runtime.run("memgpt", "p", "Hello.", Context(agent=AGENT, model=model, private=True))
    change = call(
        "working_context_replace", block="human", old_content="cat", new_content="dog", request_heartbeat=True
    )
    _, model_ = play(runtime, change, call("send_message", message="Ok."), text="It is a dog.", thread="open")
    assert "xylophone" not in repr(model_.prompts)
    assert load_blocks(runtime.store, AGENT)["human"] == "Has a dog."
    assert blocks_in_view(runtime.store, AGENT, private=True)["human"] == "Has a dog.\nThe code is xylophone."
    assert "xylophone" not in repr(blocks_in_view(runtime.store, AGENT, private=False))
    arguments = {"block": "human", "old_content": "Has a dog.", "new_content": "x"}
    changes = [{"name": "working_context_replace", "args": arguments, "id": "1"}]
    model = LocalModel(policy=lambda prompt: AIMessage("", tool_calls=changes))
    state = runtime.run("memgpt", "p", "Hello.", Context(agent=AGENT, model=model, max_steps=1))
    assert "lines of human that others see" in results(state)[-1]["message"]
    assert load_blocks(runtime.store, AGENT)["human"] == "Has a dog."


def test_a_note_that_is_kept_in_private_takes_no_place_in_public(runtime: Runtime) -> None:
    archival = Archival(runtime.store, AGENT)
    archival.insert("I live in Berlin.")
    model = LocalModel(policy=lambda prompt: call("send_message", message="Ok."))
    runtime.run("memgpt", "p", "Hello.", Context(agent=AGENT, model=model, private=True))
    Archival(runtime.store, AGENT).insert("I live in Munich.", thread="p")
    hidden = Archival(runtime.store.hiding(["p"]), AGENT)
    (item,) = hidden.search("Where do I live?").items
    assert item.value["text"] == "I live in Berlin."
    assert hidden.store.get((AGENT, "passage"), item.key)
    assert hidden.insert("I live in Munich!", thread="open") == 1, "what is not seen is not a wording of it"


def test_no_read_of_a_view_sees_what_it_hides(runtime: Runtime) -> None:
    store = runtime.store
    for thread, text in (("p", "The vault code is xylophone."), ("open", "The vault is old.")):
        Archival(store, AGENT).insert(text, thread=thread, key=thread)
    view, space = store.hiding(["p"]), (AGENT, "passage")
    assert (store.count(space), view.count(space)) == (2, 1)
    assert [view.find(space).total, view.rank(space, "vault").total, len(view.search(space, query="vault"))] == [
        1,
        1,
        1,
    ]
    hidden, shown = point_id(space, "p:0"), point_id(space, "open:0")
    assert [record.id for record in view.client.retrieve(COLLECTION, ids=[hidden, shown])] == [shown]
    assert view.client.retrieve(COLLECTION, ids=[hidden]) == view.client.retrieve(COLLECTION, ids=[]) == []
    assert "value.thread=p" not in view._tags(None, exact=True)
    assert store.hiding([]) is store
    assert [item.key for item in view.retrieve("vault code", [(space, {})], floor=-1, without={}, limit=9)] == [
        "open:0"
    ]


def test_privacy_goes_along(runtime: Runtime, tmp_path: Path) -> None:
    model = LocalModel(policy=lambda prompt: call("send_message", message="Ok."))
    runtime.run("memgpt", "p", "The code is xylophone.", Context(agent=AGENT, model=model, private=True))
    runtime.branch(AGENT, "p", runtime.store.find((AGENT, "message"), "xylophone").items[0].key)
    runtime.run("memgpt", "p", "The code is marimba.", Context(agent=AGENT, model=model))
    assert len(private_threads(runtime.store, AGENT)) == 2
    runtime.export_agent(AGENT, tmp_path / "a.zip")
    runtime.import_agent("eve", tmp_path / "a.zip")
    runtime.rename_agent("eve", "grace")
    assert len(private_threads(runtime.store, "grace")) == 2


def test_no_private_text_goes_to_an_embedder_elsewhere(runtime: Runtime, tmp_path: Path) -> None:
    model = LocalModel(policy=lambda prompt: call("send_message", message="Ok."))
    elsewhere = runtime.settings.model_copy(update={"embeddings_url": "https://embedder.example/v1"})
    context = Context(agent=AGENT, model=model, private=True)
    runtime.run("memgpt", "p", "The code is xylophone.", context)
    given: list[str] = []

    class Elsewhere(WordEmbedder):
        name = "elsewhere"

        def embed(self, texts: list[str]) -> Floats:
            given.extend(texts)
            return super().embed(texts)

    runtime.store.embedder = Elsewhere()
    moved = Runtime(elsewhere, runtime.store, runtime.checkpointer)
    play(moved, call("send_message", message="Ok."), text="What is the vault about?", thread="open")
    Recall(moved.store, AGENT).nearest("anything")
    assert given
    assert "xylophone" not in repr(given)
    with pytest.raises(ModelFailed, match="embedder is at"):
        moved.run("memgpt", "p", "And?", context)
    moved.export_agent(AGENT, tmp_path / "a.zip")
    moved.import_agent("eve", tmp_path / "a.zip")
    Recall(moved.store, "eve").nearest("anything")
    assert "xylophone" not in repr(given), "what was imported neither"


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://localhost:8000/v1", True), ("http://127.0.0.1:1234", True), ("http://127.8.0.9/v1", True),
        ("http://[::1]:80/v1", True),
        ("https://api.openai.com/v1", False), ("http://192.168.0.7/v1", False), ("http://localhost.evil.example/v1", False),
        ("http://127.0.0.1.nip.io/v1", False), ("http://127.0.0.1@evil.example/v1", False), ("", False),
        ("http://gpu.home/v1", True),
        ("http://0.0.0.0:8000/v1", False),
    ],
)  # fmt: skip
def test_which_hosts_are_this_machine(url: str, private: bool) -> None:
    assert is_private_host(url, Settings(private_hosts="gpu.home box")) is private


def test_which_models_are_of_this_machine() -> None:
    def model(name: str, url: str) -> EndpointChat:
        found = open_model(name, Settings(base_url=url, api_key=SecretStr("k")))
        assert isinstance(found, EndpointChat)
        return found

    assert is_local(OfflineModel(), Settings())
    assert is_local(model("qwen3:4b", "http://localhost:11434/v1"), Settings())
    assert not is_local(model("gpt-oss:120b-cloud", "http://localhost:11434/v1"), Settings()), "Ollama hands it on"
    assert not is_local(model("gpt-4.1", "https://api.openai.com/v1"), Settings())
    assert not is_local(PolicyModel(policy=lambda prompt: AIMessage("")), Settings())


def test_what_is_learnt_while_it_works_in_private_stays_there(runtime: Runtime) -> None:
    solve = call("solve_carefully", task="Find the xylophone code.", method="reflexion", request_heartbeat=True)

    def think(prompt: list[BaseMessage]) -> AIMessage:
        if "You are an agent with a memory" not in prompt[0].text:
            return AIMessage("No idea of the xylophone.")
        return call("send_message", message="Ok.") if isinstance(prompt[-1], ToolMessage) else solve

    context = Context(agent=AGENT, model=LocalModel(policy=think), private=True)
    runtime.run("memgpt", "p", "Find the xylophone code.", context)
    assert Lessons(runtime.store, AGENT).all()
    assert Lessons(runtime.store.hiding(private_threads(runtime.store, AGENT)), AGENT).all() == []
