"""How a model calls tools: found once, kept, and used; and what the MemGPT machine does for a model that is small."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from langchain_core.messages import HumanMessage
from pydantic import SecretStr

from graphs.memgpt import Context
from graphs.react import Context as ReactContext
from memory.archival import Archival
from models.chat import FIRST_ROOM
from models.endpoint import list_models
from models.protocol import KeptProtocols, offer, rendered, response_format, tool_line
from models.refusals import ModelFailed
from models.reply import is_circling
from nodes.memgpt.keep import NOTE_TOKENS, supported
from nodes.memgpt.log import DELIVERED
from nodes.memgpt.page import UNANSWERED
from nodes.memgpt.tools import TOOL_SCHEMAS
from nodes.memgpt.window import estimate, measure
from runtime import Runtime
from tests.graphs.test_memgpt import log, play
from tests.models.fake_openai import FakeOpenAI, Turn, chunk, fake_openai, says, writes

NOTE = json.dumps({"name": "note", "arguments": {"text": "x"}})
HELLO = json.dumps({"name": "send_message", "arguments": {"message": "Hello, Ada."}})
KEPT = json.dumps(
    {"name": "archival_memory_insert", "arguments": {"content": "The person is Ada.", "request_heartbeat": False}}
)


@pytest.fixture
def endpoint(runtime: Runtime) -> Iterator[FakeOpenAI]:
    with fake_openai() as fake:
        set_calls(runtime, fake, "auto")
        yield fake


def set_calls(runtime: Runtime, fake: FakeOpenAI, calls: str, **more: Any) -> None:
    given = {"base_url": fake.url, "api_key": SecretStr("sk-x"), "reply_seconds": 20.0, "calls": calls, **more}
    runtime.settings = runtime.settings.model_copy(update=given)


def turn(runtime: Runtime, text: str, **options: Any) -> Any:
    return runtime.run("memgpt", "t", text, Context(agent="ada", **options))


def test_a_model_with_native_calls_is_never_probed(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    endpoint.turns = [says("Hello."), says("Yes.")]
    assert turn(runtime, "I am Ada.")["replies"] == ["Hello."]
    assert turn(runtime, "I like tea.")["replies"] == ["Yes."]
    assert [("tools" in r, "response_format" in r) for r in endpoint.requests] == [(True, False)] * 2
    assert KeptProtocols(runtime.settings.folder / "protocols.json").of(endpoint.url, "fake") == "native"


def test_probes_are_not_shown(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    endpoint.turns = [
        writes("I see."),
        writes("I note it."),
        writes(NOTE),
        writes(NOTE),
        writes(HELLO),
        writes("nothing"),
    ]
    parts = list(runtime.stream("memgpt", "t", "I am Ada.", Context(agent="ada")))
    shown = "".join(part["data"][0].text for part in parts if part["type"] == "messages")
    assert "Hello, Ada." in shown
    assert "note" not in shown


def test_a_model_that_writes_its_calls_is_probed_once_and_then_asked_by_schema(
    runtime: Runtime, endpoint: FakeOpenAI
) -> None:
    endpoint.turns = [writes(HELLO), writes("I note it."), writes(NOTE), writes(NOTE), writes(KEPT)]
    assert turn(runtime, "I am Ada, the cellist.")["replies"] == ["Hello, Ada."]
    assert [("tools" in r, "response_format" in r) for r in endpoint.requests] == [
        (True, False), (True, False), (False, True), (False, True), (False, True),
    ]  # fmt: skip
    asked_last = endpoint.requests[-1]["response_format"]["json_schema"]["schema"]["anyOf"]
    assert [call["properties"]["name"]["const"] for call in asked_last] == ["archival_memory_insert", "speak"]
    assert Archival(runtime.store, "ada").search("Ada").items[0].value["text"] == "The person is Ada."
    endpoint.turns = [writes(HELLO)]
    assert turn(runtime, "What is my name?")["replies"] == ["Hello, Ada."]
    assert "response_format" in endpoint.requests[-1]


def test_a_model_without_schemas_is_asked_in_its_text(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    refused = {"status": 400, "body": json.dumps({"error": {"message": "response_format is not supported"}})}
    endpoint.turns = [writes(HELLO), writes("no"), refused, writes(HELLO)]
    assert turn(runtime, "Who is there?")["replies"] == ["Hello, Ada."]
    assert turn(runtime, "And who am I?")["replies"] == ["Hello, Ada."]
    assert not {"tools", "response_format"} & endpoint.requests[-1].keys()
    assert "- send_message(message):" in endpoint.requests[-1]["messages"][0]["content"]


@pytest.mark.parametrize("status", [400, 422, 501])
@pytest.mark.parametrize("before", [[], [says("Yes.")]], ids=["a new one", "one that took them before"])
def test_a_server_that_refuses_tools_is_probed(
    runtime: Runtime, endpoint: FakeOpenAI, status: int, before: list[Turn]
) -> None:
    told = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    refused = {"status": status, "body": json.dumps({"error": {"message": told, "code": status}})}
    endpoint.turns = [*before, refused, refused, writes(NOTE), writes(NOTE), writes(HELLO)]
    for _ in before:
        assert turn(runtime, "Are you there?")["replies"] == ["Yes."]
    assert turn(runtime, "Who is there?")["replies"] == ["Hello, Ada."]
    assert KeptProtocols(runtime.settings.folder / "protocols.json").of(endpoint.url, "fake") == "schema"


def test_the_way_can_be_set(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "schema")
    endpoint.turns = [writes(HELLO)]
    assert turn(runtime, "Who is there?")["replies"] == ["Hello, Ada."]
    (request,) = endpoint.requests
    assert "response_format" in request
    assert request["messages"][-1]["content"] == 'The person says: "Who is there?"'


def test_the_window_counts_the_tools_as_they_are_told(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    sizes = {}
    for calls, reply in (("native", says("Hello.")), ("schema", writes(HELLO)), ("text", writes(HELLO))):
        set_calls(runtime, endpoint, calls)
        endpoint.turns = [reply]
        usage = measure(turn(runtime, "Who is there?"), Context(agent="ada"))
        sizes[calls] = usage.instructions + usage.working_context
        sent = endpoint.requests[-1]
        told = estimate(sent["messages"][0]["content"]) + estimate(json.dumps(sent.get("tools", "")))
        assert 0.9 * told < sizes[calls] < 1.1 * told + 100
    assert sizes["schema"] < 0.6 * sizes["native"]


def test_react_speaks_its_answer_by_schema(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "schema")
    endpoint.turns = [
        writes(json.dumps({"name": "calculator", "arguments": {"expression": "6 * 7"}})),
        writes(json.dumps({"name": "speak", "arguments": {"text": "42"}})),
    ]
    state = runtime.run("react", "r", "What is six times seven?", ReactContext(tools=["calculator"]))
    assert (state["answer"], state["stop"]) == ("42", "answered")
    assert endpoint.requests[1]["messages"][-1]["content"] == "[result of calculator] 42"


def test_react_that_goes_round_in_circles_is_held_to_an_answer(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "schema")
    again = writes(json.dumps({"name": "calculator", "arguments": {"expression": "6 * 7"}}))
    endpoint.turns = [again, again, writes(json.dumps({"name": "speak", "arguments": {"text": "42"}}))]
    state = runtime.run("react", "r", "What is six times seven?", ReactContext(tools=["calculator"], max_repeats=2))
    assert (state["answer"], state["stop"], state["steps"]) == ("42", "answered", 3)
    offered = endpoint.requests[2]["response_format"]["json_schema"]["schema"]["anyOf"]
    assert [call["properties"]["name"]["const"] for call in offered] == ["speak"]


def test_the_good_turns_make_sound_calls() -> None:
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOL_SCHEMAS}
    told = rendered([HumanMessage("Hello!")], TOOL_SCHEMAS, "schema")[0][0].text
    shown = [json.loads(line[5:]) for line in told.splitlines() if line.startswith("You: ")]
    assert shown
    for made in shown:
        jsonschema.validate(made["arguments"], schemas[made["name"]])


def test_nine_tools_are_told_in_few_tokens() -> None:
    lines = "\n".join(map(tool_line, offer(TOOL_SCHEMAS)))
    assert len(lines.splitlines()) == 9
    assert estimate(lines) <= 400
    schema = json.dumps(response_format(offer(TOOL_SCHEMAS)))
    assert not {"pattern", "maxLength", "default"} & set(schema.split('"')), "grammars of servers trip over these"


@pytest.mark.parametrize(
    ("listed", "chat"),
    [
        (["nomic-embed-text:latest", "qwen3:8b"], ["qwen3:8b"]),
        (["text-embedding-3-small", "whisper-1", "gpt-4.1-mini", "tts-1", "dall-e-3"], ["gpt-4.1-mini"]),
        (["BAAI/bge-m3", "jina-reranker-v2", "mxbai-embed-large", "all-minilm:l6-v2", "lfm2.5:1.2b"], ["lfm2.5:1.2b"]),
        (["meta-llama/Llama-3.1-8B-Instruct", "omni-moderation-latest"], ["meta-llama/Llama-3.1-8B-Instruct"]),
    ],
)
def test_only_models_that_chat_are_listed(monkeypatch: pytest.MonkeyPatch, listed: list[str], chat: list[str]) -> None:
    with fake_openai() as fake:
        monkeypatch.setattr(fake, "models", listed)
        assert list_models(fake.url, "") == chat


# ---- nobody is left without an answer -------------------------------------------------------------------------------


def test_an_agent_that_only_thinks_is_reminded_and_may_answer(runtime: Runtime) -> None:
    from models.scripted import call

    state, model = play(runtime, "A friendly person.", call("send_message", message="Hello!"), answers=True)
    assert state["replies"] == ["Hello!"]
    assert UNANSWERED in model.prompts[1][-1].text
    assert [role for role, _ in log(runtime)][:4] == ["user", "monologue", "alert", "assistant"]


def test_what_it_wrote_to_itself_is_delivered_at_last(runtime: Runtime) -> None:
    state, _ = play(runtime, "Your dog is called Biscuit.", "As I said: Biscuit.", answers=True)
    assert (state["replies"], state["stop"]) == (["As I said: Biscuit."], "waiting")
    last = runtime.store.find(("ada", "message"), newest_first=True).items[0]
    assert last.key.endswith(DELIVERED)
    assert last.value["role"] == "assistant"
    state, _ = play(runtime, "hm", "hm again", text="And now?", answers=True)
    assert state["replies"] == ["hm again"], "each message of a person"


def test_what_no_person_began_may_end_in_silence(runtime: Runtime) -> None:
    from graphs.memgpt import timed_event

    state, _ = play(runtime, "Nothing to do.", text=timed_event("It is noon."), answers=True)
    assert (state["replies"], state["stop"]) == ([], "waiting")


# ---- a model with less room ------------------------------------------------------------------------------------------


def test_a_context_that_is_smaller_than_the_window_is_found_out_and_kept(
    runtime: Runtime, endpoint: FakeOpenAI
) -> None:
    set_calls(runtime, endpoint, "native")
    for number in range(12):
        endpoint.turns = [says(f"Yes, {number}. " + "I have heard that. " * 12)]
        turn(runtime, f"Fact {number}: " + "the river was high today. " * 12, window=8_192)
    refused = {"status": 400, "body": json.dumps({"error": "context window exceeded: 5029 > 4096"})}
    endpoint.turns = [refused, writes("A summary."), says("Still here."), writes("Noted.")]
    state = turn(runtime, "Are you there?", window=8_192)
    assert state["replies"] == ["Still here."]
    assert state["limit"] < 4_096
    assert state["evicted"]["total"] > 0


def test_a_context_that_is_too_small_says_so(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "native")
    endpoint.turns = [
        {"status": 400, "body": json.dumps({"error": "the request exceeds the available context size (512 tokens)"})}
    ]
    with pytest.raises(ModelFailed, match="512 tokens"):
        turn(runtime, "Hello")


def test_the_prompt_before_is_the_beginning_of_the_next(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    """So that a server's cache serves all but what is new, until a block is edited or the window flushed."""
    for calls in ("native", "schema"):
        set_calls(runtime, endpoint, calls)
        endpoint.requests.clear()
        for number in range(5):
            endpoint.turns = [says("Yes.")] if calls == "native" else [writes(HELLO)]
            runtime.run("memgpt", calls, f"Is it {number}?", Context(agent=calls))
        prompts = [json.dumps(r["messages"])[:-1] for r in endpoint.requests]
        assert all(then.startswith(first) for first, then in itertools.pairwise(prompts))


