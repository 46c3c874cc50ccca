"""Forgetting for good, on the memory page: say what, see all that would go, confirm, and get the proof."""

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import streamlit as st

from memory.archival import Archival
from memory.blocks import list_threads
from memory.forget import TIERS, Target, preview
from nodes.forget import Receipt
from ui.choice import choose
from ui.run_status import FAILURES
from ui.safe_text import escaped, one_line
from ui.session import Session

SHOWN = 12  # of what would go
KINDS = {"text": "A name or words", "conversation": "A conversation", "days": "Days", "document": "A document"}
HELP = {
    "text": "Everything that contains them: a person's name, a place, a topic.",
    "conversation": "Everything that was said in it, and what was kept from it.",
    "days": "Everything that was said and kept on these days (UTC).",
    "document": "All its passages, and what was read out of it.",
}


def show_forget(session: Session) -> None:
    """The tab."""
    st.caption(
        "It goes from recall and archival storage, the working context, lessons, all conversations and their files. "
        "You see first what that is, and afterwards a proof that it is gone. It cannot be undone."
    )
    kind = choose("What", KINDS, "forget_kind")
    st.caption(HELP[kind])
    with st.form("forget"):
        target = _asked(session, kind)
        pressed = st.form_submit_button("See what would go", icon=":material/visibility:")
    if pressed and target is None:
        st.info("Say first what it is.", icon=":material/edit:")
    elif pressed and target is not None:
        propose(target)
        st.rerun()


def _asked(session: Session, kind: str) -> Target | None:
    """What is chosen in the form; None for nothing."""
    store, agent = session.runtime.store, session.context.agent
    if kind == "text":
        text = st.text_input("Name or words", key="forget_text").strip()
        return Target(text=text) if text else None
    if kind == "conversation":
        titles = {t.thread: t.title or t.thread for t in list_threads(store) if t.agent == agent}
        thread = st.selectbox("Conversation", list(titles), format_func=lambda name: one_line(titles[name]), index=None)
        return Target(conversation=thread) if thread else None
    if kind == "days":
        today = datetime.now(UTC).date()
        first, last = st.date_input("First day (UTC)", today), st.date_input("Last day, included", today)
        since = datetime(first.year, first.month, first.day, tzinfo=UTC)
        before = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
        return Target(since=since, before=before)
    source = st.selectbox("Document", list(Archival(store, agent).sources()), format_func=one_line, index=None)
    return Target(document=source) if source else None


def propose(target: Target) -> None:
    """Have what would go shown at the top of the page."""
    st.session_state.forgetting = target
    st.session_state.pop("receipt", None)


def show_proposed(session: Session) -> None:
    """What would go, and the buttons that do it or leave it; afterwards the receipt."""
    if receipt := st.session_state.pop("receipt", None):
        _show_receipt(receipt)
    target: Target | None = st.session_state.get("forgetting")
    if target is None:
        return
    found = preview(session.runtime.store, session.context.agent, target)
    with st.container(border=True):
        st.subheader("Forget for good?", anchor=False)
        tiers = Counter(TIERS.get(point.kind, point.kind) for point in found)
        st.markdown(" · ".join(f"**{count:,}** in {tier}" for tier, count in tiers.items()) or "Nothing in its memory.")
        for point in found[:SHOWN]:
            text = str(point.value.get("text") or point.value.get("title") or point.key)
            tier = TIERS.get(point.kind, point.kind)
            st.caption(f"{point.payload['time'][:10]} · {tier}: {one_line(text, 160)}")
        if len(found) > SHOWN:
            st.caption(f"… and {len(found) - SHOWN:,} more")
        st.caption("Conversations that hold it lose their earlier checkpoints, too. It cannot be undone.")
        yes, no = st.columns([1, 3])
        yes.button(
            "Forget for good",
            type="primary",
            icon=":material/delete_forever:",
            on_click=_forget,
            args=(session, target),
        )
        no.button("Keep it", on_click=lambda: st.session_state.pop("forgetting"))
    if failure := st.session_state.pop("forget_failure", ""):
        st.error(escaped(failure), icon=":material/error:")


def _forget(session: Session, target: Target) -> None:
    try:
        st.session_state.receipt = session.runtime.forget(session.context.agent, target)
    except FAILURES as error:
        st.session_state.forget_failure = str(error)
    else:
        del st.session_state.forgetting


def _show_receipt(receipt: Receipt) -> None:
    removed = ", ".join(f"{count:,} {tier}" for tier, count in receipt.removed.items())
    if receipt.left:
        st.error(f"Still found in {escaped(', '.join(receipt.left))}.", icon=":material/error:")
    else:
        scanned = ", ".join(f"{count:,} {what}" for what, count in receipt.scanned.items())
        st.success(
            f"Gone: {removed}. Looked through afterwards: {scanned}; nothing of it was found.", icon=":material/check:"
        )
    st.caption(f"Cannot be seen to from here: {escaped('; '.join(receipt.elsewhere))}.")
    text = json.dumps({**asdict(receipt), "sha256": receipt.digest}, indent=1)
    st.download_button("Receipt", text, "forgotten.json", "application/json", icon=":material/receipt_long:")
