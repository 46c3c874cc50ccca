"""Branches on the chat page: edit a message, ask for another answer, and go from branch to branch."""

from collections.abc import Callable

import streamlit as st
from langgraph.store.base import SearchItem

from memory.branches import Branch
from memory.points import match_of
from memory.result_page import ResultPage
from memory.stored import stored
from nodes.as_of import branch_threads
from text import clean_text, one_line
from ui.run_status import FAILURES
from ui.session import Session

OPENING = 40  # characters of a message, by which its branch is known


def show_branches(session: Session) -> None:
    """Which branch of the conversation this is, where there are several; choosing another goes there."""
    tree = session.runtime.branches(session.thread)
    if tree is None or tree.is_left_out or len(tree.branches) == 1:
        return
    names = {branch.thread: _name(session, number, branch) for number, branch in enumerate(tree.branches, start=1)}
    key = f"branch-{session.thread}"
    st.session_state[key] = tree.active

    def go() -> None:
        _change(session, lambda: session.runtime.switch(session.context.agent, session.thread, st.session_state[key]))

    st.selectbox(
        f"Branch ({len(names)})",
        list(names),
        format_func=names.__getitem__,
        key=key,
        on_change=go,
        help="You edited a message, or asked again. What the other branches wrote is put aside: the agent finds it only in them.",
    )


def show_left_out(session: Session) -> None:
    """Leave the conversation out of memory, or take it in again."""
    runtime, agent, thread = session.runtime, session.context.agent, session.thread
    if not runtime.state("memgpt", thread):
        return

    def leave_out() -> None:
        _change(session, lambda: runtime.leave_out(agent, thread))

    def take_in() -> None:
        _change(session, lambda: runtime.take_in(agent, thread))

    if is_left_out(session):
        st.warning(
            "Left out of memory: in other conversations the agent knows nothing of this one, nor of what it kept from it. "
            "Nothing is deleted.",
            icon=":material/bookmark_remove:",
        )
        st.button("Take it in again", icon=":material/bookmark_add:", on_click=take_in)
        return
    st.button(
        "Leave out of memory",
        type="tertiary",
        icon=":material/bookmark_remove:",
        help="What was said here, and what was kept from it, is in no search and no prompt until you take it in again.",
        on_click=leave_out,
    )


def is_left_out(session: Session) -> bool:
    """Whether memory has nothing of this conversation now."""
    tree = session.runtime.branches(session.thread)
    return tree is not None and tree.is_left_out


def log_aside(session: Session, amount: int) -> ResultPage:
    """The newest of what was said in a conversation that is left out of memory, newest first, as a search would give it."""
    tree, store = session.runtime.branches(session.thread), session.runtime.store
    threads = branch_threads(store, session.thread)
    points = [
        p for thread in threads for p in stored(store, session.context.agent, thread=thread) if p.kind == "message"
    ]
    mine = [p for p in points if tree and tree.has(tree.active, str(p.value["thread"]), p.written)]
    newest = sorted(mine, key=lambda p: int(p.payload["sequence"]), reverse=True)
    return ResultPage([match_of(p.payload) for p in newest[:amount]], len(newest), 0, 1)


def show_message_buttons(session: Session, item: SearchItem, is_last: bool) -> None:
    """What can be done with a message of the person."""
    if st.session_state.get("editing") == item.key:
        _show_editor(session, item)
        return
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Edit",
            key=f"edit-{item.key}",
            type="tertiary",
            icon=":material/edit:",
            help="Say it in other words, in a new branch. This one stays.",
            on_click=lambda: st.session_state.update(editing=item.key),
        )
        if is_last:
            st.button(
                "Ask again",
                key=f"again-{item.key}",
                type="tertiary",
                icon=":material/refresh:",
                help="Another answer to the same message, in a new branch.",
                on_click=_send,
                args=(session, item.key, str(item.value["text"])),
            )


def _show_editor(session: Session, item: SearchItem) -> None:
    key = f"edited-{item.key}"
    st.text_area("Your message", str(item.value["text"]), key=key)
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Send in a new branch",
            type="primary",
            icon=":material/call_split:",
            on_click=lambda: _send(session, item.key, st.session_state[key]),
        )
        st.button("Cancel", on_click=lambda: st.session_state.pop("editing"))


def _send(session: Session, key: str, text: str) -> None:
    """Begin a branch before a message, and say this instead of it."""
    if not clean_text(text).strip():
        st.session_state.failure = "The message is empty: nothing was sent."
        return
    if _change(session, lambda: session.runtime.branch(session.context.agent, session.thread, key)):
        st.session_state.pop("editing", None)
        st.session_state.example = text


def _change(session: Session, change: Callable[[], object]) -> bool:
    """Whether it was done; else the page says why not."""
    try:
        change()
    except FAILURES as error:
        st.session_state.failure = str(error)
        return False
    return True


def _name(session: Session, number: int, branch: Branch) -> str:
    """Its number, its day, and how it begins."""
    own = [p for p in stored(session.runtime.store, session.context.agent, thread=branch.thread) if p.kind == "message"]
    said = sorted((p for p in own if p.value["role"] == "user"), key=lambda p: int(p.value["sequence"]))
    opening = next((p for p in said if not branch.parent or p.written.isoformat() > branch.since), None)
    day = branch.begun[:16].replace("T", " ") or "the first"
    return f"{number} · {day} · {one_line(str(opening.value['text']), OPENING) if opening else 'nothing said yet'}"
