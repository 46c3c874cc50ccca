"""As it was, on the memory page: a slider over the conversation's past, what the agent knew then, and a way to go on from there."""

from datetime import datetime, timedelta

import streamlit as st

from memory.recall import SAID
from memory.stored import Stored, stored
from nodes.as_of import AsOf, branch_threads
from nodes.memgpt.state import BLOCKS
from nodes.memgpt.window import measure
from ui.run_status import FAILURES
from ui.safe_text import escaped, one_line
from ui.session import Session
from ui.window_picture import window_html

LAST = 6  # of what was said, and of what was kept


def show_as_it_was(session: Session) -> None:
    """The tab."""
    st.caption("What the agent had before each of your messages in this conversation. It is shown, not changed.")
    # All tabs of a page are drawn each time, and this one reads the whole memory.
    if not st.toggle("Look back", key="look_back"):
        return
    said = _said(session)
    if len(said) < 2:
        st.info("Say two things on the chat page first: then there is a past to look at.", icon=":material/chat:")
        return
    at = st.select_slider(
        "Before the message", list(range(len(said))), len(said) - 1, format_func=lambda n: _label(said[n])
    )
    chosen = said[at]
    st.markdown(f"Before **{one_line(str(chosen.value['text']), 160)}**")
    # The message is written by the turn that it begins: the turn before has ended a moment earlier.
    was = session.runtime.as_of(session.context.agent, chosen.written - timedelta(microseconds=1))
    _show(session, was)
    st.button(
        "Go on from here",
        icon=":material/call_split:",
        help="A new branch of the conversation begins here. What was written since is put aside, and comes back with its branch.",
        on_click=_go_on,
        args=(session, chosen.key),
    )
    if st.session_state.pop("branched", False):
        st.success("A new branch begins here: say what comes next on the chat page.", icon=":material/call_split:")
    if failure := st.session_state.pop("branch_failure", ""):
        st.error(escaped(failure), icon=":material/error:")


def _said(session: Session) -> list[Stored]:
    """All that the person has said in the conversation, in any branch, oldest first."""
    store, agent = session.runtime.store, session.context.agent
    points = [p for thread in branch_threads(store, session.thread) for p in stored(store, agent, thread=thread)]
    said = [point for point in points if point.kind == "message" and point.value["role"] == "user"]
    return sorted(said, key=lambda point: point.written)


def _label(point: Stored) -> str:
    return f"{datetime.fromisoformat(str(point.value['time'])):%d %b %H:%M:%S}"


def _show(session: Session, was: AsOf) -> None:
    state = was.conversations.get(session.thread, {})
    talk = [point for point in was.messages if point.value["role"] in SAID]
    counts = {"Messages": len(talk), "Passages": len(was.passages), "Lessons": len(was.lessons)}
    for column, (name, count) in zip(st.columns(len(counts)), counts.items(), strict=True):
        column.metric(name, f"{count:,}")
    if state:
        st.html(window_html(measure(state, session.context), session.context))
    for column, block in zip(st.columns(len(BLOCKS)), BLOCKS, strict=True):
        column.caption(block)
        column.code(was.blocks.get(block, "") or "(empty)", language=None, wrap_lines=True)
    for title, points in (("Said last", talk), ("Kept last", was.passages)):
        if points:
            st.caption(title)
        for point in points[-LAST:]:
            line = f"{point.value['author']}: {point.value['text']}"
            st.markdown(f"- {one_line(line, 160)}")


def _go_on(session: Session, key: str) -> None:
    try:
        session.runtime.branch(session.context.agent, session.thread, key)
    except FAILURES as error:
        st.session_state.branch_failure = str(error)
    else:
        st.session_state.branched = True
