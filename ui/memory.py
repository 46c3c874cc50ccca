"""The memory page: search recall and archival storage, upload documents, and see what has left the window."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st
from langgraph.store.base import SearchItem

from memory.archival import Archival
from memory.documents import KINDS, read_document
from memory.forget import Target
from memory.recall import EVICTION, SAID, Recall
from memory.result_page import ResultPage
from nodes.as_of import branch_threads
from ui.as_it_was import show_as_it_was
from ui.choice import choose
from ui.forget import propose, show_forget, show_proposed
from ui.in_and_out import show_in_and_out
from ui.run_status import FAILURES
from ui.safe_text import escaped, one_line
from ui.session import Session, open_session
from ui.tool_policy import show_tools

PAGE_SIZE = 10
SHOWN_FLUSHES = 20


def show() -> None:
    """Draw the page."""
    session = open_session()
    store, agent = session.runtime.store, session.context.agent
    st.title(f"Memory of {agent}", anchor=False)
    show_proposed(session)
    recall, archival = Recall(store, agent), Archival(store, agent)
    said, passages = recall.count(), archival.count()
    names = [
        f"Recall ({said:,} messages)",
        f"Archival ({passages:,} passages)",
        "Documents",
        "Left the window",
        "As it was",
        "Tools",
        "In and out",
        "Forget",
    ]
    in_recall, in_archival, documents, left, past, tools, moving, forget = st.tabs(names)
    with in_recall:
        _recall(recall, said)
    with in_archival:
        _archival(archival, passages)
    with documents:
        _documents(session, archival)
    with left:
        _left_the_window(session)
    with past:
        show_as_it_was(session)
    with tools:
        show_tools(session)
    with moving:
        show_in_and_out(session)
    with forget:
        show_forget(session)


def _recall(recall: Recall, total: int) -> None:
    st.caption("Every message ever exchanged with this agent, word for word.")
    if not total:
        st.info(
            "Nothing has been said to this agent yet. Say something on the chat page, and find it here.",
            icon=":material/chat:",
        )
        return
    text = st.text_input("Find", placeholder="a piece of text", key="recall_text")
    how, case, since_place, until_place = st.columns([2, 1.4, 1.5, 1.5], vertical_alignment="bottom")
    with how:
        exact = choose("How", {"exact": "Exact text", "meaning": "By meaning"}, "recall_how") == "exact"
    match_case = case.toggle("Match case", key="recall_case", disabled=not exact)
    since = since_place.date_input("From (UTC)", None, key="recall_since", disabled=not exact)
    until = until_place.date_input("To, that day included", None, key="recall_until", disabled=not exact)
    if since and until and until < since:
        st.error(f"The last day ({until}) is before the first ({since}): exchange them.")
        return

    def search(page: int) -> ResultPage:
        if text.strip() and not exact:
            return recall.nearest(text, page, PAGE_SIZE)
        bounds = {
            "since": datetime(since.year, since.month, since.day, tzinfo=UTC) if since else None,
            "before": datetime(until.year, until.month, until.day, tzinfo=UTC) + timedelta(days=1) if until else None,
        }
        return recall.store.find(
            recall.namespace,
            text,
            case_sensitive=match_case,
            where={"role": SAID},
            page=page,
            page_size=PAGE_SIZE,
            newest_first=True,
            **bounds,
        )

    _pages(
        "recall", (text, exact, match_case, since, until), search, "No message matches. Try a shorter piece of text."
    )


def _archival(archival: Archival, total: int) -> None:
    st.caption("What the agent has chosen to keep, and your documents.")
    if not total:
        st.info(
            "Nothing is kept here yet. The agent keeps facts as you talk; documents come from the next tab.",
            icon=":material/inventory_2:",
        )
        return
    text = st.text_input("Search by words and meaning", placeholder="what the passage is about", key="archival_text")

    def search(page: int) -> ResultPage:
        if text.strip():
            return archival.search(text, page, PAGE_SIZE)
        return archival.newest(page, PAGE_SIZE)

    _pages("archival", (text,), search, "No passage matches.", said_by=archival)


def _show_origin(archival: Archival, item: SearchItem) -> None:
    """What a note was kept from, and in what other words it was kept again."""
    recall = Recall(archival.store, archival.agent)
    again = archival.wordings(item.key)
    said = [value for each in [item.value, *again] if (value := recall.read(str(each.get("said", ""))))]
    if not said and not again:
        return
    with st.expander("Where it comes from", key=f"origin-{item.key}"):
        for value in said:
            st.caption(f"{value['time'][:16].replace('T', ' ')} · {one_line(str(value['author']))} said")
            st.code(str(value["text"])[:2_000], language=None, wrap_lines=True)
        for value in again:
            st.caption(f"{value['time'][:16].replace('T', ' ')} · kept again as")
            st.code(str(value["text"])[:2_000], language=None, wrap_lines=True)


def _pages(name: str, asked: Any, search: Any, nothing: str, said_by: Archival | None = None) -> None:
    """Results with their true total, ten at a time. `said_by`: archival storage, whose notes say where they come from."""
    state = st.session_state
    if state.get(f"{name}_asked") != asked:
        state[f"{name}_asked"], state[f"{name}_page"] = asked, 0
    try:
        with st.spinner("Searching…"):
            page = search(state[f"{name}_page"])
    except FAILURES as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    if not page.total:
        st.info(nothing)
        return
    first = page.page * PAGE_SIZE + 1
    st.markdown(f"**{page.total:,}** found · {first:,} to {first + len(page.items) - 1:,}")
    for item in page.items:
        value = item.value
        origin = " · ".join(
            str(value[k]) for k in ("source", "position", "author") if isinstance(value.get(k), str) and value[k]
        )
        with st.container(border=True):
            about, forget = st.columns([6, 1], vertical_alignment="center")
            until = f" · held until {str(value['until'])[:10]}" if value.get("until") else ""
            about.caption(f"{str(value['time'])[:16].replace('T', ' ')} · {one_line(origin)}{until}")
            target = Target(keys=(item.key,))
            forget.button("Forget", key=f"forget-{name}-{item.key}", type="tertiary", on_click=propose, args=(target,))
            st.code(str(value["text"])[:5_000], language=None, wrap_lines=True)
            if said_by:
                _show_origin(said_by, item)
    if page.pages > 1:
        _pager(name, page)


def _pager(name: str, page: ResultPage) -> None:
    def turn(to: int) -> None:
        st.session_state[f"{name}_page"] = to

    back, where, on = st.columns([1, 2, 1], vertical_alignment="center")
    back.button("← Previous", key=f"{name}_back", disabled=page.page == 0, on_click=turn, args=(page.page - 1,))
    where.markdown(f"Page {page.page + 1:,} of {page.pages:,}", text_alignment="center")
    on.button("Next →", key=f"{name}_on", disabled=page.page + 1 >= page.pages, on_click=turn, args=(page.page + 1,))


def _documents(session: Session, archival: Archival) -> None:
    st.caption("Text, Markdown, HTML or PDF. The agent finds their passages when it searches archival storage.")
    with st.form("upload", clear_on_submit=True):
        files = st.file_uploader("Documents", type=list(KINDS), accept_multiple_files=True)
        if st.form_submit_button("Add to archival storage") and files:
            _ingest(session, archival, files)
    sources = archival.sources()
    if not sources:
        st.info(
            "No documents yet. Choose files above; adding a file of the same name again replaces it.",
            icon=":material/description:",
        )
    for source, count in sources.items():
        name, number, delete = st.columns([4, 1.5, 1], vertical_alignment="center")
        name.markdown(one_line(source, 120))
        number.caption(f"{count:,} passages")
        if delete.button("Delete", key=f"delete-{source}"):
            gone = archival.forget(source)
            st.toast(f"Deleted {gone:,} passages of {one_line(source)}.")
            st.rerun()


def _ingest(session: Session, archival: Archival, files: list[Any]) -> None:
    bar = st.progress(0.0)
    store = session.runtime.store
    for file in files:
        try:
            kept = archival.ingest(file.name, read_document(file.name, file.getvalue()))
            store.embed_pending(archival.namespace, progress=_progress(bar, file.name))
        except FAILURES as error:
            st.error(escaped(str(error)), icon=":material/error:")
            continue
        st.success(
            f"{one_line(kept.source)}: {kept.passages:,} passages"
            + (", in place of the earlier version" if kept.replaced else "")
        )
    store.flush()
    bar.empty()


def _show_summary(session: Session, state: dict[str, Any]) -> None:
    """The summary, each sentence of which opens what it was made of."""
    recall = Recall(session.runtime.store, session.context.agent)
    st.subheader("The summary that took their place", anchor=False)
    sentences = state.get("summary_sources") or [{"text": state.get("summary", ""), "keys": []}]
    for number, sentence in enumerate(sentences):
        said = [value for key in sentence["keys"] if (value := recall.read(key))]
        if not said:
            st.markdown(
                f":material/help: {one_line(sentence['text'], 400)}", help="No message says this in such words."
            )
            continue
        with st.expander(one_line(sentence["text"], 400), key=f"sentence-{session.thread}-{number}"):
            for value in said:
                st.caption(f"{value['time'][:16].replace('T', ' ')} · {one_line(str(value['author']))}")
                st.code(str(value["text"])[:2_000], language=None, wrap_lines=True)


def _show_flushes(session: Session) -> None:
    """What each flush took out of the window, newest first."""
    store, agent = session.runtime.store, session.context.agent
    where = {"thread": branch_threads(store, session.thread)}
    flushes = store.find((agent, EVICTION), where=where, page_size=SHOWN_FLUSHES, newest_first=True)
    with st.expander(f"Every flush ({flushes.total:,})", icon=":material/move_down:"):
        st.caption("Nothing leaves before it is found again by its own words.")
        for item in flushes.items:
            value = item.value
            st.markdown(
                f"**{value['time'][:16].replace('T', ' ')}** · {value['count']:,} messages, {value['tokens']:,} tokens, "
                f"of {value['since'][:16].replace('T', ' ')} to {value['until'][:16].replace('T', ' ')}"
            )
            for name in ("before", "after"):
                st.caption(f"The summary {name}")
                st.code(value[name] or "(none)", language=None, wrap_lines=True)


def _progress(bar: Any, name: str) -> Callable[[int, int], None]:
    return lambda done, total: bar.progress(done / total, f"Embedding {one_line(name)}: {done:,} of {total:,} passages")


def _left_the_window(session: Session) -> None:
    st.caption(
        "What the agent no longer sees in this conversation. Nothing of it is lost: it searches recall storage for it."
    )
    state = session.runtime.state("memgpt", session.thread)
    evicted = state.get("evicted")
    if not evicted:
        st.info(
            "Nothing has left the window of this conversation. A smaller window (side bar) fills sooner.",
            icon=":material/select_window:",
        )
        return
    queue = [m.additional_kwargs.get("event", {}).get("sequence") for m in state["messages"]]
    first = min((s for s in queue if s), default=state["clock"]["sequence"])
    st.markdown(f"**{evicted['total']:,}** messages have left, the last {evicted['count']:,} of them together.")
    _show_summary(session, state)
    _show_flushes(session)
    store, agent = session.runtime.store, session.context.agent
    where = {"role": SAID, "thread": branch_threads(store, session.thread), "sequence": {"$lt": first}}

    def search(page: int) -> ResultPage:
        return store.find((agent, "message"), where=where, page=page, page_size=PAGE_SIZE, newest_first=True)

    _pages("left", (session.thread, first), search, "Nothing that was said has left; only steps of tools have.")
