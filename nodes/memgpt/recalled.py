"""Recall before thinking: the machine itself looks up what bears on a person's words and is out of the window.

What it finds stands beside them in the prompt of that turn as dated quotes: small models do not search by themselves. It is never
written to memory anew, nor does it go into the summary.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langgraph.runtime import Runtime
from langgraph.store.base import SearchItem

from memory.embedder import EmbeddingFailed
from memory.minilm import WeightsMissing
from memory.pending import Progress
from memory.recall import SAID
from memory.store import QdrantStore, Source
from nodes.memgpt.event import event_of, is_event
from nodes.memgpt.log import DELIVERED
from nodes.memgpt.state import Context, Recalled, State
from nodes.memgpt.window import clip, lines_tokens, measure, recalled_lines
from nodes.replies import memory_of
from text import folded

MOST = 12  # quotes
LONGEST = 0.4  # of the room, for one quote
MOST_ASKED = 1_000  # characters of a message that are searched by
FLOOR = 0.2
"""Cosine below which a memory has nothing to do with what is said."""

ONLY_ASKS = re.compile(r"[^.!。！]*[?？؟]\s*$")
"""A message that is one question, and tells nothing."""

logger = logging.getLogger(__name__)


def look_up(state: State, runtime: Runtime[Context], bounded: bool = False) -> list[Recalled]:
    """What bears on the event that is being answered, best first, in at most `recall_share` of the window.

    Where the window is too full for that, a flush comes first; after it, `bounded`, there is what is free. Nothing where no person
    speaks, nothing is out of view, or the embedder fails: the agent's own searches then say so.
    """
    context = runtime.context
    usage = measure({**state, "recalled": []}, context)
    share = context.recall_share * usage.window
    room = int((min(share, usage.free / 2) if bounded else share) / state.get("calibration", 1.0))
    asked = _asked(state)
    if not asked or not room or not (context.temporary or _is_out_of_view(state)):
        return []
    try:
        return quotes(
            memory_of(runtime), context.agent, asked, keys_in_view(state), room,
            lambda done, total: runtime.stream_writer({"embedded": done, "of": total}),
        )  # fmt: skip
    except (EmbeddingFailed, WeightsMissing) as error:
        logger.warning("Nothing is recalled before this thought: %s", error)
        return []


def quotes(
    store: QdrantStore, agent: str, asked: str, in_view: Iterable[str], tokens: int, progress: Progress | None = None
) -> list[Recalled]:
    """What bears on `asked`, but for the keys `in_view`, in at most so many tokens. Raises EmbeddingFailed, WeightsMissing."""
    found = store.retrieve(
        asked[:MOST_ASKED], sources(agent), floor=FLOOR, without={(agent, "message"): in_view}, limit=2 * MOST,
        progress=progress,
    )  # fmt: skip
    # The same question, asked before, is the nearest of all and answers nothing.
    once: dict[str, Recalled] = {}
    for item in map(_recalled, found):  # a note may repeat a message
        once.setdefault(folded(item["text"]), item)
    told_first = sorted(once.values(), key=lambda item: bool(ONLY_ASKS.match(item["text"])))
    return within(told_first[:MOST], tokens)


def keys_in_view(state: State) -> list[str]:
    """The keys in recall storage of what the queue says aloud."""
    return [key for message in state["messages"] for key in keys_of(message)]


def sources(agent: str) -> list[Source]:
    """Where it looks: what was said, and all of archival storage."""
    return [((agent, "message"), {"role": SAID}), ((agent, "passage"), {})]


def within(found: Sequence[Recalled], tokens: int) -> list[Recalled]:
    """As many of them as fit, each cut to its share of the room, the best first."""
    kept: list[Recalled] = []
    for item in found:
        shorter: Recalled = {**item, "text": clip(item["text"], int(tokens * LONGEST), "search for the rest")}
        if lines_tokens(recalled_lines([*kept, shorter])) <= tokens:
            kept.append(shorter)
    return kept


def _asked(state: State) -> str:
    """What the person says in the turn under way."""
    turn = state["turn"]
    event = next((m for m in state["messages"] if m.id == turn["event"]), None)
    return event_of(event).text.strip() if turn.get("asked") and event is not None and is_event(event) else ""


def _is_out_of_view(state: State) -> bool:
    """Whether anything that was said or kept does not stand in the queue."""
    in_view = sum(
        (is_event(m) and event_of(m).kind == "user_message")
        or (isinstance(m, ToolMessage) and m.name == "send_message" and m.status == "success")
        for m in state["messages"]
    )
    return state["counters"]["archival"] > 0 or state["counters"]["recall"] > in_view


def keys_of(message: AnyMessage) -> Iterator[str]:
    """The keys that a message of the queue may have in recall storage."""
    yield str(message.id)
    if isinstance(message, AIMessage):
        yield f"{message.id}{DELIVERED}"
        yield from (f"{message.id}:{call['id']}:call" for call in message.tool_calls)


def _recalled(item: SearchItem) -> Recalled:
    value = item.value
    is_said = item.namespace[-1] == "message"
    return {
        "key": item.key,
        "storage": "recall" if is_said else "archival",
        "speaker": str(value["role"]) if is_said else "",
        "author": str(value["author"]),
        "source": str(value.get("source", "")),
        "time": str(value["time"]),
        "until": str(value.get("until", "")),
        "text": str(value["text"]),
        "trust": value.get("trust", "own"),
        "score": float(item.score or 0.0),
    }