def test_a_note_that_rambles_is_short_and_costs_nothing(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "schema")
    note = json.dumps({"name": "archival_memory_insert", "arguments": {"content": "The person is Ada."}})
    half = {"chunks": [chunk({"content": note[:-9]}), chunk({}, "length")]}
    endpoint.turns = [writes(HELLO), half, writes(HELLO), writes(note)]
    assert turn(runtime, "I am Ada.")["replies"] == ["Hello, Ada."]
    assert Archival(runtime.store, "ada").count() == 0, "half a note is none"
    assert turn(runtime, "I am Ada.")["replies"] == ["Hello, Ada."]
    assert Archival(runtime.store, "ada").count() == 1
    assert [r["max_tokens"] for r in endpoint.requests] == [FIRST_ROOM, NOTE_TOKENS, FIRST_ROOM, NOTE_TOKENS]


def test_a_note_keeps_no_sentence_that_was_made_up() -> None:
    note = "The person works as a gardener in Ghent. They hope to travel the world."
    assert supported(note, "I work as a gardener.") == "The person works as a gardener in Ghent."
    assert supported("nothing", "It has been raining.") == ""
    copied = "Their cat is called Mo. The person has a dog called Ziggy."
    assert supported(copied, "My dog is called Ziggy.") == "The person has a dog called Ziggy."
    assert supported("The person loves jazz.", "I love jazz!") == "The person loves jazz."


