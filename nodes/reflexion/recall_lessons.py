"""recall_lessons: begins a run with what was learnt from similar tasks, in any thread (Reflexion, §3: long-term memory); and
what keeps the lessons of a run."""

from langgraph.runtime import Runtime

from memory.lessons import Lesson, Lessons, Outcome
from nodes.context import STATE_VERSION
from nodes.reflexion.state import Context, Recalled, State, Trial
from nodes.replies import memory_of, step_id, thread_of


def recall_lessons(state: State, runtime: Runtime[Context]) -> State:
    """Find lessons of this agent for the task. Raises ValueError if there is no task."""
    task, context = state.get("task", ""), runtime.context
    if not task.strip():
        raise ValueError("The task is empty: say what is to be solved.")
    found = Lessons(memory_of(runtime), context.agent).recall(task, context.max_lessons)
    return {
        "version": STATE_VERSION, "agent": context.agent, "run": step_id(runtime), "own_tests": "", "trials": [], "seconds": 0.0,
        "recalled": [Recalled(key=lesson.key, text=lesson.text, task=lesson.task, trust=lesson.trust) for lesson in found],
        "answer": "", "score": 0.0, "stop": "",
    }  # fmt: skip


def keep_lesson(trial: Trial, state: State, runtime: Runtime[Context]) -> None:
    """Keep what a trial taught. Keeping it again, after a crash or a person's edit, replaces it."""
    outcome: Outcome = "error" if trial["outcome"] == "error" else "failed"
    key = f"{state['run']}:{trial['number']}"
    source = f"{thread_of(runtime)} · trial {trial['number']}"
    store = memory_of(runtime)
    Lessons(store, runtime.context.agent).keep(
        Lesson(
            key,
            trial["lesson"],
            state["task"],
            outcome,
            source,
            thread_of(runtime),
            trust="outside" if trial.get("outside") else "own",
        )
    )
    store.flush()
