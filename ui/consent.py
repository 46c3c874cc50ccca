"""The question whether collaborations and choices may be kept as training data: asked once, and changed at any time."""

import streamlit as st

from tasks.kept import KeptData


def ask_consent(kept: KeptData) -> bool:
    """Whether they may be kept; draws the question while it has no answer."""
    agreed = kept.may_keep()
    if agreed is not None:
        return agreed
    with st.container(border=True):
        st.markdown(
            "May your collaborations and choices be kept on this machine, as training data for your agent? You are asked once."
        )
        yes, no = st.columns(2)
        yes.button("Yes, keep them", width="stretch", on_click=kept.agree, args=(True,))
        no.button("No", width="stretch", on_click=kept.agree, args=(False,))
    return False


def show_kept(kept: KeptData, what: str) -> None:
    """What became of the run or the choice, and a way to decide otherwise."""
    agreed = kept.may_keep()
    if agreed is None:
        return
    st.caption(f":material/save: Kept as {what}." if agreed else f":material/block: Not kept as {what}.")
    label = "Keep no more" if agreed else "Keep them from now on"
    st.button(label, type="tertiary", on_click=kept.agree, args=(not agreed,))