def test_a_note_in_another_call_counts_where_it_begins_as_was_asked(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "text")
    for n, said in enumerate(("Ada plays the cello, how nice!", "The person is Ada and plays the cello.")):
        chat = json.dumps({"name": "send_message", "arguments": {"message": said}})
        endpoint.turns = [writes(HELLO), writes(chat)]
        turn(runtime, "I am Ada and play the cello.")
        assert Archival(runtime.store, "ada").count() == n


def test_an_answer_in_a_stream_without_an_end_is_taken(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "native")
    whole = says("Whole.")
    whole["chunks"] = [
        part for part in whole["chunks"] if not (part["choices"] and part["choices"][0]["finish_reason"])
    ]
    endpoint.turns = [whole]
    assert turn(runtime, "Hello")["replies"] == ["Whole."]
    body = {"choices": [{"message": {"content": HELLO}, "finish_reason": "stop"}]}
    endpoint.turns = [{"status": 200, "body": json.dumps(body)}]
    assert turn(runtime, "Is that a body?")["replies"] == ["Hello, Ada."]
    failed = {"error": {"message": "Insufficient credits", "code": 402}}
    endpoint.turns = [{"status": 200, "body": json.dumps(failed)}]
    with pytest.raises(ModelFailed, match="Insufficient credits"):
        turn(runtime, "And now?")
    endpoint.turns = [{"chunks": [chunk({"content": "x"}), failed]}]
    with pytest.raises(ModelFailed, match="Insufficient credits"):
        turn(runtime, "Once more")


