"""The offline model: no language model at all, but a deterministic chat model with tool calls that keeps and quotes facts.

It keeps what it is told in archival storage, searches archival and recall when it is asked, and answers with quotations of
what it found. It is what the first run and the demo use when no endpoint answers; the interface names it as such.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from models.refusals import ModelFailed

NO_MODEL = (
    "This takes a language model, and the offline model is none: start Ollama, LM Studio or vLLM, or set OPENAI_BASE_URL and "
    "OPENAI_API_KEY."
)
LEAVING = "What leaves:\n"  # in the prompt for a summary
NOTICE = "no language model: answers are quotations from memory"
QUOTED = 3  # passages in an answer
COMMON = frozenset(
    (
        "a about am an called name named find know again ever and any are as at be been but by can could did do does "
        "for from had has have how i in is it its know like me my of on or our please remember should so tell than that "
        "the their them there they this to us was we were what when where which who whom whose why will with would you "
        "your"
    ).split()
)
SELF = re.compile(
    r"\b(my name is|i am called|call me|i'm|i am|my \w+(?: \w+)? (?:is|are|was|were)\b|i (?:live|work|was born))", re.I
)
QUESTION = re.compile(
    r"^\s*(who|what|when|where|which|whose|why|how|do|does|did|is|are|was|were|can|could|will|would|have|has|tell me|remind)\b",
    re.I,
)
RESULT_LINE = re.compile(r"^- \[(?P<origin>[^\]]*)\] (?P<text>.*)$", re.M)


class OfflineModel(BaseChatModel):
    """Acts by rule on the events and tool results of the MemGPT prompt; the same prompt gives the same reply."""

    @property
    def _llm_type(self) -> str:
        return "palimpsest-offline"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """With MemGPT's tools it acts; without any, it writes a summary. Raises ModelFailed for all else."""
        names = {tool["function"]["name"] for tool in tools if isinstance(tool, dict)}
        if "send_message" not in names:
            raise ModelFailed(NO_MODEL)
        return self.bind(acts=True)

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        if not kwargs.get("acts") and LEAVING not in messages[-1].text:
            raise ModelFailed(NO_MODEL)
        reply = act_by_rule(messages) if kwargs.get("acts") else AIMessage(digest(messages[-1].text))
        return ChatResult(generations=[ChatGeneration(message=reply)])

    def _stream(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        """Word by word, as a model would: the arguments of a call come in pieces."""
        reply = self._generate(messages, **kwargs).generations[0].message
        assert isinstance(reply, AIMessage)
        chunks = [AIMessageChunk(content=word) for word in re.findall(r"\S+\s*|\s+", reply.text)]
        for n, call in enumerate(reply.tool_calls):
            chunks.append(
                AIMessageChunk(
                    content="", tool_call_chunks=[tool_call_chunk(name=call["name"], id=call["id"], index=n)]
                )
            )
            for piece in re.findall(r"\S+\s*|\s+", json.dumps(call["args"], ensure_ascii=False)):
                chunks.append(AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(args=piece, index=n)]))
        yield from (ChatGenerationChunk(message=message) for message in chunks)


def act_by_rule(messages: list[BaseMessage]) -> AIMessage:
    """The next step: keep what was stated; search for what was asked, and quote it."""
    events = [(n, _event(m)) for n, m in enumerate(messages) if isinstance(m, HumanMessage)]
    # An alert may come between a question and its answer; every fact is in archival storage by then.
    number, event = next(((n, e) for n, e in reversed(events) if e["type"] != "memory_pressure"), (0, {"type": ""}))
    since = messages[number + 1 :]
    done = {call["name"]: call["args"] for m in since if isinstance(m, AIMessage) for call in m.tool_calls}
    if event["type"] != "user_message" or "send_message" in done:
        return AIMessage("Noted.")
    said = event["message"]
    results = [m for m in since if isinstance(m, ToolMessage)]
    return _answer(said, done, results) if is_question(said) else _keep(said, done, results)


def is_question(text: str) -> bool:
    """Whether the text asks for something."""
    return text.rstrip().endswith("?") or bool(QUESTION.match(text))


