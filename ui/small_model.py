"""The small language model of one's own: an offer to fetch it, and what starts and stops it."""

import streamlit as st

from models import local
from settings import Settings
from ui.safe_text import escaped


def offer_small_model(settings: Settings, key: str) -> None:
    """Draw the offer, or the button that starts or stops the model. Nothing is fetched unless it is pressed."""
    if settings.base_url or settings.model or settings.api_key.get_secret_value():
        return  # the settings name a model: this one would not be looked for
    if local.is_ours(settings):
        if st.button("Stop the small model", key=f"{key}_stop", icon=":material/stop_circle:", width="stretch"):
            local.stop(settings)
            _look_again()
    elif local.is_listening():
        st.caption("The small model was started by `make model`.")
    elif not local.is_installed():
        st.caption("A small language model of your own, on this machine: run `make model` in the project's folder.")
    else:
        _offer(settings, key)


def _offer(settings: Settings, key: str) -> None:
    fetched = local.is_fetched(settings)
    label = "Start the small model" if fetched else "Get a small model (1.1 GB)"
    about = "Qwen2.5-Coder-1.5B-Instruct (Apache-2.0), served by llama.cpp on this machine. What you say stays here."
    icon = ":material/play_circle:" if fetched else ":material/download:"
    if not st.button(label, key=f"{key}_start", icon=icon, help=about, width="stretch"):
        return
    bar = st.empty()

    def show(done: int, of: int) -> None:
        bar.progress(done / of, f"{done / 1e9:.2f} of {of / 1e9:.2f} GB")

    try:
        local.fetch(settings, show)
        with st.spinner("Starting the model…"):
            local.start(settings)
    except local.LocalModelFailed as error:
        st.error(escaped(str(error)), icon=":material/error:")
    else:
        _look_again()


def _look_again() -> None:
    """Models are listed anew, and the first one is chosen."""
    st.cache_data.clear()
    st.session_state.pop("model", None)
    st.rerun()
