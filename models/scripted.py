"""A chat model that follows a script, for tests and benchmarks: it fails on a turn it did not expect and on unused ones."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import Field, PrivateAttr

from models.protocol import Protocol


class BrokenPrompt(AssertionError):
    """A strict provider would refuse this prompt."""


def check_prompt(messages: Sequence[BaseMessage]) -> None:
    """Raise BrokenPrompt unless every tool call has exactly one result right after it, and every result its call."""
    open_ids: set[str] = set()
    for n, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in open_ids:
                raise BrokenPrompt(
                    f"Message {n}: a result of {message.tool_call_id}, which was not called just before."
                )
            open_ids.remove(message.tool_call_id)
            continue
        if open_ids:
            raise BrokenPrompt(f"Message {n}: the calls {sorted(open_ids)} have no result.")
        if message.type == "system" and n:
            raise BrokenPrompt(f"Message {n}: a system message that is not the first.")
        if isinstance(message, AIMessage):
            open_ids = {str(c["id"]) for c in message.tool_calls}
            if len(open_ids) != len(message.tool_calls):
                raise BrokenPrompt(f"Message {n}: two calls with one id.")
    if open_ids:
        raise BrokenPrompt(f"The calls {sorted(open_ids)} have no result.")


Reply = AIMessage | str | Exception
Turn = Reply | Callable[[list[BaseMessage]], Reply]


class UnexpectedTurn(AssertionError):
    """The model was called more often than its script has turns, or less often."""


class ScriptedModel(BaseChatModel):
    """Plays `turns` in order: a reply, text, an exception to raise, or a function of the prompt that gives one of these.

    `prompts` has every prompt it saw. `finish()` fails if turns are left.
    """

    turns: list[Any]
    protocol: Protocol = "native"
    """How the machine is to believe that it calls tools, and so what it tells it; the script itself calls natively."""
    prompts: list[list[BaseMessage]] = Field(default_factory=list)
    _next: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "palimpsest-scripted"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Tools change nothing: the script says what is called."""
        return self.bind()

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        check_prompt(messages)
        reply = self._reply(messages)
        if isinstance(reply, Exception):
            raise reply
        message = AIMessage(reply) if isinstance(reply, str) else reply.model_copy()
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _reply(self, messages: list[BaseMessage]) -> Reply:
        self.prompts.append(messages)
        if self._next >= len(self.turns):
            asked = f"Call {self._next + 1} of a script of {len(self.turns)} turns"
            raise UnexpectedTurn(f"{asked}. Prompt: {messages[-1].text[:300]}")
        turn: Turn = self.turns[self._next]
        self._next += 1
        return turn(messages) if callable(turn) else turn

    def finish(self) -> None:
        """Raise UnexpectedTurn if turns are left."""
        if self._next < len(self.turns):
            raise UnexpectedTurn(f"{len(self.turns) - self._next} of {len(self.turns)} turns were not used.")


class PolicyModel(ScriptedModel):
    """Plays one function of the prompt at every turn: a scripted policy without end."""

    turns: list[Any] = Field(default_factory=list)
    policy: Any

    def _reply(self, messages: list[BaseMessage]) -> Reply:
        reply: Reply = self.policy(messages)
        return reply


def call(name: str, /, id: str = "", **arguments: Any) -> AIMessage:
    """An assistant message with one tool call."""
    return calls((name, arguments), ids=[id] if id else None)


def calls(*pairs: tuple[str, dict[str, Any]], ids: list[str] | None = None, text: str = "") -> AIMessage:
    """An assistant message with several tool calls; ids are numbered unless given."""
    made = [
        {"name": name, "args": arguments, "id": ids[n] if ids else f"call_{n}", "type": "tool_call"}
        for n, (name, arguments) in enumerate(pairs)
    ]
    return AIMessage(text, tool_calls=made)
