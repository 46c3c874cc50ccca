"""The page "Collaborate": a person and the agent make one thing together, the dialogue left, what comes of it right."""

from typing import Any

import streamlit as st
from langgraph.types import Command

from graphs import collaborate
from models.endpoint import OFFLINE
from tasks.answers import MARKER
from tasks.colbench import BadTask, TaskKind
from tasks.dialogue import Turn
from tasks.kept import KeptData
from tasks.kinds import ENVIRONMENTS
from tasks.lookup import find_task
from tasks.trajectory import trajectory_of
from ui.artefact import show_artefact, show_tests
from ui.blind_comparison import show_comparison
from ui.choice import choose
from ui.consent import ask_consent, show_kept
from ui.run_status import draw_run, new_run, no_model, run_of_page, show_failure
from ui.safe_text import escaped, show_typed, show_written
from ui.session import Session, open_session
from ui.task_choice import choose_task

PEOPLE = {
    "human": "I am the person",
    "rules": "A simulated person, by rules",
    "model": "A simulated person, by a model",
    "vision": "A simulated person that sees pages",
}
VIEWS = {"together": "Work together", "compare": "Compare two agents"}
STEPS = {
    "begin": "Reading the task",
    "propose": "The agent thinks",
    "reply": "The person replies",
    "refine": "Working on the answer",
    "score": "Scoring",
}


def show() -> None:
    """Draw the page."""
    session = open_session()
    st.title("Collaborate", anchor=False)
    if session.context.model == OFFLINE:
        no_model()
    if choose("View", VIEWS, "collab_view", hide_label=True) == "compare":
        show_comparison(session)
        return
    _, state = run_of_page(session, "collaborate", "collab_run")
    if state.get("turns") is not None:
        _show_run(session, state)
    else:
        _show_start(session)


# ---- before ----------------------------------------------------------------------------------------------------------


def _show_start(session: Session) -> None:
    st.caption(
        "You have something in mind; the agent does not know all of it. It asks, you answer, it makes a function or a page, and "
        "hidden tests or a hidden page score what comes of it."
    )
    try:
        task = choose_task(session.runtime.settings)
    except BadTask as error:
        st.error(escaped(str(error)))
        task = None
    people = _people(session, task)
    named = PEOPLE.__getitem__
    person = st.radio("Who answers the agent?", people, format_func=named, key="collab_person", horizontal=True)
    with st.expander("The agent, and its budget", icon=":material/tune:"):
        st.number_input("Most turns of the agent", 1, 30, 10, key="collab_max_turns")
        notes = "The agent notes what will matter again, and sees it in later tasks."
        st.toggle("It remembers me from earlier tasks", key="collab_memory", help=notes)
        tries = "Reflexion: it tests its answer, and tries again."
        st.toggle("It works on its program before it answers", key="collab_refine", help=tries)
        if person == "rules":
            st.slider("Questions the person answers (0: all)", 0, 10, 0, key="collab_patience")
            st.slider("How often the person is vague at first", 0.0, 1.0, 0.1, 0.1, key="collab_vagueness")
            st.slider("What comes to mind only when asked again", 0.0, 1.0, 0.1, 0.1, key="collab_forgetfulness")
    show_failure("collab_failure")
    offline = session.context.model == OFFLINE
    if (
        st.button("Start", type="primary", icon=":material/play_arrow:", disabled=offline or task is None)
        and task is not None
    ):
        st.session_state.collab_run = new_run()
        st.session_state.collab_settings = {
            name: st.session_state[f"collab_{name}"]
            for name in ("person", "max_turns", "memory", "refine", "patience", "vagueness", "forgetfulness")
            if f"collab_{name}" in st.session_state
        }
        _run(session, task)


def _people(session: Session, task: dict[str, Any] | None) -> list[str]:
    """Who can answer in this task: a simulated person needs a reference, rules need single facts, eyes need a page."""
    if task is None or not task["task"]:
        return ["human"]
    found = find_task(task["task"], session.runtime.settings)
    return ["human", *(["rules"] if found.facts else []), "model", *(["vision"] if found.kind == "frontend" else [])]


def _context(session: Session) -> collaborate.Context:
    """As the run was begun; a new one as the page says."""
    state = session.runtime.state("collaborate", st.session_state.collab_run)
    chosen = dict(state.get("setting") or st.session_state.get("collab_settings", {}))
    return collaborate.Context(agent=session.context.agent, model=session.context.model, **chosen)


