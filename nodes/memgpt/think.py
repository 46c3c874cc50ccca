"""think: one call of the model on the prompt, its reply made valid for every provider."""

from typing import Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.runtime import Runtime
from langgraph.types import Command

from memory.recall import Recall
from models.endpoint import open_model
from models.reply import ask
from nodes.memgpt.events import render_event, system_alert
from nodes.memgpt.log import Clock, monologue_record
from nodes.memgpt.state import Context, State
from nodes.memgpt.tools import TOOL_SCHEMAS
from nodes.memgpt.window import REPLY_SHARE, TOOL_TOKENS, clip, estimate, measure, message_tokens, render_prompt, room
from nodes.replies import memory_of, step_id, thread_of, tidy

EMPTY = "Your last reply was empty. Call a tool; to answer the person, call send_message."
NUDGE_TOKENS = 100  # more than it takes, whatever the calibration
EMPTY_REPLIES = 2  # tolerated in a row


def think(state: State, runtime: Runtime[Context]) -> Command[Literal["act", "__end__"]]:
    """Calls go to `act`; plain text is a monologue and yields (MemGPT §2.4). An empty reply is asked for again, twice."""
    context, thread = runtime.context, thread_of(runtime)
    prompt = render_prompt(state, context)
    model = open_model(context.model)
    turn = state["turn"]
    reply: AIMessage | None = None
    nudge: list[BaseMessage] = []
    for attempt in range(1 + EMPTY_REPLIES):
        if attempt and measure(state, context).free > NUDGE_TOKENS:
            nudge = [render_event(system_alert(EMPTY))]
        reply = ask(model, TOOL_SCHEMAS, [*prompt, *nudge], control=runtime.control)
        if reply is None:
            return Command(goto="__end__", update={"stop": "stopped"})
        turn = {**turn, "steps": turn["steps"] + 1}
        if reply.text.strip() or reply.tool_calls or reply.invalid_tool_calls:
            break
    else:
        return Command(goto="__end__", update={"stop": "empty_reply", "turn": turn})

    update: State = {"turn": {**turn, "due": ""}, "calibration": _calibrate(state, prompt, nudge, reply)}
    message = tidy(reply, step_id(runtime))
    update["known"] = [*state["known"], str(message.id)]
    if message.tool_calls:
        return Command(goto="act", update={**update, "messages": [message]})

    clock = Clock(state, context)
    store = memory_of(runtime.store)
    Recall(store, context.agent).write([monologue_record(message.text, f"{message.id}:text", clock, context, thread)])
    store.flush()
    message.content = clip(message.text, int(room(state, context) * REPLY_SHARE))
    message.additional_kwargs["time"] = clock.now.isoformat()
    return Command(goto="__end__", update={**update, **clock.update(), "messages": [message], "stop": "waiting"})


def _calibrate(state: State, prompt: list[BaseMessage], nudge: list[BaseMessage], reply: AIMessage) -> float:
    """Tokens per estimated token, from what the provider says it counted: up at once, down slowly."""
    before = state.get("calibration", 1.0)
    counted = reply.usage_metadata["input_tokens"] if reply.usage_metadata else 0
    if counted <= 0:
        return before
    first, *queue = prompt
    estimated = estimate(first.text) + TOOL_TOKENS + sum(_tokens(m) for m in [*queue, *nudge])
    ratio = min(4.0, max(0.25, counted / estimated))
    return ratio if ratio > before else 0.7 * before + 0.3 * ratio


def _tokens(message: BaseMessage) -> int:
    """Of a message as sent: an event is already JSON."""
    return estimate(message.text) + 4 if isinstance(message, HumanMessage) else message_tokens(message)  # type: ignore[arg-type]
