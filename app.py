"""The Streamlit entry: `streamlit run app.py` (or `make app`)."""

from pathlib import Path

import streamlit as st

from ui import chat, collaborate_page, memory_page, refine_page

st.set_page_config(page_title="Palimpsest", page_icon=str(Path(__file__).parent / "ui" / "icon.svg"), layout="wide")
page = st.navigation(
    [
        st.Page(chat.show, title="Chat", url_path="chat", default=True),
        st.Page(refine_page.show, title="Refine", url_path="refine"),
        st.Page(collaborate_page.show, title="Collaborate", url_path="collaborate"),
        st.Page(memory_page.show, title="Memory", url_path="memory"),
    ]
)
page.run()
