"""reflect: puts what went wrong into words, for the next trial and for later runs (Reflexion, §3: self-reflection)."""

import time

from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.runtime import Runtime

from memory.documents import clean_text
from memory.lessons import Lesson, Lessons, Outcome
from nodes.reflexion.attempt import SHOWN
from nodes.reflexion.state import Context, State, Trial
from nodes.replies import memory_of, reply_to, thread_of

REFLECT = (
    "Your attempt at the task below failed. Say in one to three sentences why, and what to do otherwise next time, so that it "
    "helps with this task and with others like it. Reply with that alone."
)


def reflect(state: State, runtime: Runtime[Context]) -> State:
    """Write the lesson into the trial, and keep it. Raises ModelFailed and Stopped; the run can then be gone on with."""
    context, begun = runtime.context, time.monotonic()
    last = state["trials"][-1]
    asked = f"Task:\n{state['task']}\n\nYour attempt:\n{last['answer'][:SHOWN] or '(none)'}\n\nWhat came of it:\n{last['feedback']}"
    reply = reply_to([SystemMessage(REFLECT), HumanMessage(asked)], context.model, runtime, tags=["lesson"])
    text = clean_text(reply.text).strip() or f"Avoid this: {last['feedback'][:300]}"
    outcome: Outcome = "error" if last["outcome"] == "error" else "failed"
    key = f"{state['run']}:{last['number']}"  # the same if the step is repeated after a crash
    source = f"{thread_of(runtime)} · trial {last['number']}"
    store = memory_of(runtime.store)
    Lessons(store, context.agent).keep(Lesson(key, text, state["task"], outcome, source))
    store.flush()
    trial: Trial = {**last, "lesson": text}
    return {"trials": [*state["trials"][:-1], trial], "seconds": state["seconds"] + time.monotonic() - begun}
