"""Whether a conversation is private: chosen before its first word, or later, and said on the page."""

from dataclasses import replace

import streamlit as st

from memory.privacy import is_private
from ui.run_status import FAILURES
from ui.session import Session

HELP = (
    "Only models on this machine see it, and of other conversations only private ones: nothing of it can reach a model "
    "elsewhere."
)


def show_privacy(session: Session) -> Session:
    """The switch, or the button; gives the session with what is chosen."""
    runtime, agent, thread = session.runtime, session.context.agent, session.thread
    if not runtime.state("memgpt", thread):
        chosen = st.toggle("Private conversation", key=f"private-{thread}", help=HELP)
        return replace(session, context=replace(session.context, private=chosen))
    private = is_private(runtime.store, agent, thread)
    if private:
        st.caption(":material/lock: A private conversation.", help=HELP)

    def change() -> None:
        try:
            runtime.make_private(agent, thread, not private)
        except FAILURES as error:
            st.session_state.failure = str(error)

    st.button(
        "Make public" if private else "Make private",
        type="tertiary",
        icon=":material/lock_open:" if private else ":material/lock:",
        help="Other conversations, and models elsewhere, see what was said in it." if private else HELP,
        on_click=change,
    )
    return session
