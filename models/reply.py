"""One reply of a chat model: streamed, stopped when asked, tried again on passing faults until a deadline."""

import json
import time
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, InvalidToolCall
from langchain_core.messages.utils import message_chunk_to_message
from langgraph.runtime import RunControl
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from settings import current

ATTEMPTS = 6


class ModelFailed(RuntimeError):
    """The model's endpoint gave no usable reply; the message says why and what to do. It never holds the key."""


class PassingFault(Exception):
    """A fault that may be gone at the next attempt. `after`: seconds that the endpoint asks to wait."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


def ask(
    model: BaseChatModel,
    tools: Sequence[dict[str, Any]],
    prompt: list[BaseMessage],
    *,
    tags: list[str] | None = None,
    control: RunControl | None = None,
    temperature: float | None = None,
) -> AIMessage | None:
    """The model's reply, or None if the run was asked to stop meanwhile. Raises ModelFailed.

    429, 5xx, time-outs, broken connections and replies that end early are tried again, with growing pauses or as long as
    the endpoint asks, within `Settings.reply_seconds` in all.
    """
    fixed: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
    bound = model.bind_tools(list(tools), **fixed) if tools else model.bind(**fixed)
    is_endpoint = model._llm_type == "openai-chat"
    seconds = current().reply_seconds
    deadline = time.monotonic() + seconds
    patience = wait_random_exponential(multiplier=0.5, max=10)

    def pause(retry: RetryCallState) -> float:
        fault = retry.outcome.exception() if retry.outcome else None
        asked = fault.after if isinstance(fault, PassingFault) else 0.0
        return min(max(asked, patience(retry)), max(0.0, deadline - time.monotonic()))

    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(seconds),
        wait=pause,
        sleep=lambda seconds: _wait(seconds, control),
        retry=retry_if_exception_type(PassingFault),
        reraise=True,
    )
    try:
        for attempt in attempts:
            with attempt:
                if not is_endpoint:
                    return _stream(bound, prompt, tags, control, deadline)
                return _stream_endpoint(bound, prompt, tags, control, deadline)
    except PassingFault as fault:
        raise ModelFailed(
            f"The model gave no complete reply in {ATTEMPTS} attempts or {seconds:.0f} s: {fault}. Your message is kept: "
            "send another, or try again when the endpoint answers."
        ) from fault
    raise AssertionError("tenacity always returns or raises")


def _wait(seconds: float, control: RunControl | None) -> None:
    """Pause; a run that is asked to stop wakes up, and finds out at the next attempt's first token."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (control is not None and control.drain_requested):
        time.sleep(min(0.2, max(0.0, until - time.monotonic())))


def _stream(
    bound: Any, prompt: list[BaseMessage], tags: list[str] | None, control: RunControl | None, deadline: float
) -> AIMessage | None:
    whole: AIMessageChunk | None = None
    if control is not None and control.drain_requested:
        return None
    for chunk in bound.stream(prompt, config={"tags": tags or []}):
        if control is not None and control.drain_requested:
            return None
        if time.monotonic() > deadline:
            raise PassingFault("the reply took longer than the deadline")
        whole = chunk if whole is None else whole + chunk
    if whole is None:
        raise PassingFault("the reply had no content at all")
    message = message_chunk_to_message(whole)
    assert isinstance(message, AIMessage)
    return _without_guessed_arguments(whole, message)


def _without_guessed_arguments(whole: AIMessage, message: AIMessage) -> AIMessage:
    """LangChain completes arguments that were cut off; half a message must not be sent, so these count as malformed."""
    chunks = whole.tool_call_chunks if isinstance(whole, AIMessageChunk) else []  # a model that does not stream
    for chunk in chunks:
        try:
            json.loads(chunk["args"] or "{}")
        except ValueError:
            message.tool_calls = [c for c in message.tool_calls if c["id"] != chunk["id"]]
            if all(bad["id"] != chunk["id"] for bad in message.invalid_tool_calls):
                bad = InvalidToolCall(
                    type="invalid_tool_call", name=chunk["name"], args=chunk["args"], id=chunk["id"], error="not JSON"
                )
                message.invalid_tool_calls.append(bad)
    return message


def _stream_endpoint(
    bound: Any, prompt: list[BaseMessage], tags: list[str] | None, control: RunControl | None, deadline: float
) -> AIMessage | None:
    """`_stream` with what can go wrong at an OpenAI-compatible endpoint sorted into passing and lasting."""
    import httpx
    import openai

    try:
        message = _stream(bound, prompt, tags, control, deadline)
    except (openai.RateLimitError, openai.InternalServerError) as error:
        raise PassingFault(f"HTTP {error.status_code}", _retry_after(error.response.headers)) from error
    except openai.APITimeoutError as error:
        raise PassingFault("no answer in time") from error
    except (openai.APIConnectionError, httpx.HTTPError) as error:
        raise PassingFault("the connection failed or broke off") from error
    except openai.APIStatusError as error:
        raise ModelFailed(
            f"The model's endpoint refused the request (HTTP {error.status_code}): {_reason(error)}"
        ) from error
    except (openai.APIError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        # A body that is no chat completion (an HTML page, no choices) trips the client in one of these ways.
        raise PassingFault(f"the answer was not a chat completion ({type(error).__name__})") from error
    if message is not None and not message.response_metadata.get("finish_reason"):
        raise PassingFault("the reply was cut off")
    return message


def _retry_after(headers: Any) -> float:
    try:
        return min(60.0, float(headers.get("retry-after", 0)))
    except ValueError:
        return 0.0  # a date: the growing pauses do


def _reason(error: Any) -> str:
    advice = {
        401: "the key is missing or wrong: set OPENAI_API_KEY.",
        403: "this key may not use the model: set OPENAI_API_KEY, or PALIMPSEST_MODEL to another model.",
        404: "there is no such model or path: check OPENAI_BASE_URL (it usually ends in /v1) and PALIMPSEST_MODEL.",
    }
    if error.status_code in advice:
        return advice[error.status_code]
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or "no reason given")[:300]
