"""begin: looks the task up, and puts into the state what the agent may see of it."""

from langgraph.runtime import Runtime

from nodes.collaborate.score import check_reference
from nodes.collaborate.state import Context, State
from tasks.book import find_task


def begin(state: State, runtime: Runtime[Context]) -> State:
    """Start a run. Raises BadTask for an unknown id, TruthFailed for a task that cannot be scored, and ValueError for a run
    without a task or a wish.
    """
    context = runtime.context
    fresh: State = {
        "agent": context.agent, "setting": context.setting(), "turns": [], "answer": "", "stop": "", "score": None,
        "success": None, "failure": "", "message": "", "parts": {}, "passed": [], "told": [], "input_tokens": 0,
        "output_tokens": 0, "trajectory": {}, "wish": "",
    }  # fmt: skip
    if wish := state.get("wish", "").strip():
        if context.person != "human":
            raise ValueError(f"A simulated person ({context.person}) needs a task with a reference, not a wish alone.")
        kind = state.get("kind", "backend")
        if kind not in ("backend", "frontend"):
            raise ValueError(f"kind={kind!r} cannot work: use backend or frontend.")
        return {**fresh, "task": "", "kind": kind, "description": wish, "examples": ""}
    if not state.get("task"):
        raise ValueError("There is neither a task nor a wish: give the id of a task, or say what you want.")
    task = find_task(state["task"])
    check_reference(task)  # before a model is paid
    return {**fresh, "kind": task.kind, "description": task.description, "examples": task.examples}
