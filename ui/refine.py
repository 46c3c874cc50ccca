"""The page "Refine": one task, a method that improves its answer, and everything on the way: drafts, scores, lessons, steps."""

from typing import Any

import streamlit as st
from langgraph.types import Command

from memory.lessons import Lessons
from sandbox.choose import shared_sandbox
from sandbox.outcome import SandboxUnavailable
from sandbox.python import MEANINGS
from settings import Settings
from ui.choice import choose
from ui.refine_form import METHODS, PAUSES, MethodContext, Solver, ask_task
from ui.refine_result import STEPS, show_run
from ui.run_status import draw_run, run_of_page
from ui.safe_text import escaped, one_line
from ui.session import Session, open_session


def show() -> None:
    """Draw the page."""
    session = open_session()
    st.title("Refine", anchor=False)
    if "refine_run" not in st.session_state and (asked := st.query_params.get("method", "")) in METHODS:
        st.session_state.refine_method = asked
    method = choose("Method", {name: words for name, (words, _) in METHODS.items()}, "refine_method")
    st.caption(METHODS[method][1])
    st.query_params["method"] = method
    run, state = run_of_page(session, method, "refine_run")
    waits = session.runtime.pending_step(method, run)
    context = ask_task(session, method, state)
    place = st.container()
    show_run(session, method, state, waits, context)
    with place:
        if pending := st.session_state.pop("refine_start", None):
            _run(session, method, pending["task"], context)
    _show_lessons(session)
    _show_sandbox(session)


def _run(session: Session, method: Solver, task: str | Command[Any] | None, context: MethodContext | None) -> None:
    """Run a task, or go on (None, or a person's answer), drawing what is written; then draw the page anew from what was kept."""
    if context is None:
        return
    pauses = PAUSES[method] if st.session_state.get("refine_step") else ()
    stream = session.runtime.stream(method, st.session_state.refine_run, task, context, pause_after=pauses)
    st.session_state.refine_failure = draw_run(stream, "Working…", STEPS)
    st.rerun()


def _show_lessons(session: Session) -> None:
    lessons = Lessons(session.runtime.store, session.context.agent)
    kept = lessons.all(most=50)
    with st.expander(f"What {session.context.agent} has learnt ({len(kept)} lessons)", icon=":material/lightbulb:"):
        if not kept:
            st.caption(
                "No lessons yet. The method “Trials and lessons” keeps one whenever a trial fails, and finds it for similar tasks."
            )
        for lesson in kept:
            text, button = st.columns([6, 1], vertical_alignment="center")
            with text:
                st.markdown(escaped(lesson.text))
                used = f" · helped {lesson.helped}, did not {lesson.failed}" if lesson.helped + lesson.failed else ""
                st.caption(f"{one_line(lesson.task, 100)}{used}")
            button.button("Forget", key=f"forget-{lesson.key}", on_click=lessons.forget, args=(lesson.key,))


@st.cache_data(ttl=60, show_spinner="Testing the sandbox…")
def _sandbox_in_force(_settings: Settings) -> tuple[str, dict[str, str], str]:
    """(back end, what was passed over and why, why there is none)."""
    try:
        sandbox = shared_sandbox(_settings)
    except SandboxUnavailable as error:
        return "", {}, str(error)
    return sandbox.kind, sandbox.passed_over, ""


def _show_sandbox(session: Session) -> None:
    kind, passed_over, error = _sandbox_in_force(session.runtime.settings)
    if error:
        st.error(f"Programs cannot be run. {escaped(error)}", icon=":material/gpp_bad:")
        return
    st.caption(f":material/shield: Programs run in the sandbox **{kind}**: {MEANINGS[kind]}.")
    for name, reason in passed_over.items():
        st.warning(f"The stronger sandbox {name} is not in force: {escaped(reason)}", icon=":material/shield:")
