"""What every page shares: the open memory, the chosen agent, conversation and model, and the side bar that chooses them."""

import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import streamlit as st

from graphs.memgpt import Context
from memory.blocks import Thread, list_threads
from memory.checkpoints import CheckpointsUnavailable
from memory.edge import MemoryDamaged, MemoryInUse
from memory.server import MemoryUnreachable
from models.chat import EndpointChat
from models.endpoint import OFFLINE, list_models, local_endpoints, open_model
from models.offline import NOTICE
from models.protocol import Protocol
from models.refusals import ModelFailed
from nodes.context import check_agent
from nodes.memgpt.state import SMALLEST_WINDOW
from runtime import Runtime, open_runtime
from settings import Settings
from ui.safe_text import escaped, one_line
from ui.small_model import offer_small_model

WINDOWS = (SMALLEST_WINDOW, 4_096, 8_192, 16_384, 32_768, 131_072)
SHOWN_THREADS = 12
CAPS = {
    "max_tokens": ("Tokens read and written", 1_000),
    "max_calls": ("Calls of the model", 1),
    "max_seconds": ("Seconds", 10),
}
"""Of a turn, by the context's field: what they are called, and the step of the buttons."""
TEMPORARY = "temporary-"
"""Begins the name of a temporary chat: so its address stays that of one when the page is opened anew."""
CALLS: dict[Protocol | None, str] = {
    "native": "it calls tools by the server's own way", "schema": "it calls tools as JSON, by a schema",
    "text": "it calls tools in its text", None: "how it calls tools is found at the first message",
}  # fmt: skip


@dataclass
class Opened:
    """The runtime of this process, with what closes it."""

    runtime: Runtime
    closing: ExitStack


@dataclass
class Session:
    """What the side bar has chosen."""

    runtime: Runtime
    context: Context
    thread: str


@st.cache_resource(show_spinner="Opening the memory…", on_release=lambda opened: opened.closing.close())
def _open() -> Opened:
    closing = ExitStack()
    return Opened(closing.enter_context(open_runtime()), closing)


@st.cache_data(ttl=30, show_spinner="Looking for a model…")
def _models() -> list[tuple[str, str]]:
    """(model, where it is), the offline model last."""
    settings = Settings()
    if settings.model == OFFLINE:
        return [(OFFLINE, NOTICE)]
    if settings.base_url or settings.api_key.get_secret_value():
        url = settings.base_url or "https://api.openai.com/v1"
        listed = [settings.model] if settings.model else list_models(url, settings.api_key.get_secret_value())
        found = [(model, url) for model in listed]
    else:
        found = [(model, endpoint.name) for endpoint in local_endpoints() for model in endpoint.models]
    return [*found, (OFFLINE, NOTICE)]


@st.cache_data(max_entries=1, show_spinner=False)
def _threads_at(_runtime: Runtime, home: str, version: str) -> list[Thread]:
    return list_threads(_runtime.store)


def _threads(runtime: Runtime) -> list[Thread]:
    """The conversations; those of an embedded memory are read anew only after a write, for an import brings thousands."""
    version = runtime.store.client.version()
    return _threads_at(runtime, str(runtime.settings.home), version) if version else list_threads(runtime.store)


def open_session() -> Session:
    """Open the memory and draw the side bar; stops the page with what to do if the memory cannot be opened."""
    try:
        runtime = _open().runtime
    except (MemoryInUse, MemoryDamaged, MemoryUnreachable, CheckpointsUnavailable) as error:
        st.error(escaped(str(error)), icon=":material/lock:")
        if st.button("Try again"):
            st.rerun()
        st.stop()
    state = st.session_state
    for name, first in (("agent", "palimpsest"), ("thread", "")):
        if name not in state:
            state[name] = st.query_params.get(name, first)
    try:
        check_agent(state.agent)
    except ValueError as error:
        st.error(f"The address names no agent. {escaped(str(error))}")
        state.agent = "palimpsest"
    threads = _threads(runtime)
    mine = [t for t in threads if t.agent == state.agent]
    if any(t.thread == state.thread and t.agent != state.agent for t in threads):
        state.thread = ""  # another agent's conversation
    if not state.thread:
        state.thread = mine[0].thread if mine else uuid.uuid4().hex[:12]
    with st.sidebar:
        _choose_agent(threads)
        _choose_thread(mine)
        model = _choose_model()
        asked = st.query_params.get("window", "")
        default = int(asked) if asked in map(str, WINDOWS) else 8_192
        window = st.selectbox(
            "Window (tokens)",
            WINDOWS,
            index=WINDOWS.index(state.setdefault("chosen_window", default)),
            format_func=lambda n: f"{n:,}",
            help="How much the agent sees at once. With a small window you can watch it page: 2,800 fills after a few messages.",
        )
        state.chosen_window = window
        caps = _choose_caps()
        servers = _choose_servers()
    st.query_params.update({"agent": state.agent, "thread": state.thread, "window": str(window)})
    temporary = state.thread.startswith(TEMPORARY)
    context = Context(agent=state.agent, model=model, window=window, temporary=temporary, mcp=servers, **caps)
    return Session(runtime, context, state.thread)


