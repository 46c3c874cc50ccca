"""What a collaboration has made so far: the function with its changes and its tests, or the page as a picture."""

from typing import Any

import streamlit as st

from sandbox.browser import RenderUnavailable
from sandbox.cdn import CdnMissing
from sandbox.outcome import SandboxFailed, SandboxUnavailable
from tasks.backend_score import TruthFailed
from tasks.environment import Scoring
from tasks.kinds import ENVIRONMENTS
from tasks.lookup import find_task
from ui.choice import choose
from ui.diff_picture import diff_html
from ui.page_picture import differences, divided, drawn
from ui.safe_text import escaped
from ui.session import Session

EMPTY = {
    "backend": "No program yet. The agent asks first; what it writes is shown here.",
    "frontend": "No page yet. Each page that the agent draws is shown here as a picture.",
}

SHOWN = {"page": "The page", "both": "Before and after", "changed": "What changed"}


def versions(session: Session, state: dict[str, Any]) -> list[str]:
    """The programs or pages that the agent has shown, oldest first, each once."""
    task = find_task(state["task"], session.runtime.settings) if state["task"] else None
    return ENVIRONMENTS[state["kind"]].versions(task, state["turns"], state["answer"])


def show_artefact(session: Session, state: dict[str, Any], key: str) -> None:
    """Draw the last version, and what changed since the one before."""
    found = versions(session, state)
    if not found:
        st.caption(EMPTY[state["kind"]])
    elif state["kind"] == "frontend":
        _show_page(found, key)
    else:
        _show_program(session, state, found, key)


def _show_program(session: Session, state: dict[str, Any], found: list[str], key: str) -> None:
    st.code(found[-1], language="python", line_numbers=True, wrap_lines=True)
    if len(found) > 1:
        with st.expander(f"Changes since version {len(found) - 1}", icon=":material/difference:"):
            st.html(diff_html(found[-2], found[-1], f"Version {len(found) - 1}", f"Version {len(found)}"))
    advice = "Shows which pass, never what is expected."
    if state["task"] and st.button("Run the tests", key=f"{key}-tests", icon=":material/checklist:", help=advice):
        try:
            with st.spinner("Running the hidden tests in the sandbox…"):
                settings = session.runtime.settings
                task = find_task(state["task"], settings)
                result = ENVIRONMENTS[task.kind].score(task, found[-1], Scoring(settings=settings))
        except (TruthFailed, SandboxFailed, SandboxUnavailable) as error:
            st.error(escaped(str(error)), icon=":material/error:")
            return
        show_tests(list(result.passed), result.message)


def show_tests(passed: list[bool], message: str) -> None:
    """Which tests pass, as marks in a row; a first reason, and no expected value."""
    marks = " ".join(
        f":green-badge[:material/check: {n}]" if ok else f":red-badge[:material/close: {n}]"
        for n, ok in enumerate(passed, 1)
    )
    st.markdown(f"**{sum(passed)} of {len(passed)} tests pass**  \n{marks}")
    if message:
        st.caption(escaped(f"The first that fails: {message}"))


def _show_page(found: list[str], key: str) -> None:
    try:
        pages = [drawn(html) for html in found[-2:]]
    except (RenderUnavailable, CdnMissing) as error:
        st.error(escaped(f"The page cannot be drawn here. {error}"), icon=":material/error:")
        return
    if pages[-1].exit_reason != "done":
        st.warning(escaped(f"The last page could not be drawn: {pages[-1].message}"), icon=":material/warning:")
    if len(pages) < 2:
        st.image(pages[-1].png, caption="The page so far")
    else:
        how = choose("Show", SHOWN, f"{key}-show")
        if how == "both":
            advice = "Move the divider; the arrow keys do it too."
            share = st.slider("Before | after", 0, 100, 50, key=f"{key}-share", format="%d%%", help=advice)
            caption = "Left of the line the version before, right of it the last one"
            st.image(divided(pages[0], pages[1], share), caption=caption)
        elif how == "changed":
            picture, changed = differences(*pages)
            st.image(picture, caption=f"Marked: {changed:.1%} of the picture changed")
        else:
            st.image(pages[-1].png, caption=f"Version {len(found)}")
    with st.expander("Source", icon=":material/code:"):
        st.code(found[-1], language="html", wrap_lines=True)
