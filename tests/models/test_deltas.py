"""Replies as servers really stream them: each shape comes out as the same sound reply."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.utils import message_chunk_to_message

from models.deltas import Assembly
from models.intake import Reply, reply_of
from nodes.memgpt.tools import TOOL_SCHEMAS
from tests.models.fake_openai import chunk

NOTE, SEND = {"block": "human", "content": "Ada", "request_heartbeat": True}, {"message": "Hello Ada."}
NOTE_TEXT, SEND_TEXT = json.dumps(NOTE), json.dumps(SEND)
BOTH = [("working_context_append", NOTE), ("send_message", SEND)]
HALF = len(SEND_TEXT) // 2


def calls(*given: dict[str, Any]) -> dict[str, Any]:
    return chunk({"tool_calls": list(given)})


def of(name: str | None, arguments: Any, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {**more, "type": "function", "function": function}


def read(*pieces: dict[str, Any]) -> Reply:
    assembly, whole = Assembly(), AIMessageChunk(content="")
    for piece in pieces:
        for made in assembly.take(piece):
            whole = whole + made
    whole = whole + assembly.end()
    raw = {str(c["id"]): c["args"] or "" for c in whole.tool_call_chunks}
    message = message_chunk_to_message(whole)
    message.additional_kwargs["pieces"] = raw
    return reply_of(message, TOOL_SCHEMAS)  # type: ignore[arg-type]


def note(text: Any = NOTE_TEXT, **more: Any) -> dict[str, Any]:
    return of("working_context_append", text, **more)


def send(text: Any = SEND_TEXT, **more: Any) -> dict[str, Any]:
    return of("send_message", text, **more)


TWO: dict[str, list[dict[str, Any]]] = {
    "as OpenAI does": [
        calls(note("", index=0, id="a")), calls(of(None, NOTE_TEXT[:9], index=0)), calls(of(None, NOTE_TEXT[9:], index=0)),
        calls(send("", index=1, id="b")), calls(of(None, SEND_TEXT, index=1)), chunk({}, "tool_calls"),
    ],
    "both at once": [calls(note(index=0, id="a"), send(index=1, id="b")), chunk({}, "tool_calls")],
    "index 0 for both, ids differ": [calls(note(index=0, id="a")), calls(send(index=0, id="b")), chunk({}, "tool_calls")],
    "index 0 for both, ids empty": [calls(note(index=0, id="")), calls(send(index=0, id="")), chunk({}, "stop")],
    "index 0 for both, no ids": [calls(note(index=0)), calls(send(index=0)), chunk({}, "stop")],
    "index 0 for both, one id": [calls(note(index=0, id="x")), calls(send(index=0, id="x")), chunk({}, "stop")],
    "no index, ids": [calls(note(id="a")), calls(send(id="b")), chunk({}, "tool_calls")],
    "no index, no ids": [calls(note()), calls(send()), chunk({}, "tool_calls")],
    "no index, no ids, at once": [calls(note(), send()), chunk({}, "tool_calls")],
    "no index, in pieces": [
        calls(note("")), calls(of(None, NOTE_TEXT[:9])), calls(of(None, NOTE_TEXT[9:])), calls(send("")),
        calls(of(None, SEND_TEXT[:HALF])), calls(of(None, SEND_TEXT[HALF:])), chunk({}, "tool_calls"),
    ],
    "no index, the name with each piece": [
        calls(note(NOTE_TEXT[:9])), calls(note(NOTE_TEXT[9:])), calls(send(SEND_TEXT[:HALF])), calls(send(SEND_TEXT[HALF:])),
    ],
    "indexes from 1": [calls(note(index=1, id="a")), calls(send(index=2, id="b")), chunk({}, "tool_calls")],
    "index null": [calls(note(index=None, id="a")), calls(send(index=None, id="b")), chunk({}, "tool_calls")],
    "index as text": [calls(note(index="0", id="a")), calls(send(index="1", id="b")), chunk({}, "tool_calls")],
    "arguments as objects": [calls(note(NOTE, index=0, id="a"), send(SEND, index=1, id="b")), chunk({}, "tool_calls")],
    "arguments encoded twice": [
        calls(note(json.dumps(NOTE_TEXT), index=0, id="a"), send(json.dumps(SEND_TEXT), index=1, id="b")),
    ],
    "the whole, anew with each piece": [
        calls(note(NOTE_TEXT[:9], index=0, id="a")), calls(of(None, NOTE_TEXT, index=0)), calls(send(SEND_TEXT[:5], index=1, id="b")),
        calls(of(None, SEND_TEXT[:HALF], index=1)), calls(of(None, SEND_TEXT, index=1)), chunk({}, "tool_calls"),
    ],
    "the whole once more at the end": [
        calls(note(index=0, id="a")), calls(of(None, NOTE_TEXT, index=0)), calls(send(index=1, id="b")), chunk({}, "stop"),
    ],
    "another id with each piece": [
        calls(note(NOTE_TEXT[:9], index=0, id="a1")), calls(of(None, NOTE_TEXT[9:], index=0, id="a2")),
        calls(send(index=1, id="b1")), chunk({}, "tool_calls"),
    ],
    "the pieces mixed": [
        calls(note("", index=0, id="a")), calls(send("", index=1, id="b")), calls(of(None, SEND_TEXT[:HALF], index=1)),
        calls(of(None, NOTE_TEXT, index=0)), calls(of(None, SEND_TEXT[HALF:], index=1)), chunk({}, "tool_calls"),
    ],
    "one call as an object, not in a list": [
        chunk({"tool_calls": note(index=0, id="a")}), chunk({"tool_calls": send(index=1, id="b")}), chunk({}, "tool_calls"),
    ],
    "a body instead of a stream": [
        {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [note(id="a"), send(id="b")]}, "finish_reason": "stop"}]},
    ],
    "a body with objects": [{"choices": [{"message": {"tool_calls": [note(NOTE), send(SEND)]}, "finish_reason": None}]}],
    "text before the calls": [
        chunk({"role": "assistant", "content": "I note it."}), calls(note(index=0, id="a"), send(index=1, id="b")), chunk({}, "tool_calls"),
    ],
    "no word why it ended": [calls(note(index=0, id="a"), send(index=1, id="b"))],
    "an empty word why it ended": [calls(note(index=0, id="a"), send(index=1, id="b")), chunk({}, "")],
    "delta null at the end": [
        calls(note(index=0, id="a"), send(index=1, id="b")), {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]},
    ],
    "usage null, and choices empty": [
        {"choices": [], "usage": None}, calls(note(index=0, id="a"), send(index=1, id="b")), {"choices": None, "usage": None},
    ],
    "parameters for arguments": [
        calls({"index": 0, "id": "a", "function": {"name": "working_context_append", "parameters": NOTE}}, send(SEND, index=1, id="b")),
    ],
    "without the word function": [
        calls({"id": "a", "name": "working_context_append", "arguments": NOTE_TEXT}, {"id": "b", "name": "send_message", "arguments": SEND}),
    ],
    "calls as JSON lines in the text": [
        chunk({"content": json.dumps({"name": "working_context_append", "arguments": NOTE}) + "\n"}),
        chunk({"content": json.dumps({"name": "send_message", "arguments": SEND})}), chunk({}, "stop"),
    ],
    "calls as a list in the text": [
        chunk({"content": "[TOOL_CALLS] " + json.dumps([{"name": n, "arguments": a} for n, a in BOTH])}), chunk({}, "stop"),
    ],
}  # fmt: skip

TEXTS: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "in pieces": ([chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop")], "Hello", ""),
    "in parts": ([chunk({"content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]})], "Hello", ""),
    "a delta that is text": ([{"choices": [{"delta": "Hello"}]}], "Hello", ""),
    "the form of completions": ([{"choices": [{"text": "Hello", "finish_reason": "stop"}]}], "Hello", ""),
    "reasoning_content": ([chunk({"reasoning_content": "He "}), chunk({"reasoning_content": "greets."}), chunk({"content": "Hello"})], "Hello", "He greets."),
    "reasoning": ([chunk({"reasoning": "He greets.", "content": ""}), chunk({"content": "Hello"})], "Hello", "He greets."),
    "thinking tags": ([chunk({"content": "<think>He greets."}), chunk({"content": "</think>\n\nHello"})], "Hello", "He greets."),
    "without the opening tag": ([chunk({"content": "He greets.\n</think>\n\nHello"})], "Hello", "He greets."),
    "Harmony's channels": (
        [chunk({"content": "<|channel|>analysis<|message|>He greets.<|end|><|start|>assistant<|channel|>final<|message|>Hello<|return|>"})],
        "Hello", "He greets.",
    ),
    "a body": ([{"choices": [{"message": {"content": "Hello", "reasoning_content": "He greets."}}]}], "Hello", "He greets."),
    "a thought that never ends": ([chunk({"content": "<think>He greets"}), chunk({}, "stop")], "", "He greets"),
    "the refusal's field null": ([chunk({"content": "Hello", "refusal": None, "tool_calls": None, "function_call": None})], "Hello", ""),
}  # fmt: skip


@pytest.mark.parametrize("shape", TWO)
def test_two_calls_come_out_of_every_shape(shape: str) -> None:
    reply = read(*TWO[shape])
    assert [(c["name"], c["args"]) for c in reply.calls] == BOTH
    assert len({c["id"] for c in reply.calls}) == 2
    assert not reply.malformed


@pytest.mark.parametrize("shape", TEXTS)
def test_text_and_thoughts_come_out_apart(shape: str) -> None:
    pieces, text, thoughts = TEXTS[shape]
    reply = read(*pieces)
    assert (reply.text, reply.thoughts, reply.calls) == (text, thoughts, ())


def test_a_broken_call_costs_no_sound_one() -> None:
    reply = read(calls(note(index=0, id="")), calls(send('{"message": "Hel', index=1, id="")), chunk({}, "tool_calls"))
    assert [c["name"] for c in reply.calls] == ["working_context_append"]
    assert [(m.name, m.arguments) for m in reply.malformed] == [("send_message", '{"message": "Hel')]


@pytest.mark.parametrize(
    ("usages", "read_tokens", "cached"),
    [
        ([{"prompt_tokens": 90, "completion_tokens": 4}], 90, 0),
        ([{"prompt_tokens": 90, "completion_tokens": n} for n in range(1, 5)], 90, 0),
        ([{"prompt_tokens": 90, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 80}}], 90, 80),
        ([{"prompt_tokens": 90, "completion_tokens": 4, "prompt_tokens_details": None}], 90, 0),
        ([None, {"prompt_tokens": None, "completion_tokens": None}], 0, 0),
    ],
)
def test_tokens_are_those_of_the_last_word_on_them(usages: list[Any], read_tokens: int, cached: int) -> None:
    pieces = [{**chunk({"content": "x"}), "usage": usage} for usage in usages]
    reply = read(*pieces)
    assert (reply.input_tokens, reply.cached_tokens) == (read_tokens, cached)


@pytest.mark.parametrize(("tokens", "ended"), [(200, "length"), (199, "tool_calls")])
def test_a_call_that_ends_at_the_bound_is_cut_off_whatever_the_server_says(tokens: int, ended: str) -> None:
    assembly = Assembly(room=200)
    call = {"index": 0, "id": "a", "function": {"name": "note", "arguments": '{"text": "half a'}}
    list(assembly.take({"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}))
    list(assembly.take({"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": tokens}}))
    assert assembly.end().response_metadata["finish_reason"] == ended
