"""Ollama by its own API: it is asked for the context that is needed, and takes and gives what the OpenAI API does."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import SecretStr

from graphs.memgpt import Context
from models.chat import FIRST_ROOM, WINDOW, EndpointChat
from models.refusals import ModelFailed
from models.reply import PROBED, ask
from runtime import Runtime
from tests.models.fake_openai import FakeOpenAI, fake_openai, says

SHOWN = {"model_info": {"general.architecture": "qwen2", "qwen2.context_length": 32_768}, "parameters": "stop <end>"}
TOLD: dict[str, Any] = {"/api/version": {"version": "0.13.0"}, "/api/show": SHOWN}


@pytest.fixture
def ollama(runtime: Runtime) -> Iterator[FakeOpenAI]:
    with fake_openai() as fake:
        fake.told = dict(TOLD)
        given = {"base_url": fake.url, "api_key": SecretStr("ollama"), "reply_seconds": 20.0}
        runtime.settings = runtime.settings.model_copy(update=given)
        yield fake


def lines(*messages: dict[str, Any], reason: str | None = "stop") -> dict[str, Any]:
    end = {"done": True, "done_reason": reason, "prompt_eval_count": 1_500, "eval_count": 9}
    parts = [{"model": "fake", "message": {"role": "assistant", "content": "", **m}, "done": False} for m in messages]
    return {"lines": [*parts, {"message": {"role": "assistant", "content": ""}, **end}]}


def sends(text: str) -> dict[str, Any]:
    return lines({"tool_calls": [{"function": {"name": "send_message", "arguments": {"message": text}}}]})


@pytest.mark.parametrize(
    ("window", "parameters", "context"),
    [
        (3_000, "", WINDOW + 4_096),
        (20_000, "", 20_000 + 4_096),
        (60_000, "", 32_768),
        (3_000, "num_ctx 30000", 30_000),
        (3_000, "num_ctx 2048", WINDOW + 4_096),
    ],
)
def test_it_is_asked_for_the_context_that_is_needed(
    runtime: Runtime, ollama: FakeOpenAI, window: int, parameters: str, context: int
) -> None:
    ollama.told["/api/show"] = {**SHOWN, "parameters": parameters}
    ollama.turns = [sends("Hello, Ada."), sends("Yes.")]
    for said in ("I am Ada.", "Are you there?"):
        state = runtime.run("memgpt", "t", said, Context(agent="ada", window=window))
    assert state["replies"] == ["Yes."]
    assert state.get("limit", 0) == (0 if window < 32_768 else 32_768 - FIRST_ROOM)
    assert ollama.paths == ["/api/chat"] * 2
    assert [r["options"]["num_ctx"] for r in ollama.requests] == [context] * 2, "another one loads the model anew"
    assert ollama.requests[0]["options"]["num_predict"] == FIRST_ROOM
    assert len(ollama.requests[0]["tools"]) == 9


def test_calls_their_results_pictures_and_schemas_go_over_in_its_form(ollama: FakeOpenAI) -> None:
    model = EndpointChat(model="fake", url=ollama.url, calls="schema")
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    call = {"name": "note", "args": {"text": "tea"}, "id": "c1", "type": "tool_call"}
    history = [
        SystemMessage("Note."), HumanMessage([{"type": "text", "text": "This."}, picture]),
        AIMessage("", tool_calls=[call]), ToolMessage("Done.", tool_call_id="c1", name="note"), HumanMessage("And?"),
    ]  # fmt: skip
    ollama.turns = [
        lines({"content": "Well."}),
        lines({"content": json.dumps({"name": "note", "arguments": {"text": "x"}})}),
    ]
    assert ask(model, history, seconds=20, temperature=0.0).text == "Well."
    sent = ollama.requests[0]
    assert sent["messages"][1] == {"role": "user", "content": "This.", "images": ["QUJD"]}
    assert sent["messages"][2]["tool_calls"] == [{"function": {"name": "note", "arguments": {"text": "tea"}}}]
    assert sent["messages"][3] == {"role": "tool", "content": "Done.", "tool_name": "note"}
    assert sent["options"]["temperature"] == 0.0
    assert ask(model, history[:2], [PROBED], seconds=20).calls[0]["args"] == {"text": "x"}
    assert "anyOf" in ollama.requests[1]["format"]


def test_thoughts_counts_and_reasons_come_back(runtime: Runtime, ollama: FakeOpenAI) -> None:
    ollama.turns = [lines({"thinking": "Who is it?"}, sends("Hello.")["lines"][0]["message"])]
    state = runtime.run("memgpt", "t", "I am Ada.", Context(agent="ada"))
    assert (state["replies"], state["thoughts"], state["tokens"]["read"]) == (["Hello."], ["Who is it?"], 1_500)
    ollama.turns = [lines({"content": "A long"}, reason="length"), lines({"content": "A long"}, reason="length")]
    with pytest.raises(ModelFailed, match="cut off after 9 tokens"):
        runtime.run("memgpt", "t", "A story, please.", Context(agent="ada"))


def test_an_old_one_does_not_say_why_it_ended_and_a_new_one_ends_with_the_calls(
    runtime: Runtime, ollama: FakeOpenAI
) -> None:
    last = {**lines()["lines"][-1], "message": sends("Yes.")["lines"][0]["message"]}
    ollama.turns = [lines(sends("Hello.")["lines"][0]["message"], reason=None), {"lines": [last]}]
    for said, answer in (("I am Ada.", "Hello."), ("Are you there?", "Yes.")):
        assert runtime.run("memgpt", "t", said, Context(agent="ada"))["replies"] == [answer]


def test_one_that_is_started_later_is_found(ollama: FakeOpenAI) -> None:
    model = EndpointChat(model="fake", url="http://127.0.0.1:9/v1")
    assert model.context_tokens() == 0
    model.url = ollama.url
    assert model.context_tokens() == 32_768


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ({"status": 404, "body": json.dumps({"error": "model 'fake' not found"})}, "model 'fake' not found"),
        ({"lines": [{"error": "llama runner process no longer running"}]}, "Your message is kept"),
        ({"status": 400, "body": json.dumps({"error": "invalid option"})}, "invalid option"),
    ],
)
def test_what_it_refuses_is_told(runtime: Runtime, ollama: FakeOpenAI, turn: dict[str, Any], reason: str) -> None:
    runtime.settings = runtime.settings.model_copy(update={"reply_seconds": 0.5})
    ollama.turns = [turn] * 9
    with pytest.raises(ModelFailed, match=reason):
        runtime.run("memgpt", "t", "Hello", Context(agent="ada"))


def test_a_model_without_tools_is_asked_by_a_schema(runtime: Runtime, ollama: FakeOpenAI) -> None:
    refused = {"status": 400, "body": json.dumps({"error": "registry.ollama.ai/library/fake does not support tools"})}
    note = lines({"content": json.dumps({"name": "note", "arguments": {"text": "x"}})})
    hello = lines({"content": json.dumps({"name": "send_message", "arguments": {"message": "Hello."}})})
    runtime.settings = runtime.settings.model_copy(update={"calls": "auto"})
    ollama.turns = [refused, refused, note, note, hello]
    assert runtime.run("memgpt", "t", "Who is there?", Context(agent="ada"))["replies"] == ["Hello."]
    assert ["format" in request for request in ollama.requests] == [False, False, True, True, True]


@pytest.mark.parametrize("gone", ["/api/version", "/api/show"])
def test_where_it_does_not_say_what_it_is_the_openai_api_is_used(
    runtime: Runtime, ollama: FakeOpenAI, gone: str
) -> None:
    del ollama.told[gone]
    ollama.told["/api/show"] = ollama.told.get("/api/show", {})
    ollama.turns = [says("Hello.")]
    assert runtime.run("memgpt", "t", "Hello", Context(agent="ada"))["replies"] == ["Hello."]
    assert ollama.paths == ["/v1/chat/completions"]


def test_a_server_that_only_looks_like_it_is_spoken_to_by_the_openai_api(runtime: Runtime, ollama: FakeOpenAI) -> None:
    ollama.turns = [{"status": 404, "body": "404 page not found"}, says("Hello."), says("Yes.")]
    for said in ("Hello", "Are you there?"):
        state = runtime.run("memgpt", "t", said, Context(agent="ada"))
    assert state["replies"] == ["Yes."]
    assert ollama.paths == ["/api/chat", "/v1/chat/completions", "/v1/chat/completions"]
    assert state["limit"] == 4_096 - FIRST_ROOM, "what it serves by default"
