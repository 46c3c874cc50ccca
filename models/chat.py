"""A chat model at an endpoint that speaks the OpenAI API: one request a reply, streamed, with whatever the server makes of it."""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import httpx
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.utils import message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import PrivateAttr, SecretStr

from models.deltas import Assembly
from models.ollama import Ollama, find_ollama, piece_of
from models.protocol import KeptProtocols, Protocol
from models.refusals import ModelFailed, TransientError, refusal
from models.roles import to_wire
from models.served import context_length

OPENAI = "api.openai.com"
FIRST_ROOM = 1_024
"""Tokens of a reply at the first request: small models ramble, and most replies are short."""
WINDOW = 8_192
"""Tokens that a server which is asked for a context makes room for, beside a reply, where no window is larger."""
CONTEXT_MARGIN = 16  # tokens between a prompt with its reply and the end of the context
BOUNDS = ("max_tokens", "max_completion_tokens")
"""Names of the bound of a reply: what most servers read, and what OpenAI's do."""
NO_SYSTEM_ROLE = (
    "system role",
    "system message",
    "only user and assistant roles",
    "roles must alternate user/assistant",
)
"""In the refusals of templates that have none."""
UNKNOWN = re.compile("unsupported|unknown|unrecognized|unexpected|not permitted|instead", re.I)


class NotOllama(Exception):
    """The server has answered as Ollama does, and has none of its API for chats: the OpenAI API it is."""


