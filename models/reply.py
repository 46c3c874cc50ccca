"""One reply of a chat model: streamed, stopped when asked, retried on transient errors until a deadline."""

import contextlib
import re
import time
import typing
from collections.abc import Iterator, Sequence
from typing import Any

import tenacity
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.utils import message_chunk_to_message
from langgraph.constants import TAG_NOSTREAM
from langgraph.runtime import RunControl

from models.chat import FIRST_ROOM, EndpointChat
from models.intake import Reply, reply_of
from models.notations import Schema
from models.protocol import Protocol, rendered
from models.refusals import ContextOverflow, CutOff, ModelFailed, TransientError

ATTEMPTS = 6
CIRCLE = 600  # characters that are the same few words over and over
LONGEST_PERIOD = 500  # characters after which they begin again
PROBES = 2  # of each way
REFUSED = (400, 404, 422, 500, 501)
ABOUT_CALLS = re.compile("tool|function.?call|response_format|schema|grammar", re.I)
"""In the refusal of a server that knows no calls, or not of this model."""
PROBED: Schema = {
    "type": "function",
    "function": {
        "name": "note", "description": "Write something down.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}  # fmt: skip


class Once(typing.Protocol):
    """One request in a way of calling tools."""

    def __call__(
        self, protocol: Protocol, messages: list[BaseMessage], offered: Sequence[Schema], **more: Any
    ) -> Reply: ...


class Circling(TransientError):
    """The reply says the same over and over."""


class Stopped(RuntimeError):
    """The run was asked to stop while a step was under way. Going on repeats that step."""


def ask(
    model: BaseChatModel, prompt: list[BaseMessage], tools: Sequence[Schema] = (), *, seconds: float,
    tags: list[str] | None = None, control: RunControl | None = None, temperature: float | None = None,
    only: Sequence[str] = (), most: int = 0, window: int = 0,
) -> Reply:  # fmt: skip
    """The model's reply; `temperature` None is the model's own. Raises ModelFailed, and Stopped if `control` asks for it.

    `only`: names of those tools that may be called now; the others stay in the prompt, whose beginning is thus the same.
    `window`: most tokens of a prompt, for a server that can be asked for a context.
    `most`: tokens of a short reply; one that takes more rambles, and is not asked for again. 0: the endpoint's bound.

    429, 5xx, time-outs, broken connections and replies that end early are retried, with growing pauses or as long as the
    endpoint asks, within `seconds` in all. A reply that its bound of tokens cut off is never taken for a whole one.
    """
    deadline = time.monotonic() + seconds
    endpoint = model if isinstance(model, EndpointChat) else None
    if endpoint and temperature is None:
        temperature = endpoint.temperature
    options: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
    if endpoint:
        options |= {"room": most, "window": window}

    def once(protocol: Protocol, messages: list[BaseMessage], offered: Sequence[Schema], **more: Any) -> Reply:
        sent, how = rendered(messages, offered, protocol, only)
        told = [*(tags or []), TAG_NOSTREAM] if offered == [PROBED] else tags  # a probe is nothing to show
        message = _message(model, sent, {**options, **how, **more}, deadline, told, control)
        return reply_of(message, offered, messages)

    protocol, reply = _by_protocol(endpoint, once, prompt, tools)
    if reply.is_cut_off and endpoint and not most:
        room = endpoint.most_room(reply.input_tokens)
        if room > FIRST_ROOM:
            with contextlib.suppress(ContextOverflow):  # the prompt had room, and so much more there is not
                reply = once(protocol, prompt, tools, room=room)
        elif tools and protocol != "native":  # a small model that rambles may do better another time
            reply = once(protocol, prompt, tools)
    if reply.is_cut_off:
        raise CutOff(
            f"The reply was cut off after {reply.output_tokens or 'all its'} tokens, and half a reply is never used: set "
            "PALIMPSEST_REPLY_TOKENS higher, serve the model with a larger context, or ask for less. Your message is kept."
        )
    return reply


def _by_protocol(
    endpoint: EndpointChat | None, once: Once, prompt: list[BaseMessage], tools: Sequence[Schema]
) -> tuple[Protocol, Reply]:
    """The reply in the way that the model is known to call tools, which is found out first where nothing is known.

    A server that refuses the way that was found (it was started anew without a parser of calls) is probed again.
    """
    known = endpoint.protocol if endpoint else "native"
    reply = None
    try:
        reply = once(known or "native", prompt, tools)
    except ModelFailed as error:
        refuses = (
            tools
            and endpoint
            and endpoint.calls == "auto"
            and error.status in REFUSED
            and ABOUT_CALLS.search(str(error))
        )
        if not refuses or isinstance(error, ContextOverflow):
            raise
    if not endpoint or not tools or (known and reply):
        assert reply is not None
        return known or "native", reply
    found = "native" if reply and _is_native(reply) else _probe(once)
    endpoint.keep_protocol(found)
    if reply and (found == "native" or reply.calls):
        return "native", reply
    return found, once(found, prompt, tools)


def _is_native(reply: Reply) -> bool:
    """Whether the server has told the calls apart itself."""
    return any(not str(call["id"]).startswith("text_") for call in reply.calls) or bool(reply.malformed)


def _probe(once: Once) -> Protocol:
    """The first way in which the model makes a plain call each time."""
    for protocol in ("native", "schema"):
        words = ("The cat is called Byron.", "The meeting is at four.")[:PROBES]
        if all(_notes(once, protocol, said) for said in words):
            return protocol
    return "text"


def _notes(once: Once, protocol: Protocol, said: str) -> bool:
    prompt = [SystemMessage("Use the tool to write down what you are told."), HumanMessage(said)]
    try:
        reply = once(protocol, prompt, [PROBED], temperature=0.0)
    except ModelFailed:
        return False  # it takes no tools, or no schema
    return len(reply.calls) == 1 and (protocol != "native" or _is_native(reply))


def _message(
    model: BaseChatModel, prompt: list[BaseMessage], options: dict[str, Any], deadline: float, tags: list[str] | None,
    control: RunControl | None,
) -> AIMessage:  # fmt: skip
    """The whole message, at the latest at the deadline. Raises ModelFailed and Stopped."""
    tools = options.pop("tools", None)
    calls = bool(tools or options.get("response_format"))
    bound = model.bind_tools(tools, **options) if tools else model.bind(**options)
    patience = tenacity.wait_random_exponential(multiplier=0.5, max=10)
    seconds = max(0.0, deadline - time.monotonic())

    def is_chance(error: BaseException) -> bool:
        """At temperature 0 the same circle comes again."""
        return not (isinstance(error, Circling) and options.get("temperature") == 0)

    def pause(retry: tenacity.RetryCallState) -> float:
        error = retry.outcome.exception() if retry.outcome else None
        asked = error.after if isinstance(error, TransientError) else 0.0
        return min(max(asked, patience(retry)), max(0.0, deadline - time.monotonic()))

    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_after_delay(seconds),
        wait=pause,
        sleep=lambda seconds: _wait(seconds, control),
        retry=tenacity.retry_if_exception_type(TransientError) & tenacity.retry_if_exception(is_chance),
        reraise=True,
    )
    try:
        for attempt in attempts:
            with attempt:
                return _whole(bound.stream(prompt, config={"tags": tags or []}), control, deadline, calls)
    except TransientError as error:
        kind = CutOff if isinstance(error, Circling) else ModelFailed
        raise kind(
            f"The model gave no complete reply in up to {ATTEMPTS} attempts or {seconds:.0f} s: {error}. Your message is kept: "
            "send another, or try again when the endpoint answers.",
            error.status,
        ) from error
    raise AssertionError("tenacity always returns or raises")


def _wait(seconds: float, control: RunControl | None) -> None:
    """Pause; a run that is asked to stop wakes up, and finds out at the next attempt's first token."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (control is not None and control.drain_requested):
        time.sleep(min(0.2, max(0.0, until - time.monotonic())))


def _whole(chunks: Iterator[Any], control: RunControl | None, deadline: float, calls: bool) -> AIMessage:
    """The message that the chunks make. `calls`: it should be a call, which does not say the same over and over."""
    whole: AIMessageChunk | None = None
    written, checked = "", 0
    _check_stop(control)
    for chunk in chunks:
        _check_stop(control)
        if calls:
            written += _written(chunk)
            if len(written) >= checked + 100:
                checked = len(written)
                if is_circling(written):
                    raise Circling("the reply goes round in circles")
        if time.monotonic() > deadline:
            raise TransientError("the reply took longer than the deadline")
        whole = chunk if whole is None else whole + chunk
    if whole is None:
        raise TransientError("the reply had no content at all")
    pieces = (
        whole.tool_call_chunks if isinstance(whole, AIMessageChunk) else []
    )  # a model that does not stream has none
    message = message_chunk_to_message(whole)
    assert isinstance(message, AIMessage)
    message.additional_kwargs["pieces"] = {str(piece["id"]): piece["args"] or "" for piece in pieces}
    return message


def _written(chunk: Any) -> str:
    if not isinstance(chunk, AIMessageChunk):
        return ""
    thought = str(chunk.additional_kwargs.get("reasoning_content", ""))
    return thought + chunk.text + "".join(piece["args"] or "" for piece in chunk.tool_call_chunks)


def is_circling(text: str) -> bool:
    """Whether the text's end is the same words three times or more, as small models write until their bound of tokens.

    >>> is_circling("No. " + "I am sorry. " * 60)
    True
    """
    ends = ((period, text[-max(CIRCLE, 3 * period) :]) for period in range(1, min(LONGEST_PERIOD, len(text) // 3) + 1))
    return len(text) >= CIRCLE and any(end[period:] == end[:-period] for period, end in ends)


def _check_stop(control: RunControl | None) -> None:
    if control is not None and control.drain_requested:
        raise Stopped("Stopped while the model was thinking.")
