"""draft and revise: the first version of the answer, and each next one (Self-Refine, Madaan et al. 2023, Algorithm 1)."""

import time
from typing import Any, Protocol

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.runtime import Runtime

from nodes.context import STATE_VERSION
from nodes.react.solve import solve
from nodes.replies import reply_to
from nodes.self_refine.state import Context, Draft, State
from text import clean_text

DRAFT = "Do the task as well as you can. Reply with the result alone."
PROGRAM = " The result is a Python program: reply with it in one fenced block."
REVISE = "Revise your last version by the criticism. Keep what was right. Reply with the whole new version alone."
EMPTY = "Your reply was empty. Reply with the result."


class Writes(Protocol):
    """A node's signature."""

    def __call__(self, state: State, runtime: Runtime[Context]) -> State: ...


def draft_with(solver: Any) -> Writes:
    """The first draft's node, with the compiled ReAct machine for `Context.draft == "react"`."""

    def draft(state: State, runtime: Runtime[Context]) -> State:
        """Write the first draft. Raises ModelFailed and Stopped; the run can be resumed."""
        if not state.get("task", "").strip():
            raise ValueError("The task is empty: say what is to be written.")
        begun = time.monotonic()
        text, outside = _write(solver, DRAFT, state["task"], [], 0.0, runtime)
        first = Draft(number=1, text=text, score=-1.0, critique="", outside=outside)
        return {
            "version": STATE_VERSION, "agent": runtime.context.agent, "drafts": [first], "answer": "", "score": 0.0, "stop": "",
            "seconds": time.monotonic() - begun,
        }  # fmt: skip

    return draft


def revise_with(solver: Any) -> Writes:
    """The node of each next draft, with the same machine."""

    def revise(state: State, runtime: Runtime[Context]) -> State:
        """Write the next draft from all that were, each with its criticism: what was tried is not tried again."""
        begun = time.monotonic()
        text, outside = _write(solver, REVISE, state["task"], state["drafts"], state["seconds"], runtime)
        following = Draft(number=len(state["drafts"]) + 1, text=text, score=-1.0, critique="", outside=outside)
        return {"drafts": [*state["drafts"], following], "seconds": state["seconds"] + time.monotonic() - begun}

    return revise


def _write(
    solver: Any, how: str, task: str, drafts: list[Draft], seconds: float, runtime: Runtime[Context]
) -> tuple[str, str]:
    """The next version, empty where the machine found none, which the critic then says; and what of it is from outside."""
    context = runtime.context
    outside = context.outside or next((draft["outside"] for draft in drafts if draft.get("outside")), "")
    how += PROGRAM if context.tests else ""
    if context.draft == "react":
        versions = [f"Version {d['number']}:\n{d['text'] or '(none)'}\n\n{_criticism(d)}" for d in drafts]
        solved = solve(solver, "\n\n".join([task, *versions]), context, context.max_seconds - seconds, how, outside)
        return solved.answer.strip(), solved.outside
    prompt: list[BaseMessage] = [SystemMessage(how), HumanMessage(task)]
    for earlier in drafts:
        prompt += [AIMessage(earlier["text"]), HumanMessage(_criticism(earlier))]
    text = clean_text(reply_to(prompt, context.model, runtime, tags=["draft"]).text).strip()
    if not text:
        text = clean_text(reply_to([*prompt, HumanMessage(EMPTY)], context.model, runtime, tags=["draft"]).text)
    return text.strip(), outside


def _criticism(draft: Draft) -> str:
    return f"Criticism (score {draft['score']:.2f} of 1):\n{draft['critique']}"
