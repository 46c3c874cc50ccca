"""One reply of a chat model: streamed, stopped when asked, retried on transient errors until a deadline."""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import tenacity
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, InvalidToolCall, convert_to_openai_messages
from langchain_core.messages.utils import message_chunk_to_message
from langgraph.runtime import RunControl

ATTEMPTS = 6
CUT_OFF = ("length", "max_tokens")
"""Why a reply ended, in the words of OpenAI and of others, where its bound of tokens ended it."""

logger = logging.getLogger(__name__)


class ModelFailed(RuntimeError):
    """The model's endpoint gave no usable reply; the message says why and what to do. It never holds the key."""

    def __init__(self, message: str, status: int = 0) -> None:
        """`status`: of HTTP, where the endpoint answered with one."""
        super().__init__(message)
        self.status = status


class TransientError(Exception):
    """An error worth retrying. `after`: seconds that the endpoint asks to wait."""

    def __init__(self, reason: str, after: float = 0.0, status: int = 0) -> None:
        super().__init__(reason)
        self.after = after
        self.status = status


class Stopped(RuntimeError):
    """The run was asked to stop while a step was under way. Going on repeats that step."""


def ask(
    model: BaseChatModel, prompt: list[BaseMessage], tools: Sequence[dict[str, Any]] = (), *, seconds: float,
    tags: list[str] | None = None, control: RunControl | None = None, temperature: float | None = None,
) -> AIMessage:  # fmt: skip
    """The model's reply; `temperature` None is the model's own. Raises ModelFailed, and Stopped if `control` asks for it.

    429, 5xx, time-outs, broken connections and replies that end early are retried, with growing pauses or as long as the
    endpoint asks, within `seconds` in all. A reply that its bound of tokens cut off is never taken for a whole one.
    """
    fixed: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
    bound = model.bind_tools(list(tools), **fixed) if tools else model.bind(**fixed)
    is_endpoint = model._llm_type == "openai-chat"
    if is_endpoint:
        convert_to_openai_messages(prompt)  # a prompt that cannot be sent is our own fault, not the endpoint's
    deadline = time.monotonic() + seconds
    patience = tenacity.wait_random_exponential(multiplier=0.5, max=10)

    def pause(retry: tenacity.RetryCallState) -> float:
        error = retry.outcome.exception() if retry.outcome else None
        asked = error.after if isinstance(error, TransientError) else 0.0
        return min(max(asked, patience(retry)), max(0.0, deadline - time.monotonic()))

    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_after_delay(seconds),
        wait=pause,
        sleep=lambda seconds: _wait(seconds, control),
        retry=tenacity.retry_if_exception_type(TransientError),
        reraise=True,
    )
    try:
        for attempt in attempts:
            with attempt:
                chunks = bound.stream(prompt, config={"tags": tags or []})
                message = _whole(_sorted_errors(chunks) if is_endpoint else chunks, control, deadline)
                reason = _finish_reason(message)
                if reason in CUT_OFF:
                    raise ModelFailed(
                        "The reply was cut off at its bound of tokens, and half a reply is never used: set "
                        "PALIMPSEST_REPLY_TOKENS higher, or ask for less. Your message is kept."
                    )
                if is_endpoint and not reason:
                    raise TransientError("the reply was cut off")
                return message
    except TransientError as error:
        raise ModelFailed(
            f"The model gave no complete reply in {ATTEMPTS} attempts or {seconds:.0f} s: {error}. Your message is kept: "
            "send another, or try again when the endpoint answers.",
            error.status,
        ) from error
    raise AssertionError("tenacity always returns or raises")


def _wait(seconds: float, control: RunControl | None) -> None:
    """Pause; a run that is asked to stop wakes up, and finds out at the next attempt's first token."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (control is not None and control.drain_requested):
        time.sleep(min(0.2, max(0.0, until - time.monotonic())))


def _whole(chunks: Iterator[Any], control: RunControl | None, deadline: float) -> AIMessage:
    """The message that the chunks make."""
    whole: AIMessageChunk | None = None
    _check_stop(control)
    for chunk in chunks:
        _check_stop(control)
        if time.monotonic() > deadline:
            raise TransientError("the reply took longer than the deadline")
        whole = chunk if whole is None else whole + chunk
    if whole is None:
        raise TransientError("the reply had no content at all")
    message = message_chunk_to_message(whole)
    assert isinstance(message, AIMessage)
    return _without_guessed_arguments(whole, message)


def _check_stop(control: RunControl | None) -> None:
    if control is not None and control.drain_requested:
        raise Stopped("Stopped while the model was thinking.")


def _finish_reason(message: AIMessage) -> str:
    metadata = message.response_metadata
    reasons = (metadata.get(name) for name in ("finish_reason", "stop_reason", "done_reason"))
    return next((str(reason).lower() for reason in reasons if reason), "")


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


def _sorted_errors(chunks: Iterator[Any]) -> Iterator[Any]:
    """The chunks of an OpenAI-compatible endpoint, with what can go wrong there sorted into transient and lasting."""
    import httpx
    import openai

    try:
        yield from chunks
    except (openai.RateLimitError, openai.InternalServerError) as error:
        after = _retry_after(error.response.headers)
        raise TransientError(f"HTTP {error.status_code}", after, error.status_code) from error
    except openai.APITimeoutError as error:
        raise TransientError("no answer in time") from error
    except (openai.APIConnectionError, httpx.HTTPError) as error:
        raise TransientError("the connection failed or broke off") from error
    except openai.APIStatusError as error:
        raise ModelFailed(
            f"The model's endpoint refused the request (HTTP {error.status_code}): {_reason(error)}", error.status_code
        ) from error
    except (openai.APIError, ValueError, LookupError, TypeError, AttributeError) as error:
        # A body that is no chat completion (an HTML page, no choices) trips the client's reader in one of these ways.
        logger.warning("The endpoint's answer could not be read.", exc_info=True)
        raise TransientError(f"the answer was not a chat completion ({type(error).__name__})") from error


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
