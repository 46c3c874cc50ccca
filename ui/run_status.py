"""Draws a run of a machine as it comes: its steps by name, and the last of what the model writes."""

import uuid
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

import streamlit as st
from langchain_core.messages import AIMessageChunk

from runtime import Machine, Part
from settings import Settings
from ui.safe_text import escaped, one_line
from ui.session import Session
from ui.small_model import offer_small_model

FAILURES = (ValueError, RuntimeError)
"""Of models, sandboxes, browsers, tasks and memory: each says what to do."""
SHOWN = 300  # characters of what is being written


def new_run() -> str:
    """The name of a run that is begun."""
    return uuid.uuid4().hex[:12]


def run_of_page(session: Session, machine: Machine, key: str) -> tuple[str, dict[str, Any]]:
    """The run that the page is at, by its address, or a new one, and its state; a new one too when the agent was changed."""
    state = st.session_state
    if key not in state:
        state[key] = st.query_params.get("run", "") or new_run()
    st.query_params["run"] = state[key]
    found = session.runtime.state(machine, state[key])
    if found.get("agent", session.context.agent) != session.context.agent:
        state[key] = new_run()
        st.rerun()
    return state[key], found


def show_failure(key: str) -> None:
    """What the last run failed with, once."""
    if failure := st.session_state.pop(key, ""):
        st.error(escaped(failure), icon=":material/error:")


def draw_run(stream: Generator[Part, None, None], label: str, steps: Mapping[str, str]) -> str:
    """Draw the run until it ends or waits; the message of what it failed with, empty if nothing.

    `steps` has the words for each step. When the person presses Stop, the stream is closed, which ends the thought under way.
    """
    try:
        with st.status(label, expanded=True) as status, closing(stream):
            st.button("Stop", icon=":material/stop:", help="What is done is kept, and you can go on with it.")
            reply, text, place = "", "", st.empty()
            for part in stream:
                if part["type"] == "updates":
                    for step in part["data"]:
                        if step in steps:
                            status.update(label=f"{steps[step]}: done")
                elif part["type"] == "messages":
                    message, _ = part["data"]
                    if isinstance(message, AIMessageChunk):
                        if message.id != reply:
                            reply, text, place = str(message.id), "", st.empty()
                        text += message.text
                        if text:
                            place.caption(one_line(text[-SHOWN:], SHOWN))
    except FAILURES as error:
        return str(error)
    return ""


def no_model() -> None:
    """Say what a page needs that takes a language model."""
    st.info(
        "This page needs a language model, and none is connected. Get a small one of your own (a button in the side bar), "
        "start Ollama, LM Studio or vLLM on this machine, or set OPENAI_BASE_URL and OPENAI_API_KEY, and start the page again.",
        icon=":material/cloud_off:",
    )
    offer_small_model(Settings(), "page")
