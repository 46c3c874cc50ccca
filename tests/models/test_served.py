"""The context that a server tells of bounds the window before the first prompt is refused, or cut in silence."""

from typing import Any

import pytest
from pydantic import SecretStr

from graphs.memgpt import Context
from models.chat import EndpointChat
from models.refusals import ModelFailed
from models.served import context_length
from nodes.memgpt.window import estimate
from runtime import Runtime
from tests.models.fake_openai import FakeOpenAI, Turn, chunk, fake_openai, says, writes

OLLAMA = {"/api/version": {"version": "0.9.0"}}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"/props": {"default_generation_settings": {"n_ctx": 8192}}}, 8192),
        ({"/v1/models": {"data": [{"id": "other", "max_model_len": 1}, {"id": "fake", "max_model_len": 16384}]}}, 16384),
        ({"/v1/models": {"data": [{"id": "fake", "context_length": 131072}]}}, 131072),
        ({"/api/v0/models": {"data": [{"id": "fake", "max_context_length": 32768, "loaded_context_length": 4096}]}}, 4096),
        ({**OLLAMA, "/api/ps": {"models": [{"name": "fake:latest", "context_length": 6000}]}}, 6000),
        ({**OLLAMA, "/api/ps": {"models": []}, "/api/show": {"parameters": "stop  <end>\nnum_ctx    12288"}}, 12288),
        ({**OLLAMA, "/api/ps": {"models": []}, "/api/show": {"model_info": {"qwen2.context_length": 32768}}}, 4096),
        ({}, 0),
        ({"/props": "no props here"}, 0),
        ({"/props": [8192]}, 0),
        ({"/props": {"default_generation_settings": {"n_ctx": 0}}}, 0),
        ({"/props": {"default_generation_settings": {"n_ctx": "8192"}}}, 0),
        ({"/v1/models": {"data": None}}, 0),
        ({"/v1/models": {"data": ["fake"]}}, 0),
        ({"/v1/models": {"data": [{"id": "fake", "max_model_len": None, "context_length": True}]}}, 0),
    ],
)  # fmt: skip
def test_each_server_tells_it_in_its_place(told: dict[str, Any], expected: int | None) -> None:
    with fake_openai() as fake:
        fake.told = told
        assert context_length(fake.url, "", "fake") == expected


def test_a_server_that_is_not_there_tells_nothing() -> None:
    assert context_length("http://127.0.0.1:9/v1", "", "fake") is None


def test_a_server_is_asked_once_whatever_it_says() -> None:
    for told in ({}, {"/props": {"default_generation_settings": {"n_ctx": 4_000}}}):
        with fake_openai() as fake:
            fake.told = told
            model = EndpointChat(model="fake", url=fake.url)
            before = model.context_tokens()
            fake.told = {"/props": {"default_generation_settings": {"n_ctx": 9_999}}}
            assert model.context_tokens() == before


def test_a_server_that_was_not_there_is_asked_again() -> None:
    with fake_openai() as fake:
        model = EndpointChat(model="fake", url="http://127.0.0.1:9/v1")
        assert model.context_tokens() == 0
        model.url, fake.told = fake.url, {"/props": {"default_generation_settings": {"n_ctx": 4_000}}}
        assert model.context_tokens() == 4_000


class Turns(list[Turn]):
    """A call where tools are offered, a summary where none are."""

    def __init__(self, fake: FakeOpenAI, summary: Turn) -> None:
        self.fake = fake
        self.summary = summary

    def pop(self, index: Any = -1) -> Turn:
        return says("Noted.") if "tools" in self.fake.requests[-1] else self.summary


def play(runtime: Runtime, fake: FakeOpenAI, count: int, summary: str = "They talked of apples.", **more: Any) -> Any:
    given = {"base_url": fake.url, "api_key": SecretStr("sk-x"), "reply_tokens": 500, **more}
    runtime.settings = runtime.settings.model_copy(update=given)
    fake.turns = Turns(
        fake, writes(summary) if summary else {"chunks": [chunk({"content": "They"}), chunk({}, "length")]}
    )
    for n in range(count):
        text = f"Message {n}: {'apples and pears ' * 60}"
        state = runtime.run("memgpt", "t", text, Context(agent="ada", window=32_768))
    return state


def test_no_prompt_is_larger_than_what_the_server_takes(runtime: Runtime) -> None:
    with fake_openai() as fake:
        fake.told = {"/props": {"default_generation_settings": {"n_ctx": 4_000}}}
        state = play(runtime, fake, 14)
        assert state["replies"] == ["Noted."]
        assert state["limit"] == 3_500
        assert state["evicted"]["total"] > 0
        assert max(sum(estimate(str(m["content"])) for m in r["messages"]) for r in fake.requests) <= 3_500


def test_a_summary_that_is_cut_off_costs_no_turn(runtime: Runtime) -> None:
    with fake_openai() as fake:
        fake.told = {"/props": {"default_generation_settings": {"n_ctx": 4_000}}}
        state = play(runtime, fake, 14, summary="", reply_tokens=3_000)
        assert state["replies"] == ["Noted."]
        assert "apples and pears" in state["summary"], "what leaves stands for it"
        summaries = [r["messages"][-1]["content"] for r in fake.requests if "tools" not in r]
        assert len(summaries) == len(set(summaries)) > 0, "each was asked for once: a longer one is no better"


def test_a_context_too_small_for_the_instructions_is_said_before_anything_is_sent(runtime: Runtime) -> None:
    with fake_openai() as fake:
        fake.told = {"/props": {"default_generation_settings": {"n_ctx": 512}}}
        with pytest.raises(ModelFailed, match="leaves a prompt 384 tokens: too few"):
            play(runtime, fake, 1)
        assert not fake.requests


def test_a_conversation_goes_on_when_the_server_has_more_room(runtime: Runtime) -> None:
    with fake_openai() as fake:
        fake.told = {"/props": {"default_generation_settings": {"n_ctx": 512}}}
        with pytest.raises(ModelFailed):
            play(runtime, fake, 1)
    with fake_openai() as fake:
        fake.told = {"/props": {"default_generation_settings": {"n_ctx": 8_000}}}
        assert play(runtime, fake, 2)["replies"] == ["Noted."]


def test_a_full_queue_is_evicted_before_a_smaller_server_sees_it(runtime: Runtime) -> None:
    with fake_openai() as large:
        play(runtime, large, 14)
    with fake_openai() as small:
        small.told = {"/props": {"default_generation_settings": {"n_ctx": 4_000}}}
        assert play(runtime, small, 1)["evicted"]["total"] > 0
        assert max(sum(estimate(str(m["content"])) for m in r["messages"]) for r in small.requests) <= 3_500
