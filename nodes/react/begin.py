"""begin: a new run, whatever the thread was at before."""

from typing import Any, cast

from langchain_core.messages import HumanMessage, RemoveMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.runtime import Runtime

from nodes.context import STATE_VERSION
from nodes.react.state import Context, Place, State
from nodes.replies import step_id


def begin(state: State, runtime: Runtime[Context]) -> State:
    """Put the task before the model. Raises ValueError if there is none."""
    task = state.get("task", "")
    if not task.strip():
        raise ValueError("The task is empty: say what is to be solved.")
    return {
        "version": STATE_VERSION, "agent": runtime.context.agent,
        "messages": [cast(Any, RemoveMessage(id=REMOVE_ALL_MESSAGES)), HumanMessage(task, id=f"{step_id(runtime)}:task")],
        "steps": 0, "seconds": 0.0, "last_calls": "", "repeats": 0, "failures": 0,
        "decisions": [], "outside": runtime.context.outside, "place": Place(title="", string="", found=0), "answer": "", "stop": "",
        "error": "",
    }  # fmt: skip
