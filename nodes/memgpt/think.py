"""think: one call of the model on the prompt, its reply made valid for every provider."""

from typing import Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.runtime import Runtime

from models.reply import Stopped
from nodes.memgpt.event import Event
from nodes.memgpt.log import StepLog
from nodes.memgpt.state import Context, State
from nodes.memgpt.tools import TOOL_SCHEMAS
from nodes.memgpt.window import REPLY_SHARE, TOOL_TOKENS, clip, estimate, measure, message_tokens, render_prompt, room
from nodes.replies import reply_to, step_id, tidy

EMPTY = Event(
    "Your last reply was empty. Call a tool; to answer the person, call send_message.", "system_alert", "", "", 0
)
NUDGE_TOKENS = 100  # more than it takes, whatever the calibration
EMPTY_REPLIES = 2  # tolerated in a row


def think(state: State, runtime: Runtime[Context]) -> State:
    """Plain text is a monologue and yields (MemGPT §2.4). An empty reply is asked for again, twice. Raises ModelFailed."""
    context = runtime.context
    prompt = render_prompt(state, context)
    turn = state["turn"]
    nudge: list[BaseMessage] = []
    for attempt in range(1 + EMPTY_REPLIES):
        if attempt and measure(state, context).free > NUDGE_TOKENS:
            nudge = [EMPTY.rendered(None)]
        try:
            reply = reply_to([*prompt, *nudge], context.model, runtime, TOOL_SCHEMAS)
        except Stopped:
            return {"stop": "stopped"}
        turn = {**turn, "steps": turn["steps"] + 1}
        if reply.text.strip() or reply.tool_calls or reply.invalid_tool_calls:
            break
    else:
        return {"stop": "empty_reply", "turn": turn}

    update: State = {"turn": {**turn, "wake": ""}, "calibration": _calibrate(state, prompt, nudge, reply)}
    message = tidy(reply, step_id(runtime))
    update["queue_ids"] = [*state["queue_ids"], str(message.id)]
    if message.tool_calls:
        return {**update, "messages": [message]}

    log = StepLog(state, runtime)
    log.add_monologue(message)
    log.write()
    log.recall.store.flush()
    message.content = clip(message.text, int(room(state, context) * REPLY_SHARE))
    message.additional_kwargs["time"] = log.now.isoformat()
    return {**update, **log.update(), "messages": [message], "stop": "waiting"}


def after_think(state: State) -> Literal["act", "__end__"]:
    """Act on calls; everything else ends the turn."""
    return "__end__" if state["stop"] else "act"


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
