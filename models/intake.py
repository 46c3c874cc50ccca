"""The one place that replies of models pass: they come out as one plain type, whatever came in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCall

from models.notations import Schema, calls_in, fitting
from models.protocol import SPEAK, SPEAKER
from models.thoughts import split_thoughts

CUT_OFF = ("length", "max_tokens", "max_output_tokens", "model_length")
"""Why a reply ended, in the words of OpenAI and of others, where its bound of tokens ended it."""


@dataclass(frozen=True)
class Malformed:
    """A call whose arguments are no JSON object."""

    name: str
    arguments: str
    id: str


@dataclass(frozen=True)
class Reply:
    """What a model said."""

    text: str
    thoughts: str = ""
    """Never an answer, a lesson, a program, a summary or a part of a later prompt."""
    calls: tuple[ToolCall, ...] = ()
    malformed: tuple[Malformed, ...] = ()
    ended: str = ""
    """Why, in the server's word, such as stop, length or tool_calls."""
    input_tokens: int = 0
    """Of the prompt, as the server has counted them; 0: it has not said."""
    cached_tokens: int = 0
    """Of the prompt's, those that the server had computed before."""
    output_tokens: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said and nothing called."""
        return not (self.text.strip() or self.calls or self.malformed)

    @property
    def is_cut_off(self) -> bool:
        """Whether it ended at its bound of tokens: half a reply, which is never used."""
        return self.ended in CUT_OFF


def reply_of(message: AIMessage, tools: Sequence[Schema] = (), prompt: Sequence[BaseMessage] = ()) -> Reply:
    """The reply that a chat model's message is. `tools` were offered; text that stands in `prompt` is quoted, and no call."""
    thoughts, text = split_thoughts(message.text)
    apart = message.additional_kwargs.get("reasoning_content") or _thinking_blocks(message.content)
    calls, malformed = _native(message, tools)
    if tools and not calls and not malformed:
        quoted = "\n".join(m.text for m in prompt if not isinstance(m, AIMessage) and m.type != "system")
        written, text = calls_in(text, [*tools, SPEAKER], quoted)
        said = [str(arguments["text"]) for name, arguments in written if name == SPEAK]
        text = "\n".join(part for part in (text, *said) if part)
        calls = [
            ToolCall(name=name, args=arguments, id=f"text_{n}", type="tool_call")
            for n, (name, arguments) in enumerate(w for w in written if w[0] != SPEAK)
        ]
    usage: Any = message.usage_metadata or {}
    return Reply(
        text=text,
        thoughts="\n".join(part for part in (str(apart), thoughts) if part),
        calls=tuple(calls),
        malformed=tuple(malformed),
        ended=_ended(message),
        input_tokens=usage.get("input_tokens", 0),
        cached_tokens=usage.get("input_token_details", {}).get("cache_read", 0) or 0,
        output_tokens=usage.get("output_tokens", 0),
    )


def _native(message: AIMessage, tools: Sequence[Schema]) -> tuple[list[ToolCall], list[Malformed]]:
    """The calls that the server has told apart, sound and not. Arguments that were encoded twice are sound."""
    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
    malformed: list[Malformed] = []
    pieces: dict[str, str] = message.additional_kwargs.get("pieces", {})
    sound: list[ToolCall] = []
    for call in message.tool_calls:  # LangChain completes arguments that were cut off; half a message must not be sent
        raw = pieces.get(str(call["id"]))
        if raw and not _is_json(raw):
            malformed.append(Malformed(call["name"], raw, str(call["id"] or "")))
        else:
            arguments = _without_wrapping(call, schemas)
            sound.append(ToolCall(name=call["name"], args=arguments, id=call["id"], type="tool_call"))
    for bad in message.invalid_tool_calls:
        text, name = bad.get("args") or "", bad.get("name") or ""
        twice = _decoded_twice(text)
        if twice is not None:
            sound.append(ToolCall(name=name, args=twice, id=bad.get("id"), type="tool_call"))
        elif all(m.id != bad.get("id") for m in malformed):
            malformed.append(Malformed(name, text, str(bad.get("id") or "")))
    return sound, malformed


def _without_wrapping(call: ToolCall, schemas: dict[str, Schema]) -> dict[str, Any]:
    """Arguments that stand in an object of their own, or as text in one, where only these fit the tool."""
    arguments = call["args"]
    schema = schemas.get(call["name"])
    if schema is None or len(arguments) != 1 or fitting(arguments, schema) is not None:
        return arguments
    inner = fitting(next(iter(arguments.values())), schema)
    return arguments if inner is None else inner


def _decoded_twice(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
        value = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _thinking_blocks(content: Any) -> str:
    blocks = [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []
    return "\n".join(
        str(b.get("thinking") or b.get("reasoning") or "") for b in blocks if b.get("type") in ("thinking", "reasoning")
    )


def _ended(message: AIMessage) -> str:
    reasons = (message.response_metadata.get(name) for name in ("finish_reason", "stop_reason", "done_reason"))
    return next((str(reason).lower() for reason in reasons if reason), "")
