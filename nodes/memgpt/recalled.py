"""Recall before thinking: the machine itself looks up what bears on a person's words and is out of the window.

What it finds stands beside them in the prompt of that turn as dated quotes: small models do not search by themselves. It is never
written to memory anew, nor does it go into the summary.
"""

import logging
from collections.abc import Iterator, Sequence

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langgraph.runtime import Runtime
from langgraph.store.base import SearchItem

from memory.embedder import EmbeddingFailed
from memory.minilm import WeightsMissing
from memory.recall import SAID
from memory.store import Source
from nodes.memgpt.event import event_of, is_event
from nodes.memgpt.log import DELIVERED
from nodes.memgpt.state import Context, Recalled, State
from nodes.memgpt.window import clip, lines_tokens, measure, recalled_lines
from nodes.replies import memory_of

MOST = 6  # quotes
LONGEST = 0.4  # of the room, for one quote
MOST_ASKED = 1_000  # characters of a message that are searched by
FLOOR = 0.25
"""Cosine below which a memory has nothing to do with what is said."""

logger = logging.getLogger(__name__)


def look_up(state: State, runtime: Runtime[Context]) -> list[Recalled]:
    """What bears on the event that is being answered, best first, in at most `recall_share` of the window.

    Nothing where no person speaks, nothing is out of view, or the embedder fails: the agent's own searches then say so.
    """
    context, store = runtime.context, memory_of(runtime.store)
    asked = _asked(state)
    usage = measure({**state, "recalled": []}, context)
    budget = int(min(context.recall_share * usage.window, usage.free / 2) / state.get("calibration", 1.0))
    if not asked or not budget or not _is_out_of_view(state):
        return []
    try:
        found = store.retrieve(
            asked[:MOST_ASKED],
            sources(context.agent),
            floor=FLOOR,
            without={(context.agent, "message"): [key for m in state["messages"] for key in _keys(m)]},
            limit=2 * MOST,
            progress=lambda done, total: runtime.stream_writer({"embedded": done, "of": total}),
        )
    except (EmbeddingFailed, WeightsMissing) as error:
        logger.warning("Nothing is recalled before this thought: %s", error)
        return []
    # The same question, asked before, is the nearest of all and answers nothing.
    told_first = sorted(map(_recalled, found), key=lambda item: item["text"].rstrip().endswith("?"))
    return within(told_first[:MOST], budget)


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


def _keys(message: AnyMessage) -> Iterator[str]:
    """The keys in recall storage of what a message of the queue says aloud."""
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
        "source": str(value.get("source", "")),
        "time": str(value["time"]),
        "text": str(value["text"]),
        "trust": value.get("trust", "own"),
        "score": float(item.score or 0.0),
    }