def test_a_server_without_a_system_role_is_understood_once(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "native")
    refused = {"status": 500, "body": json.dumps({"error": {"message": "Jinja: System role not supported"}})}
    endpoint.turns = [refused, says("Hello."), says("Yes.")]
    assert turn(runtime, "Hello")["replies"] == ["Hello."]
    assert turn(runtime, "Again")["replies"] == ["Yes."]
    assert [r["messages"][0]["role"] for r in endpoint.requests] == ["system", "user", "user"]


def test_the_bound_of_a_reply_goes_by_the_name_that_the_server_knows(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "native")
    told = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    endpoint.turns = [{"status": 400, "body": json.dumps({"error": {"message": told}})}, says("Hello.")]
    assert turn(runtime, "Hello")["replies"] == ["Hello."]
    assert ["max_tokens" in r for r in endpoint.requests] == [True, False]
    assert endpoint.requests[1]["max_completion_tokens"] == FIRST_ROOM


@pytest.mark.parametrize(
    "circle",
    [
        "I am sorry. ",
        " ",
        "\\n",
        "0, ",
        "very, very much, and then some more of it, ",
        "".join(f"They like {x}, and live in {x}. " for x in "abcdefghijklm"),
    ],
)
def test_a_reply_that_goes_round_in_circles_is_ended_and_asked_for_again(
    runtime: Runtime, endpoint: FakeOpenAI, circle: str
) -> None:
    set_calls(runtime, endpoint, "schema")
    begun = '{"name": "send_message", "arguments": {"message": "Oh. '
    endless = {"chunks": [chunk({"content": text}) for text in (begun, *[circle] * 3000)]}
    endpoint.turns = [endless, writes(HELLO), writes("nothing to keep")]
    parts = list(runtime.stream("memgpt", "t", "I am Ada.", Context(agent="ada")))
    assert runtime.state("memgpt", "t")["replies"] == ["Hello, Ada."]
    assert sum(len(part["data"][0].text) for part in parts if part["type"] == "messages") < 1_500, "not read to its end"


