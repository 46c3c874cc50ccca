"""draft and revise: the first version of the answer, and each next one (Self-Refine, Madaan et al. 2023, Algorithm 1)."""

import time

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.runtime import Runtime

from nodes.context import STATE_VERSION
from nodes.replies import reply_to
from nodes.self_refine.state import Context, Draft, State
from text import clean_text

DRAFT = "Do the task as well as you can. Reply with the result alone."
PROGRAM = " The result is a Python program: reply with it in one fenced block."
REVISE = "Revise your last version by the criticism. Keep what was right. Reply with the whole new version alone."
EMPTY = "Your reply was empty. Reply with the result."


def draft(state: State, runtime: Runtime[Context]) -> State:
    """Write the first draft. Raises ModelFailed and Stopped; the run can be resumed."""
    if not state.get("task", "").strip():
        raise ValueError("The task is empty: say what is to be written.")
    begun = time.monotonic()
    text = _write([_system(DRAFT, runtime.context), HumanMessage(state["task"])], runtime)
    first = Draft(number=1, text=text, score=-1.0, critique="")
    return {
        "version": STATE_VERSION, "agent": runtime.context.agent, "drafts": [first], "answer": "", "score": 0.0, "stop": "",
        "seconds": time.monotonic() - begun,
    }  # fmt: skip


def revise(state: State, runtime: Runtime[Context]) -> State:
    """Write the next draft from all that were, each with its criticism: what was tried is not tried again."""
    begun = time.monotonic()
    prompt: list[BaseMessage] = [_system(REVISE, runtime.context), HumanMessage(state["task"])]
    for earlier in state["drafts"]:
        prompt += [
            AIMessage(earlier["text"]),
            HumanMessage(f"Criticism (score {earlier['score']:.2f} of 1):\n{earlier['critique']}"),
        ]
    text = _write(prompt, runtime)
    following = Draft(number=len(state["drafts"]) + 1, text=text, score=-1.0, critique="")
    return {"drafts": [*state["drafts"], following], "seconds": state["seconds"] + time.monotonic() - begun}


def _write(prompt: list[BaseMessage], runtime: Runtime[Context]) -> str:
    text = clean_text(reply_to(prompt, runtime.context.model, runtime, tags=["draft"]).text).strip()
    if not text:
        text = clean_text(reply_to([*prompt, HumanMessage(EMPTY)], runtime.context.model, runtime, tags=["draft"]).text)
    return text.strip()


def _system(instructions: str, context: Context) -> SystemMessage:
    return SystemMessage(instructions + (PROGRAM if context.tests else ""))
