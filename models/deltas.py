"""The pieces of a reply, as servers that speak the OpenAI API really stream them, put together into sound messages.

Calls come without an index, with one index for all, with empty, repeated or missing ids, with arguments as an object, whole or in
pieces, or written twice; texts as parts; thoughts under several names; the last piece without a reason.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk

THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Names under which servers send what the model thinks."""


@dataclass
class OpenCall:
    """One call that is being written."""

    id: str
    name: str
    arguments: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are JSON already."""
        try:
            json.loads(self.arguments)
        except ValueError:
            return False
        return True


@dataclass
class Assembly:
    """One reply. `take` gives each piece as LangChain merges it: every call has an index and an id of its own."""

    room: int = 0
    """Most tokens that were asked for; 0: not known."""
    calls: list[OpenCall] = field(default_factory=list)
    finish_reason: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    _at: dict[int, OpenCall] = field(default_factory=dict)
    """The call that was written last at each index of the server's."""

    def take(self, piece: dict[str, Any]) -> Iterator[AIMessageChunk]:
        """What a piece of the stream, or a whole answer, adds. Raises TypeError and its like for what is no chat completion."""
        if isinstance(piece.get("usage"), dict):
            self.usage = piece["usage"]
        if isinstance(timings := piece.get("timings"), dict):  # llama.cpp
            self.usage = {**self.usage, "cache_n": timings.get("cache_n")}
        choices = piece.get("choices") or []
        if not choices:
            return
        choice = choices[0]
        self.finish_reason = str(choice.get("finish_reason") or "") or self.finish_reason
        delta = choice.get("delta") or choice.get("message") or {}
        if isinstance(delta, str):
            delta = {"content": delta}
        if text := _text(delta.get("content") or choice.get("text")):
            yield AIMessageChunk(content=text)
        for name in THOUGHTS:
            if thought := _text(delta.get(name)):
                yield AIMessageChunk(content="", additional_kwargs={"reasoning_content": thought})
                break
        calls = delta.get("tool_calls") or []
        if delta.get("function_call"):  # the form before tools
            calls = [{"function": delta["function_call"]}]
        for call in [calls] if isinstance(calls, dict) else calls:
            yield from self._call(call)

    def end(self) -> AIMessageChunk:
        """The last piece: why it ended, and its tokens."""
        reason = self.finish_reason or ("tool_calls" if self.calls else "stop")
        if self.calls and reason != "stop" and 0 < self.room <= _count(self.usage.get("completion_tokens")):
            reason = "length"  # vLLM says tool_calls wherever it has found one, cut off or not
        return AIMessageChunk(
            content="", response_metadata={"finish_reason": reason}, usage_metadata=_usage(self.usage)
        )

    def _call(self, given: dict[str, Any]) -> Iterator[AIMessageChunk]:
        function = given.get("function") or given
        number, id_, name = given.get("index"), str(given.get("id") or ""), str(function.get("name") or "")
        arguments = function.get("arguments", function.get("parameters"))
        text = arguments if isinstance(arguments, str) else "" if arguments is None else json.dumps(arguments)
        call = self._open(number if isinstance(number, int) else None, id_, name, text)
        begins = call is None
        if call is None:
            taken = {c.id for c in self.calls}
            call = OpenCall(id_ if id_ and id_ not in taken else f"call_{len(self.calls)}", name)
            self.calls.append(call)
        elif not call.name and name:
            call.name, begins = name, True
        if isinstance(number, int):
            self._at[number] = call
        if call.arguments and len(text) > len(call.arguments) and text.startswith(call.arguments):
            text = text.removeprefix(call.arguments)  # the whole of it, anew with each piece
        elif call.arguments and call.is_whole and text == call.arguments:
            text = ""  # and once more at the end
        call.arguments += text
        index = self.calls.index(call)
        shown = tool_call_chunk(
            name=call.name if begins else None, args=text, id=call.id if begins else None, index=index
        )
        yield AIMessageChunk(content="", tool_call_chunks=[shown])

    def _open(self, number: int | None, id_: str, name: str, text: str) -> OpenCall | None:
        """The call that this piece goes on with; None for the first piece of another."""
        last = self.calls[-1] if self.calls else None
        here = self._at.get(number) if number is not None else None
        if id_:
            known = next((c for c in self.calls if c.id == id_), None)
            if known is not None and name and known.is_whole and text and not text.startswith(known.arguments):
                return None  # one id for several calls
            if known is None and here is not None and not name and not here.is_whole:
                return here  # another id with each piece
            return known
        if number is not None and here is None:
            return None
        call = here or last
        if call is None or not name or not call.name:
            return call
        if call.is_whole or name != call.name:
            goes_on = bool(text) and (text.startswith(call.arguments) if call.arguments else name == call.name)
            return call if goes_on and name == call.name else None
        return call


def _text(content: Any) -> str:
    """Content as text; it may come in parts."""
    if isinstance(content, list):
        return "".join(_text(part.get("text") if isinstance(part, dict) else part) for part in content)
    return content if isinstance(content, str) else ""


def _usage(given: dict[str, Any]) -> UsageMetadata | None:
    """The tokens that a server says it has counted."""
    read, written = _count(given.get("prompt_tokens")), _count(given.get("completion_tokens"))
    if not read and not written:
        return None
    details = given.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens") if isinstance(details, dict) else 0) or _count(given.get("cache_n"))
    counted = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
    return {**counted, "input_token_details": {"cache_read": cached}} if cached else counted


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0
