"""The chat page: the conversation, the window as a picture, and the working context beside it."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import streamlit as st
from langchain_core.messages import AIMessageChunk
from langchain_core.utils.json import parse_partial_json
from langgraph.store.base import SearchItem
from langgraph.types import Command

from graphs.memgpt import State
from memory.blocks import PRIVATE, load_blocks, save_block
from memory.result_page import ResultPage
from nodes.as_of import branch_threads
from nodes.memgpt.log import DELIVERED
from nodes.memgpt.receive import load_working_context
from nodes.memgpt.state import BLOCKS, Operation, Recalled
from nodes.memgpt.window import measure, said_aloud
from runtime import Given
from text import clean_text
from ui.branches import is_left_out, log_aside, show_branches, show_left_out, show_message_buttons
from ui.permission import show_question
from ui.privacy import show_privacy
from ui.run_status import FAILURES, show_failure
from ui.safe_text import one_line, show_typed, show_written, written_html
from ui.session import Session, open_session
from ui.window_picture import recalled_html, window_html

SHOWN = 60  # records of the log at first, and more at each press
STOPS = {
    "step_limit": "The agent stopped at its limit of steps. Ask it to go on, or ask more narrowly.",
    "loop": "The agent was stopped: it made the same call over and over. Try other words.",
    "empty_reply": "The model answered nothing, three times. Try again, or choose another model.",
    "stopped": "Stopped. Your message is kept: write another.",
    **{
        f"{cap}_cap": f"The turn met its cap of {what}. What was done is kept: raise the cap in the side bar, or ask for less."
        for cap, what in {"token": "tokens", "call": "calls", "time": "seconds"}.items()
    },
}
BLOCK_HELP = {
    "persona": "Who the agent is. It reads this in every prompt, and may edit it.",
    "human": "What it knows of you. It reads this in every prompt, and may edit it.",
}
EXAMPLE = "My name is Ada and my cat is called Byron."
SEARCH = ":material/search:"
ICONS = {
    "working_context_append": ":material/edit_note:",
    "working_context_replace": ":material/edit_note:",
    "archival_memory_insert": ":material/archive:",
}
WRAPPING = re.compile(r"^\s*(?:```\w*|<tool_call>)?\s*")
"""What may stand before a call that is written as text."""
LONGEST = 20_000  # characters of a message that are shown
HEIGHT = 560  # pixels of the conversation: the window's picture stays in view above it


def show() -> None:
    """Draw the page."""
    session = open_session()
    state = _state(session)
    left, right = st.columns([3, 1.4], gap="large")
    with left:
        st.title("Chat", anchor=False)
        if session.context.temporary:
            st.info(
                "A temporary chat: the agent reads what it remembers, and keeps nothing. It is gone when Palimpsest is closed.",
                icon=":material/visibility_off:",
            )
        else:
            show_branches(session)
            with st.container(horizontal=True, gap="small"):
                session = show_privacy(session)
                show_left_out(session)
        picture = st.empty()
        _draw_window(picture, session, state)
        with st.container(height=HEIGHT, border=False, autoscroll=True):
            (_show_temporary if session.context.temporary else _show_history)(session, state)
            turn_place = st.container()
    with right:
        _show_working_context(session)
    typed = st.chat_input("Write a message", submit_mode="stop", key="message", disabled=is_left_out(session))
    typed = typed or st.session_state.pop("example", None)
    answer = st.session_state.pop("answer", None)
    if typed is not None or answer is not None or st.session_state.pop("resume", False):
        with turn_place:
            _run_turn(session, typed, picture, answer)


def _state(session: Session) -> State:
    return cast(State, session.runtime.state("memgpt", session.thread))


# ---- one turn --------------------------------------------------------------------------------------------------------


def _run_turn(session: Session, text: str | None, picture: Any, answer: list[str] | None = None) -> None:
    """Run a turn (None: go on with the unfinished one), drawing it as it comes; then draw the page anew from the log.

    `answer`: the calls that a person has allowed, where the turn waits for that.
    """
    if text is not None:
        with st.chat_message("user"):
            show_typed(clean_text(text))
    try:
        # The stream is closed at once when the person presses Stop: that ends the thought under way.
        given: Given = text if answer is None else Command(resume=answer)
        stream = session.runtime.stream("memgpt", session.thread, given, session.context)
        with st.chat_message("assistant"), st.spinner("Thinking…"), closing(stream):
            for node in _draw_stream(stream):
                _draw_window(picture, session, _state(session))
                if node == "evict":
                    st.caption(":material/move_down: The window was full: its oldest part has moved to recall storage.")
    except FAILURES as error:
        st.session_state.failure = str(error)
    st.rerun()


def _draw_stream(stream: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Draw thoughts, calls and messages as they stream; gives each node's name as it ends."""
    parts: dict[int, str] = {}
    names: dict[int, str] = {}
    places: dict[Any, Any] = {}
    reply_id = None
    thought = ""
    progress = _embedding_progress()
    for part in stream:
        if part["type"] == "custom":
            progress(part["data"]["embedded"], part["data"]["of"])
            continue
        if part["ns"]:  # a machine at work inside a call of solve_carefully
            if part["type"] == "updates":
                working = ", ".join(str(node).replace("_", " ") for node in part["data"])
                places.setdefault("working", st.empty()).caption(f":material/psychology: working it out: {working} …")
            continue
        if part["type"] == "updates":
            for node in part["data"]:
                yield str(node)
            continue
        message, metadata = part["data"]
        if not isinstance(message, AIMessageChunk) or metadata.get("langgraph_node") != "think":
            continue
        if message.id != reply_id:  # a new thought, or a second attempt at one
            reply_id, parts, names, thought = message.id, {}, {}, ""
            places = {}
        if text := message.text or str(message.additional_kwargs.get("reasoning_content") or ""):
            thought += text
            _draw_text(places.setdefault("thought", st.empty()), thought)
        for chunk in message.tool_call_chunks:
            number = chunk["index"] or 0
            names[number] = names.get(number, "") + (chunk["name"] or "")
            parts[number] = parts.get(number, "") + (chunk["args"] or "")
            place = places.setdefault(number, st.empty())
            _draw_call(place, names[number], _partial(parts[number]))


