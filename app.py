"""The Streamlit entry: `streamlit run app.py` (or `make app`)."""

from pathlib import Path

import streamlit as st

from ui import chat, collaborate, memory, refine


def chat_by_name() -> None:
    """The chat page at /chat: Streamlit gives its default page no address but /."""
    chat.show()


st.set_page_config(page_title="Palimpsest", page_icon=str(Path(__file__).parent / "ui" / "icon.svg"), layout="wide")
page = st.navigation(
    [
        st.Page(chat.show, title="Chat", default=True),
        st.Page(chat_by_name, title="Chat", url_path="chat", visibility="hidden"),
        st.Page(refine.show, title="Refine", url_path="refine"),
        st.Page(collaborate.show, title="Collaborate", url_path="collaborate"),
        st.Page(memory.show, title="Memory", url_path="memory"),
    ]
)
page.run()
