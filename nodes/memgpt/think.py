"""think: one call of the model on the prompt, its reply made valid for every provider."""

import time
from typing import Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.runtime import Runtime

from models.intake import Reply
from models.protocol import SPEAK
from models.refusals import ContextOverflow, ModelFailed
from models.reply import Stopped
from nodes.memgpt.event import Event, event_of, is_event
from nodes.memgpt.keep import KEEPING
from nodes.memgpt.log import StepLog
from nodes.memgpt.meter import cap_met, seconds_left, with_thought
from nodes.memgpt.state import Context, State, Tokens
from nodes.memgpt.tools import TOOL_SCHEMAS
from nodes.memgpt.trust import MARK, trust_of_view
from nodes.memgpt.window import (
    REPLY_SHARE,
    clip,
    estimate,
    is_plain,
    measure,
    message_tokens,
    render_prompt,
    room,
    tool_tokens,
)
from nodes.replies import prompt_tokens, protocol_of, reply_to, served_tokens, settings_of, step_id, tidy
from text import clean_text

EMPTY = Event(
    "Your last reply was empty. Call a tool; to answer the person, call send_message.", "system_alert", "", "", 0
)
NUDGE_TOKENS = 100  # more than it takes, whatever the calibration
EMPTY_REPLIES = 2  # tolerated in a row
MOST_OF_THOUGHTS = 20_000  # characters, of one reply
LEAST_RATIO, MOST_RATIO = 0.5, 2.0
"""Of a model's own count of tokens to the estimate, within which it is plausible."""
LEAST_FREE = 300  # tokens beside the instructions and the working context, for a question and its answer


def think(state: State, runtime: Runtime[Context]) -> State:
    """Plain text is a monologue and yields (MemGPT §2.4). An empty reply is asked for again, twice. Raises ModelFailed."""
    context = runtime.context
    state = {**state, "calls": protocol_of(runtime)}
    plain = is_plain(state)
    limit = _served_limit(state, runtime)
    if limit != state.get("limit", 0):
        state = {**state, "limit": limit}
        if measure(state, context).share > 1:
            return {"limit": limit, "calls": state["calls"], "full": True}
    prompt = render_prompt(state, context)
    turn, told, meter = state["turn"], _Told(state), state.get("meter", {})
    if cap := cap_met(state, context, measure(state, context).used):
        return {"stop": cap}
    tools, nudge = tool_tokens(state["calls"]), list[BaseMessage]()
    for attempt in range(1 + EMPTY_REPLIES):
        if attempt and measure(state, context).free > NUDGE_TOKENS:
            nudge = [EMPTY.rendered(None, plain)]
        begun, left = time.monotonic(), seconds_left({**state, "meter": meter}, context)
        try:
            reply = reply_to(
                [*prompt, *nudge], context.model, runtime, TOOL_SCHEMAS, only=_only(state, context), within=left
            )
        except Stopped:
            return {"stop": "stopped"}
        except ContextOverflow as error:
            return _shrunk(state, runtime, prompt, error)
        except ModelFailed:
            if time.monotonic() - begun < left:
                raise
            return {"stop": "time_cap", "meter": with_thought(meter, "thinking", begun, prompt, None, tools)}
        meter = with_thought(meter, "thinking", begun, [*prompt, *nudge], reply, tools)
        turn = {**turn, "steps": turn["steps"] + 1}
        told.add(reply)
        if not reply.is_empty:
            break
    else:
        return {"stop": "empty_reply", "turn": turn, "meter": meter, **told.update()}

    state = {**state, "calls": protocol_of(runtime)}  # it may have been found out just now
    update: State = {
        "limit": limit,
        "calls": state["calls"],
        "turn": {**turn, "wake": ""},
        "meter": meter,
        "calibration": _calibrate(state, prompt, nudge, reply),
        **told.update(),
    }
    message = tidy(reply, step_id(runtime))
    trust = trust_of_view(state)
    if trust == "outside":
        message.additional_kwargs[MARK] = trust
    update["queue_ids"] = [*state["queue_ids"], str(message.id)]
    if message.tool_calls:
        return {**update, "messages": [message]}

    log = StepLog(state, runtime)
    log.add_monologue(message, trust)
    log.write()
    log.recall.store.flush()
    message.content = clip(message.text, int(room(state, context) * REPLY_SHARE))
    message.additional_kwargs["time"] = log.now.isoformat()
    return {**update, **log.update(), "messages": [message]}


