"""begin: looks the task up, and puts into the state what the agent may see of it."""

from typing import get_args

from langgraph.runtime import Runtime

from nodes.collaborate.state import Context, State
from nodes.context import STATE_VERSION
from nodes.replies import settings_of
from tasks.colbench import TaskKind
from tasks.kinds import ENVIRONMENTS
from tasks.lookup import find_task


def begin(state: State, runtime: Runtime[Context]) -> State:
    """Start a run. Raises BadTask for an unknown id, TruthFailed for a task that cannot be scored, and ValueError for a run
    without a task or a wish.
    """
    context, settings = runtime.context, settings_of(runtime)
    fresh: State = {
        "version": STATE_VERSION, "agent": context.agent, "setting": context.setting(), "turns": [], "answer": "", "stop": "",
        "score": None, "success": None, "failure": "", "message": "", "parts": {}, "passed": [], "told": [], "input_tokens": 0,
        "output_tokens": 0, "trajectory": {}, "wish": "",
    }  # fmt: skip
    if wish := state.get("wish", "").strip():
        if context.person != "human":
            raise ValueError(f"A simulated person ({context.person}) needs a task with a reference, not a wish alone.")
        kind = state.get("kind", "backend")
        if kind not in get_args(TaskKind):
            raise ValueError(f"kind={kind!r} cannot work: use {' or '.join(get_args(TaskKind))}.")
        return {**fresh, "task": "", "kind": kind, "description": wish, "examples": ""}
    if not state.get("task"):
        raise ValueError("There is neither a task nor a wish: give the id of a task, or say what you want.")
    task = find_task(state["task"], settings)
    ENVIRONMENTS[task.kind].check(task, context.scoring_of(settings))  # before a model is paid
    return {**fresh, "kind": task.kind, "description": task.description, "examples": task.examples}