# ---- during ----------------------------------------------------------------------------------------------------------


def _run(session: Session, given: dict[str, Any] | Command[Any] | None) -> None:
    """Run until somebody is waited for, drawing what is written as it comes; then draw the page from what was kept."""
    stream = session.runtime.stream("collaborate", st.session_state.collab_run, given, _context(session))
    st.session_state.collab_failure = draw_run(stream, "The agent thinks…", STEPS)
    st.rerun()


def _show_run(session: Session, state: dict[str, Any]) -> None:
    waits = session.runtime.pending_step("collaborate", st.session_state.collab_run)
    person = state["setting"]["person"]
    st.button("New task", icon=":material/edit_square:", on_click=_new)
    show_failure("collab_failure")
    left, right = st.columns(2, gap="large")
    with right:
        st.caption("What comes of it")
        if state.get("stop") and not waits:
            _show_score(session, state)
        try:
            show_artefact(session, state, "collab")
        except BadTask as error:
            st.error(escaped(str(error)), icon=":material/error:")
    with left:
        _show_dialogue(state, person)
        if waits == "reply" and person == "human":
            _show_secret(session, state)
            said = st.chat_input("Answer the agent", max_chars=4_000)
            if said:
                _run(session, Command(resume=said))
        elif waits:
            st.info("It was stopped. What was said is kept.", icon=":material/pause_circle:")
            if st.button("Go on", type="primary", icon=":material/play_arrow:"):
                _run(session, None)


def _show_dialogue(state: dict[str, Any], person: str) -> None:
    with st.chat_message("user"):
        show_typed(state["description"])
    for turn in state["turns"]:
        with st.chat_message("assistant" if turn["role"] == "agent" else "user"):
            _show_said(turn, state["kind"])
            if turn["thought"] and person != "human":
                with st.expander("Thought, which the person does not see"):
                    st.caption(escaped(turn["thought"][:4_000]))
            if turn["leak"]:
                st.caption(f":material/warning: This reply gives code away ({turn['leak']}).")


def _show_said(turn: Turn, kind: TaskKind) -> None:
    """What was said, without the page or program that stands on the right."""
    text = turn["content"]
    if turn["role"] == "person":
        show_typed(text)
        return
    page = ENVIRONMENTS[kind].artefact(text)
    words, marker, _ = (text.replace(page, "") if page else text).partition(MARKER)
    words = words.strip("` \n").removesuffix("html") if page else words
    if words.strip():
        show_written(words.strip()[:8_000])
    if marker:
        st.caption(":material/task_alt: This is its answer. It stands on the right.")
    elif page:
        st.caption(":material/image: It shows a page. It stands on the right.")


def _show_secret(session: Session, state: dict[str, Any]) -> None:
    """What the person who plays knows and the agent does not."""
    if state["task"] and (facts := find_task(state["task"], session.runtime.settings).facts):
        with st.expander("What you know, and the agent does not", icon=":material/visibility_off:", expanded=True):
            st.markdown("\n".join(f"- {escaped(fact.statement)}" for fact in facts))


def _new() -> None:
    st.session_state.collab_run = new_run()


# ---- after -----------------------------------------------------------------------------------------------------------


def _show_score(session: Session, state: dict[str, Any]) -> None:
    if state["score"] is None:
        st.success("Done. There is no hidden reference, so there is no score.", icon=":material/task_alt:")
    elif state["parts"]:
        summary = f"Likeness to the hidden page: **{state['score']:.0%}**"
        parts = {"blocks": "texts", "colours": "colours", "structure": "structure", "clip": "CLIP"}
        summary += "".join(f" · {parts[k]} {v:.0%}" for k, v in state["parts"].items())
        (st.success if state["success"] else st.warning)(summary, icon=":material/score:")
    else:
        (st.success if state["success"] else st.warning)(
            "Solved: all hidden tests pass." if state["success"] else "Not solved: some hidden tests fail.",
            icon=":material/score:",
        )
        show_tests(state["passed"], state["message"])
    _keep(session, state)


def _keep(session: Session, state: dict[str, Any]) -> None:
    """Keep the collaboration as training data, once, if the person agrees."""
    kept = KeptData(session.runtime.settings)
    if ask_consent(kept):
        kept.keep(trajectory_of(state["trajectory"]), st.session_state.collab_run)
    show_kept(kept, "training data on this machine")