def _only(state: State, context: Context) -> tuple[str, ...]:
    """What may be called now, where not all: small models call on, whatever they are told.

    An answer, where a person waits and it is the turn's last chance; where the window fills behind an answer, what saves something.
    """
    turn, last = state["turn"], state["messages"][-1]
    if state["replies"] and is_event(last) and event_of(last).kind == "memory_pressure":
        return (*KEEPING, SPEAK)
    is_last = turn["reminded"] or turn["steps"] + 1 >= context.max_steps or turn["repeats"] >= context.max_repeats
    waits = turn.get("asked") and context.answers and not state["replies"]
    return ("send_message",) if waits and is_last else ()


def after_think(state: State) -> Literal["act", "page", "__end__"]:
    """Act on calls; after text, or a prompt that was too long for the endpoint, see what comes next."""
    if state["stop"]:
        return "__end__"
    last = state["messages"][-1]
    return "act" if isinstance(last, AIMessage) and last.tool_calls else "page"


class _Told:
    """What a turn's replies tell the person beside their text."""

    def __init__(self, state: State) -> None:
        self._tokens = state.get("tokens", Tokens(read=0, cached=0, written=0)).copy()
        self._thoughts = list(state.get("thoughts", []))

    def add(self, reply: Reply) -> None:
        self._tokens["read"] += reply.input_tokens
        self._tokens["cached"] += min(reply.cached_tokens, reply.input_tokens)
        self._tokens["written"] += reply.output_tokens
        if reply.thoughts:
            self._thoughts.append(clean_text(reply.thoughts[:MOST_OF_THOUGHTS]))

    def update(self) -> State:
        return {"tokens": self._tokens, "thoughts": self._thoughts}


def _served_limit(state: State, runtime: Runtime[Context]) -> int:
    """The state's limit, or a smaller one that the server tells of; 0 for none. Raises ContextOverflow where it is too small."""
    limit, served = state.get("limit", 0), served_tokens(runtime)
    if not served or served >= (limit or runtime.context.window):
        return limit
    if measure({**state, "limit": served, "messages": []}, runtime.context).free < LEAST_FREE:
        raise ContextOverflow(
            f"The model's context leaves a prompt {served} tokens: too few for the agent's instructions, working context and "
            "tools. Serve it with a larger context.", 0, served,
        )  # fmt: skip
    return served


def _shrunk(state: State, runtime: Runtime[Context], prompt: list[BaseMessage], error: ContextOverflow) -> State:
    """The window as large as the endpoint says, and smaller than what it refused. Raises the error where that is too small."""
    size = int(
        (estimate(prompt[0].text) + tool_tokens(state["calls"]) + sum(map(_tokens, prompt[1:])))
        * state.get("calibration", 1.0)
    )
    limit = prompt_tokens(error.limit, settings_of(runtime)) if error.limit else int(0.8 * size)
    limit = min(limit, int(0.8 * size))  # its count is what holds
    usage = measure({**state, "limit": limit, "messages": []}, runtime.context)
    if usage.free < LEAST_FREE:
        raise error
    return {"limit": limit, "full": True}


def _calibrate(state: State, prompt: list[BaseMessage], nudge: list[BaseMessage], reply: Reply) -> float:
    """Tokens per estimated token, from what the provider says it counted: up at once, down slowly.

    A figure that no tokenizer gives is not believed: one added up over chunks, or of what was not cached or not cut off alone.
    """
    before = state.get("calibration", 1.0)
    first, *queue = prompt
    estimated = estimate(first.text) + tool_tokens(state["calls"]) + sum(_tokens(m) for m in [*queue, *nudge])
    ratio = reply.input_tokens / estimated
    if not LEAST_RATIO <= ratio <= MOST_RATIO:
        return before
    return ratio if ratio > before else 0.7 * before + 0.3 * ratio


def _tokens(message: BaseMessage) -> int:
    """Of a message as sent: an event is already JSON."""
    return estimate(message.text) + 4 if isinstance(message, HumanMessage) else message_tokens(message)  # type: ignore[arg-type]
