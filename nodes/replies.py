"""Replies of a model as every machine takes them: asked for, stopped when the run is, made valid for every provider."""

import math
import re
import typing
import uuid
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from langgraph.runtime import Runtime

from memory.privacy import is_private, private_threads
from memory.store import QdrantStore
from models.chat import FIRST_ROOM, EndpointChat
from models.endpoint import is_local, is_private_host, open_model
from models.intake import Reply
from models.protocol import Protocol
from models.refusals import ModelFailed
from models.reply import ask
from settings import Settings
from text import clean_text

MOST_CALLS = 8  # of one reply: their results share the window
MOST_OF_MALFORMED = 600  # characters
TOO_LARGE = "(numbers of more than 64 bits, or lists in lists without end)"
DEEPEST = 64  # of arguments: a checkpoint takes some hundred
MALFORMED = "malformed_arguments"
MEMGPT_THREAD = "memgpt:"
"""Before the name of a conversation that has a colon in it: `react:x` is the thread of a solver's run."""


class Watches(typing.Protocol):
    """Sees every call of the model that a machine makes, and those of machines inside it."""

    def seconds_for(self, prompt: Sequence[BaseMessage]) -> float:
        """How long a call with this prompt may take. Raises what is to end the machine instead."""

    def note(self, prompt: Sequence[BaseMessage], reply: Reply | None) -> None:
        """Count what it took; None for a call that failed."""


WATCHER: ContextVar[Watches | None] = ContextVar("watcher", default=None)
"""Set while one machine runs another."""


def settings_of(runtime: Runtime[Any]) -> Settings:
    """The settings that the runtime has put into the context; those of the environment for a bare graph, as in Studio."""
    return runtime.context.settings or Settings()


def reply_to(
    prompt: list[BaseMessage], model: str | BaseChatModel, runtime: Runtime[Any], tools: Sequence[dict[str, Any]] = (),
    tags: list[str] | None = None, temperature: float | None = None, only: Sequence[str] = (), most: int = 0,
    within: float = math.inf,
) -> Reply:  # fmt: skip
    """The model's reply, by the run's settings and `within` so many seconds; see models.reply.ask. Raises ModelFailed, Stopped."""
    settings, watcher = settings_of(runtime), WATCHER.get()
    check_reach(runtime)
    seconds = min(settings.reply_seconds, within, watcher.seconds_for(prompt) if watcher else math.inf)
    reply = None
    try:
        reply = ask(
            open_model(model or settings.model, settings), prompt, tools, seconds=seconds, tags=tags, control=runtime.control,
            temperature=temperature, only=only, most=most, window=getattr(runtime.context, "window", 0),
        )  # fmt: skip
    finally:
        if watcher:
            watcher.note(prompt, reply)
    return reply


def protocol_of(runtime: Runtime[Any]) -> Protocol:
    """How the run's model calls tools."""
    return getattr(_model_of(runtime), "protocol", None) or "native"


def served_tokens(runtime: Runtime[Any]) -> int:
    """Most tokens of a prompt that leaves room for a reply, by what the model's server says of its context; 0 where it does not."""
    model = _model_of(runtime)
    context = model.context_tokens() if isinstance(model, EndpointChat) else 0
    return prompt_tokens(context, settings_of(runtime))


