"""In and out, on the memory page: take an agent along as a file, bring memories from elsewhere, give the agent another name."""

import tempfile
from pathlib import Path
from typing import Any

import streamlit as st

from memory.archive import is_archive
from memory.blocks import list_threads
from nodes.importing import Imported
from nodes.moving import Moved
from ui.run_status import FAILURES
from ui.safe_text import escaped, one_line
from ui.session import Session

KINDS = ("zip", "json", "jsonl", "af", "md", "txt")
SHOWN = 20  # of what could not be read


def show_in_and_out(session: Session) -> None:
    """The tab."""
    if result := st.session_state.pop("moved", None):
        st.success(escaped(_told(result)), icon=":material/check:")
        if isinstance(result, Imported) and result.unread:
            _show_unread(result)
    if failure := st.session_state.pop("moving_failure", ""):
        st.error(escaped(failure), icon=":material/error:")
    _show_import(session)
    if any(thread.agent == session.context.agent for thread in list_threads(session.runtime.store)):
        _show_export(session)
        _show_rename(session)


def _show_import(session: Session) -> None:
    st.subheader("Bring memories from elsewhere", anchor=False)
    st.caption(
        "The ZIP or `conversations.json` that ChatGPT or Claude sends you, memories of mem0, an agent file of Letta, notes in "
        "Markdown, JSON lines, or an agent that was taken along from here. Conversations go on here; what you said keeps its day. "
        "A file that is read again brings only what is new in it."
    )
    with st.form("import", clear_on_submit=True):
        file = st.file_uploader("File", type=list(KINDS), key="import_file")
        pressed = st.form_submit_button("Bring it in", icon=":material/download:")
    if pressed and file is None:
        st.info("Choose a file first.", icon=":material/upload_file:")
    elif pressed and file is not None:
        _bring_in(session, file)
        st.rerun()


def _bring_in(session: Session, file: Any) -> None:
    bar = st.progress(0.0, "Reading the file …")

    def progress(done: int, total: int) -> None:
        bar.progress(done / total, f"{done:,} of {total:,}")

    try:
        read = session.runtime.import_agent if is_archive(file) else session.runtime.import_export
        st.session_state.moved = read(session.context.agent, file, progress)
    except FAILURES as error:
        st.session_state.moving_failure = str(error)


def _told(result: Imported | Moved) -> str:
    """What came, in words."""
    if isinstance(result, Moved):
        came = (
            ", ".join(f"{count:,} in {tier}" for tier, count in result.memories.items()) or "nothing that was not here"
        )
        windows = _counted(
            result.conversations, "conversation came with its window", "conversations came with their windows"
        )
        others = f" {len(result.renamed):,} under a new name: another agent has theirs." if result.renamed else ""
        return f"New for {result.agent}: {came}. {windows[0].upper()}{windows[1:]}.{others}"
    messages = _counted(result.messages, "message", "messages")
    parts = [
        f"{messages} in {_counted(result.conversations, 'conversation', 'conversations')}",
        _counted(result.notes, "note", "notes"),
        _counted(result.lines, "line of the working context", "lines of the working context"),
    ]
    rest = [
        _counted(result.known, "was here already", "were here already"),
        _counted(result.empty, "conversation was empty", "conversations were empty"),
        _counted(len(result.unread), "part could not be read", "parts could not be read"),
        "Some of it is found by its words only, until later searches have embedded it"
        if not result.is_embedded
        else "0 ",
    ]
    counted = [part for part in parts if not part.startswith("0 ")] or ["nothing new"]
    return f"Brought in: {', '.join(counted)}. " + " ".join(f"{part}." for part in rest if not part.startswith("0 "))


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _show_unread(result: Imported) -> None:
    with st.expander(f"What could not be read ({len(result.unread):,})"):
        for unread in result.unread[:SHOWN]:
            st.caption(f"{one_line(unread.what, 120)}: {one_line(unread.why, 200)}")
        if len(result.unread) > SHOWN:
            st.caption(f"… and {len(result.unread) - SHOWN:,} more")


def _show_export(session: Session) -> None:
    agent = session.context.agent
    st.subheader("Take it along", anchor=False)
    st.caption(
        "All that this agent remembers, in one file: messages, notes, documents, working context, lessons, conversations and their "
        "branches. It can be read without Palimpsest, and brought in above on another machine."
    )
    st.download_button(
        f"Download {agent}",
        lambda: _archive(session),
        f"{agent}.zip",
        "application/zip",
        on_click="ignore",
        icon=":material/archive:",
    )


def _archive(session: Session) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.zip"
        session.runtime.export_agent(session.context.agent, path)
        return path.read_bytes()


def _show_rename(session: Session) -> None:
    st.subheader("Another name", anchor=False)
    st.caption("If there is an agent of that name, the two become one: it keeps its own, and gets what it lacks.")
    with st.form("rename", clear_on_submit=True):
        name = st.text_input("New name", placeholder=session.context.agent, max_chars=64, key="rename_to")
        pressed = st.form_submit_button("Rename", icon=":material/badge:")
    if pressed and not name.strip():
        st.info("Write the new name first.", icon=":material/edit:")
    elif pressed:
        try:
            st.session_state.moved = session.runtime.rename_agent(session.context.agent, name.strip())
            st.session_state.agent, st.session_state.thread = name.strip(), ""
        except FAILURES as error:
            st.session_state.moving_failure = str(error)
        st.rerun()