def _draw_text(place: Any, text: str) -> None:
    """What the model writes: a thought, or a call as JSON, as models do that have no calls of their server's."""
    text = WRAPPING.sub("", text)
    call = _partial(text) if text.startswith("{") else {}
    if call.get("name") and "arguments" in call:  # then the name is whole
        arguments = call.get("arguments")
        _draw_call(place, str(call["name"]), arguments if isinstance(arguments, dict) else {})
    elif text and not text.startswith("{"):
        place.caption(f":material/psychology: {one_line(text, 400)}")


def _draw_call(place: Any, name: str, arguments: dict[str, Any]) -> None:
    if name == "send_message":
        place.html(written_html(f"{arguments.get('message', '')} ▌"))
    else:
        place.caption(f"{ICONS.get(name, SEARCH)} {one_line(name)} …")


def _partial(text: str) -> dict[str, Any]:
    try:
        parsed = parse_partial_json(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _embedding_progress() -> Any:
    bar: list[Any] = []

    def progress(done: int, total: int) -> None:
        if total >= 64:
            if not bar:
                bar.append(st.progress(0.0))
            bar[0].progress(done / total, f"Embedding what was not searched before: {done:,} of {total:,}")

    return progress


# ---- what was said ---------------------------------------------------------------------------------------------------


def _show_history(session: Session, state: State) -> None:
    amount = st.session_state.setdefault("shown", SHOWN)
    page = _log(session, amount)
    records = list(reversed(page.items))
    if not records:
        st.markdown(
            "**Nothing has been said yet.** Tell the agent something, talk about other things, come back tomorrow, and ask: it "
            "keeps what leaves its window, and looks it up."
        )
        st.button(EXAMPLE, icon=":material/chat:", on_click=_use_example)
    if page.total > len(records):
        st.button(f"Show earlier ({page.total - len(records):,} more)", on_click=_show_more)
    kept = {str(m.id) for m in state.get("messages", [])}
    was_out = False
    last = next((item.key for item in reversed(records) if item.value["role"] == "user"), "")
    results = {item.key: item for item in records if item.value["role"] == "tool_result"}
    for item in records:
        inside = item.key in kept or item.key.rsplit(":", 2)[0] in kept or item.key.rsplit(":", 1)[0] in kept
        if was_out and inside:
            st.caption("— the window begins here; what is above has moved to recall storage —", text_alignment="center")
            was_out = False
        was_out = was_out or (not inside and item.value["role"] in ("user", "assistant"))
        _show_record(session, item, results.get(item.key.removesuffix(":call") + ":result"), item.key == last)
    _show_recalled(state.get("recalled", []))
    if thoughts := state.get("thoughts"):
        with st.expander("What it thought in the last turn", icon=":material/psychology:"):
            st.code("\n\n".join(thoughts), language=None, wrap_lines=True)
    _show_meter(state.get("meter", {}))
    show_failure("failure")
    _show_ending(session, state)


def _show_temporary(session: Session, state: State) -> None:
    """What is in the window: of a temporary chat there is nothing else."""
    if evicted := state.get("evicted"):
        st.caption(f"{evicted['total']:,} messages have left the window. They are gone.", text_alignment="center")
    for role, text in said_aloud(state):
        with st.chat_message(role):
            (show_typed if role == "user" else show_written)(text[:LONGEST])
    _show_recalled(state.get("recalled", []))
    show_failure("failure")
    _show_ending(session, state)


def _show_meter(meter: dict[str, Operation]) -> None:
    """What the last turn took, by what was done."""
    if not any(each["calls"] for each in meter.values()):
        return
    seconds = sum(each["milliseconds"] for each in meter.values()) / 1_000
    with st.expander(f"What the last turn took ({seconds:,.1f} s)", icon=":material/speed:"):
        rows = [
            {
                "what": name, "calls": each["calls"], "tokens read": each["read"], "tokens written": each["written"],
                "seconds": each["milliseconds"] / 1_000, "bytes": each["bytes"],
            }
            for name, each in meter.items()
        ]  # fmt: skip
        st.dataframe(rows, hide_index=True, width="stretch")
        st.caption(
            "Tokens are the server's figures, or estimates where it gives none. Caps of a turn are set in the side bar."
        )


def _show_recalled(recalled: list[Recalled]) -> None:
    """What was looked up for the last message, and how near it was."""
    if not recalled:
        return
    with st.expander(f"Recalled for your last message ({len(recalled)})", icon=":material/history:"):
        st.caption("From outside the window, by words and meaning; the agent read it beside your message.")
        for item in recalled:
            st.html(recalled_html(item))


def _log(session: Session, amount: int) -> ResultPage:
    if is_left_out(session):
        return log_aside(session, amount)
    return session.runtime.store.find(
        (session.context.agent, "message"), where=_said_here(session), page_size=amount, newest_first=True
    )


def _said_here(session: Session) -> dict[str, Any]:
    """What belongs to the conversation, as searches filter it: what other branches wrote is put aside."""
    return {"thread": branch_threads(session.runtime.store, session.thread)}


def _use_example() -> None:
    st.session_state.example = EXAMPLE


def _show_more() -> None:
    st.session_state.shown += 4 * SHOWN


def _show_record(session: Session, item: SearchItem, result: SearchItem | None, is_last: bool) -> None:
    """A record of the log; the result of a call stands with its call. `is_last`: of the person's messages."""
    role, text = item.value["role"], str(item.value["text"])
    if role in ("user", "assistant"):
        with st.chat_message(role):
            (show_typed if role == "user" else show_written)(text[:LONGEST])
            if len(text) > LONGEST:
                st.caption(f"… {len(text) - LONGEST:,} characters more, on the memory page")
            if role == "user" and not is_left_out(session):
                show_message_buttons(session, item, is_last)
            if item.key.endswith(DELIVERED):
                st.caption("It wrote this and sent nothing: shown here so that you have an answer.")
    elif role == "tool_call":
        name, _, arguments = text.partition("(")
        with st.expander(
            f"{one_line(name)} · {one_line(_first_argument(arguments), 70)}", icon=ICONS.get(name, SEARCH)
        ):
            st.code(text[:5_000], language=None, wrap_lines=True)
            if result is not None:
                st.caption("Result")
                st.code(str(result.value["text"])[:5_000], language=None, wrap_lines=True)
    elif role == "monologue":
        st.caption(f":material/psychology: {one_line(text, 300)}")
    elif role == "alert":
        st.caption(f":material/notifications: {one_line(text, 300)}")


def _first_argument(arguments: str) -> str:
    """The first argument that says something."""
    try:
        values = [v for v in json.loads(arguments.rstrip(")")).values() if isinstance(v, str)]
    except (ValueError, AttributeError):
        return arguments
    return values[-1] if values else ""


def _show_ending(session: Session, state: State) -> None:
    if question := session.runtime.question("memgpt", session.thread):
        show_question(question["calls"], lambda allowed: st.session_state.update(answer=allowed))
    elif session.runtime.pending_step("memgpt", session.thread):
        st.warning("The last turn did not end: it was stopped, or it broke off.", icon=":material/pause_circle:")
        st.button("Go on with it", icon=":material/play_arrow:", on_click=lambda: st.session_state.update(resume=True))
    elif (stop := state.get("stop", "")) in STOPS:
        st.warning(STOPS[stop], icon=":material/stop_circle:")
    elif stop == "waiting" and state.get("turn") and not state.get("replies"):
        st.caption("The agent thought about it, and chose not to answer.")


# ---- beside the chat -------------------------------------------------------------------------------------------------


def _draw_window(place: Any, session: Session, state: State) -> None:
    in_view: State = state or {"working_context": load_working_context(session.runtime.store, session.context.agent)}
    place.html(window_html(measure(in_view, session.context), session.context, state.get("tokens")))


def _show_working_context(session: Session) -> None:
    st.subheader("Working context", anchor=False)
    st.caption("Always in view of the agent. Both of you can edit it.")
    limit = session.context.block_limit
    kept = load_working_context(session.runtime.store, session.context.agent)
    all_kept = load_blocks(session.runtime.store, session.context.agent)
    private = {name: text for name, text in all_kept.items() if name.startswith(PRIVATE)}
    for name in (*BLOCKS, *private):
        text = {**kept, **private}.get(name, "")
        # A key of its content: when the agent has edited the block, the field shows that.
        with st.form(f"block-{name}", border=False):
            edited = st.text_area(
                f"{name} · {len(text):,} of {limit:,} characters",
                text,
                key=f"{session.context.agent}-{name}-{hash(text)}",
                height=150,
                help=BLOCK_HELP.get(name, "Lines that only private conversations see."),
            )
            if st.form_submit_button(f"Save {name}"):
                _save(session, name, edited)


def _save(session: Session, name: str, text: str) -> None:
    limit = session.context.block_limit
    if len(text) > limit:
        st.error(f"{len(text):,} characters are more than the {limit:,} of a block. Nothing was saved: shorten it.")
        return
    store, agent = session.runtime.store, session.context.agent
    for block, kept in {**load_working_context(store, agent), name: clean_text(text)}.items():
        save_block(store, agent, block, kept)
    store.flush()
    st.toast(f"Saved. The agent reads the new {name} from your next message on.")
    st.rerun()
