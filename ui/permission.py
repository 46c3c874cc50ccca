"""What a run asks a person before it calls a tool: each call with its arguments and the reason, and the answer."""

import json
from collections.abc import Callable
from typing import Any, Literal

import streamlit as st

from ui.safe_text import escaped, one_line

LONGEST = 4_000  # characters of the arguments
Answer = Callable[[list[str]], None]
"""Takes the ids of the calls that are allowed."""


def show_question(calls: list[dict[str, Any]], answer: Answer) -> None:
    """The calls that wait for a yes, as nodes.react.permit asks for them; what is not allowed is refused."""
    with st.container(border=True):
        several = len(calls) > 1
        st.markdown(
            f":material/front_hand: **{len(calls)} calls wait for your yes.** Tick what may be done; the rest is refused."
            if several
            else f":material/front_hand: **May it call {one_line(str(calls[0]['tool']))}?**"
        )
        ticked = [call["id"] for call in calls if _show_call(call, several)]
        with st.container(horizontal=True):
            if several:
                st.button("Go on", type="primary", on_click=answer, args=(ticked,), icon=":material/play_arrow:")
                return
            st.button("Allow it", on_click=answer, args=([calls[0]["id"]],), icon=":material/check:")
            # Where a text from outside may have wanted the call, the eye is led to the safe answer.
            first: Literal["primary", "secondary"] = "primary" if calls[0]["outside"] else "secondary"
            st.button("Refuse it", type=first, on_click=answer, args=([],), icon=":material/block:")


def _show_call(call: dict[str, Any], several: bool) -> bool:
    """One call, with a tick where there are several; whether it is ticked."""
    ticked = several and st.checkbox(f"Call {one_line(str(call['tool']))}", key=f"allow-{call['id']}")
    written = json.dumps(call["arguments"], ensure_ascii=False, indent=2)
    st.code(written[:LONGEST], language="json", wrap_lines=True)
    if len(written) > LONGEST:
        st.caption(f"… and {len(written) - LONGEST:,} characters more, which are not shown")
    if call["outside"]:
        st.caption(
            f":material/public: It has read text from outside ({escaped(call['outside'])}), which may have told it to do this. "
            "Allow it only if you want it yourself."
        )
    else:
        st.caption("The policy says to ask you for it.")
    return ticked
