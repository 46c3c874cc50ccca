"""The form of the page "Refine": the task, how it is checked, and its budgets."""

from typing import Any, Literal, cast

import streamlit as st
from langgraph.types import Command

from graphs import react, reflexion, self_refine
from models.endpoint import OFFLINE
from nodes.react.state import BUILT_IN
from ui.run_status import new_run, no_model
from ui.safe_text import escaped
from ui.session import Session

Solver = Literal["self_refine", "reflexion", "react"]
MethodContext = self_refine.Context | reflexion.Context | react.Context

METHODS: dict[Solver, tuple[str, str]] = {
    "self_refine": (
        "Drafts and criticism",
        "Writes a draft, has it criticised, and revises it; you get the best draft (Self-Refine).",
    ),
    "reflexion": (
        "Trials and lessons",
        "Tries, checks, puts into words what went wrong, and tries again; lessons are kept (Reflexion).",
    ),
    "react": ("Thoughts and tools", "Thinks in steps and calls tools until it has an answer (ReAct)."),
}
EVALUATORS = {
    "judge": "the model as a judge",
    "tests": "tests that I give",
    "own_tests": "tests that the model writes",
    "exact": "the exact answer",
}
PAUSES: dict[Solver, tuple[str, ...]] = {
    "self_refine": ("draft", "critique", "revise"),
    "reflexion": ("reflect",),
    "react": (),
}
EXAMPLE = "Write a Python function roman(n) that gives the Roman numeral of a whole number from 1 to 3999."
EXAMPLE_TESTS = 'assert roman(1) == "I"\nassert roman(1994) == "MCMXCIV"'


def ask_task(session: Session, method: Solver, state: dict[str, Any]) -> MethodContext | None:
    """The task, how it is checked and its budgets; None, with the reason shown, while they cannot work."""
    offline = session.context.model == OFFLINE
    if offline:
        no_model()
    st.session_state.setdefault("refine_task", state.get("task", ""))
    task = st.text_area("Task", key="refine_task", height=110, placeholder=EXAMPLE, max_chars=20_000)
    with st.expander("How it is checked, and its budget", icon=":material/tune:"):
        try:
            context = _context(session, method)
        except ValueError as error:
            context = None
            st.warning(escaped(str(error).removeprefix("Context.")), icon=":material/edit:")
    start, step, new = st.columns([1, 2, 1], vertical_alignment="center")
    start.button(
        "Start", type="primary", width="stretch", icon=":material/play_arrow:", on_click=_start, args=(task,),
        disabled=offline or context is None or not task.strip(), help="Write a task first." if not task.strip() else None,
    )  # fmt: skip
    if PAUSES[method]:
        step.toggle(
            "Let me step in", key="refine_step", help="It waits after each step, and you may edit what it wrote."
        )
    if state:
        new.button("New task", width="stretch", icon=":material/edit_square:", on_click=_new)
    elif not task:
        new.button("Try an example", width="stretch", on_click=_example)
    return context


def _context(session: Session, method: Solver) -> MethodContext:
    agent, model = session.context.agent, session.context.model
    seconds = st.number_input("Most seconds", 10, 7_200, 600, key="refine_seconds")
    if method == "react":
        tools = st.multiselect("Tools", list(BUILT_IN), default=list(BUILT_IN), key="refine_tools")
        servers = st.text_area(
            "MCP servers, one in each line",
            key="refine_mcp",
            height=68,
            help="A URL, or a name in PALIMPSEST_MCP_SERVERS. What their tools may do is said on the page Memory, under Tools.",
        )
        steps = st.number_input("Most steps", 1, 50, 8, key="refine_steps")
        mcp = [line.strip() for line in servers.splitlines() if line.strip()]
        return react.Context(agent=agent, model=model, tools=tools, mcp=mcp, max_steps=steps, max_seconds=seconds)
    if method == "self_refine":
        by = st.radio("Critic", ["the model", "tests that I give"], horizontal=True, key="refine_critic")
        with_tools = st.toggle("It may use tools while it writes", key="refine_draft_tools")
        tests = _tests() if by != "the model" else ""
        most = st.number_input("Most drafts", 1, 20, 4, key="refine_drafts")
        accept = st.slider("Good enough from a score of", 0.1, 1.0, 0.9, 0.05, key="refine_accept")
        if by != "the model" and not tests.strip():
            raise ValueError("tests are to criticise, but there are none: write at least one assertion.")
        return self_refine.Context(
            agent=agent, model=model, draft="react" if with_tools else "write", tests=tests, max_drafts=most,
            accept_at=accept, max_seconds=seconds,
        )  # fmt: skip
    evaluator = st.radio(
        "Checked by", list(EVALUATORS), format_func=lambda e: EVALUATORS[e], horizontal=True, key="refine_evaluator"
    )
    tests = _tests() if evaluator == "tests" else ""
    expected = (
        st.text_input("The exact answer (the model never sees it)", key="refine_expected")
        if evaluator == "exact"
        else ""
    )
    with_tools = st.toggle("It may use tools while it tries", key="refine_with_tools")
    most = st.number_input("Most trials", 1, 20, 4, key="refine_trials")
    return reflexion.Context(
        agent=agent, model=model, evaluator=cast(Any, evaluator), tests=tests, expected=expected,
        attempt="react" if with_tools else "write", max_trials=most, max_seconds=seconds,
    )  # fmt: skip


def _tests() -> str:
    return st.text_area("Tests, an assertion in each line", key="refine_tests", height=110, placeholder=EXAMPLE_TESTS)


def _start(task: str) -> None:
    st.session_state.refine_run = new_run()
    st.session_state.refine_start = {"task": task}


def go_on() -> None:
    """Ask the next drawing of the page to go on with the run."""
    st.session_state.refine_start = {"task": None}


def answer(allowed: list[str]) -> None:
    """Ask it to go on with the calls that a person has allowed."""
    st.session_state.refine_start = {"task": Command(resume=allowed)}


def _new() -> None:
    st.session_state.refine_run, st.session_state.refine_task = new_run(), ""


def _example() -> None:
    st.session_state.update(
        refine_task=EXAMPLE, refine_critic="tests that I give", refine_evaluator="tests", refine_tests=EXAMPLE_TESTS
    )
