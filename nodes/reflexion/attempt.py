"""attempt: one trial, with the lessons in view: written in one reply, or worked out by the ReAct machine."""

import time
from typing import Any, Protocol

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langgraph.runtime import Runtime

from nodes.react.solve import Solved, solve
from nodes.reflexion.recall_lessons import keep_lesson
from nodes.reflexion.state import Context, State, Trial
from nodes.replies import reply_to
from text import clean_text

WRITE = "Solve the task. Reply with the answer alone."
PROGRAM = "Solve the task with a Python program. Reply with the whole program in one fenced block."
SHOWN = 4_000  # characters of the last attempt


class Attempt(Protocol):
    """The node's signature."""

    def __call__(self, state: State, runtime: Runtime[Context]) -> State: ...


def attempt_with(solver: Any) -> Attempt:
    """The node, with the compiled ReAct machine as the solver for `Context.attempt == "react"`."""

    def attempt(state: State, runtime: Runtime[Context]) -> State:
        begun = time.monotonic()
        if state["trials"] and state["trials"][-1]["lesson"].strip():
            keep_lesson(state["trials"][-1], state, runtime)  # a person may have edited it
        made = _attempt(solver, state, runtime)
        trial = Trial(
            number=len(state["trials"]) + 1, answer=made.answer, trajectory=made.trajectory, outcome="", score=0.0, feedback="",
            error=made.error, lesson="", outside=made.outside,
        )  # fmt: skip
        return {"trials": [*state["trials"], trial], "seconds": state["seconds"] + time.monotonic() - begun}

    return attempt


def _attempt(solver: Any, state: State, runtime: Runtime[Context]) -> Solved:
    context = runtime.context
    if context.first_attempt and not state["trials"]:
        return Solved(context.first_attempt, "", "", context.outside)
    outside = from_outside(state, context)
    if context.attempt == "react":
        seconds = context.max_seconds - state["seconds"]
        return solve(solver, briefing(state, context), context, seconds, PROGRAM if context.is_program else "", outside)
    return Solved(_write(state, runtime), "", "", outside)


def from_outside(state: State, context: Context) -> str:
    """By what text from outside has come into what a trial reads; empty for none."""
    lessons = (f"a lesson from {each['task'][:60]!r}" for each in state["recalled"] if each.get("trust") == "outside")
    trials = (trial["outside"] for trial in state["trials"] if trial.get("outside"))
    return context.outside or next(lessons, "") or next(trials, "")


def _write(state: State, runtime: Runtime[Context]) -> str:
    context = runtime.context
    prompt: list[BaseMessage] = [
        SystemMessage(PROGRAM if context.is_program else WRITE),
        HumanMessage(briefing(state, context)),
    ]
    return clean_text(reply_to(prompt, context.model, runtime, tags=["attempt"]).text).strip()


def briefing(state: State, context: Context) -> str:
    """The task, lessons of earlier runs, and what the last trials of this one taught."""
    parts = [state["task"]]
    if state["recalled"]:
        lines = [f"- {lesson['text']}" for lesson in state["recalled"]]
        parts.append("Lessons from similar tasks; use what applies here:\n" + "\n".join(lines))
    learnt = [t for t in state["trials"] if t["lesson"]][-context.max_lessons :]
    if learnt:
        parts.append("Lessons from your attempts at this task:\n" + "\n".join(f"- {t['lesson']}" for t in learnt))
    if state["trials"]:
        last = state["trials"][-1]
        parts.append(
            f"Your last attempt:\n{last['answer'][:SHOWN] or '(none)'}\n\nWhat came of it:\n{last['feedback']}"
        )
    return "\n\n".join(parts)
