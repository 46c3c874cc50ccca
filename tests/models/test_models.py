"""The models: an endpoint with its faults, the choice of one, the offline model, the scripted one."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.runtime import RunControl
from pydantic import SecretStr

from graphs.memgpt import Context
from graphs.react import Context as ReactContext
from graphs.self_refine import Context as RefineContext
from memory.documents import Section
from models.chat import CONTEXT_MARGIN, FIRST_ROOM
from models.endpoint import list_models, local_endpoints, open_model
from models.offline import OfflineModel, digest, is_question
from models.refusals import ModelFailed
from models.scripted import BrokenPrompt, ScriptedModel, UnexpectedTurn, call, check_prompt
from nodes.memgpt.tools import TOOL_SCHEMAS
from runtime import Machine, Runtime
from settings import Settings
from tests.models.fake_openai import FakeOpenAI, chunk, fake_openai, says

SECRET = "sk-very-secret-key"


@pytest.fixture
def endpoint(runtime: Runtime) -> Iterator[FakeOpenAI]:
    with fake_openai() as fake:
        given = {"base_url": fake.url, "api_key": SecretStr(SECRET)}
        runtime.settings = runtime.settings.model_copy(update=given)
        allow(runtime, 20)
        yield fake


def allow(runtime: Runtime, seconds: float) -> None:
    runtime.settings = runtime.settings.model_copy(update={"reply_seconds": seconds})


def reply(runtime: Runtime, text: str = "Hello") -> Any:
    return runtime.run("memgpt", "t", text, Context(agent="ada"))


def test_a_turn_at_an_openai_compatible_endpoint(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    endpoint.turns = [says("Hello, Ada.")]
    state = reply(runtime)
    assert state["replies"] == ["Hello, Ada."]
    request = endpoint.requests[0]
    assert request["model"] == "fake"
    assert request["stream"] is True
    assert len(request["tools"]) == 9
    assert [m["role"] for m in request["messages"]] == ["system", "user"]
    assert state["calibration"] != 1.0


def test_tokens_stream_as_they_come(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    endpoint.turns = [says("One two three")]
    parts = list(runtime.stream("memgpt", "t", "Hello", Context(agent="ada")))
    chunks = [p["data"][0] for p in parts if p["type"] == "messages" and p["data"][0].type == "AIMessageChunk"]
    pieces = [c["args"] for m in chunks for c in m.tool_call_chunks if c["args"]]
    assert json.loads("".join(pieces)) == {"message": "One two three"}
    assert len(pieces) >= 2


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 500}, id="500"),
        pytest.param({"status": 503}, id="503"),
        pytest.param({"status": 429, "headers": {"retry-after": "0.2"}}, id="429"),
        pytest.param({"html": "<html>gateway</html>"}, id="a page of HTML"),
        pytest.param(says("half", cut=2), id="a stream that is cut off"),
        pytest.param({"chunks": []}, id="no choices"),
        pytest.param({"chunks": [{**chunk({}), "choices": []}]}, id="empty choices"),
    ],
)
def test_a_passing_fault_is_tried_again(runtime: Runtime, endpoint: FakeOpenAI, fault: Any) -> None:
    endpoint.turns = [fault, says("Whole.")]
    assert reply(runtime)["replies"] == ["Whole."]
    assert len(endpoint.requests) == 2


def test_the_deadline_is_for_all_attempts_together(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    allow(runtime, 1.5)
    endpoint.turns = [{"status": 429, "headers": {"retry-after": "60"}}] * 20
    began = time.monotonic()
    with pytest.raises(ModelFailed, match="HTTP 429"):
        reply(runtime)
    assert time.monotonic() - began < 5
    allow(runtime, 20)
    endpoint.turns = [says("There you are.")]
    state = reply(runtime, "Still there?")
    (both,) = [m["content"] for m in endpoint.requests[-1]["messages"] if m["role"] == "user"]
    said = [json.loads(event)["message"] for event in both.split("\n\n")]
    assert said == ["Hello", "Still there?"], "the message of the failed turn is kept"
    assert state["replies"] == ["There you are."]


def test_a_pause_between_attempts_ends_at_stop(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    endpoint.turns = [{"status": 429, "headers": {"retry-after": "15"}}] * 3
    control = RunControl()
    threading.Timer(1.0, control.request_drain).start()
    began = time.monotonic()
    list(runtime.stream("memgpt", "t", "Hello", Context(agent="ada"), control))
    assert time.monotonic() - began < 8
    assert len(endpoint.requests) == 1


def test_an_endpoint_that_hangs_is_given_up(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    allow(runtime, 1)
    endpoint.turns = [says("late", wait=4)] * 3
    began = time.monotonic()
    with pytest.raises(ModelFailed, match="Your message is kept"):
        reply(runtime)
    assert time.monotonic() - began < 6


@pytest.mark.parametrize(
    ("status", "body", "advice"),
    [
        (401, {"error": {"message": f"Incorrect API key provided: {SECRET}"}}, "OPENAI_API_KEY"),
        (404, {}, "usually ends in /v1"),
        (400, {"error": {"message": "context too long"}}, "context too long"),
    ],
)
def test_a_refusal_is_told_at_once_and_never_tells_the_key(
    runtime: Runtime, endpoint: FakeOpenAI, status: int, body: Any, advice: str
) -> None:
    endpoint.turns = [{"status": status, "body": json.dumps(body)}]
    with pytest.raises(ModelFailed) as error:
        reply(runtime)
    assert advice in str(error.value)
    assert SECRET not in str(error.value)
    assert len(endpoint.requests) == 1


def test_the_key_is_in_no_checkpoint(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    endpoint.turns = [says("Hi.")]
    reply(runtime)
    for snapshot in runtime.graphs["memgpt"].get_state_history(runtime.config("memgpt", "t")):
        assert SECRET not in repr(snapshot)
    files = [p for p in runtime.settings.folder.rglob("*") if p.is_file()]
    assert files
    assert all(SECRET.encode() not in p.read_bytes() for p in files)


def test_arguments_that_are_no_json_go_back_to_the_model(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    half = says("A long story")
    half["chunks"] = [*half["chunks"][:2], chunk({}, "tool_calls")]
    endpoint.turns = [half, says("Short.")]
    assert reply(runtime)["replies"] == ["Short."]
    assert "not a JSON object" in endpoint.requests[1]["messages"][-1]["content"]
    sent = endpoint.requests[1]["messages"][-2]["tool_calls"][0]["function"]["arguments"]
    assert isinstance(json.loads(sent), dict), "what goes back is JSON: some servers parse it"


@pytest.mark.parametrize("machine", ["memgpt", "react", "self_refine"])
def test_a_reply_cut_by_the_token_limit_is_told_and_not_half_used(
    runtime: Runtime, endpoint: FakeOpenAI, machine: Machine
) -> None:
    half = says("A long story")
    half["chunks"] = [*half["chunks"][:2], chunk({}, "length")]
    endpoint.turns = [half]
    contexts: dict[Machine, Any] = {
        "memgpt": Context(agent="ada"),
        "react": ReactContext(),
        "self_refine": RefineContext(),
    }
    runtime.settings = runtime.settings.model_copy(update={"reply_tokens": 200})
    with pytest.raises(ModelFailed, match="PALIMPSEST_REPLY_TOKENS"):
        runtime.run(machine, "cut", "Tell me a long story.", contexts[machine])
    assert [r["max_tokens"] for r in endpoint.requests] == [200], "the same limit would cut it again"


@pytest.mark.parametrize(("context", "room"), [(0, 3_000), (100_000, 3_000), (4_000, 4_000 - 1_500 - CONTEXT_MARGIN)])
def test_a_reply_that_was_cut_off_is_asked_for_with_what_room_there_is(
    runtime: Runtime, endpoint: FakeOpenAI, context: int, room: int
) -> None:
    endpoint.told = {"/props": {"default_generation_settings": {"n_ctx": context}}}
    runtime.settings = runtime.settings.model_copy(update={"reply_tokens": 3_000})
    half = says("A long story")
    half["chunks"] = [*half["chunks"][:2], chunk({}, "length"), half["chunks"][-1]]
    endpoint.turns = [half, says("A long story, whole."), half, half]
    assert reply(runtime)["replies"] == ["A long story, whole."]
    assert [r["max_tokens"] for r in endpoint.requests] == [FIRST_ROOM, room]
    with pytest.raises(ModelFailed, match=r"after 9 tokens.* PALIMPSEST_REPLY_TOKENS"):
        reply(runtime)
    assert not endpoint.turns, "asked twice, and no more"


def test_a_context_without_more_room_evicts_nothing(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    half = says("A long story")
    half["chunks"] = [*half["chunks"][:2], chunk({}, "length")]
    told = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."
    endpoint.turns = [half, {"status": 400, "body": json.dumps({"error": {"message": told}})}]
    with pytest.raises(ModelFailed, match="PALIMPSEST_REPLY_TOKENS"):
        reply(runtime)
    assert not endpoint.turns
    endpoint.turns = [says("A short one.")]
    state = reply(runtime, "A short one, then.")
    assert (state["replies"], state.get("limit", 0)) == (["A short one."], 0)


def test_without_an_endpoint_there_is_the_offline_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_model("", Settings()), OfflineModel)
    with pytest.raises(ModelFailed, match="OPENAI_BASE_URL"):
        open_model("some-model", Settings())
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(ModelFailed, match="lists no model"):
        open_model("", Settings())


def test_a_local_server_is_found_at_its_usual_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_openai() as fake:
        port = int(fake.url.split(":")[2].removesuffix("/v1"))
        monkeypatch.setattr("models.endpoint.LOCAL_SERVERS", {"Ollama": port, "vLLM": 9})
        found = local_endpoints()
        assert [(e.name, e.models) for e in found] == [("Ollama", ["fake"])]
        assert open_model("", Settings())._llm_type == "openai-chat"
    assert isinstance(open_model("", Settings()), OfflineModel), "which model there is, is looked up anew"
    assert list_models(fake.url, "") == []


# ---- the offline model -----------------------------------------------------------------------------------------------


def talk(runtime: Runtime, text: str, **options: Any) -> str:
    state = runtime.run("memgpt", "t", text, Context(agent="ada", model="offline", **options))
    return "\n".join(state["replies"])


def test_offline_it_keeps_facts_and_quotes_them_after_they_left_the_window(runtime: Runtime) -> None:
    assert "kept" in talk(runtime, "My cat is called Byron.", window=2_800)
    for n in range(12):
        talk(runtime, f"Note {n}: the river was high and the market was full of apples.", window=2_800)
    assert runtime.state("memgpt", "t")["evicted"]["total"] > 10
    assert "> My cat is called Byron." in talk(runtime, "What is my cat called?", window=2_800)
    assert "nothing about that" in talk(runtime, "Who painted the zebra?", window=2_800)
    assert "quotations from memory" in talk(runtime, "What is my cat called?", window=2_800)
    assert "My cat is called Byron." in runtime.state("memgpt", "t")["working_context"]["human"]


def test_offline_it_answers_from_a_document(runtime: Runtime) -> None:
    from memory.archival import Archival

    Archival(runtime.store, "ada").ingest("tea.md", [Section("Oolong is half oxidised.", "Kinds of tea")])
    answer = talk(runtime, "What is oolong?")
    assert "Oolong is half oxidised." in answer
    assert "tea.md · Kinds of tea" in answer


def test_offline_the_same_prompt_gives_the_same_reply() -> None:
    prompt = [
        SystemMessage("…"),
        HumanMessage(json.dumps({"type": "user_message", "message": "I like tea", "time": ""})),
    ]
    bound = OfflineModel().bind_tools(TOOL_SCHEMAS)
    assert bound.invoke(prompt).tool_calls == bound.invoke(prompt).tool_calls
    streamed = list(bound.stream(prompt))
    assert len(streamed) > 3


@pytest.mark.parametrize(
    ("text", "asks"),
    [("What is it", True), ("Is it?", True), ("I like what I see.", False), ("remind me of tea", True)],
)
def test_questions_are_told_from_statements(text: str, asks: bool) -> None:
    assert is_question(text) is asks


def test_a_digest_keeps_the_latest_and_stays_short() -> None:
    old = "Old summary:\nfirst line\n\nWhat leaves:\n" + "\n".join(f"user: fact {n}. More." for n in range(60))
    text = digest(old)
    assert "fact 59" in text
    assert len(text.split()) <= 90


# ---- the scripted model ----------------------------------------------------------------------------------------------


def test_the_script_is_strict() -> None:
    model = ScriptedModel(turns=["a", "b"], prompts=[])
    model.invoke("x")
    with pytest.raises(UnexpectedTurn, match="1 of 2 turns were not used"):
        model.finish()
    model.invoke("x")
    with pytest.raises(UnexpectedTurn, match="Call 3"):
        model.invoke("x")


@pytest.mark.parametrize(
    "messages",
    [
        [ToolMessage("r", tool_call_id="a")],
        [call("f", id="a"), HumanMessage("x")],
        [call("f", id="a")],
        [call("f", id="a"), ToolMessage("r", tool_call_id="a"), ToolMessage("r", tool_call_id="a")],
        [HumanMessage("x"), SystemMessage("y")],
        [AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "a", "type": "tool_call"}] * 2)],
    ],
)
def test_a_prompt_that_a_provider_would_refuse_is_refused(messages: Any) -> None:
    with pytest.raises(BrokenPrompt):
        check_prompt(messages)