def test_a_thought_that_goes_round_in_circles_is_ended(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "native")
    endless = {"chunks": [chunk({"reasoning_content": "Wait, let me see. "}) for _ in range(100)]}
    endpoint.turns = [endless, says("Hello.")]
    state = turn(runtime, "Are you there?")
    assert (state["replies"], state["thoughts"]) == (["Hello."], [])


def test_a_probe_that_goes_round_in_circles_is_not_repeated(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "auto")
    endless = {"chunks": [chunk({"content": "I am sorry. "}) for _ in range(100)]}
    endpoint.turns = [writes("Hello!"), endless, endless, writes(HELLO), writes("nothing to keep")]
    assert turn(runtime, "Are you there?")["replies"] == ["Hello, Ada."]
    assert [r.get("temperature") for r in endpoint.requests] == [None, 0.0, 0.0, None], (
        "at temperature 0 it comes again"
    )


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{n}. apples, " for n in range(300)),
        "| a | b |\n" + "|---|---|\n" * 20 + "".join(f"| row {n} | {n * n} |\n" for n in range(60)),
        "No. " * 100,
        "",
    ],
)
def test_lists_tables_and_a_little_stammer_are_no_circle(text: str) -> None:
    assert not is_circling(text)


def test_a_call_that_was_cut_off_is_asked_for_once_more(runtime: Runtime, endpoint: FakeOpenAI) -> None:
    set_calls(runtime, endpoint, "schema", reply_tokens=500)
    half = {"chunks": [chunk({"content": HELLO[:-20]}), chunk({}, "length")]}
    endpoint.turns = [half, writes(HELLO), writes("nothing to keep")]
    assert turn(runtime, "I am Ada.")["replies"] == ["Hello, Ada."]
    endpoint.turns = [half, half]
    with pytest.raises(ModelFailed, match="PALIMPSEST_REPLY_TOKENS"):
        turn(runtime, "I like tea.")