def prompt_tokens(context: int, settings: Settings) -> int:
    """Most tokens of a prompt in a context of that many, beside the first try at a reply."""
    return context - min(FIRST_ROOM, settings.reply_tokens, context // 4)


def _model_of(runtime: Runtime[Any]) -> BaseChatModel:
    settings = settings_of(runtime)
    model = runtime.context.model or settings.model
    return open_model(model, settings) if isinstance(model, str) else model


def memory_of(runtime: Runtime[Any]) -> QdrantStore:
    """The run's store, without what private conversations have written, unless this is one.

    Raises TypeError if the graph was compiled without ours.
    """
    store, agent = runtime.store, runtime.context.agent
    if not isinstance(store, QdrantStore):
        raise TypeError(
            f"The graph needs a QdrantStore, not {type(store).__name__}: open it with runtime.open_runtime()."
        )
    if is_private_run(runtime):
        return store
    return store.hiding(private_threads(store, agent))


def check_reach(runtime: Runtime[Any]) -> None:
    """Raise ModelFailed if this is a private conversation and its words would leave this machine."""
    if not is_private_run(runtime):
        return
    settings = settings_of(runtime)
    if getattr(runtime.context, "mcp", []) or getattr(runtime.context, "more_tools", []):
        raise ModelFailed(
            "This conversation is private: no tools of other programs get to see it. Leave out Context.mcp and more_tools, or make "
            "the conversation public."
        )
    if not is_local(_model_of(runtime), settings):
        raise ModelFailed(
            "This conversation is private: its words go to models on this machine only. Choose another model, name its host in "
            "PALIMPSEST_PRIVATE_HOSTS, or make the conversation public."
        )
    if settings.embeddings_url and not is_private_host(settings.embeddings_url, settings):
        raise ModelFailed(
            f"This conversation is private, and the embedder is at {settings.embeddings_url}. Unset PALIMPSEST_EMBEDDINGS_URL, "
            "name its host in PALIMPSEST_PRIVATE_HOSTS, or make the conversation public."
        )


def is_private_run(runtime: Runtime[Any]) -> bool:
    """Whether this is a run of a private conversation."""
    store, context = runtime.store, runtime.context
    is_asked = bool(getattr(context, "private", False))
    return is_asked or (isinstance(store, QdrantStore) and is_private(store, context.agent, thread_of(runtime)))


def thread_of(runtime: Runtime[Any]) -> str:
    """The conversation's name; `default` for a run without a checkpointer."""
    found = (runtime.execution_info.thread_id if runtime.execution_info else None) or "default"
    return found.removeprefix(MEMGPT_THREAD)


def step_id(runtime: Runtime[Any]) -> str:
    """An id that a step repeated after a crash gives again; unique in all conversations."""
    task = runtime.execution_info.task_id if runtime.execution_info else str(uuid.uuid4())
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{thread_of(runtime)}:{task}"))


def tidy(reply: Reply, message_id: str) -> AIMessage:
    """The reply as it is kept: valid names, JSON arguments, ids of its own; nothing else of the provider stays.

    Arguments that were not JSON become a single one that holds their text, since some servers parse what they are sent back.
    """
    calls: list[ToolCall] = list(reply.calls)
    for bad in reply.malformed:
        arguments = {MALFORMED: bad.arguments[:MOST_OF_MALFORMED]}
        calls.append(ToolCall(name=bad.name or "unknown", args=arguments, id=bad.id))
    text = clean_text(reply.text)
    if len(calls) > MOST_CALLS:
        text = (
            f"{text}\n[{len(calls) - MOST_CALLS} more calls were not run: make at most {MOST_CALLS} at once.]".lstrip()
        )
    seen: set[str] = set()
    kept: list[ToolCall] = []
    for n, call in enumerate(calls[:MOST_CALLS]):
        number = str(call["id"] or "")
        number = number if number and number not in seen and len(number) <= 64 else f"call_{message_id[-12:]}_{n}"
        seen.add(number)
        name = re.sub(r"[^A-Za-z0-9_-]", "_", call["name"])[:64] or "unknown"
        arguments = call["args"] if _can_be_kept(call["args"]) else {MALFORMED: TOO_LARGE}
        kept.append({**call, "name": name, "id": number, "args": _clean(arguments)})
    return AIMessage(text, tool_calls=kept, id=message_id)


def _can_be_kept(value: Any, depth: int = 0) -> bool:
    """Whether a checkpoint takes it: no number beyond 64 bits, nor lists in lists without end."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return depth < DEEPEST and all(_can_be_kept(each, depth + 1) for each in inner)
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _clean(value: Any) -> Any:
    """Arguments without half characters, which no endpoint takes back."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value