def _choose_caps() -> dict[str, Any]:
    """What may end a turn before the agent does; 0 is no cap."""
    with st.popover("Caps of a turn", width="stretch"):
        st.caption("A turn that meets one stops with what was done so far. 0 is no cap.")
        return {
            name: int(st.number_input(label, 0, step=step, key=f"cap-{name}")) for name, (label, step) in CAPS.items()
        }


def _choose_servers() -> list[str]:
    """MCP servers whose tools the agent may use."""
    with st.popover("Tools of other programs", width="stretch"):
        written = st.text_area(
            "MCP servers, one in each line",
            key="chat_mcp",
            height=68,
            placeholder="http://127.0.0.1:8000/mcp",
            help="A URL, or a name in PALIMPSEST_MCP_SERVERS.",
        )
        st.caption(
            "The agent calls their tools when it works something out carefully. What they may do: page Memory, tab Tools."
        )
    return [line.strip() for line in written.splitlines() if line.strip()]


def _choose_agent(threads: list[Thread]) -> None:
    agents = sorted({t.agent for t in threads} | {st.session_state.agent})

    def switch() -> None:
        st.session_state.agent, st.session_state.thread = st.session_state.chosen_agent, ""

    st.session_state.chosen_agent = st.session_state.agent
    st.selectbox("Agent", agents, key="chosen_agent", on_change=switch, help="Each agent has a memory of its own.")
    with st.popover("New agent", width="stretch"), st.form("new_agent", clear_on_submit=True, border=False):
        name = st.text_input("Name", placeholder="ada", max_chars=64)
        if st.form_submit_button("Create") and name:
            try:
                check_agent(name)
            except ValueError as error:
                st.error(escaped(str(error)))
            else:
                st.session_state.agent, st.session_state.thread = name, uuid.uuid4().hex[:12]
                st.rerun()


def _choose_thread(threads: list[Thread]) -> None:
    def go(thread: str) -> None:
        st.session_state.thread = thread

    st.button(
        "New conversation", icon=":material/edit_square:", width="stretch", on_click=go, args=(uuid.uuid4().hex[:12],)
    )
    st.button(
        "Temporary chat",
        icon=":material/visibility_off:",
        width="stretch",
        type="primary" if st.session_state.thread.startswith(TEMPORARY) else "secondary",
        on_click=go,
        args=(TEMPORARY + uuid.uuid4().hex[:12],),
        help="The agent knows what it remembers, and keeps nothing of this chat.",
    )
    if threads:
        st.caption("Conversations")
    for thread in threads[:SHOWN_THREADS]:
        here = thread.thread == st.session_state.thread
        label = " ".join(thread.title.split()) or "(untitled)"
        st.button(
            one_line(label),
            key=f"thread-{thread.thread}",
            width="stretch",
            type="primary" if here else "secondary",
            on_click=go,
            args=(thread.thread,),
        )
    if len(threads) > SHOWN_THREADS:
        older = {t.thread: t.title for t in threads[SHOWN_THREADS:]}
        chosen = st.selectbox("Older", list(older), index=None, format_func=lambda t: older[t])
        if chosen and chosen != st.session_state.thread:
            go(chosen)
            st.rerun()


def model_names() -> list[str]:
    """The models that can be chosen, the offline one last."""
    return [name for name, _ in _models()]


def _choose_model() -> str:
    models = _models()
    names = [name for name, _ in models]
    if st.session_state.get("model") not in names:
        st.session_state.model = names[0]
    chosen = st.selectbox(
        "Model", names, key="model", format_func=lambda n: n if n != OFFLINE else "offline (no language model)"
    )
    where = dict(models)[chosen]
    if chosen == OFFLINE:
        st.caption(
            f":material/cloud_off: {NOTICE[0].upper()}{NOTICE[1:]}.",
            help="To talk with a language model, start Ollama, LM Studio or vLLM on this machine, or set OPENAI_BASE_URL and "
            "OPENAI_API_KEY, and start the page again.",
        )
    else:
        st.caption(f"at {where}; {_calls(chosen)}", help="`PALIMPSEST_CALLS` sets it: native, schema or text.")
    offer_small_model(Settings(), "side_bar")
    return chosen


def _calls(model: str) -> str:
    try:
        found = open_model(model, Settings())
    except ModelFailed:  # it was there when models were listed
        return "it does not answer now"
    return CALLS[found.protocol if isinstance(found, EndpointChat) else "native"]
