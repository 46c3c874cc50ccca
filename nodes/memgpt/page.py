"""page: counts the window, warns once when it fills; what comes next is a thought, a flush, or rest."""

import uuid
from itertools import takewhile
from typing import Literal

from langchain_core.messages import AIMessage
from langgraph.runtime import Runtime

from memory.recall import Trust
from nodes.memgpt.event import Event
from nodes.memgpt.keep import should_keep
from nodes.memgpt.log import DELIVERED, StepLog
from nodes.memgpt.state import Context, State
from nodes.memgpt.trust import MARK
from nodes.memgpt.window import measure
from nodes.replies import memory_of, step_id

UNANSWERED = "You have not answered: the person sees only what you send. Call send_message now."
PRESSURE = (
    "Your window is {share:.0%} full. Save what matters now: short facts with working_context_append, the rest with "
    "archival_memory_insert. At {flush:.0%} the oldest messages leave for recall storage."
)


def page(state: State, runtime: Runtime[Context]) -> State:
    """After each step: pressure alert, then failed call, then requested heartbeat, then wait (MemGPT §2.2 and §2.4)."""
    context, turn = runtime.context, state.get("turn")
    if state.get("stop") or turn is None:
        return {}
    if turn["steps"] >= context.max_steps:
        return {"stop": "step_limit" if turn["wake"] else "waiting"}
    update = _warn(state, runtime)
    if not turn["wake"] and not update:
        if turn.get("asked") and context.answers and not state["replies"]:
            return _unanswered(state, runtime)
        memory_of(runtime).flush()
        return {"stop": "waiting", "forgot": should_keep(state, runtime)}
    return {**update, "full": measure(state, context).share >= context.flush_at}


def _unanswered(state: State, runtime: Runtime[Context]) -> State:
    """Nobody is left without an answer: the agent is reminded once; then what it wrote to itself is delivered."""
    turn, log = state["turn"], StepLog(state, runtime)
    if turn["reminded"]:
        since = takewhile(lambda m: m.id != turn["event"], reversed(state["messages"]))
        written = next((m for m in since if isinstance(m, AIMessage) and m.text.strip()), None)
        if written is not None:
            trust: Trust = "outside" if written.additional_kwargs.get(MARK) == "outside" else "own"
            log.add(f"{written.id}{DELIVERED}", "assistant", written.text, runtime.context.agent, trust)
            log.write()
        log.recall.store.flush()
        return {"stop": "waiting", "replies": [written.text] if written else [], **log.update()}
    key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{step_id(runtime)}:reminder"))
    record = log.add(key, "alert", UNANSWERED, "system")
    log.write()
    alert = Event(UNANSWERED, "system_alert", "", log.now.isoformat(), record.sequence).queued(key)
    return {
        "messages": [alert], "queue_ids": [*state["queue_ids"], key], "turn": {**turn, "reminded": True, "wake": "event"},
        "full": measure({**state, "messages": [*state["messages"], alert]}, runtime.context).share >= runtime.context.flush_at,
        **log.update(),
    }  # fmt: skip


def after_page(state: State) -> Literal["think", "evict", "keep", "__end__"]:
    """Rest when the turn has ended, and keep first what the model has forgotten to; flush when the window is full, else think."""
    if state.get("stop") or "turn" not in state:
        return "keep" if state.get("stop") == "waiting" and state.get("forgot") else "__end__"
    return "evict" if state.get("full") else "think"


def _warn(state: State, runtime: Runtime[Context]) -> State:
    """The memory-pressure alert, if it is due: the first time that the window is `warn_at` full since the last flush."""
    context = runtime.context
    share = measure({**state, "recalled": []}, context).share  # what was recalled goes with the turn
    if share < context.warn_at or state.get("warned"):
        return {}
    log = StepLog(state, runtime)
    key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{step_id(runtime)}:pressure"))
    text = PRESSURE.format(share=share, flush=context.flush_at)
    record = log.add(key, "alert", text, "system")
    alert = Event(text, "memory_pressure", "", log.now.isoformat(), record.sequence).queued(key)
    warned = measure({**state, "messages": [*state["messages"], alert]}, context)
    if warned.share >= context.flush_at:
        return {}  # the flush comes first, and after it the warning would not hold
    log.write()
    return {"messages": [alert], "queue_ids": [*state["queue_ids"], key], "warned": True, **log.update()}