def keywords(text: str) -> list[str]:
    """The telling words of a question, the longest first."""
    words = {w for w in re.findall(r"[\w'-]{2,}", text) if w.casefold() not in COMMON}
    return sorted(words, key=lambda w: (-len(w), w))


def digest(text: str) -> str:
    """A summary without a model: the first sentence of each line that leaves, up to about 90 words."""
    old, _, leaving = text.partition(LEAVING)
    old = old.removeprefix("Old summary:\n").strip()
    lines = [] if old in ("", "(none)") else old.splitlines()
    lines += [
        re.split(r"(?<=[.!?])\s", line, maxsplit=1)[0]
        for line in leaving.splitlines()
        if not line.startswith("result of")
    ]
    kept: list[str] = []
    words = 0
    for line in reversed(list(dict.fromkeys(lines))):  # the latest are kept
        words += len(line.split())
        if words > 90:
            break
        kept.append(line)
    return "\n".join(reversed(kept))


def _keep(said: str, done: dict[str, Any], results: list[ToolMessage]) -> AIMessage:
    about_self = SELF.search(said) and len(said) <= 200
    if "archival_memory_insert" not in done:
        return _call("archival_memory_insert", content=said, request_heartbeat=True)
    if about_self and "working_context_append" not in done:
        return _call("working_context_append", block="human", content=said, request_heartbeat=True)
    failed = [m for m in results if _result(m)["status"] != "OK" and m.name == "archival_memory_insert"]
    if failed:
        return _call("send_message", message=f"I could not keep that: {_result(failed[-1])['message']}")
    return _call("send_message", message=f"I have kept that. ({NOTICE[0].upper()}{NOTICE[1:]}.)")


def _answer(said: str, done: dict[str, Any], results: list[ToolMessage]) -> AIMessage:
    words = keywords(said)
    if "archival_memory_search" not in done:
        return _call("archival_memory_search", query=said, page=0, request_heartbeat=True)
    if words and "recall_memory_search_ignore_case" not in done:
        return _call("recall_memory_search_ignore_case", query=words[0], page=0, request_heartbeat=True)
    archival, recalled = (_lines(results, n) for n in ("archival_memory_search", "recall_memory_search_ignore_case"))
    # Ranked search always finds something; it is an answer if it shares a word with the question.
    stems = {w.casefold().rstrip("s")[:6] for w in words}
    near = [r for r in archival if not stems or any(s in r[1].casefold() for s in stems)]
    near += [r for r in recalled if not is_question(r[1]) and r[1] not in {text for _, text in archival}]
    if not near:
        return _call(
            "send_message", message=f"I found nothing about that in my memory. ({NOTICE[0].upper()}{NOTICE[1:]}.)"
        )
    quotes = "\n".join(f"> {text} — {origin}" for origin, text in near[:QUOTED])
    return _call("send_message", message=f"From my memory:\n\n{quotes}\n\n({NOTICE[0].upper()}{NOTICE[1:]}.)")


def _lines(results: list[ToolMessage], tool: str) -> list[tuple[str, str]]:
    for message in reversed(results):
        if message.name == tool and _result(message)["status"] == "OK":
            return [(m["origin"], m["text"]) for m in RESULT_LINE.finditer(str(_result(message)["message"]))]
    return []


def _event(message: BaseMessage) -> dict[str, Any]:
    return _json(message, "type") or {"type": "user_message", "message": message.text}


def _result(message: ToolMessage) -> dict[str, Any]:
    return _json(message, "status") or {"status": "Failed", "message": message.text}


def _json(message: BaseMessage, key: str) -> dict[str, Any] | None:
    """The message's text as a JSON object with `key`, if it is one: what was cut to fit the window is not."""
    try:
        value = json.loads(message.text)
    except ValueError:
        return None
    return value if isinstance(value, dict) and key in value else None


def _call(name: str, **arguments: Any) -> AIMessage:
    number = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([name, arguments], sort_keys=True)).hex[:12]
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call_{number}", "type": "tool_call"}])
