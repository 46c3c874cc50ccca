"""page: counts the window, warns once when it fills, and says what comes next: a thought, a flush, or rest."""

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from memory.recall import Message, Recall
from nodes.memgpt.events import memory_pressure
from nodes.memgpt.log import Clock
from nodes.memgpt.state import Context, State
from nodes.memgpt.window import measure
from nodes.replies import memory_of, thread_of

PRESSURE = (
    "Your window is {share:.0%} full. Save what matters now: short facts with working_context_append, the rest with "
    "archival_memory_insert. At {flush:.0%} the oldest messages leave for recall storage."
)


def page(state: State, runtime: Runtime[Context]) -> Command[Literal["think", "evict", "__end__"]]:
    """After each step: pressure alert, then failed call, then requested heartbeat, then wait (MemGPT §2.2 and §2.4)."""
    context, turn = runtime.context, state.get("turn")
    if state.get("stop") or turn is None:
        return Command(goto="__end__")
    due = bool(turn["due"])
    if turn["steps"] >= context.max_steps:
        return Command(goto="__end__", update={"stop": "step_limit" if due else "waiting"})

    usage = measure(state, context)
    update: State = {}
    if usage.share >= context.warn_at and not state.get("warned"):
        thread, clock = thread_of(runtime), Clock(state, context)
        text = PRESSURE.format(share=usage.share, flush=context.flush_at)
        sequence = clock.tick()
        alert = memory_pressure(text, clock.now.isoformat(), sequence, f"{thread}:{sequence}")
        warned = measure({**state, "messages": [*state["messages"], alert]}, context)
        if warned.share < context.flush_at:  # else the flush comes first, and the warning would be of what is past
            known = [*state["known"], str(alert.id)]
            update = {"messages": [alert], "known": known, "warned": True, **clock.update()}
            record = Message(str(alert.id), "alert", text, "system", "own", clock.now, thread, sequence, None)
            Recall(memory_of(runtime.store), context.agent).write([record])
            usage, due = warned, True

    if not due:
        memory_of(runtime.store).flush()
        return Command(goto="__end__", update={**update, "stop": "waiting"})
    return Command(goto="evict" if usage.share >= context.flush_at else "think", update=update)