class EndpointChat(BaseChatModel):
    """One model at one endpoint. Its connections are kept; threads may share it."""

    model: str
    url: str
    key: SecretStr = SecretStr("")
    reply_tokens: int = 4 * FIRST_ROOM
    """Most of one reply. FIRST_ROOM are asked for, or `room` where a request says so."""
    read_seconds: float = 60.0
    """Most between two pieces of a reply."""
    temperature: float | None = None
    """Of replies for which none is asked; None: the server's own."""
    calls: Literal["auto", "native", "schema", "text"] = "auto"
    """How it calls tools; `auto`: as it was found to (models.protocol)."""
    found: Path | None = None
    """The file that keeps what was found; None: for as long as the process runs."""
    _client: httpx.Client = PrivateAttr()
    _bound: str = PrivateAttr()
    _kept: KeptProtocols = PrivateAttr()
    _folds_system: bool = PrivateAttr(default=False)
    _context: int | None = PrivateAttr(default=None)
    _ollama: Ollama | None = PrivateAttr(default=None)
    _looked_for_ollama: bool = PrivateAttr(default=False)
    _guard: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def protocol(self) -> Protocol | None:
        """How the model calls tools; None before that was found."""
        return self._kept.of(self.url, self.model) if self.calls == "auto" else self.calls

    def keep_protocol(self, protocol: Protocol) -> None:
        """Keep how the model was found to call tools."""
        with self._guard:
            self._kept.keep(self.url, self.model, protocol)

    def context_tokens(self) -> int:
        """The model's context as it is served, which a server is asked for once; 0 where it does not say, or is not there."""
        if (ollama := self._served_by()) is not None:
            return ollama.context
        if self._context is None:
            self._context = (
                0 if OPENAI in self.url else context_length(self.url, self.key.get_secret_value(), self.model)
            )
        return self._context or 0

    def _served_by(self) -> Ollama | None:
        """Ollama, where that is the server; a server that is there is asked once."""
        with self._guard:
            if not self._looked_for_ollama and OPENAI not in self.url:
                with contextlib.suppress(ConnectionError):
                    self._ollama = find_ollama(self.url, self.key.get_secret_value(), self.model)
                    self._looked_for_ollama = True
            return self._ollama

    def most_room(self, prompt_tokens: int) -> int:
        """Most tokens of a reply to a prompt of that many: the bound, or what the context leaves where that is known."""
        context = self.context_tokens()
        if not context:
            return self.reply_tokens
        return min(self.reply_tokens, context - (prompt_tokens or context // 2) - CONTEXT_MARGIN)

    def model_post_init(self, context: Any, /) -> None:
        self._client = httpx.Client(timeout=httpx.Timeout(self.read_seconds, connect=10.0), follow_redirects=True)
        self._bound = BOUNDS[OPENAI in self.url]
        self._kept = KeptProtocols(self.found)

    @property
    def _llm_type(self) -> str:
        return "openai-chat"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Tools as the API has them."""
        return self.bind(tools=list(tools), **kwargs)

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        whole = AIMessageChunk(content="")
        for chunk in self._stream(messages, **kwargs):
            assert isinstance(chunk.message, AIMessageChunk)
            whole = whole + chunk.message
        return ChatResult(generations=[ChatGeneration(message=message_chunk_to_message(whole))])

    def _stream(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        """Raises ModelFailed, and TransientError for what is worth another try."""
        options = {
            name: kwargs[name] for name in ("tools", "temperature", "response_format") if kwargs.get(name) is not None
        }
        room = min(self.reply_tokens, kwargs.get("room") or FIRST_ROOM)
        try:
            for _attempt in range(3):  # the server may have rules that its refusal names
                try:
                    yield from map(_chunk, self._pieces(messages, options, room, kwargs.get("window") or 0))
                    return
                except NotOllama:
                    self._ollama = None
                except ModelFailed as error:
                    if not self._learns(str(error)):
                        raise
        except httpx.TimeoutException as error:
            raise TransientError("no answer in time") from error
        except httpx.HTTPError as error:
            raise TransientError("the connection failed or broke off") from error
        except (TypeError, AttributeError, LookupError, ValueError) as error:
            raise TransientError(f"the answer was not a chat completion ({type(error).__name__})") from error
        raise ModelFailed("The model's endpoint takes no prompt in any form that is known here.")

    def _pieces(
        self, messages: list[BaseMessage], options: dict[str, Any], room: int, window: int
    ) -> Iterator[AIMessageChunk]:
        key = self.key.get_secret_value()
        body = {
            "model": self.model, "messages": to_wire(messages, self._folds_system), "stream": True,
            "stream_options": {"include_usage": True}, self._bound: room, **options,
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {key or 'none'}"}
        path = f"{self.url.rstrip('/')}/chat/completions"
        if ollama := self._served_by():
            path, body = ollama.url, ollama.request(body, max(WINDOW, window) + self.reply_tokens)
        assembly, done = Assembly(room), False
        with self._client.stream("POST", path, json=body, headers=headers) as answer:
            if answer.status_code == 404 and ollama and self.model not in answer.read().decode(errors="replace"):
                raise NotOllama
            if answer.status_code >= 400:
                raise refusal(answer.status_code, answer.read().decode(errors="replace"), key, answer.headers)
            for payload in _payloads(answer):
                if payload == "[DONE]":
                    done = True
                    break
                piece = json.loads(payload)
                piece = piece_of(piece[0] if isinstance(piece, list) else piece)
                if piece.get("error") and not piece.get("choices"):
                    raise refusal(0, piece, key)
                yield from assembly.take(piece)
        if not done and not assembly.finish_reason:
            raise TransientError("the reply was cut off")
        last = assembly.end()
        last.response_metadata["model_name"] = self.model  # callbacks count tokens by it
        yield last

    def _learns(self, reason: str) -> bool:
        """Whether the refusal names a rule that the next request can keep: remembered for this model."""
        with self._guard:
            if self._bound in reason and UNKNOWN.search(reason):
                self._bound = BOUNDS[self._bound == BOUNDS[0]]
                return True
            if not self._folds_system and any(rule in reason.lower() for rule in NO_SYSTEM_ROLE):
                self._folds_system = True
                return True
        return False


def _chunk(message: AIMessageChunk) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=message)


def _payloads(answer: httpx.Response) -> Iterator[str]:
    """What the server sends: events of a stream, lines of JSON, or one body of JSON. Raises TransientError for a page of HTML."""
    kind = answer.headers.get("content-type", "")
    if "event-stream" not in kind and "ndjson" not in kind:
        body = answer.read().decode(errors="replace")
        if not body.lstrip().startswith(("data:", "event:", ":")):
            if not body.lstrip().startswith(("{", "[")):
                raise TransientError(f"the answer was not a chat completion ({kind or 'no content type'})")
            yield body
            yield "[DONE]"
            return
        lines: Iterator[str] = iter(body.splitlines())
    else:
        lines = answer.iter_lines()
    for line in lines:
        if line.startswith("data:"):
            line = line.removeprefix("data:")
        elif not line.startswith("{"):
            continue  # a comment, an event's name, an empty line
        if line.strip():
            yield line.strip()
