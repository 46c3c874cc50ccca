"""begin: looks the task up, and puts into the state what the agent may see of it."""

from langgraph.runtime import Runtime

from nodes.collaborate.state import Context, State
from tasks.book import find_task


def begin(state: State, runtime: Runtime[Context]) -> State:
    """Start a run. Raises BadTask for an unknown id, and ValueError for a run without a task or a wish."""
    fresh: State = {
        "agent": runtime.context.agent, "turns": [], "answer": "", "stop": "", "score": None, "success": None, "failure": "",
        "message": "", "parts": {}, "passed": [], "told": [], "input_tokens": 0, "output_tokens": 0, "trajectory": {},
    }  # fmt: skip
    if state.get("task"):
        task = find_task(state["task"])
        return {**fresh, "kind": task.kind, "description": task.description, "examples": task.examples, "wish": ""}
    if not state.get("wish", "").strip():
        raise ValueError("There is neither a task nor a wish: give the id of a task, or say what you want.")
    if runtime.context.person != "human":
        raise ValueError(
            f"A simulated person ({runtime.context.person}) needs a task with a reference, not a wish alone."
        )
    kind = state.get("kind", "backend")
    return {**fresh, "task": "", "kind": kind, "description": state["wish"].strip(), "examples": ""}
